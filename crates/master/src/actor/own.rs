//! Records that are the master's own and not the engine's: the callback URLs.
//!
//! They go into the same batch as the engine's mutations, so that an answer means durable here too.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_store::{Change, Record};

use super::{Actor, Turn};
use crate::error::CallError;

/// Where the callback URLs are kept, a JSON list.
const CALLBACKS_KEY: &str = "master/callbacks";

/// A wish to add or take away a callback URL.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) url: String,
    /// Added; else taken away.
    pub(crate) is_wanted: bool,
    /// The caller's address, for the event.
    pub(crate) client_ip: String,
    /// Gets the event that tells of it.
    pub(crate) reply: oneshot::Sender<Result<Event, CallError>>,
}

/// What a batch has decided about callbacks.
#[derive(Default)]
pub(super) struct Decided {
    /// The URLs from now on, if they changed.
    pub(super) urls: Option<BTreeSet<String>>,
    /// The records before, to go back to.
    before: Option<Vec<Record>>,
    answers: Vec<(oneshot::Sender<Result<Event, CallError>>, Event)>,
}

/// The callback URLs among the master's own records; an unreadable record counts as none, which the log says.
pub(crate) fn callbacks(own_records: &[Record]) -> BTreeSet<String> {
    let stored = own_records.iter().find(|(key, _)| key == CALLBACKS_KEY);
    let Some((_, value)) = stored else {
        return BTreeSet::new();
    };
    serde_json::from_slice(value).unwrap_or_else(|error| {
        tracing::error!(%error, key = CALLBACKS_KEY, "the callback URLs cannot be read; none is called");
        BTreeSet::new()
    })
}

impl Actor {
    /// Decides one wish.
    pub(super) fn subscribe(&mut self, subscription: Subscription, turn: &mut Turn) {
        let Subscription {
            url: callback_url,
            is_wanted,
            client_ip,
            reply,
        } = subscription;
        let mut urls = callbacks(&self.own_records);
        let is_change = if is_wanted {
            urls.insert(callback_url.clone())
        } else {
            urls.remove(&callback_url)
        };
        if is_change {
            let value = serde_json::to_vec(&urls).expect("a list of texts");
            turn.own
                .before
                .get_or_insert_with(|| self.own_records.clone());
            self.own_records.retain(|(key, _)| key != CALLBACKS_KEY);
            self.own_records
                .push((CALLBACKS_KEY.to_owned(), value.clone()));
            turn.mutations
                .push(Change::Put(CALLBACKS_KEY.to_owned(), value));
            turn.own.urls = Some(urls);
        }
        let kind = if is_wanted {
            EventKind::Subscribe {
                client_ip,
                callback_url,
            }
        } else {
            EventKind::Unsubscribe {
                client_ip,
                callback_url,
            }
        };
        let event = Event {
            timestamp: self.shared.clock.now(),
            kind,
        };
        turn.events.push(event.clone());
        turn.own.answers.push((reply, event));
    }
}

impl Decided {
    /// Tells the callers that it is done.
    pub(super) fn answer(self) {
        for (reply, event) in self.answers {
            let _ = reply.send(Ok(event));
        }
    }

    /// Takes everything back and tells the callers why.
    pub(super) fn take_back(self, own_records: &mut Vec<Record>, refusal: impl Fn() -> CallError) {
        if let Some(before) = self.before {
            *own_records = before;
        }
        for (reply, _) in self.answers {
            let _ = reply.send(Err(refusal()));
        }
    }
}
