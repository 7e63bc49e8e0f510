//! Files that tasks bring along: from a server, from this machine, packed and not; as processes and as containers.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zddcluster_tests::{Bystander, ClusterSandbox, Engine};

/// A server of a few files, which counts what it is asked for.
struct FileServer {
    address: SocketAddr,
    n_asked: Arc<AtomicU32>,
    serving: tokio::task::JoinHandle<()>,
}

impl FileServer {
    #[expect(
        clippy::disallowed_methods,
        reason = "ended with the value, and the test"
    )]
    async fn start(files: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let n_asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&n_asked);
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let n = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..n]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                count.fetch_add(1, Ordering::Relaxed);
                let (status, body) = match files.get(path) {
                    Some(body) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", &b"no such file"[..]),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body).await;
                let _ = stream.shutdown().await;
            }
        });
        Ok(Self {
            address,
            n_asked,
            serving,
        })
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An archive with `site/page` in it.
fn packed(dir: &Path) -> anyhow::Result<Vec<u8>> {
    fs::create_dir_all(dir.join("site"))?;
    fs::write(dir.join("site/page"), "a page\n")?;
    let output = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(["-cz", "site"])
        .output()?;
    anyhow::ensure!(output.status.success(), "tar: {output:?}");
    Ok(output.stdout)
}

/// What a container is made of, if it is one.
fn container(image: Option<&str>) -> Value {
    match image {
        Some(image) => json!({"type": "DOCKER", "docker": {"image": image, "network": "HOST"}}),
        None => Value::Null,
    }
}

async fn brings_files_along(cluster: &ClusterSandbox, image: Option<&str>) -> anyhow::Result<()> {
    let bystander = Bystander::start(cluster).await?;
    let dir = tempfile::tempdir()?;
    // Readable to others, which a temporary directory is not.
    let local = cluster.data_dir().with_file_name("local.txt");
    fs::write(&local, "from this machine\n")?;
    let files = [
        ("/site.tgz".to_owned(), packed(dir.path())?),
        (
            "/tool".to_owned(),
            b"#!/bin/sh\necho the tool runs\n".to_vec(),
        ),
    ];
    let server = FileServer::start(files.into()).await?;
    let user = rustix::process::geteuid().is_root().then_some("nobody");
    let sandbox = "cd \"$MESOS_SANDBOX\"";
    let cmd = format!(
        "{sandbox} && cat site/page local.txt && ./bin/tool && echo as $(id -un) >> site/page && \
         tail -n 1 site/page && exec sleep 100000"
    );
    cluster
        .post_app(&json!({
            "id": "/brings", "cmd": cmd, "cpus": 0.1, "mem": 32, "user": user,
            "container": container(image),
            "fetch": [
                {"uri": server.uri("/site.tgz"), "cache": true},
                {"uri": server.uri("/tool"), "executable": true, "outputFile": "bin/tool"},
                {"uri": format!("file://{}", local.display())},
            ],
        }))
        .await?;
    let last = format!("as {}", user.unwrap_or_default());
    let said = cluster.says("/brings", &last).await.join("stdout");
    let said = fs::read_to_string(said)?;
    let expected = "a page\nfrom this machine\nthe tool runs\n";
    assert!(said.starts_with(expected), "{said}");

    // `uris` is the short form, unpacked by its name. What was kept is not asked for again by the same agent.
    let n_before = server.n_asked.load(Ordering::Relaxed);
    assert_eq!(n_before, 2);
    cluster
        .post_app(&json!({
            "id": "/short", "cmd": format!("{sandbox} && cat site/page && exec sleep 100000"),
            "cpus": 0.1, "mem": 32, "container": container(image), "uris": [server.uri("/site.tgz")],
        }))
        .await?;
    cluster.says("/short", "a page").await;

    cluster
        .post_app(&json!({
            "id": "/absent", "cmd": "true", "cpus": 0.1, "mem": 32,
            "container": container(image), "uris": [server.uri("/absent.tgz")],
        }))
        .await?;
    let failure = cluster.failure("/absent").await;
    let expected = format!(
        "Failed to fetch '{}': the server answered 404 Not Found",
        server.uri("/absent.tgz")
    );
    assert_eq!(failure["message"], expected, "{failure}");
    assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    let path = "/v2/apps/absent";
    cluster.send(http::Method::DELETE, path, "").await?;
    bystander.is_unharmed(cluster).await
}

#[tokio::test]
async fn as_processes() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    brings_files_along(&cluster, None).await
}

#[tokio::test]
async fn as_containers() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let image = engine.shell_image()?;
    let mut cluster = ClusterSandbox::start_with(engine.options(&[])).await?;
    brings_files_along(&cluster, Some(image.name())).await?;
    cluster.stop().await
}
