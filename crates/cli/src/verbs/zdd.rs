//! `zddcluster zdd`: Marathon-LB's zero-downtime deployments, step by step, as its zdd.py does them.
//!
//! One app of a deployment group is replaced by the next: the new one grows, old tasks drain at the edge and are killed when
//! nothing is in flight on them, and the old app is deleted at last. All state is in the apps' labels: a swap that
//! was broken off, by whatever, goes on with `--resume`, or back with `--rollback`. Works with any Marathon and with any edge that
//! speaks HAProxy's statistics. Exit codes are zdd.py's.
//!
//! Source: contract marathon-lb §5.

mod definition;
mod drive;
mod edges;
mod swap;

use std::io::{self, BufRead as _};
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use self::definition::{GROUP, STARTED_AT, Supplied, Wanted, label};
use self::drive::Drive;
use self::edges::Edges;
use self::swap::{Plan, Side};
use crate::args::{BARE_JSON, ZddArgs};
use crate::cluster::{ClusterFile, data_dir};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::Printer;

/// The edge's port for statistics.
const STATS_PORT: u16 = 9090;

/// Why a swap ended early: zdd.py's exit codes, and what to say.
#[derive(Debug)]
pub(super) struct Halt {
    pub(super) code: Code,
    pub(super) failure: Failure,
}

/// zdd.py's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Refused = 1,
    Unforeseen = 2,
    Flags = 3,
    Field = 4,
    Edge = 5,
    Read = 6,
    Create = 7,
    Delete = 8,
    Scale = 9,
}

impl Code {
    pub(super) fn halt(self, failure: impl Into<Failure>) -> Halt {
        Halt {
            code: self,
            failure: failure.into(),
        }
    }

    pub(super) fn stated(self, message: impl Into<String>) -> Halt {
        self.halt(Failure::stated(message))
    }
}

pub(super) async fn run(args: &ZddArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let json = args
        .json
        .as_deref()
        .filter(|path| *path != Path::new(BARE_JSON));
    let Some(file) = args.file.as_deref().or(json) else {
        return Err(Failure::with_hint(
            "no definition is named",
            "zddcluster zdd FILE",
        ));
    };
    let is_json = printer.is_json() || (args.file.is_some() && args.json.is_some());
    let talk = Talk {
        printer,
        is_json,
        force: args.force,
    };
    match attempt(args, file, &talk).await {
        Ok(()) => Ok(ExitStatus::Success),
        Err(Halt {
            failure: Failure::BrokenPipe,
            ..
        }) => Err(Failure::BrokenPipe),
        Err(Halt { code, failure }) => {
            printer.error(&failure, failure.hint());
            Ok(ExitStatus::Zdd(code as u8))
        }
    }
}

/// How the user is spoken to.
pub(super) struct Talk<'a> {
    printer: &'a Printer,
    is_json: bool,
    force: bool,
}

impl Talk<'_> {
    /// Tells of a step: as a line of JSON, or in words.
    pub(super) fn step(&self, event: &Value, words: &str) -> Result<(), Halt> {
        let text = if self.is_json {
            event.to_string()
        } else {
            words.to_owned()
        };
        self.printer
            .data(&text)
            .map_err(|failure| Code::Unforeseen.halt(failure))
    }

    /// Asks, unless it is not to be asked.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Halt> {
        if self.force {
            return Ok(());
        }
        let ask = || -> Result<bool, Failure> {
            self.printer.raw(&format!("{question} [Y/n] "))?;
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer);
            let n_read = read.map_err(|source| Failure::File {
                action: "read",
                path: "stdin".into(),
                source,
            })?;
            if n_read == 0 {
                self.printer.data("")?;
                return Err(Failure::with_hint(
                    "There is no answer on stdin.",
                    "to go on without being asked: --force",
                ));
            }
            Ok(["", "y", "ye", "yes"].contains(&answer.trim().to_lowercase().as_str()))
        };
        match ask() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Code::Refused.stated("nothing more was done")),
            Err(failure) => Err(Code::Refused.halt(failure)),
        }
    }
}

async fn attempt(args: &ZddArgs, file: &Path, talk: &Talk<'_>) -> Result<(), Halt> {
    let n_modes = usize::from(args.complete_cur) + usize::from(args.complete_prev);
    if n_modes > 1 || (n_modes > 0 && (args.new_instances > 0 || args.pause_at.is_some())) {
        return Err(Code::Flags
            .stated("--complete-cur, --complete-prev and --new-instances exclude each other"));
    }
    let supplied = Supplied {
        group: args.group.clone(),
        port: args.port,
        alt_port: args.alt_port,
    };
    let definition = definition::read(read_file(file)?, &supplied);
    let definition = definition.map_err(|unusable| Code::Field.stated(unusable.to_string()))?;
    let marathon = match &args.marathon {
        Some(url) => Front::at_url(url),
        None => Front::locate(&args.data_dir),
    };
    let marathon = marathon.map_err(|failure| Code::Read.halt(failure))?;
    let backend = format!(
        "{}_{}",
        definition.group.trim_start_matches('/').replace('/', "_"),
        definition.port()
    );
    let apps = marathon
        .direct(Method::GET, "v2/apps", None)
        .await
        .map_err(|failure| Code::Read.halt(failure))?;
    let mut apps = of_group(&apps, &definition.group);
    let resumes = args.resume || args.complete_cur || args.complete_prev;
    let (old, new, plan) = match apps.len() {
        0 | 1 if args.complete_cur || args.complete_prev => {
            return Err(Code::Flags.stated(format!(
                "no swap of the group {} is under way: it has {} apps",
                definition.group,
                apps.len()
            )));
        }
        0 | 1 => {
            let last = apps.pop();
            let new_instances = match (args.pause_at, &last) {
                (Some(percent), Some(last)) => {
                    let n = last["instances"].as_u64().unwrap_or(0);
                    // At least one, and not all: that would be no stop.
                    (n * percent)
                        .div_ceil(100)
                        .clamp(1, n.saturating_sub(1).max(1))
                }
                _ => args.new_instances,
            };
            let wanted = Wanted {
                initial: args.initial_instances,
                new: new_instances,
            };
            let (app, notes) = definition.next(last.as_ref(), wanted, &now());
            for note in notes {
                talk.printer.talk(&format!("note: {note}"));
            }
            talk.printer.talk("Final app definition:");
            talk.printer
                .json(&app)
                .map_err(|failure| Code::Unforeseen.halt(failure))?;
            if args.dry_run {
                return Ok(());
            }
            talk.confirm("Continue with deployment?")?;
            let created = marathon.direct(Method::POST, "v2/apps", Some(&app)).await;
            created.map_err(|failure| Code::Create.halt(failure))?;
            let id = app["id"].as_str().unwrap_or_default().to_owned();
            let event = json!({"event": "created", "app": id, "instances": app["instances"]});
            talk.step(
                &event,
                &format!("created {id} with {} instances", app["instances"]),
            )?;
            let Some(last) = last else { return Ok(()) };
            let stop_at = Side::read(&app).stop_at;
            (
                last["id"].as_str().unwrap_or_default().to_owned(),
                id,
                stop_at,
            )
        }
        2 if resumes => {
            apps.sort_by_key(|app| label(app, STARTED_AT).unwrap_or_default().to_owned());
            if args.complete_prev {
                apps.reverse();
            }
            let id = |app: &Value| app["id"].as_str().unwrap_or_default().to_owned();
            let is_whole = args.complete_cur || args.complete_prev;
            let stop_at = if is_whole {
                0
            } else {
                Side::read(&apps[1]).stop_at
            };
            if args.dry_run {
                return Ok(());
            }
            talk.confirm(&format!(
                "Continue with {} in place of {}?",
                id(&apps[1]),
                id(&apps[0])
            ))?;
            (id(&apps[0]), id(&apps[1]), stop_at)
        }
        n => {
            let hint = "--resume goes on, --rollback goes back";
            let message = format!(
                "a swap of the group {} is under way: it has {n} apps",
                definition.group
            );
            return Err(Code::Unforeseen.halt(Failure::with_hint(message, hint)));
        }
    };
    let edges = edges(args)?;
    let drive = Drive {
        marathon,
        edges,
        backend,
        plan: Plan {
            stop_at: plan,
            linear: args.linear_increase,
        },
        args,
        talk,
    };
    drive.swap(&old, &new).await
}

fn read_file(path: &Path) -> Result<Value, Halt> {
    let text = std::fs::read(path).map_err(|source| {
        Code::Unforeseen.halt(Failure::File {
            action: "read",
            path: path.to_owned(),
            source,
        })
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        Code::Unforeseen.stated(format!("{} is not JSON: {error}", path.display()))
    })
}

/// The apps of a deployment group among all.
fn of_group(apps: &Value, group: &str) -> Vec<Value> {
    let bare = |group: &str| group.trim().trim_start_matches('/').to_owned();
    let is_of_group = |app: &&Value| label(app, GROUP).is_some_and(|it| bare(it) == bare(group));
    apps["apps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_of_group)
        .cloned()
        .collect()
}

/// The edges that are meant: those of the command line, else the local cluster's.
fn edges(args: &ZddArgs) -> Result<Edges, Halt> {
    let url = match &args.marathon_lb {
        Some(url) => url.clone(),
        None => {
            let of_cluster =
                data_dir(args.data_dir.get()).and_then(|dir| ClusterFile::read_running(&dir));
            let cluster = of_cluster.map_err(|error| Code::Edge.halt(error))?;
            let edge = cluster
                .and_then(|cluster| cluster.addresses.edge)
                .ok_or_else(|| {
                    let hint = "name its port for statistics: --marathon-lb http://127.0.0.2:9090";
                    Code::Edge.halt(Failure::with_hint("no edge is known", hint))
                })?;
            format!("http://{}", std::net::SocketAddr::new(edge, STATS_PORT))
        }
    };
    Edges::at(&url).map_err(|error| Code::Edge.stated(error.to_string()))
}

/// The time as zdd.py writes it, but of the zone UTC.
fn now() -> String {
    let now = zddcluster_model::Timestamp::from_millis(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }),
    );
    now.to_string().trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests;
