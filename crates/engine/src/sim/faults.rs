//! What breaks: masters, stores, agents, tasks, edges, clocks.

use zddcluster_model::{TaskState, Timestamp};

use super::agents::TaskTurn;
use super::world::{Happening, Note, World};
use crate::Engine;
use crate::input::{Command, Input};

/// How the master dies, or nearly.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// Between two batches.
    BetweenBatches,
    /// The last batch is in the store, and nobody has heard of it.
    AfterCommit,
    /// The last batch has not reached the store.
    BeforeCommit,
    /// It lives, but the store refuses the last batch.
    StoreRefuses,
}

impl World {
    /// Something breaks, and something else will soon.
    pub(super) fn fault(&mut self) {
        if self.is_peaceful {
            return;
        }
        let index = self.below(self.agents.len() as u32) as usize;
        match self.below(20) {
            0..=4 => {
                let crash = self.pick(&[
                    Crash::BetweenBatches,
                    Crash::AfterCommit,
                    Crash::AfterCommit,
                    Crash::BeforeCommit,
                    Crash::BeforeCommit,
                    Crash::StoreRefuses,
                ]);
                if !self.is_holding {
                    self.flush();
                    self.is_holding = true;
                    let most = self.pick(&[1, 50, 2_000]);
                    let delay = i64::from(self.below(most));
                    self.after(delay, Happening::Crash(crash));
                }
            }
            5..=7 => {
                let back_after = i64::from(self.below(20_000));
                self.watch.fault();
                self.disconnect(index, back_after);
            }
            8 => {
                let back_after = 60_000 + i64::from(self.below(150_000));
                self.watch.fault();
                self.disconnect(index, back_after);
            }
            9 => {
                let forgets_itself = self.one_in(3);
                self.watch.fault();
                self.reboot(index, forgets_itself);
            }
            10..=12 => {
                if let Some(task_id) = self.some_process(index) {
                    let state = self.pick(&[TaskState::Failed, TaskState::Finished]);
                    self.watch.fault();
                    self.task_turn(index, &task_id, TaskTurn::Ends(state));
                }
            }
            13..=15 => {
                // An edge goes, and comes back.
                if let Some(edge_id) = self.edges.pop_first() {
                    self.step(Input::EdgeDisconnected(edge_id.clone()));
                    self.after(2_000, Happening::EdgeConnects(edge_id));
                }
            }
            16 => {
                // The machine slept, or somebody set the clock.
                let most = self.pick(&[20_000, 600_000]);
                self.flush_unless_holding();
                self.now += i64::from(self.below(most));
                self.watch.fault();
                self.tell(|| "the clock jumps".to_owned());
            }
            17 if self.one_in(2) => self.go_down(),
            17 => self.request(Command::Abdicate),
            _ => self.kill_by_api(),
        }
        let next = 500 + i64::from(self.below(25_000));
        self.after(next, Happening::Fault);
    }

    fn flush_unless_holding(&mut self) {
        if !self.is_holding {
            self.flush();
        }
    }

    /// The cluster is stopped with all its tasks, and started again a while later.
    fn go_down(&mut self) {
        if self.is_holding {
            return;
        }
        self.flush();
        self.watch.fault();
        self.request(Command::StopTasks);
        let delay = i64::from(self.below(30_000));
        self.after(delay, Happening::Crash(Crash::BetweenBatches));
    }

    /// The master dies, or its store fails, with or without its last batch.
    pub(super) fn crash_master(&mut self, crash: Crash) {
        self.is_holding = false;
        self.tell(|| format!("the master is killed: {crash:?}"));
        match crash {
            Crash::BetweenBatches => self.flush(),
            Crash::AfterCommit => {
                let batch = std::mem::take(&mut self.batch);
                self.commit(&batch);
                self.snapshot = self.engine.state().clone();
            }
            Crash::BeforeCommit => self.batch.clear(),
            Crash::StoreRefuses => {
                self.refuse_batch();
                return;
            }
        }
        self.compare_with_store();
        self.users.master_died(&self.snapshot);
        let down = i64::from(self.below(3_000));
        self.now += down;
        self.epoch += 1;
        self.config.seed += 1 << 32;
        self.checks.forget();
        let records = self.store.clone();
        let now = Timestamp::from_millis(self.now);
        self.engine = Engine::restore(self.config.clone(), now, records)
            .expect("a store of ours is readable");
        self.snapshot = self.engine.state().clone();
        self.compare_with_store();
        self.users.check(&self.snapshot);
        self.watch.master_restarted(self.now, &self.snapshot);
        self.agents.all_streams_end();
        for agent in 0..self.agents.len() {
            let delay = i64::from(self.below(1_500));
            self.after(delay, Happening::Register { agent });
        }
        for edge_id in std::mem::take(&mut self.edges) {
            // Some do not come back.
            if !self.one_in(8) {
                let delay = i64::from(self.below(1_500));
                self.after(delay, Happening::EdgeConnects(edge_id));
            }
        }
        self.step(Input::Wake);
    }

    /// The store has no room: what was decided is undone, callers hear of it, and what would not come again is put off.
    fn refuse_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let Some(first) = batch.first() else { return };
        self.engine.roll_back(first.before.clone());
        self.watch.fault();
        let mut put_off = Vec::new();
        for decided in batch {
            match decided.note {
                Note::Registration(ticket) => self.registration_failed(ticket),
                Note::Command(ticket)
                | Note::ResetDelay(ticket, _)
                | Note::Abdicate(ticket)
                | Note::Wipe(ticket, ..)
                | Note::StopTasks(ticket) => self.users.refused(ticket),
                _ => {}
            }
            put_off.extend(decided.unrepeated);
        }
        self.set_wake();
        for input in put_off {
            self.step(input);
        }
        for agent in 0..self.agents.len() {
            self.report_soon(agent);
        }
    }

    /// What an input's sender learns once it is durable.
    pub(super) fn acknowledge(&mut self, note: &Note) {
        if let Note::Status(agent_id, task_id, state) = note {
            self.agents.acknowledge(agent_id, task_id, *state);
        }
    }
}
