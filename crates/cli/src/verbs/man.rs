//! `zddcluster man`: manual pages, one a command, made of the help texts.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use crate::args::{ManArgs, command, dcos_command};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;

pub(super) fn run(args: &ManArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let ManArgs { dir } = args;
    let mut names = Vec::new();
    let mut write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        write_pages(command(), "zddcluster", dir, &mut names)?;
        write_pages(dcos_command(), "dcos", dir, &mut names)
    };
    write().map_err(|source| Failure::File {
        action: "write the pages in",
        path: dir.clone(),
        source,
    })?;
    if printer.is_json() {
        printer.json(&names)?;
        return Ok(ExitStatus::Success);
    }
    printer.talk(&format!("{} pages in {}", names.len(), dir.display()));
    Ok(ExitStatus::Success)
}

/// The page of a command and of all below it: `zddcluster-dns-install.1`.
fn write_pages(
    command: Command,
    name: &str,
    dir: &Path,
    names: &mut Vec<String>,
) -> io::Result<()> {
    let command = command
        .name(name.to_owned())
        .bin_name(name.replace('-', " "));
    let below: Vec<Command> = command.get_subcommands().cloned().collect();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let file = format!("{name}.1");
    fs::write(dir.join(&file), page)?;
    names.push(file);
    for command in below {
        let below = format!("{name}-{}", command.get_name());
        // The dcos grammar has pages of its own, and `help` needs none.
        let is_told_elsewhere = below == "zddcluster-dcos" || command.get_name() == "help";
        if !is_told_elsewhere && !command.is_hide_set() {
            write_pages(command, &below, dir, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("man1");
        let (printer, captured) = Printer::captured(Format::Json);
        run(&ManArgs { dir: dir.clone() }, &printer).unwrap();
        let names: Vec<String> = serde_json::from_str(&captured.out()).unwrap();
        for name in [
            "zddcluster.1",
            "zddcluster-up.1",
            "zddcluster-dns-install.1",
            "dcos.1",
            "dcos-marathon-app-add.1",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
            let page = fs::read_to_string(dir.join(name)).unwrap();
            assert!(page.contains(".SH NAME"), "{page}");
        }
        assert_eq!(names.len(), fs::read_dir(&dir).unwrap().count());
        let up = fs::read_to_string(dir.join("zddcluster-up.1")).unwrap();
        assert!(
            up.contains("zddcluster up") && up.contains("Examples:"),
            "{up}"
        );
    }
}
