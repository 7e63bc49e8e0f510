//! The picture: a line for each change, as the lab draws it, and under it what is to be known.
//!
//! ```text
//! T1    +0.0 s  [0.9] (0.9) (0.9) (0.9) <1.0>  deployment begins, 3 × 0.9 killed, 1 × 1.0 started
//! ```

mod summary;

use std::fmt::Write as _;

use zddcluster_engine::predict::Timeline;
use zddcluster_engine::predict::timeline::{
    AppOutline, AppPicture, Change, Happened, Outcome, Point, Standing, Tasks,
};
use zddcluster_model::deployment::ActionKind;

use crate::printer::HEADING;
use crate::text::printable;

/// With more tasks of an app at once they are counted instead of drawn one by one.
const MOST_DRAWN: u32 = 10;

/// Points shown after the last one that was progress: enough to see what goes round.
const POINTS_OF_A_CIRCLE: usize = 6;

/// What to do about what keeps an update from its end, each advice once.
pub(super) fn hints(timeline: &Timeline) -> Vec<&'static str> {
    let reasons = timeline.verdict.reasons.iter();
    let mut hints: Vec<&str> = reasons
        .filter_map(|reason| summary::hint(reason.kind))
        .collect();
    hints.dedup();
    hints
}

/// Everything that is printed.
pub(super) fn drawn(timeline: &Timeline) -> String {
    let mut text = String::new();
    for app in &timeline.apps {
        let _ = writeln!(text, "{HEADING}{}{HEADING:#}  {}", app.app, outline(app));
    }
    if !timeline.steps.is_empty() {
        text.push('\n');
        text.push_str(&picture(timeline));
        text.push('\n');
        text.push_str(&summary::summary(timeline));
    }
    for note in &timeline.notes {
        let _ = writeln!(text, "note       {}", printable(note));
    }
    text.truncate(text.trim_end().len());
    text
}

fn outline(app: &AppOutline) -> String {
    let what = match app.actions.as_slice() {
        [ActionKind::RestartApplication] => "is replaced",
        [ActionKind::ScaleApplication] => "is scaled",
        [ActionKind::StopApplication] => "is removed",
        actions if actions.contains(&ActionKind::StartApplication) => "is new",
        _ => "is changed",
    };
    let instances = match (app.instances_before, app.instances_after) {
        (Some(before), Some(after)) if before != after => format!("{before} to {after} instances"),
        (_, Some(n)) | (Some(n), None) => instances(n),
        (None, None) => instances(0),
    };
    let bounds = app.bounds.map_or_else(String::new, |bounds| {
        format!(
            "; at least {} kept, at most {} at once",
            bounds.min_healthy, bounds.max_capacity
        )
    });
    format!("{what}: {instances}{bounds}")
}

fn instances(n: u32) -> String {
    if n == 1 {
        "1 instance".to_owned()
    } else {
        format!("{n} instances")
    }
}

// === The picture ===

/// A line of the picture, in columns.
struct Line {
    point: String,
    time: String,
    app: String,
    tasks: String,
    happened: String,
}

fn picture(timeline: &Timeline) -> String {
    let n_points = timeline.points.len();
    let n_shown = match timeline.verdict.stands_since {
        Some(since) => n_points.min(since + 1 + POINTS_OF_A_CIRCLE),
        None => n_points,
    };
    let shown = &timeline.points[..n_shown];
    let has_many = timeline.apps.len() > 1;
    let counted: Vec<bool> = (0..timeline.apps.len())
        .map(|idx| {
            shown
                .iter()
                .any(|point| n_tasks(&point.apps[idx]) > MOST_DRAWN)
        })
        .collect();
    let mut lines = Vec::new();
    for (n, point) in shown.iter().enumerate() {
        let time = match n {
            0 => "before".to_owned(),
            _ => format!("+{}", duration(point.millis)),
        };
        let mut labels = Some((format!("T{n}"), time));
        for (idx, own) in shown_apps(timeline, point, n) {
            let (point_name, time) = labels.take().unwrap_or_default();
            let app = if has_many {
                timeline.apps[idx].app.as_str()
            } else {
                ""
            };
            lines.push(Line {
                point: point_name,
                time,
                app: app.to_owned(),
                tasks: tasks(&point.apps[idx], counted[idx]),
                happened: story(&own, timeline.steps.len()),
            });
        }
    }
    let mut text = columns(&lines);
    let goes_round = timeline
        .verdict
        .stands_since
        .is_some_and(|since| n_points > since + 1);
    if goes_round && timeline.verdict.outcome == Outcome::CannotFinish {
        text.push_str("…   and so on, for ever\n");
    }
    let _ = write!(text, "\n{}", legend(shown));
    text
}

/// The apps to be drawn at a point, with what happened to each: of many only those to which something did.
///
/// What happens to the deployment itself stands at the first, its end at the last.
fn shown_apps<'a>(
    timeline: &Timeline,
    point: &'a Point,
    n: usize,
) -> Vec<(usize, Vec<&'a Happened>)> {
    let of = |app| {
        point
            .happened
            .iter()
            .filter(move |one| one.app.as_ref() == app)
    };
    let apps = timeline.apps.iter().enumerate();
    let mut shown: Vec<(usize, Vec<&Happened>)> = apps
        .map(|(idx, app)| (idx, of(Some(&app.app)).collect()))
        .filter(|(_, own): &(usize, Vec<_>)| n == 0 || !own.is_empty())
        .collect();
    if shown.is_empty() && !timeline.apps.is_empty() {
        shown.push((0, Vec::new()));
    }
    let (ends, begins): (Vec<&Happened>, Vec<&Happened>) =
        of(None).partition(|one| matches!(one.what, Change::Done | Change::Cancelled));
    if let Some((_, own)) = shown.first_mut() {
        own.splice(0..0, begins);
    }
    if let Some((_, own)) = shown.last_mut() {
        own.extend(ends);
    }
    shown
}

fn columns(lines: &[Line]) -> String {
    let width = |of: fn(&Line) -> &str| {
        let widths = lines.iter().map(|line| of(line).chars().count());
        widths.max().unwrap_or(0)
    };
    let (point, time) = (width(|line| &line.point), width(|line| &line.time));
    let (app, tasks) = (width(|line| &line.app), width(|line| &line.tasks));
    let mut text = String::new();
    for line in lines {
        let mut row = format!("{:<point$}  {:>time$}  ", line.point, line.time);
        if app > 0 {
            let _ = write!(row, "{:<app$}  ", line.app);
        }
        let _ = write!(row, "{:<tasks$}  {}", line.tasks, line.happened);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn n_tasks(app: &AppPicture) -> u32 {
    app.tasks.iter().map(|tasks| tasks.count).sum()
}

fn tasks(app: &AppPicture, is_counted: bool) -> String {
    let mut drawn: Vec<String> = Vec::new();
    for tasks in &app.tasks {
        let symbol = symbol(tasks);
        if is_counted {
            drawn.push(format!("{} × {symbol}", tasks.count));
        } else {
            drawn.extend(std::iter::repeat_n(symbol, tasks.count as usize));
        }
    }
    if app.waiting > 0 {
        drawn.push(format!("+{} waiting", app.waiting));
    }
    if drawn.is_empty() {
        drawn.push("-".to_owned());
    }
    drawn.join(" ")
}

fn symbol(tasks: &Tasks) -> String {
    let (open, close) = brackets(tasks.standing);
    format!("{open}{}{close}", tasks.version)
}

const fn brackets(standing: Standing) -> (char, char) {
    match standing {
        Standing::Serving => ('[', ']'),
        Standing::Running => ('{', '}'),
        Standing::Staging => ('<', '>'),
        Standing::Killing => ('(', ')'),
    }
}

/// What happened, equal things together, in the order in which they began.
fn story(happened: &[&Happened], n_steps: usize) -> String {
    let mut sums: Vec<(Change, &str, u32)> = Vec::new();
    for one in happened {
        let known = sums
            .iter_mut()
            .find(|(what, version, _)| (*what, *version) == (one.what, one.version.as_str()));
        match known {
            Some((.., count)) if one.app.is_some() => *count += one.count,
            _ => sums.push((one.what, &one.version, one.count)),
        }
    }
    let words = sums.into_iter().map(|(what, version, count)| {
        let verb = match what {
            Change::StepBegins if n_steps == 1 => return "deployment begins".to_owned(),
            Change::StepBegins => return format!("step {count} of {n_steps} begins"),
            Change::Done => return "deployment done".to_owned(),
            Change::Cancelled => return "deployment cancelled".to_owned(),
            Change::Started => "started",
            Change::Runs if count == 1 => "runs",
            Change::Runs => "run",
            Change::Healthy => "healthy",
            Change::Unhealthy => "unhealthy",
            Change::Ready => "ready",
            Change::Killed => "killed",
            Change::KilledForHealth => "killed for bad health",
            Change::Ended => "ended",
            Change::Failed => "failed",
        };
        format!("{count} × {version} {verb}")
    });
    words.collect::<Vec<_>>().join(", ")
}

fn legend(points: &[Point]) -> String {
    let all = [
        (Standing::Serving, "serves"),
        (Standing::Running, "runs, not healthy or ready yet"),
        (Standing::Staging, "starts"),
        (Standing::Killing, "killed, not ended yet"),
    ];
    let is_used = |standing: Standing| {
        let apps = points.iter().flat_map(|point| &point.apps);
        let mut tasks = apps.flat_map(|app| &app.tasks);
        tasks.any(|tasks| tasks.standing == standing)
    };
    let entries = all.into_iter().filter(|(standing, _)| is_used(*standing));
    let entries = entries.map(|(standing, meaning)| {
        let (open, close) = brackets(standing);
        format!("{open}x{close} {meaning}")
    });
    entries.collect::<Vec<_>>().join("   ") + "\n"
}

/// `7.6 s`, `1 min 7.6 s`, `2 h 3 min`.
fn duration(millis: i64) -> String {
    // Tenths, so that 59.96 s is a minute.
    let tenths = (millis + 50) / 100;
    let (minutes, tenths) = (tenths / 600, tenths % 600);
    let seconds = format!("{}.{} s", tenths / 10, tenths % 10);
    match minutes {
        0 => seconds,
        1..60 => format!("{minutes} min {seconds}"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}
