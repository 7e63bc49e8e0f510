//! The workspace's own sources, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's directory.
///
/// # Panics
/// Never: this crate lies in the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// The text of a file of the workspace.
///
/// # Panics
/// When it cannot be read.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `dir` whose name ends in `suffix`.
///
/// # Panics
/// When the directory cannot be read.
pub fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

/// Every Rust source of the workspace.
///
/// # Panics
/// When there are none.
pub fn rust_files() -> Vec<PathBuf> {
    let mut found = files(&root().join("crates"), ".rs");
    found.extend(files(&root().join("tests"), ".rs"));
    assert!(found.len() > 20, "the sources were not found");
    found
}
