use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{Mode, Tally};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that answers its n-th request, from 0, with `status(n)`; and the number of its connections.
async fn server(status: fn(u64) -> u16) -> (String, Arc<AtomicU64>, JoinSet<()>) {
    let (listener, address) = listen().await;
    let (requests, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let n_connections = Arc::clone(&connections);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            n_connections.fetch_add(1, Ordering::Relaxed);
            let requests = Arc::clone(&requests);
            let answer = service_fn(move |_| {
                let number = requests.fetch_add(1, Ordering::Relaxed);
                let body = Full::new(Bytes::from_static(br#"{"version": "0.9"}"#));
                let answer = Response::builder()
                    .status(status(number))
                    .body(body)
                    .unwrap();
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            open.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (format!("http://{address}/endpoint0"), connections, serving)
}

/// A server that treats its n-th connection, from 0, as `treat(n, connection)` does, one after the other.
async fn raw<F>(treat: impl Fn(u64, TcpStream) -> F + Send + 'static) -> (String, JoinSet<()>)
where
    F: Future<Output = ()> + Send,
{
    let (listener, address) = listen().await;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            treat(number, stream).await;
        }
    });
    (format!("http://{address}/"), serving)
}

async fn read_request(stream: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
}

/// `n` requests at 200 a second.
fn order(url: &str, mode: Mode, n: u64) -> Config {
    let rate = 200.0;
    let mut config = Config::new(url, rate).unwrap();
    // Half a request less, so that rounding cannot add one.
    config.duration = Some(Duration::from_secs_f64((n as f64 - 0.5) / rate));
    config.mode = mode;
    config
}

async fn probe(config: Config) -> Report {
    let report = run(config, CancellationToken::new()).await;
    assert_eq!(report.sent, report.ok + report.failed, "{report}");
    assert_eq!(
        report.failed_by.values().sum::<u64>(),
        report.failed,
        "{report}"
    );
    assert_eq!(
        report
            .timeline
            .iter()
            .map(|second| second.sent)
            .sum::<u64>(),
        report.sent
    );
    report
}

#[tokio::test]
async fn a_good_server_gets_a_clean_report() {
    let (url, connections, _serving) = server(|_| 200).await;
    let report = probe(order(&url, Mode::Both, 40)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        report.fresh,
        Tally {
            sent: 20,
            ok: 20,
            failed: 0
        }
    );
    assert_eq!(
        report.kept_alive,
        Tally {
            sent: 20,
            ok: 20,
            failed: 0
        }
    );
    assert_eq!(report.by_version["0.9"], 40);
    assert_eq!(report.not_sent, 0);
    assert!(report.latency.p50_ms > 0.0 && report.latency.max_ms >= report.latency.p99_ms);
    let n_connections = connections.load(Ordering::Relaxed);
    assert!((21..40).contains(&n_connections), "{n_connections}");
}

#[tokio::test]
async fn bad_statuses_are_counted_each() {
    let (url, _, _serving) = server(|number| if number % 4 == 3 { 503 } else { 200 }).await;
    let report = probe(order(&url, Mode::KeepAlive, 40)).await;
    assert_eq!((report.sent, report.ok, report.failed), (40, 30, 10));
    assert_eq!(report.by_status[&503], 10);
    assert_eq!(report.failed_by[&FailureKind::BadStatus], 10);
    assert!(report.first_failure.unwrap().sent_ms < report.last_failure.unwrap().sent_ms);
}

#[tokio::test]
async fn nobody_there_is_refused() {
    let (listener, address) = listen().await;
    drop(listener);
    let report = probe(order(&format!("http://{address}/"), Mode::Both, 10)).await;
    assert_eq!((report.sent, report.failed), (10, 10));
    assert_eq!(report.failed_by[&FailureKind::ConnectRefused], 10);
}

#[tokio::test]
async fn every_way_to_break_an_answer_has_its_name() {
    for (answer, kind) in [
        ("", FailureKind::Closed),
        ("HTTP/1.1 200", FailureKind::Truncated),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            FailureKind::Truncated,
        ),
        ("SSH-2.0-hello\r\n\r\n", FailureKind::Malformed),
    ] {
        let (url, _serving) = raw(async move |_, mut stream: TcpStream| {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        for mode in [Mode::Fresh, Mode::KeepAlive] {
            let report = probe(order(&url, mode, 3)).await;
            assert_eq!(
                report.failed_by.get(&kind),
                Some(&3),
                "{answer:?}: {report}"
            );
            assert_eq!(report.retried, 0, "only reused connections are: {report}");
        }
    }
}

#[tokio::test]
async fn a_silent_server_times_out_and_late_requests_are_told() {
    let (_listener, address) = listen().await;
    let mut config = order(&format!("http://{address}/"), Mode::Fresh, 20);
    config.timeout = Duration::from_millis(300);
    config.concurrency = 2;
    let report = probe(config).await;
    assert_eq!(
        report.failed_by.get(&FailureKind::Timeout),
        Some(&2),
        "{report}"
    );
    // The last ones became due just before the end, and are not held against anybody.
    assert!((15..=18).contains(&report.not_sent), "{report}");
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced_once_and_counted() {
    // Each connection serves one request, promises another, and closes when that one comes.
    let (url, _serving) = raw(async |_, mut stream: TcpStream| {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        read_request(&mut stream).await;
    })
    .await;
    let report = probe(order(&url, Mode::KeepAlive, 3)).await;
    assert_eq!((report.sent, report.ok), (3, 3), "{report}");
    assert_eq!(report.retried, 2, "{report}");
}

#[tokio::test]
async fn a_stall_is_charged_to_the_requests_that_had_to_wait() {
    // The first connection is answered after 200 ms, and nobody else meanwhile.
    let (url, _serving) = raw(async |number, mut stream: TcpStream| {
        read_request(&mut stream).await;
        if number == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let mut config = order(&url, Mode::Fresh, 60);
    config.concurrency = 1;
    let report = probe(config).await;
    assert!(report.is_clean(), "{report}");
    // About 40 of the 60 were due during the stall; half of these waited for more than half of it.
    assert!(
        report.latency.p50_ms > 20.0 && report.latency.p90_ms > 100.0,
        "{report}"
    );
}

#[tokio::test]
async fn a_stopped_probe_lets_requests_end_and_shows_its_counts_meanwhile() {
    let (url, _, _serving) = server(|_| 200).await;
    let (live, stop) = (Live::default(), CancellationToken::new());
    let mut config = order(&url, Mode::Both, 1);
    config.duration = None;
    let watch = async {
        while live.ok() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(run_watched(config, stop.clone(), live.clone()), watch);
    assert!(report.is_clean() && report.sent >= 5, "{report}");
    assert_eq!((live.sent(), live.failed()), (report.sent, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_a_second_are_sent() {
    let (url, _, _serving) = server(|_| 200).await;
    let mut config = Config::new(&url, 2000.0).unwrap();
    config.duration = Some(Duration::from_millis(999));
    let report = probe(config).await;
    // A machine that is busy with other tests may be late, but nothing may be lost.
    assert!(report.is_clean(), "{report}");
    assert!(report.sent + report.not_sent >= 1990, "{report}");
}
