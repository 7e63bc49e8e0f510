//! Statuses on their way to the master: numbered, kept until acknowledged.
//!
//! Holds at most two updates for each task the master launched and has not heard the end of, so it is bounded by what
//! the master itself ordered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use zddcluster_model::TaskId;
use zddcluster_model::agent::{StatusUpdate, TaskReport};

/// The queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    last_seq: u64,
    waiting: VecDeque<StatusUpdate>,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Queues an update, unless the very same one is waiting already.
    pub(crate) fn push(&self, report: TaskReport) {
        let mut queue = self.queue();
        if queue.waiting.iter().any(|update| update.report == report) {
            return;
        }
        queue.last_seq += 1;
        let seq = queue.last_seq;
        queue.waiting.push_back(StatusUpdate { seq, report });
        drop(queue);
        self.shared.more.notify_one();
    }

    /// The oldest updates, at most `limit`; waits for the first. Cancel-safe.
    pub(crate) async fn next_batch(&self, limit: usize) -> Vec<StatusUpdate> {
        loop {
            let batch: Vec<StatusUpdate> =
                self.queue().waiting.iter().take(limit).cloned().collect();
            if !batch.is_empty() {
                return batch;
            }
            self.shared.more.notified().await;
        }
    }

    /// Drops all up to `seq`, and tells whose last statuses were among them.
    pub(crate) fn acknowledge(&self, seq: u64) -> Vec<TaskId> {
        let mut queue = self.queue();
        let mut ended = Vec::new();
        while queue
            .waiting
            .front()
            .is_some_and(|update| update.seq <= seq)
        {
            if let Some(update) = queue.waiting.pop_front()
                && update.report.state.is_terminal()
            {
                ended.push(update.report.task_id);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zddcluster_model::TaskState;

    fn report(task: &str, state: TaskState) -> TaskReport {
        TaskReport {
            task_id: TaskId::new(task),
            state,
            message: String::new(),
            reason: None,
            ip_addresses: vec![],
        }
    }

    #[tokio::test]
    async fn kept_until_acknowledged() {
        let outbox = Outbox::default();
        outbox.push(report("a.1", TaskState::Running));
        outbox.push(report("a.1", TaskState::Failed));
        outbox.push(report("a.1", TaskState::Failed));
        outbox.push(report("b.1", TaskState::Running));
        let seqs = |batch: Vec<StatusUpdate>| {
            batch
                .into_iter()
                .map(|update| update.seq)
                .collect::<Vec<_>>()
        };
        assert_eq!(seqs(outbox.next_batch(2).await), [1, 2]);
        assert_eq!(seqs(outbox.next_batch(9).await), [1, 2, 3]);
        assert_eq!(outbox.acknowledge(2), [TaskId::new("a.1")]);
        assert_eq!(seqs(outbox.next_batch(9).await), [3]);
    }
}
