//! `dcos node …`: the agents, their logs, and names as Mesos-DNS has them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, log, metrics};
use crate::args::{MetricsVerb, NodeArgs, NodeVerb, TailArgs};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Body, path_segment};
use crate::sandbox::Tail;
use crate::table::{Align, Table};

pub(super) async fn run(args: NodeArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match args.verb {
        None => list(args.json, context).await,
        Some(NodeVerb::Log {
            tail,
            leader,
            mesos_id,
        }) => print_log(tail, leader, mesos_id.as_deref(), context).await,
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
        Some(NodeVerb::Diagnostics(_)) => Err(Failure::stated(
            "The cluster does not support generating diagnostics bundles: DC/OS has them from 1.8.8 on",
        )),
        Some(NodeVerb::Ssh(_)) => Err(Failure::with_hint(
            "The nodes of a zddcluster are addresses of the machine that runs it; there is nothing to log in to",
            "zddcluster shell opens a shell in which the cluster's names resolve",
        )),
    }
}

async fn list(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let mut summary: Value = context.front.mesos("/mesos/master/state-summary").await?;
    let slaves = summary["slaves"].take();
    if context.wants_json(json) {
        context.printer.json(&slaves)?;
        return Ok(ExitStatus::Success);
    }
    #[derive(Deserialize)]
    struct Slave {
        hostname: String,
        pid: String,
        id: String,
    }
    let slaves: Vec<Slave> = serde_json::from_value(slaves)
        .map_err(|error| Failure::stated(format!("The list of nodes cannot be read: {error}")))?;
    let mut table = Table::new([
        ("HOSTNAME", Align::Center),
        ("IP", Align::Center),
        ("ID", Align::Center),
    ]);
    for slave in slaves {
        let ip = ip_of(&slave.pid).unwrap_or("N/A").to_owned();
        table.row([slave.hostname, ip, slave.id]);
    }
    context.table(table.sorted())
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

async fn print_log(
    tail: TailArgs,
    leader: bool,
    agent_id: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut files = Vec::new();
    if leader {
        let header = "master:/master/log".to_owned();
        files.push(Tail::at(header, "/mesos", "/master/log"));
    }
    if let Some(id) = agent_id {
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
    let TailArgs { follow, lines } = tail;
    log::print(files, lines, follow, context).await
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
