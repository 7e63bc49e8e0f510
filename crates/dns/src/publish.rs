//! Puts the states a master tells into service as zones, and notes whether it is heard.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tracing::{debug, info, warn};
use zddcluster_client::mesos::State;

use crate::config::ZoneConfig;
use crate::http::Counts;
use crate::records::{Gateway, Records, Skipped};
use crate::zone::Zone;

/// Where the latest zone is found; empty until the first state was read.
pub(crate) type Current = Arc<ArcSwapOption<Zone>>;

/// The one who writes the zone in service.
pub(crate) struct Publisher {
    config: ZoneConfig,
    /// Those of the edge; none without extras.
    gateways: watch::Receiver<Vec<Gateway>>,
    current: Current,
    /// Set to true with the first zone.
    is_ready: watch::Sender<bool>,
    counts: Arc<Counts>,
    link: Link,
    /// What the last zone left out, to log it once.
    skipped: Vec<Skipped>,
}

/// Whether the master is heard, to log a change once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Starting,
    Up,
    Down,
}

impl Publisher {
    pub(crate) fn new(
        config: ZoneConfig,
        gateways: watch::Receiver<Vec<Gateway>>,
        current: Current,
        is_ready: watch::Sender<bool>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            config,
            gateways,
            current,
            is_ready,
            counts,
            link: Link::Starting,
            skipped: Vec::new(),
        }
    }

    /// Waits until the edge has other gateways, which are for the next zone; for ever without extras. Cancel-safe.
    pub(crate) async fn gateways_changed(&mut self) {
        if self.gateways.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Makes the zone of a state and swaps it in, unless it has the very records of the last one.
    pub(crate) fn publish(&mut self, state: &State) {
        let records =
            Records::with_gateways(state, &self.config, &self.gateways.borrow_and_update());
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

    /// Notes that `master` is heard.
    pub(crate) fn note_up(&mut self, master: &str) {
        if self.link != Link::Up {
            info!(master, "following the master");
        }
        self.link = Link::Up;
        self.counts.is_following.store(1, Relaxed);
    }

    /// Notes that `master` is not heard, and why.
    pub(crate) fn note_lost(&mut self, master: &str, error: &(dyn std::error::Error + 'static)) {
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
