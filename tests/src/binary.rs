//! Finds the binary under test.
//!
//! Cargo names it only to tests of its own package, so it is looked for beside this test's executable
//! (`target/<profile>/deps/…`). `cargo test --workspace` has built it by then; when this package is tested alone, it is built
//! here if it is missing or older than a source file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The path of `zddcluster`, built with this test's profile; `ZDD_TEST_BINARY` names another one.
///
/// # Panics
/// When it cannot be built.
pub fn zddcluster() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("ZDD_TEST_BINARY") {
            return given.into();
        }
        let this = std::env::current_exe().expect("a test has an executable");
        let profile_dir = this
            .parent()
            .and_then(Path::parent)
            .expect("tests run in target/<profile>/deps");
        let binary = profile_dir.join("zddcluster");
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let built_at = fs::metadata(&binary).and_then(|meta| meta.modified()).ok();
        if built_at.is_none_or(|built_at| built_at < newest_source(&crates)) {
            build(profile_dir);
        }
        assert!(binary.exists(), "{} was not built", binary.display());
        binary
    })
}

/// When a source file of the crates was changed last; their tests do not count.
fn newest_source(dir: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("tests") {
            newest = newest.max(newest_source(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let Ok(changed_at) = entry.metadata().and_then(|meta| meta.modified())
        {
            newest = newest.max(changed_at);
        }
    }
    newest
}

fn build(profile_dir: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--package",
        "zddcluster",
        "--bin",
        "zddcluster",
    ]);
    match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    let target_dir = profile_dir
        .parent()
        .expect("a profile's directory lies in target");
    let status = command
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo can be run");
    assert!(
        status.success(),
        "the binary under test cannot be built: {status}"
    );
}
