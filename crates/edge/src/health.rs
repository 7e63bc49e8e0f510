//! What the edge's own checks say of a server, in HAProxy's counting.
//!
//! ```text
//!           good                good                    bad                 bad
//!   new ─────────▶ UP    DOWN ───────▶ DOWN 1/2    UP ───────▶ UP 3/4 ─ … ─────▶ DOWN
//!   UP 1/4                 ▲              │ good    ▲            │ good
//!    └──────── bad ────────┘              └─────────┴────────────┘
//! ```
//!
//! A new server is up before its first check: Marathon has said that it is alive. It is one failure away from being down.
//! Source: contract marathon-lb §2.7, §3.2; HAProxy `check.c`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many good checks in a row bring a server back.
const RISE: u32 = 2;

/// Where a server stands between down and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// So many failures in a row take it down.
    fall: u32,
    /// 0: down; below `RISE`: coming back; from there on up; `RISE + fall - 1`: well.
    health: u32,
}

impl Level {
    /// Up, and one failure away from down.
    pub(crate) fn new(fall: u32) -> Self {
        Self {
            fall: fall.clamp(1, u32::MAX - RISE),
            health: RISE,
        }
    }

    /// Takes the outcome of a check.
    pub(crate) fn note(&mut self, is_good: bool) {
        let was_up = self.is_up();
        if is_good {
            self.health = if self.health + 1 >= RISE {
                self.best()
            } else {
                self.health + 1
            };
        } else {
            self.health = if was_up && self.health > RISE {
                self.health - 1
            } else {
                0
            };
        }
    }

    /// Counts by another number of failures from now on.
    pub(crate) fn set_fall(&mut self, fall: u32) {
        let is_best = self.health == self.best();
        self.fall = Self::new(fall).fall;
        self.health = if is_best {
            self.best()
        } else {
            self.health.min(self.best())
        };
    }

    /// Whether it takes traffic.
    pub(crate) fn is_up(self) -> bool {
        self.health >= RISE
    }

    /// The word for it.
    pub(crate) fn status(self) -> Status {
        if self.health == self.best() {
            Status::Up
        } else if self.is_up() {
            Status::GoingDown(self.health - RISE + 1, self.fall)
        } else if self.health > 0 {
            Status::GoingUp(self.health, RISE)
        } else {
            Status::Down
        }
    }

    fn best(self) -> u32 {
        RISE + self.fall - 1
    }
}

/// How a server, or a proxy as a whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// A frontend.
    Open,
    /// Well.
    Up,
    /// Up, so many failures of so many away from down.
    GoingDown(u32, u32),
    /// Down, so many good checks of so many on the way up.
    GoingUp(u32, u32),
    /// Takes nothing.
    Down,
    /// Takes nothing new: it drains.
    Maintenance,
    /// Not checked.
    Unchecked,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("OPEN"),
            Self::Up => f.write_str("UP"),
            Self::GoingDown(k, n) => write!(f, "UP {k}/{n}"),
            Self::GoingUp(k, n) => write!(f, "DOWN {k}/{n}"),
            Self::Down => f.write_str("DOWN"),
            Self::Maintenance => f.write_str("MAINT"),
            Self::Unchecked => f.write_str("no check"),
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// HAProxy's word: `L7OK`.
    pub(crate) code: &'static str,
    /// Of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// In words: `OK`, `Connection refused`.
    pub(crate) text: String,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Whether the server is well.
    pub(crate) fn is_good(&self) -> bool {
        self.code.ends_with("OK")
    }
}

/// The health of one server, shared by who checks it, who sends traffic to it and who tells about it.
#[derive(Debug)]
pub(crate) struct Health {
    /// For the data path.
    is_down: AtomicBool,
    record: Mutex<Record>,
}

/// Everything known of a server's health.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    level: Option<Level>,
    is_draining: bool,
    /// When it last went up, down, into or out of maintenance.
    pub(crate) since: Instant,
    /// The last check.
    pub(crate) last: Option<Outcome>,
    /// A check is under way.
    pub(crate) is_checking: bool,
    /// Checks that failed while it was up.
    pub(crate) n_failed: u64,
    /// How often it went down.
    pub(crate) n_down: u64,
    /// How long it was down before `since`.
    down_before: Duration,
}

impl Record {
    /// The word for it.
    pub(crate) fn status(&self) -> Status {
        match self.level {
            _ if self.is_draining => Status::Maintenance,
            Some(level) => level.status(),
            None => Status::Unchecked,
        }
    }

    /// How long it was down, all in all.
    pub(crate) fn downtime(&self) -> Duration {
        let is_down = self.level.is_some_and(|level| !level.is_up());
        self.down_before
            + if is_down {
                self.since.elapsed()
            } else {
                Duration::ZERO
            }
    }
}

/// What a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    WentUp,
    WentDown,
}

impl Health {
    /// Up. With `fall` it is to be checked.
    pub(crate) fn new(fall: Option<u32>, is_draining: bool) -> Self {
        Self {
            is_down: AtomicBool::new(false),
            record: Mutex::new(Record {
                level: fall.map(Level::new),
                is_draining,
                since: Instant::now(),
                last: None,
                is_checking: false,
                n_failed: 0,
                n_down: 0,
                down_before: Duration::ZERO,
            }),
        }
    }

    /// Whether it takes no traffic for its health.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// A copy of what is known.
    pub(crate) fn record(&self) -> Record {
        self.lock().clone()
    }

    /// Takes what a new table says of the server, which keeps its health.
    pub(crate) fn follow(&self, fall: Option<u32>, is_draining: bool) {
        let mut record = self.lock();
        if record.is_draining != is_draining {
            record.is_draining = is_draining;
            record.since = Instant::now();
            // Who comes back from maintenance is checked as if new.
            record.level = None;
        }
        match (fall, &mut record.level) {
            (Some(fall), Some(level)) => level.set_fall(fall),
            (fall, level) => *level = fall.map(Level::new),
        }
        if fall.is_none() || is_draining {
            record.last = None;
            record.is_checking = false;
        }
        self.is_down
            .store(record.level.is_some_and(|level| !level.is_up()), Relaxed);
    }

    /// Notes that a check begins.
    pub(crate) fn begin(&self) {
        self.lock().is_checking = true;
    }

    /// Takes the outcome of a check.
    pub(crate) fn note(&self, outcome: Outcome) -> Option<Change> {
        let mut record = self.lock();
        record.is_checking = false;
        if record.is_draining {
            return None;
        }
        let level = record.level.as_mut()?;
        let was_up = level.is_up();
        level.note(outcome.is_good());
        let is_up = level.is_up();
        if was_up && !outcome.is_good() {
            record.n_failed += 1;
        }
        record.last = Some(outcome);
        let change = match (was_up, is_up) {
            (true, false) => {
                record.n_down += 1;
                Change::WentDown
            }
            (false, true) => {
                let down_for = record.since.elapsed();
                record.down_before += down_for;
                Change::WentUp
            }
            (true, true) | (false, false) => return None,
        };
        record.since = Instant::now();
        self.is_down.store(!is_up, Relaxed);
        Some(change)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes a check for each sign and shows the words in between.
    fn shown(fall: u32, signs: &str) -> String {
        let mut level = Level::new(fall);
        let mut words = vec![level.status().to_string()];
        for sign in signs.chars() {
            level.note(sign == '+');
            words.push(level.status().to_string());
        }
        words.join(", ")
    }

    #[test]
    fn levels_are_haproxys() {
        // contract: lb-check-new, lb-check-failing, lb-exactly-up
        assert_eq!(shown(4, "+"), "UP 1/4, UP");
        assert_eq!(shown(4, "-"), "UP 1/4, DOWN");
        assert_eq!(
            shown(4, "+----"),
            "UP 1/4, UP, UP 3/4, UP 2/4, UP 1/4, DOWN"
        );
        assert_eq!(shown(4, "-++"), "UP 1/4, DOWN, DOWN 1/2, UP");
        assert_eq!(shown(4, "-+-"), "UP 1/4, DOWN, DOWN 1/2, DOWN");
        assert_eq!(shown(4, "+--+"), "UP 1/4, UP, UP 3/4, UP 2/4, UP");
        assert_eq!(shown(1, "-++-"), "UP, DOWN, DOWN 1/2, UP, DOWN");
    }

    fn outcome(code: &'static str) -> Outcome {
        Outcome {
            code,
            status: None,
            text: String::new(),
            took: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn times_and_counts() {
        let health = Health::new(Some(2), false);
        assert_eq!(health.note(outcome("L7OK")), None);
        assert_eq!(health.note(outcome("L7STS")), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(health.note(outcome("L4CON")), Some(Change::WentDown));
        assert!(health.is_down());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(health.record().downtime(), Duration::from_secs(7));
        assert_eq!(health.note(outcome("L7OK")), None);
        assert_eq!(health.note(outcome("L7OK")), Some(Change::WentUp));
        tokio::time::advance(Duration::from_secs(1)).await;
        let record = health.record();
        assert_eq!((record.n_failed, record.n_down), (2, 1));
        assert_eq!(record.downtime(), Duration::from_secs(7));
        assert_eq!(record.since.elapsed(), Duration::from_secs(1));
        assert_eq!(record.status(), Status::Up);
    }

    #[test]
    fn a_new_table_keeps_the_health() {
        // contract: lb-check-maint
        let health = Health::new(Some(2), false);
        health.note(outcome("L4CON"));
        health.follow(Some(4), false);
        assert!(health.is_down());
        assert_eq!(health.record().status(), Status::Down);
        health.follow(Some(4), true);
        assert_eq!(health.record().status(), Status::Maintenance);
        assert_eq!(
            health.note(outcome("L4CON")),
            None,
            "what was under way does not count"
        );
        assert_eq!(health.record().last, None);
        health.follow(Some(4), false);
        assert_eq!(health.record().status(), Status::GoingDown(1, 4));
        assert!(!health.is_down());
        health.follow(None, false);
        assert_eq!(health.record().status(), Status::Unchecked);
        let well = Health::new(Some(2), false);
        well.note(outcome("L7OK"));
        well.follow(Some(4), false);
        assert_eq!(well.record().status(), Status::Up);
    }
}
