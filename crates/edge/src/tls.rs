//! TLS before the vhosts: ended here, on the stream that the session reads and writes.
//!
//! Requests are routed by the name that the client asked for when it connected (SNI), not by `Host`. Certificates are those of
//! `HAPROXY_SSL_CERT` and `--ssl-certs`, the first one that is good for the name, else the first of all; without any, one that
//! signs itself.
//!
//! Source: contract marathon-lb §2.2, §2.5, §6.

mod certificates;
mod encrypted;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

use self::certificates::Certificates;
pub(crate) use self::encrypted::Encrypted;
use crate::args::Certificate;
use crate::proxy::KEEP_ALIVE_TIMEOUT;

/// How long a client may take to shake hands: as long as for the head of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The names of HTTP/2 and of HTTP/1.1 where clients choose (ALPN).
const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Ends TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    for_http: TlsAcceptor,
    for_bytes: TlsAcceptor,
    certificates: Arc<Certificates>,
}

/// What clients may speak behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/2 or HTTP/1.1, as they choose.
    Http,
    /// What the server behind speaks: not HTTP/2, which it would not expect.
    Bytes,
}

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
    #[error("cannot read it")]
    File(#[source] io::Error),
    #[error("in {0}")]
    In(String, #[source] Box<Self>),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error("cannot sign a certificate")]
    SelfSigned(#[from] rcgen::Error),
}

impl Tls {
    /// Serves these certificates, each with its chain and key; says which of them cannot be used, and serves one that signs itself if
    /// none can. Files are read anew when they change.
    ///
    /// # Errors
    /// When not even that one can be made.
    pub(crate) fn new(sources: Vec<Certificate>) -> Result<(Self, Vec<TlsError>), TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificates, faults) = Certificates::new(sources, Arc::clone(&provider))?;
        let certificates = Arc::new(certificates);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let for_bytes = Arc::new(config.clone()).into();
        config.alpn_protocols.insert(0, HTTP_2.to_vec());
        let for_http = Arc::new(config).into();
        let tls = Self {
            for_http,
            for_bytes,
            certificates,
        };
        Ok((tls, faults))
    }

    /// Shakes hands. After `stop` is cancelled, who has not done so has little time left for it.
    ///
    /// # Errors
    /// When there is no handshake.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        spoken: Spoken,
        stop: &CancellationToken,
    ) -> io::Result<Encrypted> {
        self.certificates.refresh(Instant::now());
        let acceptor = match spoken {
            Spoken::Http => &self.for_http,
            Spoken::Bytes => &self.for_bytes,
        };
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(KEEP_ALIVE_TIMEOUT).await;
        };
        let accepted = tokio::select! {
            // The other one ends the connection: none of them goes on afterwards.
            accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => accepted.ok(),
            () = late => None,
        };
        let stream = accepted.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Encrypted::new(stream))
    }
}

/// What services have TLS with, by the files of their certificates.
#[derive(Debug, Default)]
pub(crate) struct OfServices(Mutex<HashMap<String, Option<Tls>>>);

impl OfServices {
    /// What ends TLS with the certificates in these files. One that cannot be used is told, and clients are shown one that signs
    /// itself instead: nothing is served without TLS. `None` if there is none at all.
    pub(crate) fn get(&self, paths: &str) -> Option<Tls> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(paths.to_owned())
            .or_insert_with(|| open(paths))
            .clone()
    }
}

fn open(paths: &str) -> Option<Tls> {
    let file = |path: &str| Certificate::File(path.trim().to_owned());
    match Tls::new(paths.split(',').map(file).collect()) {
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

#[cfg(test)]
mod tests;
