//! `zddcluster status`: where everything is, what the agents offer, how the apps are, and what is missing.

mod edge;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zddcluster_model::Timestamp;
use zddcluster_model::edge::EdgeStatus;

use crate::args::DataDirArgs;
use crate::cluster::{ClusterFile, data_dir};
use crate::dcos::{EDGE_HINT, is_edge, is_for_edge};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::{HEADING, Printer};
use crate::table::{Align, Table};
use crate::verbs::Hooks;

/// What `dcos marathon app list` shows for nothing.
const NONE: &str = "---";

/// Everything that is shown, and what `--output json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    cluster: ClusterFile,
    data_dir: String,
    roles: Vec<Role>,
    /// What each agent offers is nominal.
    agents: Vec<Agent>,
    apps: Vec<App>,
    /// What the edge tells of itself; `None` if there is none, or it does not answer yet.
    edge: Option<EdgeStatus>,
    hints: Vec<String>,
    leftovers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Role {
    role: &'static str,
    address: String,
}

/// An agent: cores and MiB.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    hostname: String,
    role: String,
    active: bool,
    resources: Amounts,
    used: Amounts,
    tasks: usize,
    id: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Amounts {
    #[serde(default)]
    cpus: f64,
    #[serde(default)]
    mem: f64,
    #[serde(default)]
    disk: f64,
}

/// An app's counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct App {
    id: String,
    running: u64,
    instances: u64,
    /// `None` without health checks.
    healthy: Option<u64>,
    deploying: bool,
    service_ports: Vec<u64>,
}

pub(super) async fn run(
    args: &DataDirArgs,
    printer: &Printer,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let data_dir = data_dir(args.get())?;
    let Some(cluster) = ClusterFile::read_running(&data_dir)? else {
        let leftovers = (hooks.leftovers)(&data_dir);
        let roles = (hooks.roles)(&data_dir);
        if printer.is_json() {
            let status =
                serde_json::json!({ "cluster": null, "roles": roles, "leftovers": leftovers });
            printer.json(&status)?;
        } else {
            if !roles.is_empty() {
                printer.talk(&on_their_own(&roles));
            }
            if !leftovers.is_empty() {
                printer.talk(&left_behind(&leftovers));
            }
        }
        return Err(match roles.is_empty() {
            true => Failure::NotRunning { data_dir },
            false => Failure::Apart { data_dir },
        });
    };
    let front = Front::at(cluster.front_url());
    let state: Value = front.mesos("/mesos/master/state.json").await?;
    let apps = front.marathon(Method::GET, "v2/apps", None).await?;
    let apps: Vec<Value> = apps["apps"].as_array().cloned().unwrap_or_default();
    let has_edge = apps.iter().any(is_edge);
    let address = cluster.addresses.edge.filter(|_| has_edge);
    let edge = match address {
        Some(address) => edge::ask(address).await,
        None => None,
    };
    let status = Status {
        roles: roles(&cluster, address, edge.as_ref()),
        edge,
        agents: agents(&state, &cluster)?,
        hints: hints(&apps, has_edge, &cluster),
        apps: apps.iter().map(App::read).collect(),
        data_dir: data_dir.display().to_string(),
        cluster,
        // While the cluster runs, its tasks are no leftovers.
        leftovers: Vec::new(),
    };
    if printer.is_json() {
        printer.json(&status)?;
        return Ok(ExitStatus::Success);
    }
    printer.data(&render(&status, Timestamp::from_millis(now_millis())))?;
    for hint in &status.hints {
        printer.hint(hint);
    }
    Ok(ExitStatus::Success)
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// What to say of roles that are no `up`.
fn on_their_own(roles: &[String]) -> String {
    format!(
        "{} on {} own (zddcluster down ends {}):\n  {}",
        match roles.len() {
            1 => "1 role runs".to_owned(),
            n => format!("{n} roles run"),
        },
        if roles.len() == 1 { "its" } else { "their" },
        if roles.len() == 1 { "it" } else { "them" },
        roles.join("\n  ")
    )
}

/// What to say of tasks without a cluster.
fn left_behind(leftovers: &[String]) -> String {
    format!(
        "{} left behind (zddcluster up adopts them, zddcluster down ends them):\n  {}",
        match leftovers.len() {
            1 => "1 task was".to_owned(),
            n => format!("{n} tasks were"),
        },
        leftovers.join("\n  ")
    )
}

fn roles(
    cluster: &ClusterFile,
    edge_address: Option<IpAddr>,
    edge: Option<&EdgeStatus>,
) -> Vec<Role> {
    let addresses = &cluster.addresses;
    let mut roles = vec![
        Role {
            role: "front door",
            address: cluster.front_url(),
        },
        Role {
            role: "Mesos API",
            address: format!("http://{}", addresses.mesos),
        },
        Role {
            role: "DNS",
            address: format!("{} (udp, tcp)", addresses.dns),
        },
    ];
    if let Some(address) = edge_address {
        roles.push(Role {
            role: "edge",
            address: edge::addresses(address, edge),
        });
    }
    roles
}

fn agents(state: &Value, cluster: &ClusterFile) -> Result<Vec<Agent>, Failure> {
    #[derive(Deserialize)]
    struct Slave {
        id: String,
        hostname: String,
        #[serde(default)]
        active: bool,
        #[serde(default)]
        resources: Amounts,
        #[serde(default)]
        used_resources: Amounts,
    }
    let slaves: Vec<Slave> = serde_json::from_value(state["slaves"].clone())
        .map_err(|error| Failure::stated(format!("the list of agents cannot be read: {error}")))?;
    let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
    for framework in state["frameworks"].as_array().into_iter().flatten() {
        for task in framework["tasks"].as_array().into_iter().flatten() {
            *tasks
                .entry(task["slave_id"].as_str().unwrap_or_default())
                .or_default() += 1;
        }
    }
    let agents = slaves.into_iter().map(|slave| {
        let entry = cluster
            .agents
            .iter()
            .find(|agent| agent.hostname == slave.hostname);
        Agent {
            role: entry.map_or_else(|| "?".to_owned(), |agent| agent.role.clone()),
            active: slave.active,
            resources: slave.resources,
            used: slave.used_resources,
            tasks: tasks.get(slave.id.as_str()).copied().unwrap_or(0),
            hostname: slave.hostname,
            id: slave.id,
        }
    });
    Ok(agents.collect())
}

impl App {
    fn read(app: &Value) -> Self {
        let count = |key: &str| app[key].as_u64().unwrap_or(0);
        let items = |key: &str| app[key].as_array().into_iter().flatten();
        let has_checks = items("healthChecks").next().is_some();
        Self {
            id: app["id"].as_str().unwrap_or_default().to_owned(),
            running: count("tasksRunning"),
            instances: count("instances"),
            healthy: has_checks.then(|| count("tasksHealthy")),
            deploying: items("deployments").next().is_some(),
            service_ports: items("ports").filter_map(Value::as_u64).collect(),
        }
    }
}

fn hints(apps: &[Value], has_edge: bool, cluster: &ClusterFile) -> Vec<String> {
    let mut hints = Vec::new();
    if !has_edge && apps.iter().any(is_for_edge) {
        hints.push(EDGE_HINT.to_owned());
    }
    if has_edge && cluster.addresses.edge.is_none() {
        let hint = "an edge is wanted, but there is no public agent; start with --public-agents 1";
        hints.push(hint.to_owned());
    }
    hints
}

fn render(status: &Status, now: Timestamp) -> String {
    let Status {
        cluster,
        data_dir,
        roles,
        agents,
        apps,
        edge,
        hints: _,
        leftovers: _,
    } = status;
    let mut text = format!(
        "{HEADING}zddcluster {}{HEADING:#}, up for {}, pid {}, speed {}, containerizer {}\ndata {data_dir}\n",
        cluster.version,
        length_of_time(now.millis_since(cluster.started_at)),
        cluster.pid,
        cluster.speed,
        cluster.containerizer,
    );
    if let Some(log) = &cluster.log {
        let _ = writeln!(text, "log {}", log.display());
    }
    let mut table = Table::new([("ROLE", Align::Left), ("ADDRESS", Align::Left)]);
    for Role { role, address } in roles {
        table.row([(*role).to_owned(), address.clone()]);
    }
    append(&mut text, table.unsorted());

    let mut table = Table::new([
        ("AGENT", Align::Left),
        ("ROLE", Align::Left),
        ("CPUS", Align::Left),
        ("MEM", Align::Left),
        ("DISK", Align::Left),
        ("TASKS", Align::Left),
        ("ID", Align::Left),
    ]);
    for agent in agents {
        let of = |used: f64, all: f64| format!("{}/{all}", short(used));
        let (used, all) = (agent.used, agent.resources);
        let gone = if agent.active { "" } else { " (away)" };
        table.row([
            agent.hostname.clone(),
            format!("{}{gone}", agent.role),
            of(used.cpus, all.cpus),
            of(used.mem, all.mem),
            of(used.disk, all.disk),
            agent.tasks.to_string(),
            agent.id.clone(),
        ]);
    }
    append(&mut text, table.unsorted());
    text.push_str("used/offered; what an agent offers is nominal, whatever the host has\n");

    let mut table = Table::new([
        ("APP", Align::Left),
        ("TASKS", Align::Left),
        ("HEALTHY", Align::Left),
        ("DEPLOYING", Align::Left),
        ("SERVICE PORTS", Align::Left),
    ]);
    for app in apps {
        let App {
            id,
            running,
            instances,
            healthy,
            deploying,
            service_ports,
        } = app;
        let ports: Vec<_> = service_ports.iter().take(4).map(u64::to_string).collect();
        let more = if service_ports.len() > ports.len() {
            ", …"
        } else {
            ""
        };
        table.row([
            id.clone(),
            format!("{running}/{instances}"),
            healthy.map_or_else(|| NONE.to_owned(), |healthy| format!("{healthy}/{running}")),
            if *deploying { "yes" } else { "no" }.to_owned(),
            format!("{}{more}", ports.join(", ")),
        ]);
    }
    match table.sorted() {
        Some(table) => append(&mut text, Some(table)),
        None => text.push_str("\nno apps\n"),
    }
    if let Some(edge) = edge {
        edge::append_warnings(&mut text, edge);
    }
    text.truncate(text.trim_end().len());
    text
}

fn append(text: &mut String, table: Option<String>) {
    if let Some(table) = table {
        text.push('\n');
        text.push_str(&table);
        text.push('\n');
    }
}

/// At most two digits behind the point: sums of tenths come with dust.
fn short(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

fn length_of_time(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
