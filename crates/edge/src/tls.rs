//! TLS before the vhosts: ended here, on the stream that the session reads and writes.
//!
//! Requests are routed by the name that the client asked for when it connected (SNI), not by `Host`. Certificates are those of
//! `HAPROXY_SSL_CERT` and `--ssl-certs`, the first one that is good for the name, else the first of all; without any, one that
//! signs itself.
//!
//! Source: contract marathon-lb §2.2, §2.5, §6.

mod encrypted;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
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

pub(crate) use self::encrypted::Encrypted;
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
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let for_bytes = Arc::new(config.clone()).into();
        config.alpn_protocols.insert(0, HTTP_2.to_vec());
        let for_http = Arc::new(config).into();
        let tls = Self {
            for_http,
            for_bytes,
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
mod tests;
