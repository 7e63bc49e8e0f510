//! What the writer does while the store has failed: refuse, put off, and know when to try again.

use std::time::Duration;

use tokio::time::Instant;
use zddcluster_engine::Input;
use zddcluster_runtime::{Backoff, chain};
use zddcluster_store::StoreError;

use crate::error::CallError;
use crate::shared::Message;

/// First and longest pause between attempts to reopen a failed store: a full disk is seldom freed within seconds.
const REOPEN_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A store that failed.
pub(crate) struct Broken {
    reason: String,
    backoff: Backoff,
    retry_at: Instant,
    /// What would not come again by itself.
    put_off: Vec<Message>,
}

impl Broken {
    /// A store that has just failed with `error`; `put_off` is to be done when it works again.
    pub(super) fn new(error: &StoreError, put_off: Vec<Message>) -> Self {
        let mut backoff = Backoff::new(REOPEN_PAUSE.0, REOPEN_PAUSE.1);
        let retry_at = Instant::now() + backoff.next();
        Self {
            reason: chain(error),
            backoff,
            retry_at,
            put_off,
        }
    }

    /// The same store after it failed again.
    pub(super) fn again(&mut self, error: &StoreError) {
        self.reason = chain(error);
        self.retry_at = Instant::now() + self.backoff.next();
    }

    /// Why it failed, with causes.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// When to try it again.
    pub(super) const fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// What is to be done now that it works again.
    pub(super) fn into_put_off(self) -> Vec<Message> {
        self.put_off
    }

    /// What a caller hears.
    pub(super) fn refusal(&self) -> CallError {
        CallError::Unavailable(format!("the state cannot be stored: {}", self.reason))
    }

    /// Answers a message that comes while nothing can be stored.
    pub(super) fn refuse(&mut self, message: Message) {
        match message {
            Message::Command { reply, .. } | Message::Register { reply, .. } => {
                let _ = reply.send(Err(self.refusal()));
            }
            Message::Statuses { reply, .. } => {
                let _ = reply.send(Err(self.refusal()));
            }
            Message::Subscription(subscription) => {
                let _ = subscription.reply.send(Err(self.refusal()));
            }
            Message::Input(input) => {
                if is_unrepeated(&input) {
                    self.put_off.push(Message::Input(input));
                }
            }
            Message::AgentGone { .. } | Message::EdgeOpened(_) | Message::EdgeGone { .. } => {
                self.put_off.push(message);
            }
        }
    }
}

/// True for what its sender will not say again by itself.
pub(super) const fn is_unrepeated(input: &Input) -> bool {
    match input {
        Input::AgentDisconnected { .. }
        | Input::EdgeConnected(_)
        | Input::EdgeDisconnected(_)
        | Input::Drained { .. }
        | Input::Downloaded { .. }
        | Input::Slept { .. }
        | Input::Readiness { is_ready: true, .. } => true,
        Input::Command { .. }
        | Input::AgentRegistered { .. }
        | Input::TaskStatus { .. }
        | Input::Health { .. }
        | Input::Readiness {
            is_ready: false, ..
        }
        | Input::Wake => false,
    }
}

#[cfg(test)]
mod tests {
    use zddcluster_model::TaskId;
    use zddcluster_model::task::ReadinessResponse;

    use super::*;

    #[test]
    fn a_task_says_only_once_that_it_is_ready() {
        let mut broken = Broken::new(&StoreError::NeedsReopen, Vec::new());
        for is_ready in [false, true] {
            broken.refuse(Message::Input(Input::Readiness {
                task_id: TaskId::new("a.b"),
                is_ready,
                response: ReadinessResponse {
                    status: 200,
                    content_type: String::new(),
                    body: String::new(),
                },
            }));
        }
        let put_off = broken.into_put_off();
        assert!(matches!(
            put_off[..],
            [Message::Input(Input::Readiness { is_ready: true, .. })]
        ));
    }
}
