//! The certificates that are served: chosen by the name that a client asks for, and read anew when their files change.
//!
//! Files are looked at when somebody shakes hands, once a second at most. They are taken in all together or not at all: while one of
//! them cannot be used, as when it is just being written, what was served before is.

use std::fs::{self, Metadata};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio::time::Instant;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::TlsError;
use crate::args::Certificate;

/// How often files are looked at: a look costs a system call for each.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The certificates of one listener.
#[derive(Debug)]
pub(super) struct Certificates {
    sources: Vec<Certificate>,
    provider: Arc<CryptoProvider>,
    /// At least one.
    keys: ArcSwap<Vec<Arc<CertifiedKey>>>,
    looked: Mutex<(Instant, Vec<Stamp>)>,
}

/// What changes with the text of a file: its number, length and time. `None` if it is not there.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Certificates {
    /// Reads these; says which of them cannot be used, and serves one that signs itself if none can.
    ///
    /// # Errors
    /// When not even that one can be made.
    pub(super) fn new(
        sources: Vec<Certificate>,
        provider: Arc<CryptoProvider>,
    ) -> Result<(Self, Vec<TlsError>), TlsError> {
        // Before reading: what changes meanwhile is read again.
        let stamps = stamps(&sources);
        let (mut keys, faults) = read_all(&sources, &provider);
        if keys.is_empty() {
            keys.push(Arc::new(self_signed(&provider)?));
        }
        let certificates = Self {
            sources,
            provider,
            keys: ArcSwap::from_pointee(keys),
            looked: Mutex::new((Instant::now(), stamps)),
        };
        Ok((certificates, faults))
    }

    /// Reads the files anew if some have changed and it is time to look.
    pub(super) fn refresh(&self, now: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(looked.0) < LOOK {
            return;
        }
        let stamps = stamps(&self.sources);
        let has_changed = looked.1 != stamps;
        *looked = (now, stamps);
        drop(looked);
        if !has_changed {
            return;
        }
        match read_all(&self.sources, &self.provider) {
            (keys, faults) if faults.is_empty() && !keys.is_empty() => {
                tracing::info!(n = keys.len(), "certificates were read anew");
                self.keys.store(Arc::new(keys));
            }
            (_, faults) => {
                for fault in faults {
                    let error = &fault as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "a certificate has changed and cannot be used: those before are served"
                    );
                }
            }
        }
    }
}

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
        let keys = self.keys.load();
        keys.iter().find(is_for).or_else(|| keys.first()).cloned()
    }
}

fn stamps(sources: &[Certificate]) -> Vec<Stamp> {
    let stamp = |found: Metadata| {
        use std::os::unix::fs::MetadataExt as _;
        Some((found.ino(), found.len(), found.modified().ok()?))
    };
    let stamps = sources.iter().map(|source| match source {
        Certificate::Text(_) => None,
        Certificate::File(path) => fs::metadata(path).ok().and_then(stamp),
    });
    stamps.collect()
}

fn read_all(
    sources: &[Certificate],
    provider: &CryptoProvider,
) -> (Vec<Arc<CertifiedKey>>, Vec<TlsError>) {
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    for source in sources {
        let read = match source {
            Certificate::Text(pem) => read(pem, provider),
            Certificate::File(path) => fs::read_to_string(path)
                .map_err(TlsError::File)
                .and_then(|pem| read(&pem, provider))
                .map_err(|fault| TlsError::In(path.clone(), Box::new(fault))),
        };
        match read {
            Ok(key) => keys.push(Arc::new(key)),
            Err(fault) => faults.push(fault),
        }
    }
    (keys, faults)
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
