//! The edge's gateways, asked for again and again: they make the weights of services, with extras.
//!
//! The edge tells nobody of a change, so it is asked every [`POLL`]; an answer of a few hundred bytes costs it nothing. While it is
//! away, the last known ones stay: an edge that restarts must not turn 80 to 20 into 50 to 50.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use zddcluster_client::{HttpClient, HttpError};
use zddcluster_model::gateway::Gateways;
use zddcluster_runtime::Error;

use crate::records::Gateway;

/// A client keeps an answer for far longer, so nobody sees more than this late.
const POLL: Duration = Duration::from_secs(2);

/// Asks one edge.
pub(crate) struct Poller {
    pub(crate) http: HttpClient,
    /// The root of its admin port.
    pub(crate) base: String,
    /// What it said last, by name.
    pub(crate) gateways: watch::Sender<Vec<Gateway>>,
}

impl Poller {
    /// Asks until the token is cancelled.
    pub(crate) async fn run(self, token: CancellationToken) -> Result<(), Error> {
        // Nothing is half done when this is dropped: an answer is published in one step.
        token.run_until_cancelled(self.poll()).await;
        Ok(())
    }

    async fn poll(self) {
        let edge = self.base.trim_end_matches('/');
        let url = format!("{edge}/zdd/v1/gateways");
        let mut was_heard = None;
        loop {
            let answer: Result<Gateways, HttpError> = self.http.get_json(&url).await;
            let is_heard = answer.is_ok();
            match answer {
                Ok(all) => {
                    if was_heard != Some(true) {
                        info!(edge, "following the gateways of the edge");
                    }
                    self.publish(&all);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    match was_heard {
                        Some(true) => warn!(edge, error, "the edge is lost; keeping its weights"),
                        None => info!(edge, error, "waiting for the edge's gateways"),
                        Some(false) => debug!(edge, error, "the edge is still away"),
                    }
                }
            }
            was_heard = Some(is_heard);
            sleep(POLL).await;
        }
    }

    fn publish(&self, all: &Gateways) {
        let mut gateways: Vec<Gateway> = all.gateways.iter().map(Gateway::of).collect();
        gateways.sort_by(|a, b| a.name.cmp(&b.name));
        self.gateways.send_if_modified(|last| {
            let is_new = *last != gateways;
            *last = gateways;
            is_new
        });
    }
}
