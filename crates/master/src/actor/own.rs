//! Records that are the master's own and not the engine's: the callback URLs.
//!
//! They go into the same batch as the engine's mutations, so that an answer means durable here too.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_store::{Change, Record};

use super::{Actor, Turn};
use crate::callbacks::MOST;
use crate::error::CallError;

/// Where the callback URLs are kept, a JSON list.
const CALLBACKS_KEY: &str = "master/callbacks";

/// The master's own records, and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    records: Vec<Record>,
    callbacks: BTreeSet<String>,
}

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
    /// What was before, to go back to.
    before: Option<Own>,
    answers: Vec<(oneshot::Sender<Result<Event, CallError>>, Event)>,
}

impl Own {
    /// Reads them; `Err` if the callback URLs cannot be read: the next subscription would overwrite them.
    pub(crate) fn read(records: Vec<Record>) -> Result<Self, serde_json::Error> {
        let stored = records.iter().find(|(key, _)| key == CALLBACKS_KEY);
        let callbacks = match stored {
            Some((_, value)) => serde_json::from_slice(value)?,
            None => BTreeSet::new(),
        };
        Ok(Self { records, callbacks })
    }

    /// The URLs that are called.
    pub(crate) const fn callbacks(&self) -> &BTreeSet<String> {
        &self.callbacks
    }

    /// As they are in the store.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Sets the URLs; the change is to be stored.
    fn set_callbacks(&mut self, urls: BTreeSet<String>) -> Change {
        let value = serde_json::to_vec(&urls).expect("a list of texts");
        self.callbacks = urls;
        self.records.retain(|(key, _)| key != CALLBACKS_KEY);
        self.records.push((CALLBACKS_KEY.to_owned(), value.clone()));
        Change::Put(CALLBACKS_KEY.to_owned(), value)
    }
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
        let mut urls = self.own.callbacks().clone();
        let is_change = if is_wanted {
            urls.insert(callback_url.clone())
        } else {
            urls.remove(&callback_url)
        };
        if is_wanted && is_change && urls.len() > MOST {
            let _ = reply.send(Err(CallError::TooManyCallbacks(MOST)));
            return;
        }
        if is_change {
            turn.own.before.get_or_insert_with(|| self.own.clone());
            turn.own.urls = Some(urls.clone());
            turn.mutations.push(self.own.set_callbacks(urls));
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
    pub(super) fn take_back(self, own: &mut Own, refusal: impl Fn() -> CallError) {
        if let Some(before) = self.before {
            *own = before;
        }
        for (reply, _) in self.answers {
            let _ = reply.send(Err(refusal()));
        }
    }
}
