//! The proxies: ours, HAProxy and nginx, each a process of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use zddcluster_edge::{Config, Ports};
use zddcluster_runtime::Tasks;

use crate::peer::{Peer, is_installed};

pub(crate) const HAPROXY_KEEP: &str = "haproxy keep";
/// Where our edges listen, and the port of the one service: other edges of this machine have addresses of their own.
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 99, 7, 1), Ipv4Addr::new(127, 99, 7, 2)];
const PORT: u16 = 10_080;

/// A peer, or why there is none.
type Started = anyhow::Result<Result<Peer, String>>;

/// With a thread for each core.
pub(crate) fn start_ours(origin: SocketAddr) -> Started {
    start_edge("ours", OURS[0], None, origin)
}

/// With one thread, as HAProxy and nginx have here.
pub(crate) fn start_ours_1(origin: SocketAddr) -> Started {
    start_edge("ours 1 thread", OURS[1], Some("1"), origin)
}

fn start_edge(
    name: &'static str,
    ip: Ipv4Addr,
    threads: Option<&str>,
    origin: SocketAddr,
) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let marathon = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, origin));
        }
    });
    let child = Command::new(std::env::current_exe()?)
        .args(["edge", &marathon.to_string()])
        .env("HOST", ip.to_string())
        .envs(threads.map(|threads| ("ZDD_EDGE_THREADS", threads)))
        .spawn()?;
    Ok(Ok(Peer {
        name,
        address: (ip, PORT).into(),
        child,
        reads: None,
    }))
}

/// All of Marathon that the edge asks for: one app on the port, and events that never come.
fn answer(mut stream: TcpStream, origin: SocketAddr) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let n = stream.read(&mut bytes)?;
        let request = String::from_utf8_lossy(&bytes[..n]);
        if n == 0 {
            return Ok(());
        } else if request.starts_with("GET /v2/apps?") {
            let apps = serde_json::json!({"apps": [{
                "id": "/origin", "version": "1", "ports": [PORT],
                "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "http"},
                "tasks": [{"id": "origin.1", "host": origin.ip(), "ports": [origin.port()], "state": "TASK_RUNNING"}],
            }]})
            .to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{apps}",
                apps.len()
            )?;
        } else if request.starts_with("GET /v2/events") {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\n"
            )?;
            loop {
                std::thread::park_timeout(Duration::from_secs(15));
                writeln!(stream)?;
            }
        } else {
            write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            )?;
        }
    }
}

/// Runs our edge in this process until it is killed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run_edge(marathon: &str) -> anyhow::Result<()> {
    let args = format!("sse -m http://{marathon} --health-check --haproxy-map --group external");
    let env = |key: &str| std::env::var(key).ok();
    let mut config = Config::from_args(args.split(' ').map(str::to_owned), None, env)?;
    config.ports = Ports::ANY;
    let tasks = Tasks::new();
    let _edge = zddcluster_edge::start(config, &tasks).await?;
    anyhow::bail!("{}", tasks.failed().await)
}

pub(crate) fn start_haproxy_keep(origin: SocketAddr) -> Started {
    start_haproxy(HAPROXY_KEEP, "http-keep-alive", origin)
}

pub(crate) fn start_haproxy_mlb(origin: SocketAddr) -> Started {
    start_haproxy("haproxy mlb", "http-server-close", origin)
}

/// With the settings of Marathon-LB's template that cost something, and one thread. The limits are as high as 20,000 descriptors allow.
fn start_haproxy(name: &'static str, option: &str, origin: SocketAddr) -> Started {
    if !is_installed("haproxy") {
        return Ok(Err(format!("{name}, haproxy is not installed")));
    }
    let address = free()?;
    let config = format!(
        "global\n  maxconn 8000\n  nbthread 1\n\
         defaults\n  mode http\n  maxconn 8000\n  retries 3\n  backlog 10000\n\
         \x20 timeout client 30s\n  timeout server 30s\n  timeout connect 3s\n  timeout queue 30s\n  timeout tunnel 3600s\n\
         \x20 timeout http-request 15s\n  timeout http-keep-alive 1s\n\
         \x20 option {option}\n  option dontlognull\n  option redispatch\n\
         frontend f\n  bind {address}\n  default_backend b\n\
         backend b\n  balance roundrobin\n  option forwardfor\n\
         \x20 http-request set-header X-Forwarded-Port %[dst_port]\n  server s {origin}\n"
    );
    let path = write_config("haproxy", address, &config)?;
    let child = Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Ok(Peer {
        name,
        address,
        child,
        reads: Some(path),
    }))
}

pub(crate) fn start_nginx(origin: SocketAddr) -> Started {
    if !is_installed("nginx") {
        return Ok(Err("nginx is not installed".to_owned()));
    }
    let address = free()?;
    let config = format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;\n\
         pid /tmp/edge_rate_nginx_{port}.pid; error_log /dev/null;\n\
         events {{ worker_connections 15000; }}\n\
         http {{ access_log off; keepalive_requests 100000000; tcp_nodelay on;\n\
         upstream o {{ server {origin}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen {address} backlog=10000; location / {{ proxy_pass http://o; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Port $server_port; }} }} }}\n",
        port = address.port()
    );
    let path = write_config("nginx", address, &config)?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Ok(Peer {
        name: "nginx",
        address,
        child,
        reads: Some(path),
    }))
}

/// An address nobody listens at.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn write_config(name: &str, address: SocketAddr, text: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("edge_rate_{name}_{}.cfg", address.port()));
    fs::write(&path, text)?;
    Ok(path)
}
