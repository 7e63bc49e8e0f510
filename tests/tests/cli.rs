//! The verbs for whoever sits at the machine, and the rarer `dcos` commands, against a cluster that runs.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, eventually};

/// An app whose tasks say who they are on both streams.
fn talker(instances: u32) -> Value {
    json!({
        "id": "/talk/er", "instances": instances, "cpus": 0.1, "mem": 16,
        "cmd": "echo out of $MESOS_TASK_ID; echo err of $MESOS_TASK_ID >&2; exec sleep 100000",
    })
}

async fn with_talkers(instances: u32) -> anyhow::Result<(ClusterSandbox, Vec<String>)> {
    let cluster = ClusterSandbox::start().await?;
    cluster.post_app(&talker(instances)).await?;
    cluster.settled().await;
    let ids = ids(&cluster).await?;
    Ok((cluster, ids))
}

async fn ids(cluster: &ClusterSandbox) -> anyhow::Result<Vec<String>> {
    let tasks = cluster.tasks("/talk/er").await?;
    let ids = tasks.iter().filter_map(|task| task["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

fn text(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

#[tokio::test]
async fn a_command_runs_in_a_task() -> anyhow::Result<()> {
    let (cluster, ids) = with_talkers(1).await?;
    let script = "echo $MESOS_TASK_ID in $PWD; echo moan >&2; exit 7";
    let output = cluster
        .command(&["exec", &ids[0], "sh", "-c", script])
        .output()?;
    let (out, err, code) = text(&output);
    assert_eq!(code, Some(7), "{out} {err}");
    assert!(
        out.starts_with(&format!("{} in ", ids[0])) && out.contains("/slaves/"),
        "{out}"
    );
    assert_eq!(err, "moan\n");

    // It reads what is piped in, if that is asked for.
    let mut child = cluster
        .command(&["exec", "--interactive", "talk_er", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was just asked for");
    stdin.write_all(b"piped")?;
    drop(stdin);
    assert_eq!(child.wait_with_output()?.stdout, b"piped");
    let output = cluster
        .dcos(&["task", "exec", "talk_er", "cat"], "piped")
        .await?;
    assert_eq!(text(&output), (String::new(), String::new(), Some(0)));

    let (_, err, code) = text(&cluster.command(&["exec", "nobody", "ls"]).output()?);
    assert_eq!(code, Some(1));
    assert!(err.contains("Cannot find a task"), "{err}");
    let (_, err, code) = text(
        &cluster
            .command(&["exec", "-t", "talk_er", "ls"])
            .stdin(Stdio::null())
            .output()?,
    );
    assert_eq!(code, Some(1));
    assert!(err.contains("no terminal"), "{err}");
    Ok(())
}

#[tokio::test]
async fn the_rarer_dcos_commands() -> anyhow::Result<()> {
    let (cluster, ids) = with_talkers(1).await?;
    for (line, part) in [
        ("marathon ping --once", "Marathon ping response[1x]: pong\n"),
        ("marathon app list -q", "/talk/er\n"),
        ("marathon task list -q /talk/er", &ids[0]),
        ("task ls talk_er", "stderr  stdout\n"),
        ("task ls --long talk_er", "stdout\n"),
        ("task exec talk_er sh -c pwd", "/runs/"),
        ("service", "marathon"),
        ("marathon plugin list", ""),
        ("marathon debug list", ""),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let out = cluster.dcos_ok(&args, "").await?;
        assert!(out.contains(part), "{line}: {out}");
    }
    for (line, part) in [
        (
            "marathon pod list",
            "This command is not supported by your version of Marathon\n",
        ),
        ("job list", "DC/OS backend does not support metronome"),
        (
            "marathon debug details /talk/er",
            "No apps found in Marathon queue\n",
        ),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let (out, err, code) = text(&cluster.dcos(&args, "").await?);
        assert_eq!(code, Some(1), "{line}: {out}");
        assert!(err.starts_with(part), "{line}: {err}");
    }
    // One that has no room waits, and it is said for what.
    let huge = json!({ "id": "/huge", "cmd": "sleep 1", "cpus": 100, "mem": 16 });
    cluster.post_app(&huge).await?;
    eventually("the app to wait", || async {
        let output = cluster
            .dcos(&["marathon", "debug", "summary", "/huge"], "")
            .await;
        let (out, err, _) = text(&output.map_err(|error| format!("{error:?}"))?);
        let is_told = out
            .lines()
            .any(|line| line.starts_with("CPUS         100        0 / "));
        if is_told {
            Ok(())
        } else {
            Err(format!("{out} {err}"))
        }
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn the_client_remembers_clusters() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let home = tempfile::tempdir()?;
    let dcos = |args: &[&str]| {
        let mut command = cluster.command(&["dcos"]);
        command
            .args(args)
            .env_remove("ZDD_DATA_DIR")
            .env_remove("DCOS_URL");
        command
            .env("DCOS_DIR", home.path())
            .env("XDG_DATA_HOME", home.path())
            .output()
    };
    let (_, err, code) = text(&dcos(&["marathon", "about"])?);
    assert_eq!(code, Some(1), "{err}");
    let url = cluster.url("");
    let setup = text(&dcos(&["cluster", "setup", &url])?);
    assert_eq!(setup, (String::new(), String::new(), Some(0)));
    let (out, err, _) = text(&dcos(&["cluster", "list"])?);
    assert!(
        out.contains("AVAILABLE") && out.contains(&url),
        "{out} {err}"
    );
    let (out, err, code) = text(&dcos(&["marathon", "about"])?);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("\"name\": \"marathon\""), "{out}");
    let (out, _, _) = text(&dcos(&["auth", "login"])?);
    assert_eq!(out, "Login successful!\n");
    let (_, err, code) = text(&dcos(&["cluster", "remove", "--all"])?);
    assert_eq!(code, Some(0), "{err}");
    let (_, err, code) = text(&dcos(&["marathon", "about"])?);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no cluster runs"), "{err}");
    Ok(())
}
