use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::proxy::CLIENT_TIMEOUT;
use crate::proxy::timer::Timer;
use crate::proxy::wire::{Fault, Incoming as _, Sink};

type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// A certificate for this name: what clients trust, and the text with its key.
fn certificate(name: &str) -> (CertificateDer<'static>, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let pem = |label: &str, der: &[u8]| {
        let text = data_encoding::BASE64.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
    (
        made.cert.der().clone(),
        pem("CERTIFICATE", made.cert.der()) + &key,
    )
}

async fn connect(
    root: &CertificateDer<'static>,
    name: &'static str,
    stream: TcpStream,
) -> io::Result<ClientStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(ServerName::try_from(name).unwrap(), stream)
        .await
}

/// Shakes hands as a server, says this, and ends.
async fn say(tls: &Tls, stream: TcpStream, what: impl AsyncFnOnce(&Encrypted) -> Vec<u8>) {
    let Ok(encrypted) = tls
        .accept(stream, Spoken::Http, &CancellationToken::new())
        .await
    else {
        return;
    };
    let bytes = what(&encrypted).await;
    write(&encrypted, &bytes).await.unwrap();
    encrypted.end().await;
}

/// Writes as a session does.
async fn write(encrypted: &Encrypted, bytes: &[u8]) -> Result<(), Fault> {
    let n_written = AtomicU64::new(0);
    let (_, writer) = encrypted.split();
    let mut timer = Timer::new(CLIENT_TIMEOUT);
    let mut sink = Sink::new(writer, (&n_written, None));
    sink.write([bytes], &mut timer, CLIENT_TIMEOUT).await
}

/// What a client that trusts only `root` reads when it asks for `name`.
async fn read_as(
    tls: &Tls,
    root: &CertificateDer<'static>,
    name: &'static str,
) -> io::Result<String> {
    let (client, server) = pair().unwrap();
    let client = async {
        let mut stream = connect(root, name, client).await?;
        let mut read = String::new();
        // That it ends with an error if it is only cut off.
        stream.read_to_string(&mut read).await?;
        Ok(read)
    };
    let name = async |encrypted: &Encrypted| encrypted.name().into_bytes();
    tokio::join!(client, say(tls, server, name)).0
}

/// A client and its server after the handshake.
async fn shake_hands() -> (ClientStream, Encrypted) {
    let (root, pem) = certificate("a.example");
    let (tls, _) = Tls::new(vec![Certificate::Text(pem)]).unwrap();
    let (client, server) = pair().unwrap();
    let stop = CancellationToken::new();
    let client = connect(&root, "a.example", client);
    let (client, server) = tokio::join!(client, tls.accept(server, Spoken::Http, &stop));
    (client.unwrap(), server.unwrap())
}

#[tokio::test]
async fn what_is_written_does_not_wait_in_the_edge() {
    let (mut client, server) = shake_hands().await;
    // More than the kernel holds, so that the last of it has to wait for the client.
    let mut read = vec![0; 600_000];
    let both = async {
        tokio::join!(client.read_exact(&mut read), async {
            write(&server, &[7; 600_000]).await.unwrap();
            // Nobody would work on it any more.
            server.lock().get_ref().1.wants_write()
        })
    };
    let both = tokio::time::timeout(Duration::from_secs(10), both).await;
    let (read, waits) = both.expect("all arrives");
    assert_eq!((read.unwrap(), waits), (600_000, false));
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_cut_off() {
    let (mut client, server) = shake_hands().await;
    let began = Instant::now();
    let client = async {
        // Takes its time first (more than a socket holds, else nothing moves), and then nothing at all.
        tokio::time::sleep(CLIENT_TIMEOUT / 2).await;
        client.read_exact(&mut vec![0; 260_000]).await.unwrap();
        std::future::pending::<()>().await;
    };
    let serve = async {
        let written = write(&server, &[0; 900_000]).await;
        assert!(matches!(written, Err(Fault::Stuck)), "{written:?}");
        let took = began.elapsed();
        assert!(
            took > CLIENT_TIMEOUT && took < 3 * CLIENT_TIMEOUT,
            "{took:?}"
        );
        // Nor does the end wait for it.
        server.end().await;
        let ended = began.elapsed() - took;
        assert!(ended < Duration::from_secs(5), "{ended:?}");
    };
    let clock = async {
        // It leaps to the next timer when a socket is waited for, also if that is ready.
        for _ in 0..1000 * CLIENT_TIMEOUT.as_secs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = client => {}
        () = serve => {}
        () = clock => panic!("it waits for ever"),
    }
}

#[tokio::test]
async fn a_client_that_just_closes_has_ended() {
    let (mut client, server) = shake_hands().await;
    client.write_all(b"last words").await.unwrap();
    client.flush().await.unwrap();
    // Without saying so in TLS.
    client.get_mut().0.shutdown().await.unwrap();
    let (mut reader, _) = server.split();
    assert!(reader.has_unread());
    let mut read = String::new();
    reader.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "last words");
    assert!(!reader.has_unread());
}

#[tokio::test(start_paused = true)]
async fn who_shakes_no_hands_does_not_hold_up_the_end() {
    let (tls, _) = Tls::new(Vec::new()).unwrap();
    let (_client, server) = pair().unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let began = Instant::now();
    let accepted = tls.accept(server, Spoken::Http, &stop).await;
    assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn the_certificate_for_the_name_is_served() {
    // contract: lb-tls
    let ((a, pem_a), (b, pem_b)) = (certificate("a.example"), certificate("b.example"));
    let (tls, faults) = Tls::new(
        ["nonsense".to_owned(), pem_a.clone(), pem_b]
            .map(Certificate::Text)
            .into(),
    )
    .unwrap();
    assert!(matches!(faults[..], [TlsError::Certificate]), "{faults:?}");
    assert_eq!(read_as(&tls, &a, "a.example").await.unwrap(), "a.example");
    assert_eq!(read_as(&tls, &b, "b.example").await.unwrap(), "b.example");
    assert!(read_as(&tls, &b, "a.example").await.is_err());
    let without_key = pem_a.split("-----BEGIN PRIVATE").next().unwrap().to_owned();
    let (_, faults) = Tls::new(vec![Certificate::Text(without_key)]).unwrap();
    assert!(matches!(faults[..], [TlsError::Key]), "{faults:?}");
}

#[tokio::test]
async fn a_file_that_changes_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pem").to_str().unwrap().to_owned();
    let ((a, pem_a), (b, pem_b)) = (certificate("a.example"), certificate("a.example"));
    let (tls, faults) = Tls::new(vec![Certificate::File(path.clone())]).unwrap();
    assert!(matches!(faults[..], [TlsError::In(..)]), "{faults:?}");
    assert!(
        read_as(&tls, &a, "a.example").await.is_err(),
        "it signs itself"
    );
    let mut now = Instant::now();
    for (text, served, other) in [
        (&*pem_a, &a, &b),
        (&pem_b, &b, &a),
        // While it is being written, and when it has gone.
        (&pem_a[..pem_a.len() / 2], &b, &a),
        ("", &b, &a),
        (&pem_a, &a, &b),
    ] {
        match text {
            "" => std::fs::remove_file(&path).unwrap(),
            text => {
                // Renamed into its place, so that it is another one also within a tick of the clock of files.
                let new = format!("{path}.new");
                std::fs::write(&new, text).unwrap();
                std::fs::rename(&new, &path).unwrap();
            }
        }
        now += certificates::LOOK;
        tls.certificates.refresh(now);
        assert_eq!(
            read_as(&tls, served, "a.example").await.unwrap(),
            "a.example"
        );
        assert!(read_as(&tls, other, "a.example").await.is_err());
    }
}

/// Two connected sockets of this process.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let (a, b) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    let stream = |socket: Socket| {
        socket.set_nonblocking(true)?;
        // A stream is a stream: reading, writing and ending are the same calls.
        TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(socket)))
    };
    Ok((stream(a)?, stream(b)?))
}
