//! Following Marathon: everything when attaching and every five minutes, one app when an event names it.
//!
//! ```text
//!   subscribe ─▶ GET all apps ─▶ event ─▶ GET its app ─┐
//!       ▲                          ▲───────────────────┘
//!       └── stream ended, silent, or a GET failed; the last table stays in use
//! ```
//!
//! Events only say where to look again; what they carry is not used. Events that arrive while an app is fetched
//! are collected, so that a burst costs one GET an app.
//!
//! Source: contract marathon-lb §4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_client::marathon::{AppAnswer, AppsAnswer};
use zddcluster_client::sse::{Event, EventStream};
use zddcluster_client::{HttpClient, HttpError};
use zddcluster_runtime::{Backoff, Error};

use crate::source::Source;
use crate::state::Shared;
use crate::table::host_names;

/// Everything that can change where traffic goes. Deployment events are not among them: each change of a deployment
/// comes with one of these.
const EVENTS: [&str; 5] = [
    "api_post_event",
    "status_update_event",
    "health_status_changed_event",
    "app_terminated_event",
    "group_change_success",
];
/// Pauses between attempts to attach: short at first, because a master that restarts is back in a moment, and never long,
/// because one that comes back late starts tasks at once.
const ATTACH_PAUSE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(5));
/// The least pause between attempts.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// The longest silence on the stream (Marathon-LB 1.4.1 reads with this limit): three missed keep-alives of 15 s.
const SILENCE: Duration = Duration::from_secs(46);
/// Everything is fetched anew after this long, in case an event was lost.
const REFETCH: Duration = Duration::from_secs(300);
/// How often apps with tasks that are not ready are looked at: no event tells that one has become so.
const UNREADY: Duration = Duration::from_secs(1);
/// More apps to look at than this are fetched as the whole list.
const MANY: usize = 32;
/// How long a host's name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Follows until `token` is cancelled.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    source: Arc<Source>,
    client: HttpClient,
    token: CancellationToken,
) -> Result<(), Error> {
    let mut backoff = Backoff::new(ATTACH_PAUSE.0, ATTACH_PAUSE.1);
    let mut is_lost = false;
    loop {
        let mut following = Following {
            shared: &shared,
            url: source.url(),
            client: &client,
        };
        let error = tokio::select! {
            // Cancel-safe: nothing is done any more.
            () = token.cancelled() => return Ok(()),
            Err(error) = following.run(&mut backoff, &mut is_lost) => error,
        };
        if !is_lost {
            is_lost = true;
            tracing::warn!(
                marathon = source.url(),
                error = &error as &dyn std::error::Error,
                "lost Marathon: the routes stay as they are, trying again"
            );
        }
        source.turn();
        let pause = async {
            // Even a wish cannot make the attempts follow each other without a pause.
            tokio::time::sleep(LEAST_PAUSE).await;
            tokio::select! {
                // Cancel-safe: they only wait.
                () = shared.unfulfilled() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        };
        tokio::select! {
            // Cancel-safe: timers.
            () = token.cancelled() => return Ok(()),
            () = pause => {}
        }
    }
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the event stream ended")]
    Ended,
    #[error(transparent)]
    Http(#[from] HttpError),
}

struct Following<'a> {
    shared: &'a Shared,
    url: &'a str,
    client: &'a HttpClient,
}

impl Following<'_> {
    async fn run(&mut self, backoff: &mut Backoff, is_lost: &mut bool) -> Result<(), Lost> {
        let filter: Vec<_> = EVENTS
            .iter()
            .map(|kind| format!("event_type={kind}"))
            .collect();
        let url = format!("{}/v2/events?{}", self.url, filter.join("&"));
        // Subscribed before anything is fetched, so that no change falls between the two.
        let mut events = EventStream::open(self.client, &url).await?;
        self.fetch_all().await?;
        tracing::info!(marathon = self.url, "following Marathon");
        *is_lost = false;
        backoff.reset();
        let mut changed = Changed::default();
        let mut refetch_at = Instant::now() + REFETCH;
        let mut look_at = Instant::now() + UNREADY;
        loop {
            let unready = self.shared.unready();
            tokio::select! {
                biased;
                // Cancel-safe: what has arrived stays in the stream.
                event = events.next(SILENCE) => {
                    changed.note(&event?.ok_or(Lost::Ended)?);
                }
                // Cancel-safe: they only wait for a state.
                () = self.shared.unfulfilled(), if !changed.all => changed.all = true,
                () = tokio::time::sleep_until(refetch_at), if !changed.all => changed.all = true,
                () = tokio::time::sleep_until(look_at), if !unready.is_empty() => {
                    changed.apps.extend(unready);
                    look_at = Instant::now() + UNREADY;
                }
                () = std::future::ready(()), if !changed.is_empty() => {
                    if changed.all || changed.apps.len() > MANY {
                        changed = Changed::default();
                        self.fetch_all().await?;
                        refetch_at = Instant::now() + REFETCH;
                    } else if let Some(app_id) = changed.apps.pop_first() {
                        self.fetch(&app_id).await?;
                    }
                }
            }
        }
    }

    async fn fetch_all(&self) -> Result<(), HttpError> {
        let wishes = self.shared.wishes();
        let url = format!("{}/v2/apps?embed=apps.tasks&embed=apps.readiness", self.url);
        let answer: AppsAnswer = self.client.get_json(&url).await?;
        let hosts = resolve(host_names(&answer.apps), &BTreeMap::new()).await;
        self.shared.put_all(answer, hosts);
        self.shared.fulfil(wishes);
        Ok(())
    }

    async fn fetch(&self, app_id: &str) -> Result<(), HttpError> {
        let url = format!(
            "{}/v2/apps{app_id}?embed=app.tasks&embed=app.readiness",
            self.url
        );
        match self.client.get_json::<AppAnswer>(&url).await {
            Ok(AppAnswer { app }) => {
                let known = self.shared.hosts();
                let hosts = resolve(host_names([&app]), &known).await;
                self.shared.put(app, hosts);
                Ok(())
            }
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
                self.shared.remove(app_id);
                Ok(())
            }
            // One odd app is left as it was.
            Err(error @ HttpError::Decode { .. }) => {
                tracing::warn!(
                    app_id,
                    error = &error as &dyn std::error::Error,
                    "cannot read the app"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// What has to be looked at again.
#[derive(Debug, Default)]
struct Changed {
    all: bool,
    apps: BTreeSet<String>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        !self.all && self.apps.is_empty()
    }

    fn note(&mut self, event: &Event) {
        match app_of(event) {
            Named::App(app_id) => {
                self.apps.insert(app_id);
            }
            Named::Everything => self.all = true,
            Named::Nothing => {}
        }
    }
}

/// What an event is about.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    App(String),
    Everything,
    Nothing,
}

/// Only the fields that name the app; the tree around them is skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    app_id: Option<String>,
    #[serde(default)]
    app_definition: Option<Definition>,
}

#[derive(Deserialize)]
struct Definition {
    id: String,
}

fn app_of(event: &Event) -> Named {
    let Ok(payload) = serde_json::from_str::<Payload>(&event.data) else {
        // Unreadable, but something has happened.
        return Named::Everything;
    };
    // A real Marathon before 0.14 does not filter.
    if !EVENTS.contains(&payload.event_type.as_str()) {
        return Named::Nothing;
    }
    match payload
        .app_id
        .or_else(|| payload.app_definition.map(|definition| definition.id))
    {
        Some(app_id) if app_id.starts_with('/') => Named::App(app_id),
        Some(app_id) => Named::App(format!("/{app_id}")),
        None => Named::Everything,
    }
}

/// Looks up `names` that are not `known`. One that has no address is left out: its tasks are not served.
async fn resolve(
    names: BTreeSet<String>,
    known: &BTreeMap<String, IpAddr>,
) -> BTreeMap<String, IpAddr> {
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(address) = known.get(&name) {
            found.insert(name, *address);
            continue;
        }
        let lookup = tokio::net::lookup_host((name.as_str(), 0));
        let addresses = match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
            Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect::<Vec<_>>(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let first_v4 = addresses
            .iter()
            .find(|address| address.is_ipv4())
            .or_else(|| addresses.first());
        match first_v4 {
            Some(address) => {
                found.insert(name, *address);
            }
            None => tracing::warn!(
                host = name,
                "the host has no address: its tasks are not served"
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_app() {
        let check = |data: &str, expected: Named| {
            let event = Event {
                data: data.to_owned(),
                ..Event::default()
            };
            assert_eq!(app_of(&event), expected, "{data}");
        };
        check(
            r#"{"eventType":"status_update_event","appId":"/a/b","x":[1]}"#,
            Named::App("/a/b".into()),
        );
        check(
            r#"{"eventType":"api_post_event","appDefinition":{"id":"/a","y":{}}}"#,
            Named::App("/a".into()),
        );
        check(
            r#"{"eventType":"group_change_success","groupId":"/"}"#,
            Named::Everything,
        );
        check(
            r#"{"eventType":"deployment_info","plan":{}}"#,
            Named::Nothing,
        );
        check("nonsense", Named::Everything);
    }
}
