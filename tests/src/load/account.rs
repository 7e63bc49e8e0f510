//! Where each request that was sent is entered once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures that are kept word for word; more are counted only.
const KEPT: usize = 200;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A connection for each request.
    Fresh,
    /// Requests over one connection.
    KeptAlive,
    /// Several requests at once over one connection.
    Pipelined,
    /// Bodies in chunks.
    Upload,
    /// Frames over a tunnel.
    Websocket,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Fresh,
        Self::KeptAlive,
        Self::Pipelined,
        Self::Upload,
        Self::Websocket,
    ];

    /// Whether a proxy may send such a request twice.
    pub const fn is_repeatable(self) -> bool {
        match self {
            Self::Fresh | Self::KeptAlive | Self::Pipelined => true,
            Self::Upload | Self::Websocket => false,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::KeptAlive => "kept alive",
            Self::Pipelined => "pipelined",
            Self::Upload => "upload",
            Self::Websocket => "websocket",
        }
    }
}

/// The counts of one kind: `sent = answered + failed` once all have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests, and frames.
    pub sent: u64,
    /// By a task of the service, rightly.
    pub answered: u64,
    /// Sent again by the client itself, because nobody had looked at them.
    pub repeated: u64,
    /// All others.
    pub failed: u64,
}

/// A request without its right answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The client's kind.
    pub kind: Kind,
    /// When it was sent.
    pub sent_at: Instant,
    /// When it had failed.
    pub failed_at: Instant,
    /// What came instead.
    pub what: String,
}

/// What a load has met.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it began.
    pub began: Instant,
    /// How long it was.
    pub length: Duration,
    /// The counts of each kind.
    pub tallies: BTreeMap<Kind, Tally>,
    /// The first of them.
    pub failures: Vec<Failure>,
    /// Answers by the version of the service.
    pub by_version: BTreeMap<String, u64>,
    /// The longest time that an answer took, of each kind.
    pub slowest: BTreeMap<Kind, Duration>,
}

impl Report {
    /// All kinds together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.tallies.values() {
            total.sent += tally.sent;
            total.answered += tally.answered;
            total.repeated += tally.repeated;
            total.failed += tally.failed;
        }
        total
    }

    /// A line for each kind, and the failures.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}\n",
            "", "sent", "per s", "answered", "repeated", "failed", "slowest ms"
        );
        let seconds = self.length.as_secs_f64();
        let mut line = |name: &str, tally: &Tally, slowest: Duration| {
            let Tally {
                sent,
                answered,
                repeated,
                failed,
            } = tally;
            let _ = writeln!(
                text,
                "{name:12} {sent:9} {:9.1} {answered:9} {repeated:9} {failed:9} {:11.1}",
                *sent as f64 / seconds,
                slowest.as_secs_f64() * 1000.0
            );
        };
        for (kind, tally) in &self.tallies {
            line(kind.name(), tally, self.slowest[kind]);
        }
        let slowest = self.slowest.values().max().copied().unwrap_or_default();
        line("all", &self.total(), slowest);
        for failure in &self.failures {
            let at = |moment: Instant| (moment - self.began).as_secs_f64();
            let _ = writeln!(
                text,
                "{:9.3} s to {:9.3} s, {}: {}",
                at(failure.sent_at),
                at(failure.failed_at),
                failure.kind.name(),
                failure.what
            );
        }
        text
    }
}

/// The books, while they are kept.
#[derive(Debug)]
pub(super) struct Account {
    report: Mutex<Report>,
}

impl Account {
    pub(super) fn new() -> Self {
        let kinds = Kind::ALL.into_iter();
        Self {
            report: Mutex::new(Report {
                began: Instant::now(),
                length: Duration::ZERO,
                tallies: kinds.clone().map(|kind| (kind, Tally::default())).collect(),
                failures: Vec::new(),
                by_version: BTreeMap::new(),
                slowest: kinds.map(|kind| (kind, Duration::ZERO)).collect(),
            }),
        }
    }

    /// So far.
    pub(super) fn report(&self) -> Report {
        let mut report = self.books().clone();
        report.length = report.began.elapsed();
        report
    }

    pub(super) fn sent(&self, kind: Kind, n: u64) {
        self.tally(kind, |tally| tally.sent += n);
    }

    pub(super) fn repeated(&self, kind: Kind, n: u64) {
        self.tally(kind, |tally| tally.repeated += n);
    }

    pub(super) fn answered(&self, kind: Kind, version: &str, sent_at: Instant) {
        let mut books = self.books();
        books.tallies.entry(kind).or_default().answered += 1;
        match books.by_version.get_mut(version) {
            Some(n) => *n += 1,
            None => {
                books.by_version.insert(version.to_owned(), 1);
            }
        }
        let slowest = books.slowest.entry(kind).or_default();
        *slowest = sent_at.elapsed().max(*slowest);
    }

    pub(super) fn failed(&self, kind: Kind, sent_at: Instant, what: String) {
        let mut books = self.books();
        books.tallies.entry(kind).or_default().failed += 1;
        if books.failures.len() < KEPT {
            books.failures.push(Failure {
                kind,
                sent_at,
                failed_at: Instant::now(),
                what,
            });
        }
    }

    fn tally(&self, kind: Kind, change: impl FnOnce(&mut Tally)) {
        change(self.books().tallies.entry(kind).or_default());
    }

    fn books(&self) -> MutexGuard<'_, Report> {
        // Numbers are whole between any two calls.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
