//! What is counted about a frontend, backend or server; read by the statistics.
//!
//! All counters are atomics that only the data path writes, in no particular order with each other: a reader may see a session
//! counted whose bytes are not yet.

mod times;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

pub(crate) use self::times::{Times, Took};

/// The counters of one proxy or server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Sessions now: connections of a frontend, requests (or TCP connections) of a backend or server.
    pub(crate) sessions: Gauge,
    /// Bytes from the client's side.
    pub(crate) bytes_in: AtomicU64,
    /// Bytes towards the client.
    pub(crate) bytes_out: AtomicU64,
    /// Requests of a frontend.
    pub(crate) requests: AtomicU64,
    /// Requests that could not be read.
    pub(crate) request_errors: AtomicU64,
    /// Requests and connections that a list of networks kept out.
    pub(crate) denied_requests: AtomicU64,
    /// Clients that went away, or took or gave nothing more, before all was done.
    pub(crate) client_aborts: AtomicU64,
    /// Servers that did.
    pub(crate) server_aborts: AtomicU64,
    /// Connections to a server that failed.
    pub(crate) connect_errors: AtomicU64,
    /// Answers that failed.
    pub(crate) response_errors: AtomicU64,
    /// Connects tried again.
    pub(crate) retries: AtomicU64,
    /// Requests moved to another server.
    pub(crate) redispatches: AtomicU64,
    /// Answers by class: 1xx to 5xx, others.
    pub(crate) responses: [AtomicU64; 6],
    /// Second (of the process' life) of the last session, plus one; 0 = never.
    last_session: AtomicU64,
    rate: Rate,
    request_rate: Rate,
    /// How long a server's requests take.
    pub(crate) times: Times,
}

impl Counters {
    /// Counts a new session at second `now` of the process' life.
    pub(crate) fn begin(&self, now: u64) {
        self.sessions.begin();
        self.last_session.store(now + 1, Relaxed);
        self.rate.count(now);
    }

    /// Counts the end of a session.
    pub(crate) fn end(&self) {
        self.sessions.now.fetch_sub(1, Relaxed);
    }

    /// Counts a request of a frontend at second `now` of the process' life.
    pub(crate) fn request(&self, now: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.request_rate.count(now);
    }

    /// Counts an answer.
    pub(crate) fn response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        let at = if (1..=5).contains(&class) {
            class - 1
        } else {
            5
        };
        self.responses[at].fetch_add(1, Relaxed);
    }

    /// The second of the last session.
    pub(crate) fn last_session(&self) -> Option<u64> {
        self.last_session.load(Relaxed).checked_sub(1)
    }

    /// Sessions in the last full second before `now`, and the most in any second.
    pub(crate) fn rate(&self, now: u64) -> (u64, u64) {
        self.rate.read(now)
    }

    /// The same of requests.
    pub(crate) fn request_rate(&self, now: u64) -> (u64, u64) {
        self.request_rate.read(now)
    }
}

/// How many now, at most, and ever.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) now: AtomicU64,
    pub(crate) max: AtomicU64,
    pub(crate) total: AtomicU64,
}

impl Gauge {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        if now > self.max.load(Relaxed) {
            self.max.fetch_max(now, Relaxed);
        }
        self.total.fetch_add(1, Relaxed);
    }
}

/// Events in the present and the previous second. A count at the turn of the second may be lost: it is a rate.
#[derive(Debug, Default)]
struct Rate {
    second: AtomicU64,
    present: AtomicU64,
    previous: AtomicU64,
    max: AtomicU64,
}

impl Rate {
    fn count(&self, now: u64) {
        let second = self.second.load(Relaxed);
        if second != now
            && self
                .second
                .compare_exchange(second, now, Relaxed, Relaxed)
                .is_ok()
        {
            let finished = self.present.swap(0, Relaxed);
            self.previous
                .store(if second + 1 == now { finished } else { 0 }, Relaxed);
        }
        let present = self.present.fetch_add(1, Relaxed) + 1;
        if present > self.max.load(Relaxed) {
            self.max.fetch_max(present, Relaxed);
        }
    }

    fn read(&self, now: u64) -> (u64, u64) {
        let second = self.second.load(Relaxed);
        let rate = if second == now {
            self.previous.load(Relaxed).max(self.present.load(Relaxed))
        } else if second + 1 == now {
            self.present.load(Relaxed)
        } else {
            0
        };
        (rate, self.max.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_rates() {
        let counters = Counters::default();
        for _ in 0..3 {
            counters.begin(5);
        }
        counters.end();
        counters.begin(6);
        for _ in 0..4 {
            counters.request(6);
        }
        assert_eq!(counters.request_rate(7), (4, 4));
        assert_eq!(counters.requests.load(Relaxed), 4);
        assert_eq!(counters.sessions.now.load(Relaxed), 3);
        assert_eq!(counters.sessions.max.load(Relaxed), 3);
        assert_eq!(counters.sessions.total.load(Relaxed), 4);
        assert_eq!(counters.rate(6), (3, 3));
        assert_eq!(counters.rate(7), (1, 3));
        assert_eq!(counters.rate(9), (0, 3));
        assert_eq!(counters.last_session(), Some(6));
        assert_eq!(Counters::default().last_session(), None);
    }

    #[test]
    fn answers_by_class() {
        let counters = Counters::default();
        for status in [200, 204, 404, 503, 999] {
            counters.response(StatusCode::from_u16(status).unwrap());
        }
        let classes: Vec<_> = counters
            .responses
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        assert_eq!(classes, [0, 2, 0, 1, 1, 1]);
    }
}
