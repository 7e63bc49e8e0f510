//! Keeps the zone equal to the master's state.
//!
//! ```text
//!   subscribe ─▶ read the state ─▶ publish ─▶ ┌ event ─▶ apply ─▶ (≤ DEBOUNCE) ─▶ publish ┐
//!       ▲                                     └ every REREAD ─▶ read the state ─▶ publish ┘
//!       └───────── back-off ◀── stream ended, went silent, or a reading failed ◀──┘
//! ```
//!
//! The stream makes changes visible at once; reading the state again now and then makes up for an event that was
//! missed or not understood. While the master is away, the last zone stays. With extras, a change of the edge's gateways is
//! one more event. Source: contract mesos-dns §9.1, §6.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use zddcluster_client::mesos::{Event, MesosError, MesosMaster, State};
use zddcluster_runtime::{Backoff, Error};

use crate::config::ZoneConfig;
use crate::http::Counts;
use crate::records::{Gateway, Records, Skipped};
use crate::state::{Applied, apply};
use crate::zone::Zone;

/// How long changes are gathered before a zone is made: a deployment's come in bursts, and a client that looks within
/// a hundredth of a second cannot tell.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// How often the whole state is read: Mesos-DNS' own period, so that a fault here is never seen longer than there.
pub(crate) const REREAD: Duration = Duration::from_secs(60);
/// The least time between two readings that events ask for, so that a storm of them does not become one of requests.
const MIN_REREAD: Duration = Duration::from_millis(200);
/// The first and the longest pause between attempts. A master that restarts is back within a second or so.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the stream may be silent before the master has told how often it gives a sign of life (Mesos: 15 s).
const FIRST_IDLE: Duration = Duration::from_secs(40);
/// How many signs of life may be missed.
const MISSED_HEARTBEATS: u32 = 3;

/// Where the latest zone is found; empty until the first state was read.
pub(crate) type Current = Arc<ArcSwapOption<Zone>>;

/// Follows one master.
pub(crate) struct Follower {
    pub(crate) master: MesosMaster,
    pub(crate) config: ZoneConfig,
    /// Those of the edge; none without extras.
    pub(crate) gateways: watch::Receiver<Vec<Gateway>>,
    pub(crate) current: Current,
    /// Set to true with the first zone.
    pub(crate) is_ready: watch::Sender<bool>,
    pub(crate) link: Link,
    pub(crate) counts: Arc<Counts>,
    /// What the last zone left out, to log it once.
    pub(crate) skipped: Vec<Skipped>,
}

/// Whether the master is heard, to log a change once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Starting,
    Up,
    Down,
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the master cannot be followed")]
    Master(#[from] MesosError),
    #[error("the master ended the event stream")]
    Ended,
}

impl Follower {
    /// Follows until the token is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            // Nothing is half done when this is dropped: a zone is published in one step.
            let Some(lost) = token.run_until_cancelled(self.follow(&mut backoff)).await else {
                return Ok(());
            };
            self.note_lost(&lost);
            if token
                .run_until_cancelled(sleep(backoff.next()))
                .await
                .is_none()
            {
                return Ok(());
            }
        }
    }

    /// Follows until that fails.
    async fn follow(&mut self, backoff: &mut Backoff) -> Lost {
        match self.try_follow(backoff).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn try_follow(
        &mut self,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, Lost> {
        let mut stream = self.master.subscribe().await?;
        let mut state = self.master.state().await?;
        self.publish(&state);
        self.note_up();
        backoff.reset();
        let mut idle = FIRST_IDLE;
        let mut read_at = Instant::now();
        let mut reread_at = read_at + REREAD;
        let mut publish_at: Option<Instant> = None;
        loop {
            tokio::select! {
                // Before the stream, so that one that never pauses does not keep changes from being published.
                biased;
                // Cancel-safe: the deadline is kept outside.
                () = sleep_until(publish_at.unwrap_or(reread_at)), if publish_at.is_some() => {
                    publish_at = None;
                    self.publish(&state);
                }
                // Cancel-safe: as above.
                () = sleep_until(reread_at) => {
                    state = self.master.state().await?;
                    read_at = Instant::now();
                    reread_at = read_at + REREAD;
                    publish_at = None;
                    self.publish(&state);
                }
                // Cancel-safe: it only looks. Without a sender it fails, and is not waited for.
                Ok(()) = self.gateways.changed() => {
                    publish_at.get_or_insert_with(|| Instant::now() + DEBOUNCE);
                }
                // Cancel-safe: `next` keeps what it has read.
                event = stream.next(idle) => {
                    let event = event?.ok_or(Lost::Ended)?;
                    if let Event::Subscribed { heartbeat: Some(heartbeat) } = &event {
                        idle = (*heartbeat * MISSED_HEARTBEATS).max(Duration::from_secs(1));
                    }
                    match apply(&mut state, event) {
                        Applied::Unchanged => {}
                        Applied::Changed => {
                            publish_at.get_or_insert_with(|| Instant::now() + DEBOUNCE);
                        }
                        Applied::ReadAgain => {
                            let soon = (read_at + MIN_REREAD).max(Instant::now());
                            reread_at = reread_at.min(soon);
                        }
                    }
                }
            }
        }
    }

    /// Makes the zone of a state and swaps it in, unless it has the very records of the last one.
    fn publish(&mut self, state: &State) {
        let records = Records::with_gateways(state, &self.config, &self.gateways.borrow());
        if records.skipped != self.skipped {
            for Skipped { what, reason } in &records.skipped {
                if !self.skipped.iter().any(|known| known.what == *what) {
                    warn!(what, reason, "not published");
                }
            }
            self.skipped.clone_from(&records.skipped);
        }
        let last = self.current.load();
        if last.as_ref().is_some_and(|last| *last.records() == records) {
            return;
        }
        let serial = next_serial(last.as_ref().map(|last| last.serial()));
        debug!(
            serial,
            n_a = records.a.len(),
            n_srv = records.srv.len(),
            "publishing a zone"
        );
        self.current
            .store(Some(Arc::new(Zone::new(records, &self.config, serial))));
        self.counts.zones.fetch_add(1, Relaxed);
        self.is_ready.send_replace(true);
    }

    fn note_up(&mut self) {
        if self.link != Link::Up {
            info!(master = self.master.base(), "following the master");
        }
        self.link = Link::Up;
        self.counts.is_following.store(1, Relaxed);
    }

    fn note_lost(&mut self, lost: &Lost) {
        let error: &dyn std::error::Error = lost;
        let master = self.master.base();
        match self.link {
            Link::Up => warn!(
                master,
                error, "the master is lost; serving its last records"
            ),
            Link::Starting => info!(master, error, "waiting for the master"),
            Link::Down => debug!(master, error, "the master is still away"),
        }
        self.link = Link::Down;
        self.counts.is_following.store(0, Relaxed);
    }
}

/// Seconds since 1970, but always more than the last.
fn next_serial(last: Option<u32>) -> u32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Serials wrap around, as RFC 1982 foresees.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "serials are counted modulo 2^32"
    )]
    let now = now.as_secs() as u32;
    last.map_or(now, |last| now.max(last.wrapping_add(1)))
}
