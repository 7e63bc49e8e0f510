//! `zddcluster env`: lines for a shell that put `dcos` on the PATH and name the cluster's addresses.
//!
//! `dcos` is a link to this executable in `<data dir>/bin`, made anew when the executable has moved. The names of the
//! addresses are those the lab's commands use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::args::{EnvArgs, Shell};
use crate::cluster::{ClusterFile, data_dir};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;

pub(super) fn run(args: &EnvArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let data_dir = data_dir(args.data_dir.get())?;
    let Some(cluster) = ClusterFile::read_running(&data_dir)? else {
        return Err(Failure::NotRunning { data_dir });
    };
    let bin = link_dcos(&data_dir)?;
    let variables = variables(&cluster, &data_dir);
    if printer.is_json() {
        let mut document = Map::new();
        document.insert("bin".to_owned(), bin.display().to_string().into());
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()));
        document.insert("variables".to_owned(), Value::Object(variables.collect()));
        printer.json(&Value::Object(document))?;
        return Ok(ExitStatus::Success);
    }
    let shell = args
        .shell
        .unwrap_or_else(|| shell_of_user(std::env::var_os("SHELL").as_deref()));
    printer.data(&lines(shell, &bin.display().to_string(), &variables))?;
    if printer.is_terminal() {
        printer.hint(match shell {
            Shell::Bash | Shell::Zsh => "to use it: eval \"$(zddcluster env)\"",
            Shell::Fish => "to use it: zddcluster env | source",
        });
    }
    Ok(ExitStatus::Success)
}

/// The names and values to export, but for PATH.
pub(super) fn variables(cluster: &ClusterFile, data_dir: &Path) -> Vec<(&'static str, String)> {
    let addresses = &cluster.addresses;
    let mut variables = vec![
        ("DCOS_URL", cluster.front_url()),
        ("MASTER_IP_ADDRESS", addresses.front.ip().to_string()),
    ];
    variables.extend(
        addresses
            .edge
            .map(|edge| ("PUBLIC_AGENT", edge.to_string())),
    );
    variables.push(("MESOS_DNS_ADDRESS", addresses.dns.ip().to_string()));
    variables.push(("MESOS_DNS_PORT", addresses.dns.port().to_string()));
    variables.push(("ZDD_DATA_DIR", data_dir.display().to_string()));
    variables
}

fn lines(shell: Shell, bin: &str, variables: &[(&'static str, String)]) -> String {
    let mut lines = Vec::new();
    match shell {
        Shell::Bash | Shell::Zsh => {
            lines.push(format!("export PATH={}:\"$PATH\"", quoted(shell, bin)));
            for (name, value) in variables {
                lines.push(format!("export {name}={}", quoted(shell, value)));
            }
        }
        Shell::Fish => {
            lines.push(format!("set -gx PATH {} $PATH", quoted(shell, bin)));
            for (name, value) in variables {
                lines.push(format!("set -gx {name} {}", quoted(shell, value)));
            }
        }
    }
    lines.join("\n")
}

/// A value that the shell takes as it is; bare when nothing in it could mean anything.
fn quoted(shell: Shell, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    match shell {
        Shell::Bash | Shell::Zsh => format!("'{}'", value.replace('\'', r"'\''")),
        Shell::Fish => format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
    }
}

/// The shell that `$SHELL` names; the lines for bash serve every other Bourne shell too.
fn shell_of_user(path: Option<&std::ffi::OsStr>) -> Shell {
    let name = path
        .and_then(|path| Path::new(path).file_name())
        .and_then(|name| name.to_str());
    match name {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    }
}

/// Makes `<data dir>/bin/dcos` a link to this executable and returns the directory.
pub(super) fn link_dcos(data_dir: &Path) -> Result<PathBuf, Failure> {
    let executable = std::env::current_exe().map_err(|source| Failure::File {
        action: "find",
        path: "this executable".into(),
        source,
    })?;
    let bin = data_dir.join("bin");
    let link = bin.join("dcos");
    if fs::read_link(&link).is_ok_and(|target| target == executable) {
        return Ok(bin);
    }
    let make = || -> io::Result<()> {
        fs::create_dir_all(&bin)?;
        // Replaced by renaming, so that a `dcos` started meanwhile finds the old one or the new one.
        let new = bin.join(format!(".dcos.{}", std::process::id()));
        std::os::unix::fs::symlink(&executable, &new)?;
        fs::rename(&new, &link)
    };
    make().map_err(|source| Failure::File {
        action: "make",
        path: link.clone(),
        source,
    })?;
    Ok(bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_the_shell() {
        let variables = [
            ("DCOS_URL", "http://127.0.0.1:8080".to_owned()),
            ("D", "/it's \\ d".to_owned()),
        ];
        assert_eq!(
            lines(Shell::Bash, "/data dir/bin", &variables),
            "export PATH='/data dir/bin':\"$PATH\"\nexport DCOS_URL=http://127.0.0.1:8080\nexport D='/it'\\''s \\ d'"
        );
        assert_eq!(
            lines(Shell::Fish, "/d/bin", &variables),
            "set -gx PATH /d/bin $PATH\nset -gx DCOS_URL http://127.0.0.1:8080\nset -gx D '/it\\'s \\\\ d'"
        );
    }

    #[test]
    fn the_link_follows_the_executable() {
        let dir = tempfile::tempdir().unwrap();
        let bin = link_dcos(dir.path()).unwrap();
        let executable = std::env::current_exe().unwrap();
        assert_eq!(fs::read_link(bin.join("dcos")).unwrap(), executable);
        fs::remove_file(bin.join("dcos")).unwrap();
        std::os::unix::fs::symlink("/gone", bin.join("dcos")).unwrap();
        link_dcos(dir.path()).unwrap();
        assert_eq!(fs::read_link(bin.join("dcos")).unwrap(), executable);
    }
}
