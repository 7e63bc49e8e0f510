//! What to send, how often, for how long.

use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Beyond this the probe would measure itself: one process sends about 20 000 requests a second.
const MAX_RATE: f64 = 20_000.0;
/// Without an answer in this time a person has gone away.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Enough for a server that stalls for a second at the usual few hundred a second, and far below the usual limit of
/// 1024 open files.
const DEFAULT_CONCURRENCY: usize = 512;

/// On which connections requests go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each on a connection of its own.
    Fresh,
    /// On connections that stay open in between.
    KeepAlive,
    /// The one and the other in turn.
    Both,
}

/// Why there can be no such probe.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no URL at all.
    #[error("{url:?} is not an address")]
    NotAUrl {
        url: String,
        source: url::ParseError,
    },
    /// Only `http://` is spoken.
    #[error("{url:?} is not an http:// address")]
    NotHttp { url: String },
    /// The rate is not a positive number, or more than one process can send.
    #[error("a rate of {rate} requests a second is not between 0 (excluded) and {MAX_RATE}")]
    Rate { rate: f64 },
}

/// A valid order for a probe. The public fields may be changed freely.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) target: Target,
    /// Requests a second.
    pub(crate) rate: f64,
    /// How long requests become due; `None` is until stopped.
    pub duration: Option<Duration>,
    /// How many requests may be under way at once. Requests that have to wait for that are sent late, and the wait counts
    /// as latency. Zero is taken as one.
    pub concurrency: usize,
    /// On which connections.
    pub mode: Mode,
    /// How long a request may take, from the connect to the last byte of the answer.
    pub timeout: Duration,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As the user wrote it.
    pub(crate) url: String,
    /// An address or a name, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The `Host` header.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: Uri,
}

impl Config {
    /// Orders `rate` requests a second to `url` on both kinds of connections, until stopped, 5 s for each.
    ///
    /// # Errors
    /// When the address is not an `http://` URL or the rate is out of bounds.
    pub fn new(url: &str, rate: f64) -> Result<Self, ConfigError> {
        if !(rate > 0.0 && rate <= MAX_RATE) {
            return Err(ConfigError::Rate { rate });
        }
        Ok(Self {
            target: Target::parse(url)?,
            rate,
            duration: None,
            concurrency: DEFAULT_CONCURRENCY,
            mode: Mode::Both,
            timeout: DEFAULT_TIMEOUT,
        })
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(text).map_err(|source| ConfigError::NotAUrl {
            url: text.to_owned(),
            source,
        })?;
        let not_http = || ConfigError::NotHttp {
            url: text.to_owned(),
        };
        if url.scheme() != "http" {
            return Err(not_http());
        }
        let (host, bracketed) = match url.host().ok_or_else(not_http)? {
            Host::Domain(name) => (name.to_owned(), name.to_owned()),
            Host::Ipv4(address) => (address.to_string(), address.to_string()),
            Host::Ipv6(address) => (address.to_string(), format!("[{address}]")),
        };
        let authority = match url.port() {
            None => bracketed,
            Some(port) => format!("{bracketed}:{port}"),
        };
        let path = match url.query() {
            None => url.path().to_owned(),
            Some(query) => format!("{}?{query}", url.path()),
        };
        Ok(Self {
            url: text.to_owned(),
            host,
            port: url.port().unwrap_or(80),
            authority,
            path: path.parse().map_err(|_| not_http())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Result<(String, u16, String, String), String> {
        let config = Config::new(url, 1.0).map_err(|error| error.to_string())?;
        let Target {
            host,
            port,
            authority,
            path,
            url: _,
        } = config.target;
        Ok((host, port, authority, path.to_string()))
    }

    fn expect(
        host: &str,
        port: u16,
        authority: &str,
        path: &str,
    ) -> Result<(String, u16, String, String), String> {
        Ok((host.to_owned(), port, authority.to_owned(), path.to_owned()))
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(
            parts("http://127.0.0.2:10080"),
            expect("127.0.0.2", 10080, "127.0.0.2:10080", "/")
        );
        assert_eq!(
            parts("http://[::1]:80/a?b=c"),
            expect("::1", 80, "[::1]", "/a?b=c")
        );
        assert_eq!(parts("http://node/x"), expect("node", 80, "node", "/x"));
    }

    #[test]
    fn what_cannot_be_probed_is_refused() {
        for url in ["https://127.0.0.1/", "ftp://host/"] {
            assert!(
                matches!(Config::new(url, 1.0), Err(ConfigError::NotHttp { .. })),
                "{url}"
            );
        }
        assert!(matches!(
            Config::new("127.0.0.1", 1.0),
            Err(ConfigError::NotAUrl { .. })
        ));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(
                matches!(
                    Config::new("http://h/", rate),
                    Err(ConfigError::Rate { .. })
                ),
                "{rate}"
            );
        }
    }
}
