//! The verbs for whoever sits at the machine, and the rarer `dcos` commands, against a cluster that runs.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, Net, eventually, zddcluster};

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

/// `75443553` of `talk_er.75443553-…`.
fn short(id: &str) -> &str {
    let unique = id.rsplit_once('.').map_or(id, |(_, unique)| unique);
    unique.split('-').next().unwrap_or(unique)
}

fn text(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

/// A command that goes on, and what it has printed so far.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|err| Box::new(err) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().expect("nobody panics with it");
                    said.push_str(&line);
                    said.push('\n');
                }
            });
        }
        Ok(Self { child, said })
    }

    async fn says(&self, part: &str) {
        eventually(part, || async {
            let said = self.said.lock().expect("nobody panics with it").clone();
            if said.contains(part) {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn logs_of_all_tasks_of_an_app() -> anyhow::Result<()> {
    let (cluster, ids) = with_talkers(2).await?;
    eventually("each task's lines", || async {
        let output = cluster.command(&["logs", "/talk/er"]).output();
        let (out, err, code) = text(&output.map_err(|error| error.to_string())?);
        let is_told = |id: &String| {
            let (short, out_line, err_line) = (short(id), "out of", "err of");
            out.contains(&format!("{short} | {out_line} {id}\n"))
                && out.contains(&format!("{short} ! {err_line} {id}\n"))
        };
        match ids.iter().all(is_told) && code == Some(0) {
            true => Ok(()),
            false => Err(format!("{code:?} {out} {err}")),
        }
    })
    .await;
    let output = cluster
        .command(&[
            "--output", "json", "logs", "--file", "stdout", "--lines", "1", "talk/er",
        ])
        .output()?;
    let (out, err, _) = text(&output);
    let lines: Vec<Value> = out
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 2, "{out} {err}");
    assert!(lines.iter().all(|line| line["file"] == "stdout"), "{out}");

    let (_, err, code) = text(&cluster.command(&["logs", "/nobody"]).output()?);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("'/nobody' does not exist"), "{err}");
    Ok(())
}

#[tokio::test]
async fn followed_logs_take_in_new_tasks_and_let_old_ones_go() -> anyhow::Result<()> {
    let (cluster, ids) = with_talkers(1).await?;
    let follow = Running::start(cluster.command(&["logs", "--follow", "/talk/er"]))?;
    follow
        .says(&format!("{} | out of {}\n", short(&ids[0]), ids[0]))
        .await;
    cluster
        .dcos_ok(
            &["marathon", "app", "update", "/talk/er", "instances=2"],
            "",
        )
        .await?;
    cluster.settled().await;
    let all = self::ids(&cluster).await?;
    let new = all
        .iter()
        .find(|id| !ids.contains(id))
        .expect("there are two");
    follow.says(&format!("{} has started\n", short(new))).await;
    follow
        .says(&format!("{} ! err of {new}\n", short(new)))
        .await;
    cluster
        .dcos_ok(&["marathon", "task", "kill", "--scale", &ids[0]], "")
        .await?;
    follow
        .says(&format!("{} has ended\n", short(&ids[0])))
        .await;
    cluster.settled().await;

    // What has ended is told when it is asked for.
    let output = cluster
        .command(&["logs", "--completed", "/talk/er"])
        .output()?;
    let (out, err, _) = text(&output);
    assert!(out.contains(&format!("out of {}\n", ids[0])), "{out} {err}");
    Ok(())
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
async fn names_resolve_in_a_shell_and_only_there() -> anyhow::Result<()> {
    let (cluster, _) = with_talkers(1).await?;
    let script = "command -v dcos; dcos marathon app list -q; getent hosts leader.mesos er-talk.marathon.mesos";
    let before = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let (out, err, code) = eventually("the names to resolve, or a word why not", || {
        let output = cluster
            .command(&["shell", "--", "sh", "-c", script])
            .env_remove("DCOS_URL")
            .output();
        let said = output.map(|output| text(&output));
        async move {
            match said {
                // The DNS server follows the master; a task that just started may not have a name yet.
                Ok((out, err, Some(0))) => Ok((out, err, Some(0))),
                Ok((out, err, code)) if err.contains("would not resolve") => Ok((out, err, code)),
                other => Err(format!("{other:?}")),
            }
        }
    })
    .await;
    if may_mount()? {
        assert_eq!(code, Some(0), "{err}");
        let dcos = cluster.data_dir().join("bin/dcos");
        assert!(
            out.starts_with(&format!("{}\n/talk/er\n", dcos.display())),
            "{out} {err}"
        );
        let leader = format!("{} ", cluster.host(1));
        assert!(
            out.contains(&leader) && out.contains("leader.mesos"),
            "{out}"
        );
        assert!(out.contains("er-talk.marathon.mesos"), "{out}");
    } else {
        assert_eq!(code, Some(1), "{out}");
        assert!(err.contains("zddcluster dns install"), "{err}");
    }
    let after = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(before, after);

    // It ends as the command does, and with a shell of the user's own there is one in any case.
    if code == Some(0) {
        let output = cluster
            .command(&["shell", "--", "sh", "-c", "exit 5"])
            .output()?;
        assert_eq!(output.status.code(), Some(5));
    }
    let mut child = cluster
        .command(&["shell"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was just asked for");
    stdin.write_all(b"echo $DCOS_URL; exit 4\n")?;
    drop(stdin);
    let (out, err, code) = text(&child.wait_with_output()?);
    assert_eq!(
        (out, code),
        (format!("{}\n", cluster.url("")), Some(4)),
        "{err}"
    );
    Ok(())
}

/// Whether a shell may see other files than the machine, as root or otherwise.
fn may_mount() -> anyhow::Result<bool> {
    let unshare = |flags| Command::new("unshare").args([flags, "true"]).status();
    Ok(unshare("-m")?.success() || unshare("-rm")?.success())
}

/// Users without root get no DNS server on port 53; their shells have the names all the same.
#[tokio::test]
async fn names_resolve_in_a_shell_without_port_53_and_are_renewed() -> anyhow::Result<()> {
    let (cluster, _) = with_talkers(1).await?;
    // As it is for them; nobody else reads it here.
    let path = cluster.data_dir().join("cluster.json");
    let mut cluster_file: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    cluster_file["addresses"]["dns"] = format!("{}:8053", cluster.host(1)).into();
    std::fs::write(&path, cluster_file.to_string())?;
    if !may_mount()? {
        let output = cluster.command(&["shell", "--", "true"]).output()?;
        let (_, err, code) = text(&output);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("zddcluster dns install"), "{err}");
        return Ok(());
    }
    let before = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let script = "getent ahostsv4 leader.mesos; getent ahostsv4 localhost >&2 && echo own; \
                  until getent hosts late-talk.marathon.mesos; do sleep 0.1; done; echo found; \
                  while getent hosts er-talk.marathon.mesos >&2; do sleep 0.1; done; echo gone; exec sleep 1000";
    let mut command = cluster.command(&["shell", "--", "sh", "-c", script]);
    // As a terminal or `timeout` has it.
    command.process_group(0);
    let shell = Running::start(command)?;
    shell.says("own").await;
    let said = shell.said.lock().expect("nobody panics with it").clone();
    assert!(said.starts_with(&cluster.host(1).to_string()), "{said}");

    let mut late = talker(1);
    late["id"] = "/talk/late".into();
    cluster.post_app(&late).await?;
    shell.says("found").await;
    cluster
        .dcos_ok(&["marathon", "app", "remove", "/talk/er"], "")
        .await?;
    shell.says("gone").await;
    assert_eq!(
        std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        before
    );

    // What renewed the names ends with the shell, also where all of its group are told to.
    let pid = shell.child.id();
    let names = cluster
        .data_dir()
        .join("shell")
        .join(format!("hosts.{pid}"));
    assert!(names.exists());
    let group = Pid::from_child(&shell.child);
    rustix::process::kill_process_group(group, Signal::TERM)?;
    eventually("the names to be taken away", || async {
        (!names.exists()).then_some(()).ok_or("they are there")
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn the_machines_resolver_is_told_only_when_that_is_wanted() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    let file = "/etc/systemd/resolved.conf.d/zddcluster.conf";
    let before = std::fs::read_to_string(file).ok();
    let install = |args: &[&str]| {
        let mut command = cluster.command(&["dns", "install", "--resolver", "systemd-resolved"]);
        command.args(args).stdin(Stdio::null()).output()
    };
    let (out, err, code) = text(&install(&["--dry-run"])?);
    assert_eq!(code, Some(0), "{err}");
    for part in [
        file,
        &format!("DNS={}", cluster.host(1)),
        "Domains=~mesos",
        "run systemctl restart systemd-resolved",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    // Nobody is there to say yes.
    let (_, err, code) = text(&install(&[])?);
    assert_eq!(code, Some(1));
    assert!(err.contains("--yes"), "{err}");
    assert_eq!(std::fs::read_to_string(file).ok(), before);

    // Whatever resolves names here: it is told what would be done, or what to do.
    let (out, err, code) = text(&cluster.command(&["dns", "install", "--dry-run"]).output()?);
    match code {
        Some(0) => assert!(out.contains("mesos"), "{out}"),
        code => {
            assert_eq!(code, Some(1), "{err}");
            assert!(
                err.contains("no resolver is found") && err.contains("zddcluster shell"),
                "{err}"
            );
        }
    }
    cluster.stop().await?;
    let (_, err, code) = text(&cluster.command(&["dns", "install", "--dry-run"]).output()?);
    assert_eq!(code, Some(3), "{err}");
    Ok(())
}

#[tokio::test]
async fn the_doctor_names_what_hinders() -> anyhow::Result<()> {
    let net = Net::take();
    let dir = tempfile::tempdir()?;
    let doctor = |args: &[&str]| {
        let mut command = Command::new(zddcluster());
        command
            .args([
                "--output",
                "json",
                "doctor",
                "--containerizer",
                "process",
                "--net",
                &net.cidr(),
            ])
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(args);
        command.output()
    };
    let told = |output: &Output| -> anyhow::Result<(Value, Option<i32>)> {
        let (out, _, code) = text(output);
        Ok((serde_json::from_str(&out)?, code))
    };
    let (healthy, code) = told(&doctor(&[])?)?;
    assert_eq!(
        (code, &healthy["faults"]),
        (Some(0), &json!(0)),
        "{healthy}"
    );
    assert!(!dir.path().join("data").exists());

    let taken = std::net::TcpListener::bind((net.host(1), 5050))?;
    let (ill, code) = told(&doctor(&[])?)?;
    assert_eq!((code, &ill["faults"]), (Some(1), &json!(1)), "{ill}");
    let checks = ill["checks"].as_array().expect("it is a list");
    let fault = checks.iter().find(|check| check["verdict"] == "fault");
    let finding = fault.expect("there is one")["finding"]
        .as_str()
        .unwrap_or_default();
    for part in [
        format!("{}:5050", net.host(1)),
        format!("pid {}", std::process::id()),
    ] {
        assert!(finding.contains(&part), "{finding}");
    }
    drop(taken);

    // One that would end with a fault is told before.
    std::fs::write(dir.path().join("file"), "")?;
    let file = dir.path().join("file/data").display().to_string();
    let output = Command::new(zddcluster())
        .args(["doctor", "--net", &net.cidr(), "--data-dir", &file])
        .output()?;
    let (out, err, code) = text(&output);
    assert_eq!(code, Some(1), "{out} {err}");
    assert!(out.contains("fault    data"), "{out}");
    Ok(())
}

#[tokio::test]
async fn the_doctor_knows_a_cluster_that_runs() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let output = cluster.command(&["doctor"]).output()?;
    let (out, err, code) = text(&output);
    assert_eq!(code, Some(0), "{out} {err}");
    let front = format!("held by the cluster at {}", cluster.url(""));
    assert!(out.contains(&front), "{out}");
    Ok(())
}

/// A cluster that was set up at another time gets no token of this one's.
#[test]
fn a_list_of_clusters_shows_nobody_the_token() -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let home = tempfile::tempdir()?;
    let id = "c5b8a2e0-4a1f-4a6f-9a43-2d3c0f6b7a10";
    let dir = home.path().join(".dcos/clusters").join(id);
    std::fs::create_dir_all(&dir)?;
    let url = format!("http://{}", listener.local_addr()?);
    let settings = dir.join("dcos.toml");
    std::fs::write(&settings, format!("[core]\ndcos_url = \"{url}\"\n"))?;
    std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o600))?;
    let child = Command::new(zddcluster())
        .args(["dcos", "cluster", "list", "--json"])
        .env("HOME", home.path())
        .env("ZDD_TOKEN", "secret")
        .env_remove("DCOS_DIR")
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut stream, _) = listener.accept()?;
    let mut head = String::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head.push_str(&line);
        head.push('\n');
    }
    let body = r#"{"version": "1.8.4"}"#;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let output = child.wait_with_output()?;
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(listed[0]["version"], "1.8.4", "{listed}");
    assert!(
        head.starts_with("GET /dcos-metadata/dcos-version.json"),
        "{head}"
    );
    assert!(!head.contains("secret"), "{head}");
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
