//! Plain HTTP requests, each with a time limit, whose failures say what happened and where.
//!
//! Only `http://`: all parts of a cluster speak to each other on one machine or one trusted network.

use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A host that does not answer within this is gone: a handshake takes milliseconds on the networks we run on.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the 15 s after which our servers close idle connections, so that a request seldom meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// For typed calls: an answer of a busy master with a hundred thousand tasks takes a few seconds.
const JSON_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is kept whole; several times `/v2/apps` of a hundred thousand tasks.
const MAX_BODY: usize = 512 * 1024 * 1024;
/// How much of a refusing answer's body an error's text shows.
const SHOWN_BODY: usize = 512;

/// Why a request did not get the answer it was sent for.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be used.
    #[error("{url} is not a usable http:// address: {reason}")]
    Address { url: String, reason: String },
    /// The request could not be written as one.
    #[error("cannot encode the request to {url}")]
    Encode {
        url: String,
        source: serde_json::Error,
    },
    /// No connection could be made: the server has not seen the request.
    #[error("cannot connect to {url}")]
    Connect {
        url: String,
        source: hyper_util::client::legacy::Error,
    },
    /// The connection failed while the request was sent or its answer's head awaited.
    #[error("the exchange with {url} failed")]
    Exchange {
        url: String,
        source: hyper_util::client::legacy::Error,
    },
    /// No answer, or not all of it, within the limit.
    #[error("no answer from {url} within {} s", .limit.as_secs_f64())]
    Timeout { url: String, limit: Duration },
    /// An answer that is not a success.
    #[error("answered {status}: {}", shown(.body))]
    Status { status: StatusCode, body: Bytes },
    /// The answer broke off.
    #[error("the answer broke off")]
    Body { source: hyper::Error },
    /// The answer or a line of it is longer than is accepted.
    #[error("the answer is longer than {limit} bytes")]
    TooLong { limit: usize },
    /// A stream has been silent for longer than its source's heart-beats allow.
    #[error("the stream was silent for {} s", .limit.as_secs_f64())]
    Silent { limit: Duration },
    /// The answer is not UTF-8.
    #[error("the answer is not text")]
    NotText,
    /// The answer is not the JSON that was expected.
    #[error("the answer from {url} is not the expected JSON")]
    Decode {
        url: String,
        source: serde_json::Error,
    },
}

impl HttpError {
    /// Returns the status of an answer that is not a success.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether it is certain that no server has acted on the request.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}

/// An HTTP/1 client with kept-alive connections. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpConnector, Full<Bytes>>,
    /// Goes with every request that has none of its own.
    authorization: Option<HeaderValue>,
}

impl HttpClient {
    /// Makes a client without connections.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self {
            inner,
            authorization: None,
        }
    }

    /// The same client, which sends this `Authorization` with every request that has none of its own. For servers that may
    /// know it only.
    #[must_use]
    pub fn with_authorization(mut self, authorization: Option<HeaderValue>) -> Self {
        self.authorization = authorization;
        self
    }

    /// Sends a request and reads the whole answer, whatever its status, within `timeout`.
    ///
    /// # Errors
    /// When there is no whole answer. Dropping the future abandons the request, which the server may still act on.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().to_string();
        let exchange = async {
            let (head, body) = self.exchange(request).await?.into_parts();
            let body = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(body_error)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout {
                url,
                limit: timeout,
            }),
        }
    }

    /// Sends a request and returns as soon as the head of the answer is there; the body, however long, is the
    /// caller's to read, with time limits of its own.
    ///
    /// # Errors
    /// When no head arrives within `timeout_for_head`.
    pub async fn open(
        &self,
        request: Request<Bytes>,
        timeout_for_head: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        let url = request.uri().to_string();
        match tokio::time::timeout(timeout_for_head, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout {
                url,
                limit: timeout_for_head,
            }),
        }
    }

    /// Gets a JSON document.
    ///
    /// # Errors
    /// [`HttpError::Status`] for an answer that is not a success; the others as they say.
    pub async fn get_json<T: DeserializeOwned>(&self, url: &str) -> Result<T, HttpError> {
        self.json(Method::GET, url, Bytes::new()).await
    }

    /// Sends a JSON document and reads one.
    ///
    /// # Errors
    /// As [`get_json`](Self::get_json).
    pub async fn send_json<B, T>(&self, method: Method, url: &str, body: &B) -> Result<T, HttpError>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let body = serde_json::to_vec(body).map_err(|source| HttpError::Encode {
            url: url.to_owned(),
            source,
        })?;
        self.json(method, url, body.into()).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<T, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|error| HttpError::Address {
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
        let (head, body) = self.send(request, JSON_TIMEOUT).await?.into_parts();
        if !head.status.is_success() {
            return Err(HttpError::Status {
                status: head.status,
                body,
            });
        }
        serde_json::from_slice(&body).map_err(|source| HttpError::Decode {
            url: url.to_owned(),
            source,
        })
    }

    async fn exchange(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, HttpError> {
        let url = request.uri().to_string();
        let reason = match (request.uri().scheme_str(), request.uri().authority()) {
            (Some("http"), Some(_)) => None,
            (Some("http"), None) | (None, _) => Some("it names no host"),
            (Some(_), _) => Some("only http is spoken here"),
        };
        if let Some(reason) = reason {
            return Err(HttpError::Address {
                url,
                reason: reason.to_owned(),
            });
        }
        if let Some(value) = &self.authorization {
            request
                .headers_mut()
                .entry(AUTHORIZATION)
                .or_insert_with(|| value.clone());
        }
        self.inner
            .request(request.map(Full::new))
            .await
            .map_err(|source| {
                if source.is_connect() {
                    HttpError::Connect { url, source }
                } else {
                    HttpError::Exchange { url, source }
                }
            })
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    match error.downcast::<hyper::Error>() {
        Ok(source) => HttpError::Body { source: *source },
        Err(error) => {
            debug_assert!(
                error.is::<LengthLimitError>(),
                "the body has no other errors"
            );
            HttpError::TooLong { limit: MAX_BODY }
        }
    }
}

/// The beginning of a refusing answer, on one line.
fn shown(body: &[u8]) -> String {
    let beginning = &body[..body.len().min(SHOWN_BODY)];
    let mut text = String::from_utf8_lossy(beginning).replace(['\r', '\n'], " ");
    if body.len() > SHOWN_BODY {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
