//! Other proxies before a server of ours, each with the least configuration that forwards.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

/// A proxy that runs; it ends, and its files go, when dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program with its arguments (`CONF` stands for the file), and the configuration (`DIR`, `LISTEN`, `PORT` and `ORIGIN` stand for
/// what they say).
const PEERS: [(&str, &[&str], &str); 4] = [
    (
        "haproxy",
        &["-db", "-f", "CONF"],
        "global\n maxconn 100\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend f\n bind 127.0.0.1:PORT\n default_backend b\nbackend b\n option forwardfor\n server s ORIGIN\n",
    ),
    (
        "nginx",
        &["-c", "CONF"],
        "daemon off; master_process off; pid DIR/pid; error_log /dev/null;\nevents {}\n\
         http { access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c;\n\
         uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;\n\
         server { listen 127.0.0.1:PORT; location / { proxy_pass http://ORIGIN; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host; } } }\n",
    ),
    (
        "lighttpd",
        &["-D", "-f", "CONF"],
        "server.modules = (\"mod_proxy\")\nserver.document-root = \"DIR\"\nserver.bind = \"127.0.0.1\"\nserver.port = PORT\n\
         server.errorlog = \"DIR/log\"\n\
         proxy.server = (\"\" => ((\"host\" => \"127.0.0.1\", \"port\" => ORIGIN_PORT)))\n",
    ),
    (
        "apache2",
        &["-X", "-f", "CONF"],
        "ServerRoot DIR\nListen 127.0.0.1:PORT\nPidFile DIR/pid\nErrorLog DIR/log\nServerName localhost\nDefaultRuntimeDir DIR\n\
         LoadModule mpm_event_module ${APACHE_MODULES}/mod_mpm_event.so\n\
         LoadModule authz_core_module ${APACHE_MODULES}/mod_authz_core.so\n\
         LoadModule proxy_module ${APACHE_MODULES}/mod_proxy.so\n\
         LoadModule proxy_http_module ${APACHE_MODULES}/mod_proxy_http.so\n\
         User www-data\nGroup www-data\nProxyPreserveHost On\nProxyPass / http://ORIGIN/\n",
    ),
];

/// Where a program is that is installed, be it for root alone.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Starts every proxy that is installed before `origin`, and says which are not.
pub(crate) async fn start_all(origin: SocketAddr) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (name, args, config) in PEERS {
        let Some(program) = program(name) else {
            eprintln!("skipped: {name} is not installed");
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let text = config
            .replace("DIR", dir.path().to_str().unwrap())
            .replace("ORIGIN_PORT", &origin.port().to_string())
            .replace("ORIGIN", &origin.to_string())
            .replace("PORT", &address.port().to_string());
        let conf = dir.path().join("conf");
        fs::write(&conf, text).unwrap();
        let args = args.iter().map(|arg| match *arg {
            "CONF" => conf.as_os_str(),
            arg => arg.as_ref(),
        });
        let child = Command::new(program)
            .args(args)
            // Where Debian has them, if nobody says otherwise.
            .env("APACHE_MODULES", "/usr/lib/apache2/modules")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Peer {
            name,
            address,
            child,
            _dir: dir,
        };
        let mut listens = false;
        for _ in 0..400 {
            listens = TcpStream::connect(address).await.is_ok();
            if listens {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        match listens {
            true => peers.push(peer),
            false => eprintln!("skipped: {name} does not start here"),
        }
    }
    peers
}
