//! What no lint can check: the map of the crates against cargo's word, the docs against the files, nothing left for later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, MetadataCommand};
use serde::Deserialize;
use zddcluster_tests::source::{read, root, rust_files};

/// One table of Cargo.workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: String,
    layer: u8,
    uses: BTreeSet<String>,
}

/// Crates by short name, with the workspace crates each depends on (not for its tests alone).
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata works here");
    let short = |name: &str| name.strip_prefix("zddcluster-").unwrap_or(name).to_owned();
    metadata
        .packages
        .iter()
        .map(|package| {
            let uses = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .filter(|dependency| dependency.path.is_some())
                .map(|dependency| short(&dependency.name))
                .collect();
            (short(&package.name), uses)
        })
        .collect()
}

#[test]
fn the_map_of_the_crates_is_true() {
    let map: BTreeMap<String, Entry> =
        toml::from_str(&read("Cargo.workspace")).expect("Cargo.workspace is TOML");
    let crates = crates();
    assert_eq!(
        map.keys().collect::<Vec<_>>(),
        crates.keys().collect::<Vec<_>>()
    );
    let mut faults = Vec::new();
    for (name, entry) in &map {
        if entry.role.is_empty() {
            faults.push(format!("{name} has no role"));
        }
        if entry.uses != crates[name] {
            faults.push(format!(
                "{name} uses {:?}, the map says {:?}",
                crates[name], entry.uses
            ));
        }
        for used in &entry.uses {
            match map.get(used) {
                Some(below) if below.layer < entry.layer => {}
                Some(_) => faults.push(format!("{name} uses {used}, which is not below it")),
                None => faults.push(format!("{name} uses {used}, which is not in the map")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_crate_says_what_it_is() {
    for name in crates().keys() {
        let dir = if name == "tests" {
            root().join("tests")
        } else {
            root().join("crates").join(name)
        };
        let top = if dir.join("src/lib.rs").exists() {
            "src/lib.rs"
        } else {
            "src/main.rs"
        };
        let text = fs::read_to_string(dir.join(top)).unwrap();
        assert!(
            text.starts_with("//! "),
            "{name}/{top} does not begin with a doc comment"
        );
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("\ndescription = "),
            "{name} has no description"
        );
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} leaves the lints out"
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file does not find itself.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|parts| parts.concat());
    let calls =
        [["todo", "!("], ["unimplemented", "!("], ["#[ig", "nore"]].map(|parts| parts.concat());
    let mut faults = Vec::new();
    for path in rust_files() {
        for (idx, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words
                .into_iter()
                .any(|word| marks.iter().any(|mark| mark == word))
                || calls.iter().any(|call| line.contains(call))
            {
                faults.push(format!("{}:{}: {}", path.display(), idx + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The commands of the README's fenced shell blocks.
fn readme_commands() -> Vec<String> {
    let readme = read("README.md");
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in readme.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            line if is_shell => commands.push(line.trim_start_matches("$ ").to_owned()),
            _ => {}
        }
    }
    commands
}

#[test]
fn ci_runs_what_the_readme_says() {
    let commands = readme_commands();
    let [start, test, ..] = &commands[..] else {
        panic!("the README shows {} commands", commands.len())
    };
    assert_eq!(start, "cargo run --release -- up");
    assert_eq!(test, "cargo test --workspace");
    let ci = read(".ci/run");
    assert!(
        ci.lines().any(|line| line == test),
        ".ci/run has no line `{test}`"
    );
    assert!(ci.contains("-- up"), ".ci/run never starts the cluster");
}

#[test]
fn the_documents_exist() {
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "LICENSE",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
    ] {
        assert!(!read(file).trim().is_empty(), "{file} is empty");
    }
}
