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
//!
//! A connection is one task of one worker: it owns the client's socket and, during a request, a server's. Heads are read where they
//! arrived and written anew; bodies are framed anew around the bytes where they are. Nobody reads more than a buffer ahead of who
//! takes.
//!
//! | phase of a request | where |
//! |---|---|
//! | wait for it, refuse what cannot be read | `session`, `head`, `fields` |
//! | choose a server, make the head that goes there | `visit`, `trust`, `rewrite` |
//! | try servers, tell the client that none answers | `forward`, `connect`, `pool`, `pages` |
//! | send it, its body beside the answer if it has one | `exchange`, `upload` |
//! | make the head that goes to the client, pass the body on | `download`, `rewrite`, `body`, `chunks` |
//! | leave HTTP | `tcp` |
//! | the same for a stream of HTTP/2 | `http2` |
//!
//! What a route asks for beyond this has three places: [`visit`] sees the request's head as it came together with the backend,
//! before a server has been leased (to answer at once) and when the head is made for it (to change it); `download` makes the head
//! for the client.
//!
//! Source: contract marathon-lb §2.

pub(crate) mod body;
pub(crate) mod buffer;
pub(crate) mod chunks;
pub(crate) mod connect;
pub(crate) mod download;
pub(crate) mod exchange;
pub(crate) mod fields;
pub(crate) mod forward;
pub(crate) mod head;
pub(crate) mod http2;
pub(crate) mod obey;
pub(crate) mod pages;
pub(crate) mod pool;
pub(crate) mod rewrite;
pub(crate) mod session;
pub(crate) mod tcp;
pub(crate) mod timer;
pub(crate) mod trust;
pub(crate) mod upload;
pub(crate) mod visit;
pub(crate) mod wire;

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
