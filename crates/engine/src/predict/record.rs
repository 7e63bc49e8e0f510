//! Takes down the course of a plan: the visible picture whenever it changes, what happened, and the extremes.
//!
//! Only the apps that something happened to are looked at again, so that the work of a change does not grow with the plan.
//! It also says when nothing will come of waiting, which is [`progress`].

mod extremes;
mod picture;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::deployment::{ActionKind, Plan, Step};
use zddcluster_model::event::EventKind;
use zddcluster_model::{AppId, TaskId, TaskState, Timestamp};

use self::extremes::{Lowest, Most};
pub(super) use self::picture::standing;
use self::picture::{labels, picture};
use self::progress::Progress;
use super::label::Labels;
use super::timeline::{AppPicture, Change, Happened, Point, RestartBounds};
use super::world::Turned;
use crate::effect::Effect;
use crate::state::State;

/// Points kept: far more than anybody reads; a course in circles makes as many as it is let.
const POINTS_KEPT: usize = 1_000;

/// Pictures of apps kept, in all points together, where that is fewer points than [`POINTS_KEPT`]: an answer of some MB.
const PICTURES_KEPT: usize = 100_000;

/// The recorder.
pub(super) struct Recorder {
    plan: Arc<Plan>,
    start: Timestamp,
    apps: Vec<AppId>,
    /// Where each of them stands in `apps`, and in the points.
    idx: BTreeMap<AppId, usize>,
    labels: Vec<Labels>,
    /// The apps as they are now.
    pictures: Vec<AppPicture>,
    /// When they last changed, milliseconds since the start; `None` before the plan.
    moment: Option<i64>,
    pub(super) points: Vec<Point>,
    pub(super) points_left_out: usize,
    bounds: BTreeMap<AppId, RestartBounds>,
    lowest: Vec<Lowest>,
    most: Most,
    progress: Progress,
}

/// What one thing that happened is to the recorder.
#[derive(Default)]
struct News {
    happened: Vec<Happened>,
    /// Apps that it happened to, of the plan or not.
    touched: BTreeSet<AppId>,
    /// A deployment, ours or not, began a step or ended.
    is_of_deployment: bool,
}

impl Recorder {
    /// Begins with the state before the plan, which is T0.
    pub(super) fn new(plan: &Arc<Plan>, before: &State, start: Timestamp) -> Self {
        let apps = plan.affected_apps();
        let labels: Vec<Labels> = apps
            .iter()
            .map(|app_id| labels(plan, before, app_id))
            .collect();
        let pictures: Vec<AppPicture> = apps
            .iter()
            .zip(&labels)
            .map(|(app_id, labels)| picture(plan, before, app_id, labels))
            .collect();
        let lowest = pictures.iter().map(Lowest::at_first).collect();
        let most = Most::at_first(before, &apps);
        let before = Point {
            millis: 0,
            apps: pictures.clone(),
            happened: Vec::new(),
        };
        Self {
            plan: Arc::clone(plan),
            start,
            idx: apps.iter().cloned().zip(0..).collect(),
            apps,
            labels,
            pictures,
            moment: None,
            points: vec![before],
            points_left_out: 0,
            bounds: BTreeMap::new(),
            lowest,
            most,
            progress: Progress::new(start),
        }
    }

    /// Takes down what one thing that happened led to.
    pub(super) fn observe(&mut self, now: Timestamp, turned: &Turned, state: &State) {
        if turned.effects.is_empty() {
            return;
        }
        let News {
            happened,
            mut touched,
            is_of_deployment,
        } = self.news(turned, state);
        if is_of_deployment {
            touched.extend(self.apps.iter().cloned());
        }
        self.most.note_launches(&turned.effects, &self.idx, state);
        self.note_bounds(&touched, state);
        if touched.is_empty() {
            return;
        }
        let changed = self.redraw(&touched, state);
        if !happened.is_empty() {
            self.take_down(now, happened, &changed);
        }
        let is_forward = self.progress.look(now, &touched, is_of_deployment, state);
        if is_forward {
            self.progress.last_point = self.points.len() - 1;
        }
    }

    /// What these effects tell.
    fn news(&self, turned: &Turned, state: &State) -> News {
        let mut news = News::default();
        if let Some(task) = turned.ready.as_ref().and_then(|id| state.tasks.get(id)) {
            self.tell(&mut news, Change::Ready, &task.app_id, task.version);
        }
        let mut sick: BTreeSet<&TaskId> = BTreeSet::new();
        for effect in &turned.effects {
            let Effect::Publish(event) = effect else {
                continue;
            };
            match &event.kind {
                EventKind::UnhealthyTaskKill { task_id, .. } => {
                    sick.insert(task_id);
                }
                EventKind::StatusUpdate {
                    app_id,
                    version,
                    task_status,
                    task_id,
                    ..
                } => {
                    let change = match task_status {
                        TaskState::Staging => Change::Started,
                        TaskState::Running => Change::Runs,
                        TaskState::Killing if sick.contains(task_id) => Change::KilledForHealth,
                        TaskState::Killing => Change::Killed,
                        TaskState::Killed => Change::Ended,
                        TaskState::Finished
                        | TaskState::Failed
                        | TaskState::Lost
                        | TaskState::Error => Change::Failed,
                        TaskState::Starting => continue,
                    };
                    self.tell(&mut news, change, app_id, *version);
                }
                EventKind::HealthStatusChanged {
                    app_id,
                    version,
                    alive,
                    ..
                } => {
                    let change = if *alive {
                        Change::Healthy
                    } else {
                        Change::Unhealthy
                    };
                    self.tell(&mut news, change, app_id, *version);
                }
                EventKind::DeploymentInfo { plan, current_step } => {
                    news.is_of_deployment = true;
                    if plan.id == self.plan.id {
                        let step = plan.steps.iter().position(|step| step == current_step);
                        let count = step.map_or(1, |idx| idx as u32 + 1);
                        news.happened.push(of_all(Change::StepBegins, count));
                    }
                }
                EventKind::DeploymentSuccess { id, .. } => {
                    news.is_of_deployment = true;
                    if *id == self.plan.id {
                        news.happened.push(of_all(Change::Done, 1));
                    }
                }
                EventKind::DeploymentFailed { id, .. } => {
                    news.is_of_deployment = true;
                    if *id == self.plan.id {
                        news.happened.push(of_all(Change::Cancelled, 1));
                    }
                }
                _ => {}
            }
        }
        news
    }

    /// Something happened to tasks of one version of an app; apart from the plan's apps it only counts as progress.
    fn tell(&self, news: &mut News, what: Change, app_id: &AppId, version: Timestamp) {
        news.touched.insert(app_id.clone());
        let Some(idx) = self.idx.get(app_id) else {
            return;
        };
        push(
            &mut news.happened,
            Happened {
                what,
                app: Some(app_id.clone()),
                version: self.labels[*idx].of(version).to_owned(),
                count: 1,
            },
        );
    }

    /// Brings the pictures of these apps up to now; gives back where they stand.
    fn redraw(&mut self, touched: &BTreeSet<AppId>, state: &State) -> Vec<usize> {
        let own = touched.iter().filter_map(|app_id| self.idx.get(app_id));
        let own: Vec<usize> = own.copied().collect();
        for idx in own.iter().copied() {
            let (app_id, labels) = (&self.apps[idx], &self.labels[idx]);
            self.pictures[idx] = picture(&self.plan, state, app_id, labels);
        }
        own
    }

    fn take_down(&mut self, now: Timestamp, happened: Vec<Happened>, changed: &[usize]) {
        let millis = now.millis_since(self.start);
        // What happens in one moment is one change of the picture.
        if self.moment.replace(millis) == Some(millis) {
            for idx in changed.iter().copied() {
                self.lowest[idx].put(self.pictures[idx].serving);
            }
            if self.points_left_out == 0
                && let Some(last) = self.points.last_mut()
            {
                for idx in changed.iter().copied() {
                    last.apps[idx].clone_from(&self.pictures[idx]);
                }
                for one in happened {
                    push(&mut last.happened, one);
                }
            }
            return;
        }
        let number = self.points.len() + self.points_left_out;
        for (lowest, picture) in self.lowest.iter_mut().zip(&self.pictures) {
            lowest.begin(number, millis, picture.serving);
        }
        if self.points.len() >= points_kept(self.apps.len()) {
            self.points_left_out += 1;
            return;
        }
        self.points.push(Point {
            millis,
            apps: self.pictures.clone(),
            happened,
        });
    }

    /// When a running deployment last came forward.
    pub(super) const fn stands_still_since(&self) -> Timestamp {
        self.progress.since
    }

    /// The point of that time.
    pub(super) const fn last_step_forward(&self) -> usize {
        self.progress.last_point
    }
}

/// Points kept of a plan that acts on so many apps.
fn points_kept(n_apps: usize) -> usize {
    (PICTURES_KEPT / n_apps.max(1)).clamp(POINTS_KEPT / 10, POINTS_KEPT)
}

const fn of_all(what: Change, count: u32) -> Happened {
    Happened {
        what,
        app: None,
        version: String::new(),
        count,
    }
}

/// Adds to a list in which equal things in a row are one.
fn push(happened: &mut Vec<Happened>, one: Happened) {
    if let Some(last) = happened.last_mut()
        && one.app.is_some()
        && (&last.what, &last.app, &last.version) == (&one.what, &one.app, &one.version)
    {
        last.count += one.count;
        return;
    }
    happened.push(one);
}

fn actions_on(plan: &Plan, app_id: &AppId) -> Vec<ActionKind> {
    let of_step = |step: &Step| {
        let found = step
            .actions
            .binary_search_by(|action| action.app.cmp(app_id));
        found.ok().map(|idx| step.actions[idx].action)
    };
    plan.steps.iter().filter_map(of_step).collect()
}
