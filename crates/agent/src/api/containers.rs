//! `/monitor/statistics` and `/containers`: what each running task uses, measured when asked.
//!
//! Tasks are measured at once, so that a slow engine is waited for only once. One that nobody can measure (it is just ending, or the
//! engine is away) has an entry without statistics in `/containers` and none in `/monitor/statistics`, as in Mesos.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use zddcluster_model::TaskState;

use super::Api;
use super::state::container_status;
use crate::actor::{TaskView, View};
use crate::usage::Usage;

/// A running task and what it uses, if somebody can tell.
pub(super) type Measured<'a> = (&'a TaskView, Option<Usage>);

/// `/monitor/statistics`.
pub(super) async fn statistics(State(api): State<Api>) -> Response {
    entries(&api, |task, usage| {
        let mut entry = head(task);
        let statistics = statistics_json(task, &usage?);
        entry.insert("statistics".to_owned(), statistics);
        Some(entry)
    })
    .await
}

/// `/containers`.
pub(super) async fn containers(State(api): State<Api>) -> Response {
    entries(&api, |task, usage| {
        let mut entry = head(task);
        let id = &task.order.launch.container_id;
        entry.insert("container_id".to_owned(), json!(id));
        entry.insert("status".to_owned(), container_status(task));
        if let Some(usage) = usage {
            let statistics = statistics_json(task, &usage);
            entry.insert("statistics".to_owned(), statistics);
        }
        Some(entry)
    })
    .await
}

/// An entry for each running task that has one.
async fn entries(
    api: &Api,
    entry: impl Fn(&TaskView, Option<Usage>) -> Option<Map<String, Value>>,
) -> Response {
    let view = match api.view().await {
        Ok(view) => view,
        Err(refusal) => return refusal,
    };
    let measured = measure(api, &view).await;
    let entries = measured
        .into_iter()
        .filter_map(|(task, usage)| entry(task, usage));
    Json(entries.map(Value::from).collect::<Vec<_>>()).into_response()
}

/// Measures all running tasks.
pub(super) async fn measure<'a>(api: &Api, view: &'a View) -> Vec<Measured<'a>> {
    let running = view
        .tasks
        .iter()
        .filter(|task| task.state == TaskState::Running);
    join_all(running.map(|task| async move {
        match api.containerizer.usage(&task.order).await {
            Ok(usage) => (task, Some(usage)),
            Err(error) => {
                let task_id = &task.order.launch.task_id;
                tracing::debug!(task = %task_id, %error, "not measured");
                (task, None)
            }
        }
    }))
    .await
}

/// `ResourceStatistics`.
pub(super) fn statistics_json(task: &TaskView, usage: &Usage) -> Value {
    let Usage {
        cpu_user,
        cpu_system,
        memory_rss,
        memory_total,
        memory_limit,
        processes,
    } = usage;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut statistics = json!({
        "cpus_limit": task.order.launch.cpus,
        "cpus_system_time_secs": cpu_system.as_secs_f64(),
        "cpus_user_time_secs": cpu_user.as_secs_f64(),
        "mem_limit_bytes": memory_limit,
        "mem_rss_bytes": memory_rss,
        "processes": processes,
        "timestamp": now.as_secs_f64(),
    });
    if let Some(total) = memory_total {
        statistics["mem_total_bytes"] = (*total).into();
    }
    statistics
}

fn head(task: &TaskView) -> Map<String, Value> {
    let launch = &task.order.launch;
    let head = [
        ("executor_id", launch.task_id.as_str()),
        ("executor_name", ""),
        ("framework_id", &launch.framework_id),
        ("source", launch.task_id.as_str()),
    ];
    let head = head.map(|(name, value)| (name.to_owned(), value.into()));
    head.into_iter().collect()
}
