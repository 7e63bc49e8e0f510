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
            "--log",
            "zdd=nope",
            "--with",
            "marathon-lb",
            "--public-agents",
            "0",
        ],
        &["log filter", "--public-agents 1"],
    );
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn more_agents_than_the_net_holds_are_refused() {
    let output = zddcluster(&["up", "--agents", "245"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("244"), "{}", stderr(&output));
}

#[test]
fn a_net_that_is_not_loopback_is_refused() {
    let output = zddcluster(&["up", "--net", "10.0.0.0/24"]);
    assert_eq!(output.status.code(), Some(64));
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

/// `zddcluster` with these arguments, this environment and a token file that only we may read.
fn with_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zddcluster"))
        .args(args)
        .env("NO_COLOR", "1")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn flags_go_before_the_environment_and_it_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dns.toml");
    fs::write(&file, "ttl = 7\ndomain = 'file'\nlisten = '127.0.0.1:7'").unwrap();
    let env = [
        ("ZDD_CONFIG", file.to_str().unwrap()),
        ("ZDD_DNS_DOMAIN", "env"),
        ("ZDD_DNS_LISTEN", "127.0.0.1:8"),
    ];
    let output = with_env(&["dns", "--listen", "127.0.0.1:9", "--dump-config"], &env);
    let expected = "allow-host = []\ndns-extras = false\ndomain = \"env\"\nlisten = \"127.0.0.1:9\"\nlog = \"info\"\nmaster = \"http://127.0.0.1:5050\"\nmasters = []\nresolvers = []\nttl = 7\nzone-resolvers = []\n";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_file_of_mesos_dns_is_dumped_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    let text =
        r#"{"Masters": ["10.0.0.1:5050"], "externalon": false, "listener": "127.0.0.9", "ttl": 7}"#;
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let args = ["dns", "--config", path, "--dump-config", "--ttl", "8"];
    let output = with_env(&args, &[("ZDD_DNS_RESOLVERS", "10.0.0.2,10.0.0.3")]);
    let dump: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    assert_eq!((&dump["TTL"], &dump["Port"]), (&8.into(), &53.into()));
    assert_eq!(
        dump["Resolvers"],
        serde_json::json!(["10.0.0.2", "10.0.0.3"])
    );
    assert_eq!(
        (&dump["Listener"], &dump["File"]),
        (&"127.0.0.9".into(), &path.into())
    );

    fs::write(&file, r#"{"masters": ["10.0.0.1"], "mesosHTTPSOn": true}"#).unwrap();
    let output = with_env(&["dns", "--config", path], &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in ["masters: `10.0.0.1` is not HOST:PORT", "mesosHTTPSOn: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn wrong_settings_of_all_origins_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("master.toml");
    fs::write(&file, "fornt = '127.0.0.1:1'").unwrap();
    let args = [
        "master",
        "--config",
        file.to_str().unwrap(),
        "--mesos",
        "here",
    ];
    let output = with_env(&args, &[("ZDD_SPEED", "0")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in [
        "no setting `fornt`; hint: `front`",
        "error: ZDD_SPEED: invalid value '0'",
        "error: invalid value 'here' for '--mesos",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn others_than_this_machine_need_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let data_dir = data_dir.to_str().unwrap();
    let secret = "not-to-be-shown-0123456789";
    let master = [
        "master",
        "--front",
        "0.0.0.0:8080",
        "--mesos",
        "192.0.2.1:5050",
        "--data-dir",
        data_dir,
        "--dump-config",
    ];
    let agent = [
        "agent",
        "--hostname",
        "192.0.2.2",
        "--work-dir",
        data_dir,
        "--dump-config",
    ];
    for (args, flags) in [
        (
            &master[..],
            &["--front 0.0.0.0:8080", "--mesos 192.0.2.1"][..],
        ),
        (&agent, &["--hostname 192.0.2.2"]),
    ] {
        let output = with_env(args, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(64), "{said}");
        for part in flags.iter().chain(&["--token-file FILE (or ZDD_TOKEN)"]) {
            assert!(said.contains(part), "{part}: {said}");
        }
        let output = with_env(args, &[("ZDD_TOKEN", secret)]);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(!said.contains(secret), "{said}");
    }
    let edge = [
        "edge",
        "--host",
        "192.0.2.3",
        "-m",
        "http://192.0.2.1:1",
        "--dump-config",
    ];
    let output = with_env(&edge, &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        stderr(&output).contains("--token-file"),
        "{}",
        stderr(&output)
    );
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_token_that_is_none_is_refused_and_not_shown() {
    let output = with_env(&["dns", "--dump-config"], &[("ZDD_TOKEN", "too-short")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("ZDD_TOKEN holds no token"), "{said}");
    assert!(!said.contains("too-short"), "{said}");
}

#[test]
fn the_settings_of_an_edge_are_marathon_lbs_words() {
    let line = "edge --dump-config sse -m http://master.mesos:8080 --health-check --group external";
    let args: Vec<&str> = line.split(' ').collect();
    let output = with_env(&args, &[("ZDD_MARATHON_URL", "http://127.0.0.1:8080")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "marathon = [\"http://127.0.0.1:8080\"]",
        "health-check = true",
        "group = [\"external\"]",
        "haproxy-map = false",
    ] {
        assert!(said.contains(part), "{part}: {said}{}", stderr(&output));
    }
}
