//! Reads the state of a foreign Mesos master again and again, as Mesos-DNS does.
//!
//! ```text
//!   first master ─▶ its state says that it leads ───────────▶ publish ─▶ wait `refreshSeconds`
//!        │          it names or redirects to another one ─▶ ask that one
//!        └─ away, no leader, no state ─▶ next master … ─▶ all tried ─▶ back-off
//! ```
//!
//! Each turn begins with the first one. Only a leader's state is taken: the others know of no tasks. While none can be
//! had, the last zone stays. Source: contract mesos-dns §6, §9.1.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_client::HttpClient;
use zddcluster_client::mesos::{Leading, MesosError, MesosMaster, State};
use zddcluster_runtime::{Backoff, Error};

use crate::config::MasterAddress;
use crate::follow::RETRY;
use crate::publish::Publisher;

/// How often one may be sent on: while another one is elected, two may each say that it is the other.
const MAX_HOPS: usize = 2;

/// Asks masters for their state.
pub(crate) struct Poller {
    /// The first one tried first.
    pub(crate) masters: Vec<MasterAddress>,
    /// For those listed.
    pub(crate) http: HttpClient,
    pub(crate) refresh: Duration,
    /// How long one state may take.
    pub(crate) state_timeout: Duration,
    pub(crate) publisher: Publisher,
}

/// Why there is no state to be had.
#[derive(Debug, thiserror::Error)]
enum Away {
    #[error("none of the masters has a state to be read")]
    All(#[source] MesosError),
    #[error("there is no master to ask")]
    None,
}

impl Poller {
    /// Polls until the token is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1.min(self.refresh));
        let mut last = None;
        loop {
            // Nothing is half done when this is dropped: a zone is published in one step.
            let Some(read) = token.run_until_cancelled(self.read()).await else {
                return Ok(());
            };
            let pause = match read {
                Ok((master, state)) => {
                    self.publisher.publish(&state);
                    last = Some(state);
                    self.publisher.note_up(&master);
                    backoff.reset();
                    self.refresh
                }
                Err(away) => {
                    let masters: Vec<String> =
                        self.masters.iter().map(ToString::to_string).collect();
                    self.publisher.note_lost(&masters.join(","), &away);
                    backoff.next()
                }
            };
            let pause = self.wait(Instant::now() + pause, last.as_ref());
            if token.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Waits, and puts the last state into service once more whenever the edge has other gateways. Cancel-safe.
    async fn wait(&mut self, until: Instant, last: Option<&State>) {
        while timeout_at(until, self.publisher.gateways_changed())
            .await
            .is_ok()
        {
            if let Some(state) = last {
                self.publisher.publish(state);
            }
        }
    }

    /// Reads the state of the leader, by the first master that knows it; with the leader's address.
    async fn read(&self) -> Result<(String, State), Away> {
        let mut away = Away::None;
        for master in &self.masters {
            match self.read_by(master).await {
                Ok(read) => return Ok(read),
                Err(error) => {
                    let cause: &dyn std::error::Error = &error;
                    debug!(%master, error = cause, "a master is passed over");
                    away = Away::All(error);
                }
            }
        }
        Err(away)
    }

    async fn read_by(&self, master: &MasterAddress) -> Result<(String, State), MesosError> {
        let mut asked = self.master(&master.to_string());
        for _ in 0..=MAX_HOPS {
            match asked.state_if_leading(self.state_timeout).await? {
                Leading::Itself(state) => return Ok((asked.base().to_owned(), state)),
                Leading::Other(leader) => asked = self.master(&leader),
            }
        }
        Err(MesosError::NoLeader)
    }

    /// The master at `HOST:PORT`. What those listed may know is not for anyone they name.
    fn master(&self, address: &str) -> MesosMaster {
        let is_listed = self
            .masters
            .iter()
            .any(|known| known.to_string() == address);
        let http = match is_listed {
            true => self.http.clone(),
            false => self.http.clone().with_authorization(None),
        };
        MesosMaster::new(http, &format!("http://{address}"))
    }
}
