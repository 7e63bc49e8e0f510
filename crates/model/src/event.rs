//! What the event bus carries.
//!
//! The engine publishes [`Event`]s; the master renders them as Marathon's JSON (contract marathon §5.3) once, and only if
//! somebody listens. Plans and apps are shared, never copied.

mod print;

use std::sync::Arc;

use crate::app::{App, HealthCheck};
use crate::deployment::{Plan, Step};
use crate::id::{AgentId, AppId, DeploymentId, TaskId};
use crate::task::{IpAddress, TaskState};
use crate::time::Timestamp;

/// One event with the time it was published; times never decrease in stream order.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// The events of Marathon's catalogue that the cluster produces.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are the wire's keys, described in the contract"
)]
pub enum EventKind {
    /// `api_post_event`: a definition was written by POST or single PUT.
    ApiPost {
        client_ip: String,
        uri: String,
        app: Arc<App>,
    },
    /// `status_update_event`: a task changed state.
    StatusUpdate {
        slave_id: AgentId,
        task_id: TaskId,
        task_status: TaskState,
        message: String,
        app_id: AppId,
        host: String,
        ip_addresses: Option<Vec<IpAddress>>,
        ports: Vec<u16>,
        version: Timestamp,
    },
    /// `add_health_check_event`: a check starts for an app version.
    AddHealthCheck {
        app_id: AppId,
        version: Timestamp,
        health_check: HealthCheck,
    },
    /// `remove_health_check_event`: an app's check ends with the app.
    RemoveHealthCheck { app_id: AppId },
    /// `failed_health_check_event`: a counted failure.
    FailedHealthCheck {
        app_id: AppId,
        task_id: TaskId,
        health_check: HealthCheck,
    },
    /// `health_status_changed_event`: a check's `alive` flipped.
    HealthStatusChanged {
        app_id: AppId,
        task_id: TaskId,
        version: Timestamp,
        alive: bool,
    },
    /// `unhealthy_task_kill_event`: a task is killed for its health.
    UnhealthyTaskKill {
        app_id: AppId,
        task_id: TaskId,
        version: Timestamp,
        reason: String,
        host: String,
        slave_id: AgentId,
        last_failure: Timestamp,
    },
    /// `group_change_success`.
    GroupChangeSuccess { group_id: AppId, version: Timestamp },
    /// `group_change_failed`.
    GroupChangeFailed {
        group_id: AppId,
        version: Timestamp,
        reason: String,
    },
    /// `deployment_info`: a step starts.
    DeploymentInfo { plan: Arc<Plan>, current_step: Step },
    /// `deployment_step_success`.
    DeploymentStepSuccess { plan: Arc<Plan>, current_step: Step },
    /// `deployment_step_failure`.
    DeploymentStepFailure { plan: Arc<Plan>, current_step: Step },
    /// `deployment_success`.
    DeploymentSuccess { id: DeploymentId, plan: Arc<Plan> },
    /// `deployment_failed`.
    DeploymentFailed { id: DeploymentId, plan: Arc<Plan> },
    /// `unknown_task_terminated_event`: the end of a task that was given up, or that nobody knows.
    UnknownTaskTerminated {
        task_id: TaskId,
        app_id: AppId,
        status: TaskState,
    },
    /// `app_terminated_event`: an app has been stopped for good.
    AppTerminated { app_id: AppId },
    /// `event_stream_attached`: somebody began to read the events.
    EventStreamAttached { remote_address: String },
    /// `event_stream_detached`: somebody stopped reading the events.
    EventStreamDetached { remote_address: String },
    /// `subscribe_event`: a callback was subscribed.
    Subscribe {
        client_ip: String,
        callback_url: String,
    },
    /// `unsubscribe_event`: a callback was taken back.
    Unsubscribe {
        client_ip: String,
        callback_url: String,
    },
    /// `scheduler_registered_event`: the cluster has just come to be.
    SchedulerRegistered {
        framework_id: String,
        master: String,
    },
    /// `scheduler_reregistered_event`: decisions are made again.
    SchedulerReregistered { master: String },
    /// `scheduler_disconnected_event`: no decisions are made for now.
    SchedulerDisconnected,
}
