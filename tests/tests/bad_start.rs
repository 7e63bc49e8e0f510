//! What `up` cannot start with: it says so with a hint, ends with a code, starts nothing and spoils nothing.

use std::io::Write as _;
use std::process::Output;

use zddcluster_tests::{Bystander, ClusterSandbox, Net, Options, SmallDisk, zddcluster};

/// Bad settings, as `EX_USAGE`.
const BAD_SETTINGS: i32 = 64;

/// `zddcluster up` that is expected to end by itself.
fn up(net: &str, data_dir: &std::path::Path, args: &[&str]) -> anyhow::Result<Output> {
    let mut command = std::process::Command::new(zddcluster());
    command
        .args(["up", "--net", net, "--data-dir"])
        .arg(data_dir);
    Ok(command.args(args).output()?)
}

/// The exit code and what was said.
fn refusal(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("ready in"),
        "{said}"
    );
    (output.status.code(), said)
}

#[test]
fn more_agents_than_the_net_holds_are_refused() -> anyhow::Result<()> {
    let net = Net::take();
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    for (args, parts) in [
        (["--agents", "245"], ["245", "244", "--agents"]),
        (["--agents", "1000000"], ["1000000", "244", "--agents"]),
        (["--public-agents", "10"], ["10", "9", "--public-agents"]),
    ] {
        let (code, said) = refusal(&up(&net.cidr(), &data_dir, &args)?);
        assert_eq!(code, Some(BAD_SETTINGS), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert!(!data_dir.exists());
    Ok(())
}

#[test]
fn a_file_as_data_directory_is_refused() -> anyhow::Result<()> {
    let net = Net::take();
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, "mine")?;
    let (code, said) = refusal(&up(&net.cidr(), &file, &[])?);
    assert_eq!(code, Some(BAD_SETTINGS), "{said}");
    assert!(
        said.contains("hint: ") && said.contains("--data-dir"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&file)?, "mine");
    Ok(())
}

#[test]
fn a_read_only_place_is_refused() -> anyhow::Result<()> {
    let net = Net::take();
    let dir = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(dir.path(), 1) {
        Ok(disk) => disk,
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: cannot mount a tmpfs here: {error:#}"
            );
            return Ok(());
        }
    };
    disk.make_read_only()?;
    let data_dir = dir.path().join("data");
    let (code, said) = refusal(&up(&net.cidr(), &data_dir, &[])?);
    assert_eq!(code, Some(BAD_SETTINGS), "{said}");
    for part in [
        "Read-only file system",
        &data_dir.display().to_string(),
        "hint: ",
        "--data-dir",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_data_directory_that_became_read_only_is_refused_and_kept() -> anyhow::Result<()> {
    let options = Options {
        disk_megabytes: Some(64),
        ..Options::default()
    };
    let mut cluster = match ClusterSandbox::start_with(options).await {
        Err(error) if error.to_string().contains("cannot mount") => {
            let _ = writeln!(std::io::stderr(), "skipped: {error:#}");
            return Ok(());
        }
        started => started?,
    };
    let app = serde_json::json!({"id": "/kept", "cmd": "true", "instances": 0});
    cluster.post_app(&app).await?;
    let version = cluster.get("/v2/apps//kept").await?["app"]["version"].clone();
    cluster.stop().await?;

    let disk = cluster.disk().expect("it was asked for");
    disk.make_read_only()?;
    let net = format!("{}/24", cluster.host(0));
    let (code, said) = refusal(&up(&net, &cluster.data_dir(), &[])?);
    assert_eq!(code, Some(BAD_SETTINGS), "{said}");
    for part in ["Read-only file system", "hint: ", "--data-dir"] {
        assert!(said.contains(part), "{part}: {said}");
    }

    disk.make_writable()?;
    cluster.up().await?;
    assert_eq!(
        cluster.get("/v2/apps//kept").await?["app"]["version"],
        version
    );
    Bystander::start(&cluster)
        .await?
        .is_unharmed(&cluster)
        .await
}
