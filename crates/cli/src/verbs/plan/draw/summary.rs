//! What is to be known under the picture: how long, how few, how much, whether, and why not.

use std::fmt::Write as _;

use zddcluster_engine::predict::timeline::{AppOutline, Hindrance, Outcome, Peak};
use zddcluster_engine::predict::{Assumptions, Share, Timeline};
use zddcluster_model::AppId;

use super::duration;
use crate::printer::HEADING;
use crate::text::printable;

/// Agents shown one by one.
const MOST_AGENTS: usize = 4;

/// Apps of which it is told one by one how long their answers take.
const MOST_ANSWERS: usize = 4;

/// What can be done about each kind of hindrance.
pub(super) const fn hint(kind: Hindrance) -> Option<&'static str> {
    Some(match kind {
        Hindrance::Resources => {
            "add an agent, or let old tasks go first with a lower minimumHealthCapacity and maximumOverCapacity"
        }
        Hindrance::Constraint => "relax the constraint, or add agents that meet it",
        Hindrance::Ports => {
            "leave the choice of the port to the cluster (requirePorts false), or let old tasks go first with a lower minimumHealthCapacity"
        }
        Hindrance::Role => "name a role that agents have in acceptedResourceRoles",
        Hindrance::Agent => "start agents, or bring those back that are away",
        Hindrance::Volume => {
            "bring back the agent that has the volume, or give the data up with DELETE /v2/apps/ID/tasks?wipe=true; external volumes are never attached"
        }
        Hindrance::Health => {
            "look at path, port and timeoutSeconds of the check; a running update is undone with: dcos marathon deployment rollback ID"
        }
        Hindrance::Readiness => {
            "look at path, portName and httpStatusCodesForReady of the check; a running update is undone with: dcos marathon deployment rollback ID"
        }
        Hindrance::Crash => {
            "try the command alone; the log of a task tells more: dcos task log ID stderr"
        }
        Hindrance::Other => return None,
    })
}

pub(super) fn summary(timeline: &Timeline) -> String {
    let mut text = String::new();
    let has_many = timeline.apps.len() > 1;
    if let Some(millis) = timeline.total_millis {
        let _ = writeln!(text, "takes      {}", duration(millis));
    }
    for app in &timeline.apps {
        if let Some(capacity) = capacity(app) {
            let of = if has_many {
                format!("{}: ", app.app)
            } else {
                String::new()
            };
            let _ = writeln!(text, "capacity   {of}{capacity}");
        }
    }
    let _ = writeln!(text, "use        {}", peak(&timeline.usage.cluster));
    let agents = &timeline.usage.agents;
    for agent in agents.iter().take(MOST_AGENTS) {
        let _ = writeln!(text, "           {}: {}", agent.hostname, peak(&agent.peak));
    }
    if agents.len() > MOST_AGENTS {
        let n = agents.len() - MOST_AGENTS;
        let _ = writeln!(text, "           and {n} more agents");
    }
    let _ = writeln!(text, "assumed    {}", assumed(timeline));
    if timeline.speed != 1.0 {
        let _ = writeln!(
            text,
            "           the cluster's clocks run {} times as fast",
            timeline.speed
        );
    }
    let stands = timeline.verdict.stands_since.map_or_else(String::new, |n| {
        let millis = timeline.points.get(n).map_or(0, |point| point.millis);
        format!("stands still after T{n} (+{})", duration(millis))
    });
    let verdict = match timeline.verdict.outcome {
        Outcome::Finishes => "it finishes".to_owned(),
        Outcome::CannotFinish => format!("IT CANNOT FINISH: {stands}"),
        Outcome::Unknown => "it is not known whether it finishes".to_owned(),
    };
    let _ = writeln!(text, "verdict    {HEADING}{verdict}{HEADING:#}");
    for reason in &timeline.verdict.reasons {
        let _ = writeln!(
            text,
            "           {}: {}",
            reason.app,
            printable(&reason.text)
        );
    }
    text
}

/// How few tasks serve at worst; nothing for an app that is new, removed or wanted with no instances.
fn capacity(app: &AppOutline) -> Option<String> {
    let share = app.capacity.share?;
    let wanted = app.instances_before?.min(app.instances_after?);
    let lowest = app.capacity.lowest;
    if lowest >= wanted {
        return Some(format!("never fewer than {wanted} of {wanted} serve"));
    }
    let percent = (share * 100.0).round();
    let serve = match lowest {
        0 => "NOTHING SERVES".to_owned(),
        1 => format!("at worst 1 of {wanted} serves ({percent} %)"),
        n => format!("at worst {n} of {wanted} serve ({percent} %)"),
    };
    let how_long = match app.capacity.for_millis {
        0 => String::new(),
        millis => format!(", for {} in all", duration(millis)),
    };
    Some(format!("{serve} from T{} on{how_long}", app.capacity.at))
}

fn peak(peak: &Peak) -> String {
    format!(
        "at most {} of {} cpus, {} of {} MiB",
        peak.cpus, peak.cpus_offered, peak.mem, peak.mem_offered
    )
}

/// How long answers to checks take; app by app where they differ. Nothing without checks.
fn answers(apps: &[AppOutline]) -> Option<String> {
    let mut times: Vec<(f64, &AppId)> = apps
        .iter()
        .filter_map(|app| Some((app.answer_seconds?, &app.app)))
        .collect();
    times.dedup_by_key(|(seconds, _)| *seconds);
    match times.as_slice() {
        [] => None,
        [(seconds, _)] => Some(format!("answers take {seconds} s")),
        several => {
            let each = several
                .iter()
                .map(|(seconds, app)| format!("{seconds} s ({app})"));
            let each: Vec<String> = each.take(MOST_ANSWERS).collect();
            let more = if several.len() > MOST_ANSWERS {
                ", …"
            } else {
                ""
            };
            Some(format!("answers take {}{more}", each.join(", ")))
        }
    }
}

fn assumed(timeline: &Timeline) -> String {
    let Assumptions {
        start_seconds,
        kill_seconds,
        ignores_sigterm,
        drain_seconds: _,
        answer_seconds: _,
        healthy_seconds,
        ready_seconds,
        health_answers,
        fails,
        crashes,
    } = &timeline.assumptions;
    let mut parts = vec![format!("a task runs {start_seconds} s after its launch")];
    parts.push(if *ignores_sigterm {
        "ends when its kill grace is over".to_owned()
    } else {
        format!("ends {kill_seconds} s after SIGTERM")
    });
    parts.extend(answers(&timeline.apps));
    if !healthy_seconds.is_empty() {
        let each: Vec<String> = healthy_seconds.iter().map(f64::to_string).collect();
        parts.push(format!("healthy after {} s", each.join(", ")));
    }
    if *ready_seconds > 0.0 {
        parts.push(format!("ready after {ready_seconds} s"));
    }
    if !health_answers.is_empty() {
        let words = health_answers.iter();
        let words: Vec<&str> = words
            .map(|is_good| if *is_good { "good" } else { "bad" })
            .collect();
        parts.push(format!("health answers {}", words.join(", ")));
    }
    if !fails.is_none() {
        let tasks = if *fails == Share::Some(1) {
            "task"
        } else {
            "tasks"
        };
        parts.push(format!("checks of {fails} new {tasks} never pass"));
    }
    if !crashes.is_none() {
        parts.push(match crashes {
            Share::Some(1) => "1 new task ends by itself".to_owned(),
            crashes => format!("{crashes} new tasks end by themselves"),
        });
    }
    parts.join(", ")
}
