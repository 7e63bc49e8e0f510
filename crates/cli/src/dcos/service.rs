//! `dcos service …`: frameworks, as Mesos calls them.
//!
//! Source: dcoscli 0.6.1 `service/main.py`; contract dcos-cli §9.

use http::Method;
use serde_json::Value;

use super::{Context, log};
use crate::args::{ServiceArgs, ServiceVerb, TailArgs};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Body, app_path, query_value};
use crate::sandbox::{AgentState, Tail};
use crate::table::{Align, Table};
use crate::text::python;

/// Names the framework that an app is the scheduler of.
const FRAMEWORK_LABEL: &str = "DCOS_PACKAGE_FRAMEWORK_NAME";

pub(super) async fn run(args: ServiceArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let ServiceArgs {
        completed,
        inactive,
        json,
        verb,
    } = args;
    match verb {
        None => list(completed, inactive, json, context).await,
        Some(ServiceVerb::Log {
            tail,
            ssh_config_file: _,
            service,
            file,
        }) if service == "marathon" => print_log_of_marathon(tail, file, context).await,
        Some(ServiceVerb::Log {
            tail,
            ssh_config_file: _,
            service,
            file,
        }) => print_log(tail, &service, file.as_deref(), context).await,
        Some(ServiceVerb::Shutdown { service_id }) => {
            let body = Body::form(format!("frameworkId={}", query_value(&service_id)));
            context
                .front
                .tell_mesos("/mesos/master/teardown", body)
                .await?;
            Ok(ExitStatus::Success)
        }
    }
}

async fn list(
    completed: bool,
    inactive: bool,
    json: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let state: Value = context.front.mesos("/mesos/master/state.json").await?;
    let of = |key: &str| state[key].as_array().into_iter().flatten();
    let known = of("frameworks").filter(|framework| inactive || framework["active"] == true);
    let gone = of("completed_frameworks").filter(|_| completed);
    let frameworks: Vec<&Value> = known.chain(gone).collect();
    if context.wants_json(json) {
        context.printer.json(&frameworks)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("HOST", Align::Center),
        ("ACTIVE", Align::Center),
        ("TASKS", Align::Center),
        ("CPU", Align::Center),
        ("MEM", Align::Center),
        ("DISK", Align::Center),
        ("ID", Align::Left),
    ]);
    for framework in frameworks {
        let resources = &framework["resources"];
        let n_tasks = framework["tasks"].as_array().map_or(0, Vec::len);
        table.row([
            python(&framework["name"]),
            python(&framework["hostname"]),
            python(&framework["active"]),
            n_tasks.to_string(),
            python(&resources["cpus"]),
            python(&resources["mem"]),
            python(&resources["disk"]),
            python(&framework["id"]),
        ]);
    }
    context.table(table.sorted())
}

/// Marathon's log is the master's. The original goes there by ssh and asks its journal.
async fn print_log_of_marathon(
    tail: TailArgs,
    file: Option<String>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    if file.is_some() {
        return Err(Failure::stated(
            "The <file> argument is invalid for marathon. The systemd journal is always used for the marathon log.",
        ));
    }
    let TailArgs { follow, lines } = tail;
    let file = Tail::at("master:/master/log".to_owned(), "/mesos", "/master/log");
    log::print(vec![file], lines, follow, context).await
}

/// The log of the only task of the only app that is the scheduler of a framework.
async fn print_log(
    tail: TailArgs,
    service: &str,
    file: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let apps = context.front.marathon(Method::GET, "v2/apps", None).await?;
    let apps = apps["apps"].as_array().into_iter().flatten();
    let ids: Vec<&str> = apps
        .filter(|app| app["labels"][FRAMEWORK_LABEL] == service)
        .filter_map(|app| app["id"].as_str())
        .collect();
    let app_id = match ids.as_slice() {
        [id] => *id,
        [] => {
            return Err(Failure::stated(format!(
                "No marathon apps found for service name [{service}]"
            )));
        }
        several => {
            let several: Vec<String> = several.iter().map(|id| format!("[{id}]")).collect();
            return Err(Failure::stated(format!(
                "Multiple marathon apps found for service name [{service}]: {}",
                several.join(", ")
            )));
        }
    };
    let path = app_path(app_id);
    let app = context.front.marathon(Method::GET, &path, None).await?;
    let tasks = app["app"]["tasks"].as_array();
    let [task] = tasks.map_or(&[][..], Vec::as_slice) else {
        let n_tasks = tasks.map_or(0, Vec::len);
        return Err(Failure::stated(format!(
            "We expected marathon app [{app_id}] to be running 1 task, but we instead found {n_tasks} tasks"
        )));
    };
    let text = |key: &str| task[key].as_str().unwrap_or_default();
    let (task_id, agent_id) = (text("id"), text("slaveId"));
    let agent = AgentState::read(agent_id, &context.front).await?;
    let directory = agent.sandbox_of(task_id);
    let directory = directory.ok_or_else(|| Failure::stated("No files exist. Exiting."))?;
    let file = Tail::of_task(task_id, agent_id, directory, file.unwrap_or("stdout"));
    let TailArgs { follow, lines } = tail;
    log::print(vec![file], lines, follow, context).await
}
