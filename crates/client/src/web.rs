//! Files from elsewhere: `http://` and `https://`, redirects followed, certificates held against the system's.
//!
//! For what an app's definition names by its URL, not for the parts of a cluster among themselves: no token of ours ever goes
//! with such a request. A user and password in the URL go to the server of that URL alone. As curl does, which Mesos' fetcher
//! stands on, but for one thing: a redirect never leads from `https` to `http`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::http::header::{AUTHORIZATION, LOCATION, USER_AGENT};
use ::http::{HeaderValue, Method, Request, Response};
use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

/// A host on another continent shakes hands within a second; three tries of TCP's fit in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Files come one at a time: a connection is hardly ever used again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any mirror needs; a loop ends here.
const MOST_REDIRECTS: usize = 10;
const AGENT: &str = concat!("zddcluster/", env!("CARGO_PKG_VERSION"));

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Neither `http` nor `https`, or no host.
    #[error("it is not an http or https address with a host")]
    Address,
    /// No connection, or it broke before the answer's head.
    #[error("{host} cannot be asked")]
    Exchange {
        host: String,
        source: hyper_util::client::legacy::Error,
    },
    /// `https`, and nothing to hold a certificate against.
    #[error(
        "there are no certificates of authorities on this machine, so no https server can be trusted; install \
         ca-certificates, or name a file of them in SSL_CERT_FILE"
    )]
    NoRoots,
    /// No head of an answer in time.
    #[error("no answer from {host} within {} s", .limit.as_secs_f64())]
    Timeout { host: String, limit: Duration },
    /// A redirect that is not followed.
    #[error("the redirect to '{to}' is not followed: {why}")]
    Redirect { to: String, why: &'static str },
}

/// A client for files named by their URL. Clones share its connections.
#[derive(Clone, Debug)]
pub struct WebClient {
    inner: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    has_roots: bool,
}

/// The authorities this machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Read once, at the first use.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (n_usable, n_ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(n_usable, n_ignored, errors = ?found.errors, "certificates of authorities");
    Arc::new(roots)
});

impl WebClient {
    /// Trusts whom this machine trusts. May read some hundred small files the first time.
    pub fn new() -> Self {
        Self::trusting(Arc::clone(&SYSTEM))
    }

    fn trusting(roots: Arc<RootCertStore>) -> Self {
        let has_roots = !roots.is_empty();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { inner, has_roots }
    }

    /// Asks for a file and returns as soon as the head of the last answer is there, whatever its status; the body is the
    /// caller's to read, with limits of its own.
    ///
    /// # Errors
    /// When no head arrives: each server on the way may take `timeout_for_head`.
    pub async fn open(
        &self,
        method: &Method,
        url: &Url,
        timeout_for_head: Duration,
    ) -> Result<Response<Incoming>, WebError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let asked = self.ask(method, &url);
            let answer = tokio::time::timeout(timeout_for_head, asked).await;
            let answer = answer.map_err(|_| WebError::Timeout {
                host: host_of(&url),
                limit: timeout_for_head,
            })??;
            let Some(to) = redirect_of(&answer) else {
                return Ok(answer);
            };
            url = follow(&url, to)?;
        }
        Err(WebError::Redirect {
            to: without_password(&url),
            why: "there are too many of them",
        })
    }

    async fn ask(&self, method: &Method, url: &Url) -> Result<Response<Incoming>, WebError> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(WebError::Address);
        }
        if url.scheme() == "https" && !self.has_roots {
            return Err(WebError::NoRoots);
        }
        let mut target = url.clone();
        target.set_fragment(None);
        // Both can be set on an address with a host.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        let mut request = Request::builder()
            .method(method)
            .uri(target.as_str())
            .header(USER_AGENT, AGENT);
        if let Some(value) = basic(url) {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(|_| WebError::Address)?;
        self.inner
            .request(request)
            .await
            .map_err(|source| WebError::Exchange {
                host: host_of(url),
                source,
            })
    }
}

impl Default for WebClient {
    fn default() -> Self {
        Self::new()
    }
}

/// A URL as a message may show it.
fn without_password(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() {
        // It can be set where there is one.
        let _ = shown.set_password(Some("***"));
    }
    shown.into()
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Where a redirect leads; `None` for any other answer.
fn redirect_of(answer: &Response<Incoming>) -> Option<&HeaderValue> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.headers().get(LOCATION)
}

fn follow(from: &Url, to: &HeaderValue) -> Result<Url, WebError> {
    let text = String::from_utf8_lossy(to.as_bytes()).into_owned();
    let refused = |why| WebError::Redirect {
        to: text.clone(),
        why,
    };
    let next = from
        .join(&text)
        .map_err(|_| refused("it is not an address"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(next),
        ("https", "http") => Err(refused("it leads from https to http")),
        _ => Err(refused("it leads to neither http nor https")),
    }
}

/// A URL's user and password, as `Authorization` says them.
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut both = decoded(url.username());
    both.push(b':');
    both.extend(decoded(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(&both))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
