//! `dcos node …`: the agents, their logs, and names as Mesos-DNS has them.

mod ssh;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, log, marathon, metrics};
use crate::args::{FormerArgs, MetricsVerb, NodeArgs, NodeLogArgs, NodeVerb, TailArgs};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Body, path_segment};
use crate::sandbox::Tail;
use crate::table::{Align, Table};
use crate::text::python;

/// The columns of the list; a field of this name is there already.
const COLUMNS: [&str; 3] = ["HOSTNAME", "IP", "ID"];

pub(super) async fn run(args: NodeArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let NodeArgs { json, field, verb } = args;
    match verb {
        None => list(json, &field, context).await,
        Some(NodeVerb::Log(args)) => print_log(args, context).await,
        Some(NodeVerb::Dns { json, dns_name }) => {
            let hosts = hosts(&dns_name, context).await?;
            if context.wants_json(json) {
                context.printer.json(&hosts)?;
                return Ok(ExitStatus::Success);
            }
            context.table(hosts_table(hosts))
        }
        Some(NodeVerb::Metrics(verb)) => {
            let (MetricsVerb::Details { id, .. } | MetricsVerb::Summary { id, .. }) = &verb;
            let path = format!("/system/v1/agent/{}/metrics/v0/node", path_segment(id));
            let points = metrics::read(&path, context).await?;
            metrics::print_node(&verb, points, context)
        }
        Some(NodeVerb::Decommission { mesos_id }) => decommission(&mesos_id, context).await,
        Some(NodeVerb::ListComponents {
            leader,
            mesos_id,
            json,
        }) => list_components(leader, mesos_id.as_deref(), json, context).await,
        Some(NodeVerb::Diagnostics(_)) => marathon::refuse_diagnostics(context).await,
        Some(NodeVerb::Ssh(args)) => ssh::run(args, context).await,
    }
}

/// What is called otherwise by now.
trait NoLongerSo {
    fn refuse(&self) -> Result<(), Failure>;
}

impl NoLongerSo for FormerArgs {
    fn refuse(&self) -> Result<(), Failure> {
        let Self { master, slave } = self;
        let (former, present) = match (master, slave) {
            (true, _) => ("--master", "--leader"),
            (_, Some(_)) => ("--slave", "--mesos-id"),
            (false, None) => return Ok(()),
        };
        Err(Failure::stated(format!(
            "{former} has been deprecated. Please use {present}."
        )))
    }
}

async fn list(json: bool, fields: &[String], context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let mut summary: Value = context.front.mesos("/mesos/master/state-summary").await?;
    let slaves = summary["slaves"].take();
    if context.wants_json(json) {
        context.printer.json(&slaves)?;
        return Ok(ExitStatus::Success);
    }
    let slaves = slaves.as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(COLUMNS.map(|head| (head, Align::Center)));
    for slave in slaves {
        let text = |key: &str| slave[key].as_str();
        let (Some(hostname), Some(pid), Some(id)) = (text("hostname"), text("pid"), text("id"))
        else {
            return Err(Failure::stated("The list of nodes cannot be read"));
        };
        let ip = ip_of(pid).unwrap_or("N/A");
        table.row([hostname, ip, id].map(str::to_owned));
    }
    for field in fields {
        let (head, path) = field
            .split_once(':')
            .unwrap_or((field.as_str(), field.as_str()));
        let head = head.to_uppercase();
        if COLUMNS.contains(&head.as_str()) {
            continue;
        }
        if slaves
            .first()
            .is_some_and(|slave| at(slave, path).is_none())
        {
            return Err(Failure::stated(format!("Field \"{path}\" is invalid.")));
        }
        let cells = slaves
            .iter()
            .map(|slave| at(slave, path).map_or_else(|| "N/A".to_owned(), python));
        table.column(&head, cells);
    }
    context.table(table.sorted())
}

/// A value below others, with dots between the keys.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// The address in `slave(1)@10.0.3.193:5051`.
fn ip_of(pid: &str) -> Option<&str> {
    let (_, address) = pid.split_once('@')?;
    let (ip, _) = address.rsplit_once(':')?;
    Some(ip)
}

/// An address of a name, as the HTTP API of Mesos-DNS gives it.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(super) struct Host {
    #[serde(default)]
    host: String,
    #[serde(default)]
    ip: String,
}

/// The addresses of a name.
pub(super) async fn hosts(name: &str, context: &Context<'_>) -> Result<Vec<Host>, Failure> {
    let path = format!("/mesos_dns/v1/hosts/{}", path_segment(name));
    let mut hosts: Vec<Host> = context.front.mesos(&path).await?;
    // A name that is not there is told as one without an address.
    hosts.retain(|host| !host.ip.is_empty());
    Ok(hosts)
}

pub(super) fn hosts_table(hosts: Vec<Host>) -> Option<String> {
    let mut table = Table::new([("HOST", Align::Left), ("IP", Align::Center)]);
    for Host { host, ip } in hosts {
        table.row([host, ip]);
    }
    table.unsorted()
}

async fn print_log(args: NodeLogArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let NodeLogArgs {
        tail,
        leader,
        mesos_id,
        component,
        filter,
        former,
    } = args;
    former.refuse()?;
    let mut files = Vec::new();
    if leader {
        let header = "master:/master/log".to_owned();
        files.push(Tail::at(header, "/mesos", "/master/log"));
    }
    if let Some(id) = &mesos_id {
        let service = format!("/slave/{}", path_segment(id));
        files.push(Tail::at(
            format!("slave:{id}:/slave/log"),
            &service,
            "/slave/log",
        ));
    }
    if files.is_empty() {
        return Err(Failure::stated(
            "You must choose one of --leader or --mesos-id.",
        ));
    }
    if component.is_some() || !filter.is_empty() {
        return Err(Failure::stated(
            "--component or --filter is not supported by files API",
        ));
    }
    let TailArgs { follow, lines } = tail;
    log::print(files, lines, follow, context).await
}

/// Asks DC/OS' health service, which a zddcluster has not.
async fn list_components(
    leader: bool,
    agent_id: Option<&str>,
    json: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let ip = match (leader, agent_id) {
        (false, None) => {
            return Err(Failure::stated("--leader or --mesos-id must be provided"));
        }
        (true, Some(_)) => {
            return Err(Failure::stated(
                "Unable to use leader and mesos id at the same time",
            ));
        }
        (true, None) => {
            let leaders = hosts("leader.mesos", context).await?;
            let [leader] = leaders.as_slice() else {
                let n_leaders = leaders.len();
                return Err(Failure::stated(format!(
                    "Expecting one leader. Got {n_leaders}"
                )));
            };
            leader.ip.clone()
        }
        (false, Some(id)) => {
            let summary: Value = context.front.mesos("/mesos/master/state-summary").await?;
            let mut slaves = summary["slaves"].as_array().into_iter().flatten();
            let slave = slaves.find(|slave| slave["id"] == id);
            let hostname = slave.and_then(|slave| slave["hostname"].as_str());
            hostname
                .map(str::to_owned)
                .ok_or_else(|| Failure::stated(format!("Agent `{id}` not found")))?
        }
    };
    let path = format!("/system/health/v1/nodes/{}/units", path_segment(&ip));
    let answer: Value = context.front.mesos(&path).await?;
    let Some(units) = answer["units"].as_array() else {
        return Err(Failure::stated("Invalid response. Missing field `units`."));
    };
    if context.wants_json(json) {
        context.printer.json(units)?;
        return Ok(ExitStatus::Success);
    }
    context.ids(units.iter().filter_map(|unit| unit["id"].as_str()))
}

async fn decommission(id: &str, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let call = json!({
        "type": "MARK_AGENT_GONE",
        "mark_agent_gone": { "agent_id": { "value": id } },
    });
    let told = context.front.tell_mesos("/mesos/api/v1", Body::json(&call));
    if let Err(failure) = told.await {
        return Err(Failure::stated(format!(
            "Couldn't mark agent {id} as gone :\n\n{failure}"
        )));
    }
    context
        .printer
        .data(&format!("Agent {id} has been marked as gone."))?;
    Ok(ExitStatus::Success)
}
