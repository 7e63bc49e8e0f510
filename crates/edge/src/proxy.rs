//! The data plane: connections of clients and what is done with them.
//!
//! ```text
//!   accept ─▶ backend of the listener ─┬─ tcp:  lease ─▶ connect ─▶ bytes both ways until both sides ended
//!                                      └─ http: for each request
//!        route ─▶ lease ─▶ idle connection or connect ─▶ request out ─▶ head in ─▶ body in ─▶ connection kept or closed
//!          ▲        │              │ refused
//!          └────────┴──────────────┘ another server at once, the same one after a second; 3 times
//! ```
//!
//! Routes are read anew for each attempt, so that an old connection never keeps an old table in use.
//! Source: contract marathon-lb §2.

pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod obey;
pub(crate) mod pages;
pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

/// HAProxy's `timeout connect` in Marathon-LB's template.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// HAProxy's `timeout server`: how long a server may be silent when it is its turn.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_secs(30);
/// HAProxy's `timeout client`: how long a client may be silent when it is its turn, or take nothing.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// HAProxy's `timeout http-request`: how long a request's head may take.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// HAProxy's `timeout http-keep-alive`: how long a client's connection may be idle after an answer.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// HAProxy's `timeout tunnel`: how long a tunnel or TCP connection may be silent.
pub(crate) const TUNNEL_TIMEOUT: Duration = Duration::from_secs(3600);
/// HAProxy's `retries`: connects after the first one.
const RETRIES: usize = 3;
/// HAProxy's pause before it connects to a server again that has just refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What one request or connection has tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Servers that failed since the last pause.
    tried: Vec<SocketAddr>,
    failed: usize,
}

impl Attempts {
    /// Notes a failed connect to `address`; false when it was the last allowed one.
    pub(crate) fn has_failed(&mut self, address: SocketAddr) -> bool {
        self.tried.push(address);
        self.failed += 1;
        self.failed <= RETRIES
    }

    /// Servers to leave out.
    pub(crate) fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// Waits before servers that failed are tried again; false if none failed, so that waiting is of no use.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.tried.is_empty() {
            return false;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        self.tried.clear();
        true
    }
}
