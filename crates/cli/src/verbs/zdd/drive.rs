//! Carrying a swap out: asking, waiting, scaling, killing.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::edges::Edges;
use super::swap::{Move, Plan, Seen, Side};
use super::{Code, Halt, Talk};
use crate::args::ZddArgs;
use crate::failure::Failure;
use crate::front::{Front, app_path};
use crate::text;

/// A swap under way.
pub(super) struct Drive<'a> {
    pub(super) marathon: Front,
    pub(super) edges: Edges,
    /// The group's backend at the edges.
    pub(super) backend: String,
    pub(super) plan: Plan,
    pub(super) args: &'a ZddArgs,
    pub(super) talk: &'a Talk<'a>,
}

impl Drive<'_> {
    /// Replaces `old` by `new`, or as much of it as is wanted.
    pub(super) async fn swap(&self, old: &str, new: &str) -> Result<(), Halt> {
        let mut n_steps = 0;
        let mut has_scaled = false;
        let mut end = self.end_of_wait();
        loop {
            let (old, new) = self.fetch(old, new).await?;
            let (old_side, new_side) = (Side::read(&old), Side::read(&new));
            if self.plan.is_stopped(&old_side, &new_side) {
                let event = json!({"event": "stopped", "old": old_side.instances, "new": new_side.instances});
                let words = format!(
                    "stopped with {} old and {} new instances; --complete-cur goes on, --rollback goes back",
                    old_side.instances, new_side.instances
                );
                return self.talk.step(&event, &words);
            }
            let awaited = self.awaited(&old_side, &new_side, has_scaled, end).await?;
            let Some((seen, kill)) = awaited else {
                continue;
            };
            n_steps += 1;
            self.tell(n_steps, &old_side, &new_side, &seen)?;
            let Some(kill) = kill else {
                return self.delete(&old_side).await;
            };
            if !kill.is_empty() {
                self.kill(&old, &new, &kill).await?;
            }
            let next = self.plan.next(&old_side, &new_side);
            if next != new_side.instances {
                self.scale(&new_side, next).await?;
                has_scaled = true;
            } else if kill.is_empty() {
                let message = format!(
                    "nothing moves: {} old, {} new instances",
                    old_side.instances, new_side.instances
                );
                let hint = "--resume tries again, --rollback goes back; zddcluster explain tells why a task waits";
                return Err(Code::Unforeseen.halt(Failure::with_hint(message, hint)));
            }
            sleep(self.delay()).await;
            end = self.end_of_wait();
        }
    }

    fn end_of_wait(&self) -> Instant {
        Instant::now() + Duration::from_secs_f64(self.args.max_wait)
    }

    /// Both apps, as soon as neither is being changed that matters.
    async fn fetch(&self, old: &str, new: &str) -> Result<(Value, Value), Halt> {
        let mut waits = None;
        loop {
            let mut sides = Vec::new();
            for id in [old, new] {
                let answer = self.marathon.direct(Method::GET, &app_path(id), None).await;
                let answer = answer.map_err(|failure| Code::Read.halt(failure))?;
                sides.push(answer["app"].clone());
            }
            // On the way back it does not matter what becomes of the younger app: it may never get well.
            let n_ignored = usize::from(self.args.complete_prev);
            let is_deploying = sides
                .iter()
                .skip(n_ignored)
                .map(Side::read)
                .find(|side| side.is_deploying);
            let (Some(new), Some(old)) = (sides.pop(), sides.pop()) else {
                return Err(Code::Read.stated("Marathon answers without the apps"));
            };
            match is_deploying {
                None => return Ok((old, new)),
                Some(side) => {
                    self.wait(&format!("the deployment of {}", side.id), &mut waits)
                        .await?
                }
            }
        }
    }

    /// Waits until the edges allow a move, not beyond `end`; returns what is seen then and which old tasks may go, `None`
    /// for the whole old app. Nothing at all if other tasks have come into the place of those that were read.
    async fn awaited(
        &self,
        old: &Side,
        new: &Side,
        has_scaled: bool,
        end: Instant,
    ) -> Result<Option<(Seen, Option<Vec<String>>)>, Halt> {
        let mut waits = None;
        let mut is_first = true;
        loop {
            let is_over = Instant::now() >= end;
            let awaited = match self.edges.look(&self.backend).await {
                Ok(seen) => {
                    let found = match self.args.complete_prev {
                        true => seen.back(old, new, has_scaled),
                        false => seen.forward(old, new, self.plan),
                    };
                    let found = match found {
                        // Whatever is in flight had its time.
                        Move::Wait(_) if is_over => {
                            self.plan.after(old, new, seen.drained(old, false))
                        }
                        found => found,
                    };
                    match found {
                        Move::Go(kill) => return Ok(Some((seen, Some(kill)))),
                        Move::Delete => return Ok(Some((seen, None))),
                        Move::Wait(awaited) => awaited,
                    }
                }
                Err(error) if is_first || is_over => {
                    return Err(Code::Edge.stated(text::chain(&error)));
                }
                Err(error) => text::chain(&error),
            };
            is_first = false;
            self.wait(&awaited, &mut waits).await?;
            if self.has_moved(old).await || self.has_moved(new).await {
                return Ok(None);
            }
        }
    }

    /// Whether an app has other tasks than were read: what has died was replaced, and the edges speak of the new ones.
    async fn has_moved(&self, side: &Side) -> bool {
        let path = app_path(&side.id);
        let answer = self.marathon.direct(Method::GET, &path, None).await;
        // Whoever is away may be back at the next look.
        answer.is_ok_and(|answer| Side::read(&answer["app"]).tasks != side.tasks)
    }

    /// Pauses; tells once what for.
    async fn wait(&self, what: &str, told: &mut Option<String>) -> Result<(), Halt> {
        if told.as_deref() != Some(what) {
            self.talk.step(
                &json!({"event": "waiting", "for": what}),
                &format!("  waiting for {what}"),
            )?;
            *told = Some(what.to_owned());
        }
        sleep(self.delay()).await;
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::from_secs_f64(self.args.step_delay)
    }

    fn tell(&self, n: usize, old: &Side, new: &Side, seen: &Seen) -> Result<(), Halt> {
        let (n_up, n_draining) = (seen.n_up(), seen.n_draining());
        let event = json!({
            "event": "step", "step": n, "up": n_up, "draining": n_draining,
            "old": {"app": old.id, "instances": old.instances},
            "new": {"app": new.id, "instances": new.instances, "target": new.target},
        });
        let words = format!(
            "step {n}: {} {}, {} {} of {}; {n_up} up, {n_draining} draining",
            old.id, old.instances, new.id, new.instances, new.target
        );
        self.talk.step(&event, &words)
    }

    async fn delete(&self, old: &Side) -> Result<(), Halt> {
        self.talk
            .confirm(&format!("Delete the old app {}?", old.id))?;
        let path = format!(
            "{}{}",
            app_path(&old.id),
            if self.args.complete_prev {
                "?force=true"
            } else {
                ""
            }
        );
        let deleted = self.marathon.direct(Method::DELETE, &path, None).await;
        deleted.map_err(|failure| Code::Delete.halt(failure))?;
        self.talk.step(
            &json!({"event": "deleted", "app": old.id}),
            &format!("deleted {}; done", old.id),
        )
    }

    async fn kill(&self, old: &Value, new: &Value, ids: &[String]) -> Result<(), Halt> {
        self.run_hook(old, new, ids).await?;
        self.talk
            .confirm(&format!("Kill {} drained tasks?", ids.len()))?;
        let force = if self.args.complete_prev {
            "&force=true"
        } else {
            ""
        };
        let path = format!("v2/tasks/delete?scale=true{force}");
        let killed = self
            .marathon
            .direct(Method::POST, &path, Some(&json!({"ids": ids})))
            .await;
        killed.map_err(|failure| Code::Scale.halt(failure))?;
        self.talk.step(
            &json!({"event": "killed", "ids": ids}),
            &format!("  killed {}", ids.join(" ")),
        )
    }

    async fn run_hook(&self, old: &Value, new: &Value, ids: &[String]) -> Result<(), Halt> {
        let Some(hook) = &self.args.pre_kill_hook else {
            return Ok(());
        };
        let mut command = tokio::process::Command::new(hook);
        command
            .arg(old.to_string())
            .arg(json!(ids).to_string())
            .arg(new.to_string());
        let ended = command.status().await.map_err(|source| {
            Code::Unforeseen.halt(Failure::File {
                action: "run",
                path: hook.clone(),
                source,
            })
        })?;
        if ended.success() {
            return Ok(());
        }
        Err(Code::Refused.stated(format!(
            "{} ended with {ended}: nothing was killed",
            hook.display()
        )))
    }

    async fn scale(&self, new: &Side, instances: u64) -> Result<(), Halt> {
        let scaled = self
            .marathon
            .direct(
                Method::PUT,
                &app_path(&new.id),
                Some(&json!({"instances": instances})),
            )
            .await;
        scaled.map_err(|failure| Code::Scale.halt(failure))?;
        let event = json!({"event": "scaled", "app": new.id, "instances": instances});
        self.talk
            .step(&event, &format!("  scaled {} to {instances}", new.id))
    }
}
