//! The binary's own answers: which grammar it speaks, and how wrong settings end, before any cluster runs.
//!
//! These tests also make `cargo test --workspace` build the binary, which the whole-system tests start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

fn zddcluster(args: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_zddcluster")), args)
}

fn run(binary: &Path, args: &[&str]) -> Output {
    Command::new(binary)
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `up` in a net of this file's tests with this data directory ends with 64 and says all of `parts`.
#[track_caller]
fn check_refused(data_dir: &Path, args: &[&str], parts: &[&str]) {
    let data_dir = data_dir.to_str().unwrap();
    let net = if args.contains(&"--net") {
        &[][..]
    } else {
        &["--net", "127.92.1.0/24"]
    };
    let up = [&["up", "--data-dir", data_dir], net, args].concat();
    let output = zddcluster(&up);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(output.stdout.is_empty());
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_version_is_told() {
    let output = zddcluster(&["--version"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        concat!("zddcluster ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn called_as_dcos_it_speaks_as_dcos() {
    let dir = tempfile::tempdir().unwrap();
    let dcos = dir.path().join("dcos");
    symlink(env!("CARGO_BIN_EXE_zddcluster"), &dcos).unwrap();
    let output = run(&dcos, &["marathon", "--help"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("dcos marathon"));
}

#[test]
fn all_wrong_settings_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    check_refused(
        &dir.path().join("data"),
        &[
            "--containerizer",
            "docker",
            "--with",
            "marathon-lb",
            "--public-agents",
            "0",
        ],
        &["--containerizer process", "--public-agents 1"],
    );
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn more_agents_than_the_net_holds_are_refused() {
    let output = zddcluster(&["up", "--agents", "245"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("244"), "{}", stderr(&output));
}

#[test]
fn a_net_that_is_not_loopback_is_refused() {
    let output = zddcluster(&["up", "--net", "10.0.0.0/24"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
}

#[test]
fn a_taken_address_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let _taken = TcpListener::bind("127.92.2.12:5051").unwrap();
    let pid = std::process::id().to_string();
    check_refused(
        dir.path(),
        &["--net", "127.92.2.0/24"],
        &["127.92.2.12:5051", &pid, "--net"],
    );
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    check_refused(&file, &[], &["--data-dir"]);

    let read_only = dir.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(read_only.join("x"), "").is_err() {
        check_refused(&read_only, &[], &["--data-dir"]);
    }
}

#[test]
fn down_without_a_cluster_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("none");
    let output = zddcluster(&["down", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no cluster runs"));
    assert!(!data_dir.exists());
}
