//! What stands behind the proxies: answers every request with a few bytes, or a mebibyte for `/big`, as fast as may be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SMALL: &str = "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n";

/// The process of the origin; ends when dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts this program as the origin.
pub(crate) fn start() -> anyhow::Result<Origin> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("origin")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("piped")?;
    BufReader::new(out).read_line(&mut line)?;
    Ok(Origin {
        address: line.trim().parse().context("the origin's address")?,
        child,
    })
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run() -> anyhow::Result<()> {
    let big = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Length: {}\r\n\r\n{}",
        1 << 20,
        "x".repeat(1 << 20)
    );
    let big: &'static [u8] = big.into_bytes().leak();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                clients.spawn(serve(stream, big));
            }
        }
    }
}

/// A blank line ends each request. Only slow clients send bodies, which never come to their end.
async fn serve(mut stream: TcpStream, big: &[u8]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(8192);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        while let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let answer = match &bytes[..at] {
                head if head.starts_with(b"POST ") => b"",
                head if head.starts_with(b"GET /big ") => big,
                _ => SMALL.as_bytes(),
            };
            stream.write_all(answer).await?;
            bytes.drain(..at + 4);
        }
    }
}
