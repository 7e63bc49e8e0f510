use std::io;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::log::Log;

use super::*;

/// Longer than anything here takes; an hour of health delay is for ever.
const SOON: Duration = Duration::from_secs(10);
const FOR_EVER: (&str, &str) = ("HEALTH_MIN", "3600000");

/// A place for log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Waits until a line contains `part`.
    async fn wait_for(&self, part: &str) {
        let found = async {
            while !self.text().contains(part) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(SOON, found).await;
        in_time.unwrap_or_else(|_| panic!("no {part:?} in {}", self.text()));
    }
}

struct Running {
    address: SocketAddr,
    lines: Lines,
    stop: oneshot::Sender<()>,
    serving: JoinSet<()>,
}

async fn start(env: &[(&str, &str)]) -> Running {
    let get = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let config = Config::from_env(&get).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Lines::default();
    let service = Arc::new(Service::new(config, Log::to(lines.clone())));
    let (stop, stopped) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, service, async {
        stopped.await.unwrap_or_default()
    }));
    Running {
        address,
        lines,
        stop,
        serving,
    }
}

impl Running {
    /// Sends a request on a connection of its own.
    async fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        send_on(&mut stream, method, path, "Connection: close\r\n").await;
        stream
    }

    /// Sends a request and returns the status line and the body.
    async fn ask(&self, method: &str, path: &str) -> (String, String) {
        parts(&rest(&mut self.send(method, path).await).await)
    }

    /// Stops the service and waits for its end.
    async fn end(mut self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(SOON, self.serving.join_next())
            .await
            .expect("it ends")
            .unwrap()
            .unwrap();
    }
}

async fn send_on(stream: &mut TcpStream, method: &str, path: &str, header: &str) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: 10.0.3.193:1765\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads one answer with the body `body`.
async fn read_to(stream: &mut TcpStream, body: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        text.push(
            tokio::time::timeout(SOON, stream.read_u8())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    String::from_utf8(text).unwrap()
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    text
}

fn parts(answer: &str) -> (String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

/// The lines without their time and duration.
fn masked(text: &str) -> Vec<String> {
    let words = |line: &str| {
        line.split(' ')
            .map(|word| match word {
                _ if word.len() == 19 && word.as_bytes()[10] == b'T' => "TIME",
                _ if word.ends_with("ms") => "TOOK",
                _ => word,
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(words).collect()
}

const OK: &str = "HTTP/1.1 200 OK";
const WELL: &str = r#"{"host": "10.0.3.193:1765", "version": "0.9", "result": "all is well"}"#;

#[tokio::test]
async fn answers_and_log_lines_are_the_labs() {
    let running = start(&[]).await;
    running.lines.0.lock().unwrap().clear();
    assert_eq!(
        running.ask("GET", "/endpoint0").await,
        (OK.to_owned(), WELL.to_owned())
    );
    let healthy = r#"{"healthy": true}"#;
    assert_eq!(
        running.ask("GET", "/health?x=1").await,
        (OK.to_owned(), healthy.to_owned())
    );
    let info = r#"{"host": "10.0.3.193:1765", "version": "0.9", "from": "127.0.0.1"}"#;
    assert_eq!(
        running.ask("GET", "/info").await,
        (OK.to_owned(), info.to_owned())
    );
    let expected = [
        "TIME INFO /endpoint0 serving from 10.0.3.193:1765 has been invoked from 127.0.0.1 [at line 59]",
        "TIME INFO 200 GET /endpoint0 (127.0.0.1) TOOK [at line 1946]",
        "TIME INFO /health serving from 10.0.3.193:1765 has been invoked from 127.0.0.1 [at line 79]",
        "TIME INFO 200 GET /health?x=1 (127.0.0.1) TOOK [at line 1946]",
        "TIME INFO /info serving from 10.0.3.193:1765 has been invoked from 127.0.0.1 [at line 101]",
        "TIME INFO 200 GET /info (127.0.0.1) TOOK [at line 1946]",
    ];
    assert_eq!(masked(&running.lines.text()), expected);
}

#[tokio::test]
async fn the_first_line_is_the_labs() {
    let lines = Lines::default();
    Log::to(lines.clone()).started("0.9", 1765);
    let expected =
        "TIME INFO This is simple service in version v0.9 listening on port 1765 [at line 101]";
    assert_eq!(masked(&lines.text()), [expected]);
}

#[tokio::test]
async fn the_environment_is_told() {
    let running = start(&[("SIMPLE_SERVICE_VERSION", "1.0")]).await;
    let (status, body) = running.ask("GET", "/env").await;
    assert_eq!(status, OK);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["version"], "1.0");
    assert_eq!(body["env"]["PATH"], std::env::var("PATH").unwrap());
}

#[tokio::test]
async fn unknown_paths_methods_and_head_are_answered_as_by_any_server() {
    let running = start(&[]).await;
    let not_found = "<html><title>404: Not Found</title><body>404: Not Found</body></html>";
    for (method, path, status, body) in [
        ("GET", "/", "404 Not Found", not_found),
        ("GET", "/endpoint0/", "404 Not Found", not_found),
        ("POST", "/nothing", "404 Not Found", not_found),
        ("HEAD", "/endpoint0", "200 OK", ""),
        ("HEAD", "/", "404 Not Found", ""),
        (
            "POST",
            "/endpoint0",
            "405 Method Not Allowed",
            "<html><title>405: Method Not Allowed</title><body>405: Method Not Allowed</body></html>",
        ),
    ] {
        let expected = (format!("HTTP/1.1 {status}"), body.to_owned());
        assert_eq!(running.ask(method, path).await, expected, "{method} {path}");
    }
    assert!(
        running
            .lines
            .text()
            .contains(" WARNING 404 POST /nothing (127.0.0.1) ")
    );
    let head = rest(&mut running.send("HEAD", "/endpoint0").await).await;
    assert!(
        head.contains(&format!("content-length: {}\r\n", WELL.len())),
        "{head}"
    );
}

#[tokio::test(start_paused = true)]
async fn health_takes_between_its_bounds_divided_by_the_speed() {
    let env = [
        ("HEALTH_MIN", "1000"),
        ("HEALTH_MAX", "5000"),
        ("ZDD_SPEED", "10"),
    ];
    let get = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let service = Service::new(Config::from_env(&get).unwrap(), Log::to(io::sink()));
    let mut delays = Vec::new();
    for _ in 0..200 {
        let request = hyper::Request::get("/health").body(()).unwrap();
        let began = tokio::time::Instant::now();
        service.answer(request, Ipv4Addr::LOCALHOST.into()).await;
        delays.push(began.elapsed());
    }
    // Timers tick in milliseconds.
    let bounds = Duration::from_millis(100)..=Duration::from_millis(502);
    assert!(
        delays.iter().all(|delay| bounds.contains(delay)),
        "{delays:?}"
    );
    let spread = delays
        .iter()
        .max()
        .unwrap()
        .saturating_sub(*delays.iter().min().unwrap());
    assert!(
        spread > Duration::from_millis(200),
        "drawn for each request: {spread:?}"
    );
}

#[tokio::test]
async fn a_slow_health_check_holds_nothing_up() {
    let running = start(&[FOR_EVER, ("HEALTH_MAX", FOR_EVER.1)]).await;
    let _slow = running.send("GET", "/health").await;
    running.lines.wait_for("/health serving").await;
    assert_eq!(running.ask("GET", "/endpoint0").await.1, WELL);
}

#[tokio::test]
async fn running_requests_finish_after_the_stop_and_new_clients_are_refused() {
    let running = start(&[("HEALTH_MIN", "500"), ("HEALTH_MAX", "500")]).await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    send_on(&mut slow, "GET", "/health", "").await;
    running.lines.wait_for("/health serving").await;
    let address = running.address;
    let (text, ()) = tokio::join!(rest(&mut slow), running.end());
    assert!(text.contains("connection: close"), "{text}");
    assert_eq!(
        parts(&text),
        (OK.to_owned(), r#"{"healthy": true}"#.to_owned())
    );
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn clients_that_were_let_in_are_served_after_the_stop() {
    let running = start(&[]).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    send_on(&mut kept, "GET", "/endpoint0", "").await;
    read_to(&mut kept, WELL).await;
    // The kernel has made these connections; whether the service has taken them or not, they are served.
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(TcpStream::connect(running.address).await.unwrap());
    }
    let ask = async {
        for stream in waiting.iter_mut().chain([&mut kept]) {
            send_on(stream, "GET", "/endpoint0", "").await;
        }
        for stream in waiting.iter_mut().chain([&mut kept]) {
            assert_eq!(parts(&rest(stream).await), (OK.to_owned(), WELL.to_owned()));
        }
    };
    tokio::join!(running.end(), ask);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_end_up() {
    let running = start(&[]).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    tokio::join!(running.end(), async {
        assert_eq!(rest(&mut idle).await, "")
    });
}
