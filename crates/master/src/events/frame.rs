//! One event on the wire, in the forms that readers want: with or without its `id:` line, with or without its plan's trees.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AppId, Group};

use super::Form;
use super::readers::Taste;

/// An event that is rendered when the first reader wants it, and then never again.
pub(super) struct Frame<'a> {
    id: u64,
    event: &'a Event,
    full: OnceCell<Text>,
    light: OnceCell<Option<Text>>,
}

/// The bytes of an event, shared by all who read it.
#[derive(Clone, Debug)]
pub(super) struct Text {
    bytes: Bytes,
    /// Length of the `id:` line in front.
    id_length: usize,
}

impl Text {
    /// CRLF line ends, one data line (contract marathon §5.1).
    pub(super) fn new(id: u64, name: &str, json: &str) -> Self {
        let id_line = format!("id: {id}\r\n");
        Self {
            id_length: id_line.len(),
            bytes: format!("{id_line}event: {name}\r\ndata: {json}\r\n\r\n").into(),
        }
    }

    /// What a stream sends; the same memory either way.
    pub(super) fn bytes(&self, with_id: bool) -> Bytes {
        if with_id {
            self.bytes.clone()
        } else {
            self.bytes.slice(self.id_length..)
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Frame<'a> {
    pub(super) const fn new(id: u64, event: &'a Event) -> Self {
        Self {
            id,
            event,
            full: OnceCell::new(),
            light: OnceCell::new(),
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn name(&self) -> &'static str {
        self.event.name()
    }

    /// How often the event was rendered.
    pub(super) fn n_rendered(&self) -> u64 {
        let light = self.light.get().is_some_and(Option::is_some);
        u64::from(self.full.get().is_some()) + u64::from(light)
    }

    /// The event in a form; a light one differs from the full one only if it has a plan.
    pub(super) fn text(&self, form: Form) -> &Text {
        if form == Form::Light
            && let Some(light) = self.light.get_or_init(|| {
                let json = without_trees(self.event)?;
                Some(Text::new(self.id, self.name(), &json))
            })
        {
            return light;
        }
        self.full.get_or_init(|| {
            let json = serde_json::to_string(self.event).expect("events have string keys only");
            Text::new(self.id, self.name(), &json)
        })
    }

    /// What goes to streams of a taste; `None` if they do not want the event.
    pub(super) fn bytes_for(&self, taste: &Taste) -> Option<Bytes> {
        taste
            .is_for(self.name())
            .then(|| self.text(taste.form).bytes(taste.with_ids))
    }
}

/// The JSON of an event that carries a plan, without the plan's trees (Z21); the trees are not even looked at.
fn without_trees(event: &Event) -> Option<String> {
    let lighter = |plan: &Arc<Plan>| {
        let none = Arc::new(Group::empty(AppId::root(), plan.version));
        let (original, target) = (Arc::clone(&none), none);
        Arc::new(Plan {
            id: plan.id.clone(),
            original,
            target,
            steps: plan.steps.clone(),
            version: plan.version,
        })
    };
    let timestamp = event.timestamp;
    let kind = match &event.kind {
        EventKind::DeploymentInfo { plan, current_step } => EventKind::DeploymentInfo {
            plan: lighter(plan),
            current_step: current_step.clone(),
        },
        EventKind::DeploymentStepSuccess { plan, current_step } => {
            EventKind::DeploymentStepSuccess {
                plan: lighter(plan),
                current_step: current_step.clone(),
            }
        }
        EventKind::DeploymentStepFailure { plan, current_step } => {
            EventKind::DeploymentStepFailure {
                plan: lighter(plan),
                current_step: current_step.clone(),
            }
        }
        EventKind::DeploymentSuccess { id, plan } => EventKind::DeploymentSuccess {
            id: id.clone(),
            plan: lighter(plan),
        },
        EventKind::DeploymentFailed { id, plan } => EventKind::DeploymentFailed {
            id: id.clone(),
            plan: lighter(plan),
        },
        // These have no plan.
        EventKind::ApiPost { .. }
        | EventKind::StatusUpdate { .. }
        | EventKind::AddHealthCheck { .. }
        | EventKind::RemoveHealthCheck { .. }
        | EventKind::FailedHealthCheck { .. }
        | EventKind::HealthStatusChanged { .. }
        | EventKind::UnhealthyTaskKill { .. }
        | EventKind::GroupChangeSuccess { .. }
        | EventKind::GroupChangeFailed { .. }
        | EventKind::UnknownTaskTerminated { .. }
        | EventKind::AppTerminated { .. }
        | EventKind::EventStreamAttached { .. }
        | EventKind::EventStreamDetached { .. }
        | EventKind::Subscribe { .. }
        | EventKind::Unsubscribe { .. }
        | EventKind::SchedulerRegistered { .. }
        | EventKind::SchedulerReregistered { .. }
        | EventKind::SchedulerDisconnected => return None,
    };
    let mut value =
        serde_json::to_value(Event { timestamp, kind }).expect("events have string keys only");
    let plan = value.get_mut("plan")?.as_object_mut()?;
    plan.shift_remove("original");
    plan.shift_remove("target");
    Some(value.to_string())
}
