//! TLS on the vhost port.

#[path = "support/encrypted.rs"]
mod encrypted;
mod support;

use std::net::SocketAddr;

use encrypted::connect;
use support::{Server, World, get_from, labelled};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connects for `name`, sends a request whose `Host` is `host`, and returns the answer and the server's certificate.
async fn get(address: SocketAddr, name: &str, host: &str, lines: &str) -> (String, Vec<u8>) {
    let mut stream = connect(address, name, &[]).await;
    let request = format!("GET /head HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    (answer, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn vhosts_are_served_with_tls() {
    // contract: lb-tls, lb-tls-proto, lb-redirect-to-https, lb-listener-443, lb-header-proto, lb-self-signed
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let auth = "the realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";
    let world = World::start(vec![
        labelled(
            "/a",
            10000,
            &a,
            &[("VHOST", "a.example"), ("REDIRECT_TO_HTTPS", "true")],
        ),
        labelled("/b", 10001, &b, &[("VHOST", "b.example"), ("AUTH", auth)]),
    ])
    .await;
    world.listening(10001, true).await;
    let addresses = world.edge.addresses();
    let https = addresses.https.unwrap();
    let (answer, certificate) = get(https, "a.example", "a.example", "").await;
    // The common name `*` of its subject and of who has signed it, as DER has it.
    let name = [0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, b'*'];
    assert_eq!(certificate.windows(8).filter(|it| *it == name).count(), 2);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("x-forwarded-proto: https")
            && answer.contains(&format!("x-forwarded-port: {}", https.port()))
    );
    // The name of the connection counts, not the host.
    let (answer, _) = get(https, "a.example", "elsewhere", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (answer, _) = get(https, "elsewhere", "a.example", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (answer, _) = get(https, "b.example", "b.example", "").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let (answer, _) = get(
        https,
        "b.example",
        "b.example",
        "Authorization: Basic bWU6c2VjcmV0\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // The redirect leads here.
    let moved = get_from(addresses.http.unwrap(), "/x?y", &["Host: a.example"]).await;
    assert!(
        moved
            .head
            .contains(&format!("Location: https://a.example:{}/x?y", https.port())),
        "{}",
        moved.head
    );
    let row = world
        .csv()
        .await
        .into_iter()
        .find(|row| row[0] == "marathon_https_in")
        .unwrap();
    assert_eq!(
        (row[7].as_str(), row[40].as_str()),
        ("5", "3"),
        "sessions and answers: {row:?}"
    );
    // Who speaks no TLS is sent away, and nobody is harmed.
    let mut plain = TcpStream::connect(https).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    assert!(
        get(https, "a.example", "a.example", "")
            .await
            .0
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_port_with_tls_at_an_address_of_its_own() {
    // contract: lb-ssl-cert, lb-bind-addr
    let server = Server::named("a").await;
    let elsewhere = SocketAddr::from(([127, 99, std::process::id() as u8, 9], 10000));
    let ip = elsewhere.ip().to_string();
    let moved = |cert: &str| {
        labelled(
            "/a",
            10000,
            &server,
            &[("SSL_CERT", cert), ("BIND_ADDR", &ip)],
        )
    };
    // A certificate that is not there: clients see another one, but never plain text.
    let world = World::start(vec![moved("/nothing/there.pem")]).await;
    support::until("it listens elsewhere", async || {
        TcpStream::connect(elsewhere).await.is_ok()
    })
    .await;
    world.listening(10000, false).await;
    let (answer, _) = get(elsewhere, "any", "any", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("x-forwarded-proto: https"),
        "{answer}"
    );
    let mut plain = TcpStream::connect(elsewhere).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    // It moves when the label does.
    let mut home = moved("");
    home["labels"]
        .as_object_mut()
        .unwrap()
        .retain(|label, _| !label.ends_with("BIND_ADDR") && !label.ends_with("SSL_CERT"));
    world.marathon.put(home);
    world.listening(10000, true).await;
    assert!(TcpStream::connect(elsewhere).await.is_err());
    assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "a");
}
