use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;

use tokio::time::timeout;

use super::*;
use crate::proxy::session::tests::visit;

/// A listener without services whose end has come before it could accept anybody, and `n` clients in its queue.
async fn ended(n: usize) -> (Listening, TcpListener, CancellationToken, Vec<Client>) {
    let visit = visit(SocketAddr::from(([127, 0, 0, 1], 1)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = (0..n).map(|_| Client::connect(address).unwrap()).collect();
    let stop = CancellationToken::new();
    stop.cancel();
    let listening = Listening {
        shared: visit.shared,
        role: Role::AppIds,
        port: address.port(),
        places: Arc::new(Semaphore::new(2)),
        shutdown: stop.clone(),
    };
    (listening, listener, stop, clients)
}

#[tokio::test]
async fn who_waits_in_the_queue_of_a_listener_that_closes_is_served() {
    let (listening, listener, stop, mut clients) = ended(50).await;
    for client in &mut clients {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
    }
    let (is_open, _closed) = mpsc::channel(1);
    let ended = timeout(
        Duration::from_secs(10),
        listening.run(listener, stop, is_open),
    );
    ended.await.expect("all are served");
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    }
}

#[tokio::test]
async fn who_asks_nothing_does_not_hold_up_the_end() {
    let (listening, listener, stop, clients) = ended(3).await;
    let (is_open, _closed) = mpsc::channel(1);
    let ended = timeout(
        Duration::from_secs(10),
        listening.run(listener, stop, is_open),
    );
    ended.await.expect("nobody is waited for");
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "it ends silently");
    }
}

#[tokio::test]
async fn who_is_too_many_waits_in_the_queue() {
    // contract: lb-maxconn
    let (mut listening, listener, _, mut clients) = ended(20).await;
    listening.shutdown = CancellationToken::new();
    let shared = Arc::clone(&listening.shared);
    let sessions = &shared.fixed.app_id.sessions;
    let count = || sessions.now.load(std::sync::atomic::Ordering::Relaxed);
    let most = || sessions.max.load(std::sync::atomic::Ordering::Relaxed);
    let (stop, (is_open, _closed)) = (CancellationToken::new(), mpsc::channel(1));
    let clients = async {
        while count() < 2 {
            tokio::task::yield_now().await;
        }
        // Nobody else is let in, for as long as these two stay.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(most(), 2);
        for client in &mut clients {
            let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            client.write_all(request).unwrap();
        }
        stop.cancel();
    };
    let run = listening.run(listener, stop.clone(), is_open);
    let both = async { tokio::join!(run, clients) };
    timeout(Duration::from_secs(10), both)
        .await
        .expect("an end");
}
