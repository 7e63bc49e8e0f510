//! TLS before the vhosts: ended here, then the connection is served as any other.
//!
//! Requests are routed by the name that the client asked for when it connected (SNI), not by `Host`. Certificates are those of
//! `HAPROXY_SSL_CERT` and `--ssl-certs`, the first one that is good for the name, else the first of all; without any, one that
//! signs itself.
//!
//! ```text
//!   client ══ TLS ══ filter ── pair of sockets ── session
//! ```
//!
//! Source: contract marathon-lb §2.2, §2.5, §6.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::proxy::{CLIENT_TIMEOUT, KEEP_ALIVE_TIMEOUT};

/// How long a client may take to shake hands: as long as for the head of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that pass at once, each way of a connection.
const PIECE: usize = 8 * 1024;
/// What is spoken behind it.
const ALPN: &[u8] = b"http/1.1";

/// Ends TLS.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("there is no certificate, or something that is none")]
    Certificate,
    #[error("there is no private key")]
    Key,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error("cannot sign a certificate")]
    SelfSigned(#[from] rcgen::Error),
}

impl Tls {
    /// Serves the certificates in these texts, each with its chain and key as PEM; says which of them cannot be used, and serves
    /// one that signs itself if none can.
    ///
    /// # Errors
    /// When not even that one can be made.
    pub(crate) fn new(pems: &[String]) -> Result<(Self, Vec<TlsError>), TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut keys = Vec::new();
        let mut faults = Vec::new();
        for pem in pems {
            match read(pem, &provider) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(fault) => faults.push(fault),
            }
        }
        if keys.is_empty() {
            keys.push(Arc::new(self_signed(&provider)?));
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Certificates(keys)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok((Self(TlsAcceptor::from(Arc::new(config))), faults))
    }

    /// Shakes hands, then has `serve` work on the plain side; it is given the name that the client asked for, or nothing. After
    /// `stop` is cancelled, who has not shaken hands has little time left for it.
    ///
    /// # Errors
    /// When there is no handshake.
    pub(crate) async fn serve<S, F>(
        &self,
        stream: TcpStream,
        stop: &CancellationToken,
        serve: S,
    ) -> io::Result<()>
    where
        S: FnOnce(TcpStream, String) -> F,
        F: Future<Output = ()>,
    {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(KEEP_ALIVE_TIMEOUT).await;
        };
        let accepted = tokio::select! {
            // The other one ends the connection: none of them goes on afterwards.
            accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)) => accepted.ok(),
            () = late => None,
        };
        let stream = accepted.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        let name = stream
            .get_ref()
            .1
            .server_name()
            .unwrap_or_default()
            .to_owned();
        let (ours, theirs) = pair()?;
        let (from_client, to_client) = tokio::io::split(stream);
        let (from_session, to_session) = ours.into_split();
        let broken = CancellationToken::new();
        let (n_taken, n_asked) = (AtomicU64::new(0), AtomicU64::new(0));
        let answers = async {
            if pass(from_session, to_client, &n_taken).await.is_err() {
                broken.cancel();
            }
        };
        let over = CancellationToken::new();
        let session = async {
            serve(theirs, name).await;
            over.cancel();
        };
        let stuck = async {
            // As long as there is a session, its own limits hold: it waits for room here as for the client.
            over.cancelled().await;
            loop {
                let before = n_taken.load(Relaxed);
                tokio::time::sleep(CLIENT_TIMEOUT).await;
                if n_taken.load(Relaxed) == before {
                    return;
                }
            }
        };
        let requests = async {
            // A client that has ended or broken off: the session sees the end of its side.
            let _ = pass(from_client, to_session, &n_asked).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // Dropped together when one of them decides; a client that takes no more loses nothing.
            _ = async { tokio::join!(session, answers) } => {}
            () = stuck => {}
            () = broken.cancelled() => {}
            () = requests => {}
        }
        Ok(())
    }
}

/// Passes bytes on until they end, and counts how often some were taken.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    n_taken: &AtomicU64,
) -> io::Result<()> {
    let mut bytes = vec![0; PIECE];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let mut left = &bytes[..n];
        while !left.is_empty() {
            let n = to.write(left).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = &left[n..];
            n_taken.fetch_add(1, Relaxed);
        }
        // Encrypted bytes may still wait here.
        to.flush().await?;
    }
}

/// What services have TLS with, by the files of their certificates.
#[derive(Debug, Default)]
pub(crate) struct OfServices(Mutex<HashMap<String, Option<Tls>>>);

impl OfServices {
    /// What ends TLS with the certificates in these files, which are read once. One that cannot be used is told, and clients are
    /// shown one that signs itself instead: nothing is served without TLS. `None` if there is none at all.
    pub(crate) fn get(&self, paths: &str) -> Option<Tls> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(paths.to_owned())
            .or_insert_with(|| open(paths))
            .clone()
    }
}

fn open(paths: &str) -> Option<Tls> {
    let mut pems = Vec::new();
    for path in paths.split(',').map(str::trim) {
        match std::fs::read_to_string(path) {
            Ok(pem) => pems.push(pem),
            Err(error) => tracing::warn!(path, %error, "cannot read the certificate of a service"),
        }
    }
    match Tls::new(&pems) {
        Ok((tls, faults)) => {
            for fault in faults {
                tracing::warn!(
                    paths,
                    error = &fault as &dyn std::error::Error,
                    "cannot use the certificate of a service"
                );
            }
            Some(tls)
        }
        Err(error) => {
            tracing::error!(
                paths,
                error = &error as &dyn std::error::Error,
                "no certificate can be made"
            );
            None
        }
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

fn read(pem: &str, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::Key)?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// A certificate for anybody, as Marathon-LB makes one: its name is `*`.
fn self_signed(provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "*");
    let certificate = params.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(CertifiedKey::from_der(
        vec![certificate.der().clone()],
        key.into(),
        provider,
    )?)
}

/// Chooses by the name that is asked for.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let is_for = |key: &&Arc<CertifiedKey>| {
            let certificate = key
                .end_entity_cert()
                .ok()
                .and_then(|it| ParsedCertificate::try_from(it).ok());
            name.as_ref()
                .zip(certificate)
                .is_some_and(|(name, certificate)| verify_server_name(&certificate, name).is_ok())
        };
        self.0
            .iter()
            .find(is_for)
            .or_else(|| self.0.first())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

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
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
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
            stream.read_to_string(&mut read).await?;
            Ok(read)
        };
        let serve = async |mut stream: TcpStream, name: String| {
            stream.write_all(name.as_bytes()).await.unwrap();
        };
        let stop = CancellationToken::new();
        tokio::join!(client, tls.serve(server, &stop, serve)).0
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_when_all_has_been_said() {
        let (root, pem) = certificate("a.example");
        let (tls, _) = Tls::new(&[pem]).unwrap();
        let (client, server) = pair().unwrap();
        let client = async {
            let mut stream = connect(&root, "a.example", client).await.unwrap();
            // Takes its time first (most of what a socket holds, else nothing moves), and then nothing at all.
            tokio::time::sleep(CLIENT_TIMEOUT / 2).await;
            stream.read_exact(&mut vec![0; 180_000]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let serve = async |mut stream: TcpStream, _| {
            let answer = vec![0; 450_000];
            let said = stream.write_all(&answer);
            tokio::time::timeout(4 * CLIENT_TIMEOUT, said)
                .await
                .expect("buffers hold it")
                .unwrap();
        };
        let (began, stop) = (tokio::time::Instant::now(), CancellationToken::new());
        tokio::select! {
            () = client => {}
            served = tls.serve(server, &stop, serve) => served.unwrap(),
            () = tokio::time::sleep(100 * CLIENT_TIMEOUT) => panic!("it waits for ever"),
        }
        assert!(began.elapsed() > CLIENT_TIMEOUT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_shakes_no_hands_does_not_hold_up_the_end() {
        let (tls, _) = Tls::new(&[]).unwrap();
        let (_client, server) = pair().unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let began = tokio::time::Instant::now();
        let served = tls.serve(server, &stop, async |_, _| {}).await;
        assert_eq!(served.unwrap_err().kind(), io::ErrorKind::TimedOut);
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
        let (tls, faults) = Tls::new(&["nonsense".to_owned(), pem_a.clone(), pem_b]).unwrap();
        assert!(matches!(faults[..], [TlsError::Certificate]), "{faults:?}");
        assert_eq!(read_as(&tls, &a, "a.example").await.unwrap(), "a.example");
        assert_eq!(read_as(&tls, &b, "b.example").await.unwrap(), "b.example");
        assert!(read_as(&tls, &b, "a.example").await.is_err());
        let without_key = pem_a.split("-----BEGIN PRIVATE").next().unwrap().to_owned();
        let (_, faults) = Tls::new(&[without_key]).unwrap();
        assert!(matches!(faults[..], [TlsError::Key]), "{faults:?}");
    }
}
