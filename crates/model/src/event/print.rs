//! The JSON of events, keys in Marathon's order, `eventType` and `timestamp` last.
//!
//! Source: contract marathon §5.3; the recording of the lab.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Event, EventKind};

impl Event {
    /// The `eventType`, also the `event:` line of the stream.
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl EventKind {
    /// The `eventType`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ApiPost { .. } => "api_post_event",
            Self::StatusUpdate { .. } => "status_update_event",
            Self::AddHealthCheck { .. } => "add_health_check_event",
            Self::RemoveHealthCheck { .. } => "remove_health_check_event",
            Self::FailedHealthCheck { .. } => "failed_health_check_event",
            Self::HealthStatusChanged { .. } => "health_status_changed_event",
            Self::UnhealthyTaskKill { .. } => "unhealthy_task_kill_event",
            Self::GroupChangeSuccess { .. } => "group_change_success",
            Self::GroupChangeFailed { .. } => "group_change_failed",
            Self::DeploymentInfo { .. } => "deployment_info",
            Self::DeploymentStepSuccess { .. } => "deployment_step_success",
            Self::DeploymentStepFailure { .. } => "deployment_step_failure",
            Self::DeploymentSuccess { .. } => "deployment_success",
            Self::DeploymentFailed { .. } => "deployment_failed",
            Self::UnknownTaskTerminated { .. } => "unknown_task_terminated_event",
            Self::AppTerminated { .. } => "app_terminated_event",
            Self::EventStreamAttached { .. } => "event_stream_attached",
            Self::EventStreamDetached { .. } => "event_stream_detached",
            Self::Subscribe { .. } => "subscribe_event",
            Self::Unsubscribe { .. } => "unsubscribe_event",
            Self::SchedulerRegistered { .. } => "scheduler_registered_event",
            Self::SchedulerReregistered { .. } => "scheduler_reregistered_event",
            Self::SchedulerDisconnected => "scheduler_disconnected_event",
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The length is a hint; JSON does not need it.
        let mut event = serializer.serialize_struct("Event", 11)?;
        let mut timestamp = self.timestamp;
        match &self.kind {
            EventKind::ApiPost {
                client_ip,
                uri,
                app,
            } => {
                event.serialize_field("clientIp", client_ip)?;
                event.serialize_field("uri", uri)?;
                event.serialize_field("appDefinition", app)?;
            }
            EventKind::StatusUpdate {
                slave_id,
                task_id,
                task_status,
                message,
                app_id,
                host,
                ip_addresses,
                ports,
                version,
            } => {
                event.serialize_field("slaveId", slave_id)?;
                event.serialize_field("taskId", task_id)?;
                event.serialize_field("taskStatus", task_status)?;
                event.serialize_field("message", message)?;
                event.serialize_field("appId", app_id)?;
                event.serialize_field("host", host)?;
                if let Some(ip_addresses) = ip_addresses {
                    event.serialize_field("ipAddresses", ip_addresses)?;
                }
                event.serialize_field("ports", ports)?;
                event.serialize_field("version", version)?;
            }
            EventKind::AddHealthCheck {
                app_id,
                version,
                health_check,
            } => {
                event.serialize_field("appId", app_id)?;
                event.serialize_field("version", version)?;
                event.serialize_field("healthCheck", health_check)?;
            }
            EventKind::RemoveHealthCheck { app_id } | EventKind::AppTerminated { app_id } => {
                event.serialize_field("appId", app_id)?;
            }
            EventKind::UnknownTaskTerminated {
                task_id,
                app_id,
                status,
            } => {
                event.serialize_field("taskId", task_id)?;
                event.serialize_field("runSpecId", app_id)?;
                event.serialize_field("status", status)?;
                // Its type comes last, unlike everywhere else.
                event.serialize_field("timestamp", &timestamp)?;
                event.serialize_field("eventType", self.name())?;
                return event.end();
            }
            EventKind::FailedHealthCheck {
                app_id,
                task_id,
                health_check,
            } => {
                event.serialize_field("appId", app_id)?;
                event.serialize_field("taskId", task_id)?;
                event.serialize_field("healthCheck", health_check)?;
            }
            EventKind::HealthStatusChanged {
                app_id,
                task_id,
                version,
                alive,
            } => {
                event.serialize_field("appId", app_id)?;
                event.serialize_field("taskId", task_id)?;
                event.serialize_field("version", version)?;
                event.serialize_field("alive", alive)?;
            }
            EventKind::UnhealthyTaskKill {
                app_id,
                task_id,
                version,
                reason,
                host,
                slave_id,
                last_failure,
            } => {
                event.serialize_field("appId", app_id)?;
                event.serialize_field("taskId", task_id)?;
                event.serialize_field("version", version)?;
                event.serialize_field("reason", reason)?;
                event.serialize_field("host", host)?;
                event.serialize_field("slaveId", slave_id)?;
                timestamp = *last_failure;
            }
            EventKind::GroupChangeSuccess { group_id, version } => {
                event.serialize_field("groupId", group_id)?;
                event.serialize_field("version", version)?;
            }
            EventKind::GroupChangeFailed {
                group_id,
                version,
                reason,
            } => {
                event.serialize_field("groupId", group_id)?;
                event.serialize_field("version", version)?;
                event.serialize_field("reason", reason)?;
            }
            EventKind::DeploymentInfo { plan, current_step }
            | EventKind::DeploymentStepSuccess { plan, current_step }
            | EventKind::DeploymentStepFailure { plan, current_step } => {
                event.serialize_field("plan", plan)?;
                event.serialize_field("currentStep", current_step)?;
            }
            EventKind::DeploymentSuccess { id, plan }
            | EventKind::DeploymentFailed { id, plan } => {
                event.serialize_field("id", id)?;
                event.serialize_field("plan", plan)?;
            }
            EventKind::EventStreamAttached { remote_address }
            | EventKind::EventStreamDetached { remote_address } => {
                event.serialize_field("remoteAddress", remote_address)?;
            }
            EventKind::Subscribe {
                client_ip,
                callback_url,
            }
            | EventKind::Unsubscribe {
                client_ip,
                callback_url,
            } => {
                event.serialize_field("clientIp", client_ip)?;
                event.serialize_field("callbackUrl", callback_url)?;
            }
            EventKind::SchedulerRegistered {
                framework_id,
                master,
            } => {
                event.serialize_field("frameworkId", framework_id)?;
                event.serialize_field("master", master)?;
            }
            EventKind::SchedulerReregistered { master } => {
                event.serialize_field("master", master)?;
            }
            EventKind::SchedulerDisconnected => {}
        }
        event.serialize_field("eventType", self.name())?;
        event.serialize_field("timestamp", &timestamp)?;
        event.end()
    }
}
