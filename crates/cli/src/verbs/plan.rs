//! `zddcluster plan`: what an update will do, drawn as the lab draws it, before it happens.
//!
//! ```text
//!   words ─[input]─▶ request ──▶ the running master, POST /zdd/v1/plan ──▶ timeline ─[draw]─▶ picture
//!                        └─────▶ [offline]: the same engine, in this process ──▲
//! ```

mod draw;
mod input;
mod offline;

use http::Method;
use zddcluster_engine::predict::Timeline;
use zddcluster_engine::predict::timeline::Outcome;

use crate::args::PlanArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::Printer;

pub(super) async fn run(args: &PlanArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let wanted = input::wanted(&args.words)?;
    let assumptions = args.assumed.assumptions();
    let request = wanted.request(args.force, &assumptions);
    let timeline: Timeline = if args.place.is_offline() {
        offline::predict(&args.place, &request)?
    } else {
        let front = Front::locate(&args.place.data_dir)?;
        front.zdd(Method::POST, "plan", Some(&request)).await?
    };
    if printer.is_json() {
        printer.json(&timeline)?;
    } else {
        printer.data(&draw::drawn(&timeline))?;
        for hint in draw::hints(&timeline) {
            printer.hint(hint);
        }
    }
    Ok(match timeline.verdict.outcome {
        Outcome::Finishes => ExitStatus::Success,
        Outcome::CannotFinish | Outcome::Unknown => ExitStatus::Failure,
    })
}

#[cfg(test)]
mod tests;
