//! Keeps the zone equal to the master's state.
//!
//! ```text
//!   subscribe ─▶ read the state ─▶ publish ─▶ ┌ event ─▶ apply ─▶ (≤ PACE) ─────▶ publish ┐
//!       ▲                                     └ every REREAD ─▶ read the state ─▶ publish ┘
//!       └───────── back-off ◀── stream ended, went silent, or a reading failed ◀──┘
//! ```
//!
//! The stream makes changes visible at once; reading the state again now and then makes up for an event that was
//! missed or not understood. While the master is away, the last zone stays. With extras, a change of the edge's gateways is
//! one more event. Source: contract mesos-dns §9.1, §6.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use zddcluster_client::mesos::{Event, MesosError, MesosMaster};
use zddcluster_runtime::{Backoff, Error};

use crate::publish::Publisher;
use crate::state::{Applied, apply};

/// The least time between two zones: a deployment's changes come in bursts. The first change after a pause is answered at once,
/// those that follow it a hundredth of a second later.
const PACE: Duration = Duration::from_millis(10);
/// How often the whole state is read: Mesos-DNS' own period, so that a fault here is never seen longer than there.
pub(crate) const REREAD: Duration = Duration::from_secs(60);
/// The least time between two readings that events ask for, so that a storm of them does not become one of requests.
const MIN_REREAD: Duration = Duration::from_millis(200);
/// The first and the longest pause between attempts. A master that restarts is back within a second or so.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the stream may be silent before the master has told how often it gives a sign of life (Mesos: 15 s).
const FIRST_IDLE: Duration = Duration::from_secs(40);
/// How many signs of life may be missed.
const MISSED_HEARTBEATS: u32 = 3;

/// Follows one master.
pub(crate) struct Follower {
    pub(crate) master: MesosMaster,
    pub(crate) publisher: Publisher,
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
            self.publisher.note_lost(self.master.base(), &lost);
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
        self.publisher.publish(&state);
        self.publisher.note_up(self.master.base());
        backoff.reset();
        let mut idle = FIRST_IDLE;
        let mut read_at = Instant::now();
        let mut reread_at = read_at + REREAD;
        let mut published_at = read_at;
        let mut publish_at: Option<Instant> = None;
        loop {
            tokio::select! {
                // Before the stream, so that one that never pauses does not keep changes from being published.
                biased;
                // Cancel-safe: the deadline is kept outside.
                () = sleep_until(publish_at.unwrap_or(reread_at)), if publish_at.is_some() => {
                    publish_at = None;
                    self.publisher.publish(&state);
                    published_at = Instant::now();
                }
                // Cancel-safe: as above.
                () = sleep_until(reread_at) => {
                    state = self.master.state().await?;
                    read_at = Instant::now();
                    reread_at = read_at + REREAD;
                    publish_at = None;
                    self.publisher.publish(&state);
                    published_at = Instant::now();
                }
                // Cancel-safe.
                () = self.publisher.gateways_changed() => {
                    publish_at.get_or_insert(published_at + PACE);
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
                            publish_at.get_or_insert(published_at + PACE);
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
}
