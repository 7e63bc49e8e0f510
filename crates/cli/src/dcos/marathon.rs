//! `dcos marathon about`, `leader`, `ping`, `plugin` and `pod`: Marathon itself.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::{Context, node};
use crate::args::{LeaderVerb, MarathonVerb, PluginVerb};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};

/// How long a Marathon is asked whether it is there.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// Between two questions.
const PING_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(verb: MarathonVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        MarathonVerb::About => {
            let about = context.front.marathon(Method::GET, "v2/info", None).await?;
            context.printer.json(&about)?;
            Ok(ExitStatus::Success)
        }
        MarathonVerb::App(verb) => super::app::run(verb, context).await,
        MarathonVerb::Deployment(verb) => super::deployment::run(verb, context).await,
        MarathonVerb::Group(verb) => super::group::run(verb, context).await,
        MarathonVerb::Task(verb) => super::marathon_task::run(verb, context).await,
        MarathonVerb::Debug(verb) => super::queue::run(verb, context).await,
        MarathonVerb::Leader(LeaderVerb::Show { json }) => show_leader(json, context).await,
        MarathonVerb::Leader(LeaderVerb::Delete) => {
            let answer = context
                .front
                .marathon(Method::DELETE, "v2/leader", None)
                .await?;
            let message = answer["message"].as_str().unwrap_or_default();
            context.printer.data(message)?;
            Ok(ExitStatus::Success)
        }
        MarathonVerb::Ping { once } => ping(once, context).await,
        MarathonVerb::Plugin(PluginVerb::List { json }) => list_plugins(json, context).await,
        MarathonVerb::Pod(_) => refuse_pods(context).await,
    }
}

async fn show_leader(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let hosts = node::hosts("marathon.mesos", context).await?;
    if context.wants_json(json) {
        let leader = hosts.first().ok_or_else(|| {
            Failure::stated("The DNS server does not know marathon.mesos: is there a leader?")
        })?;
        context.printer.json(leader)?;
        return Ok(ExitStatus::Success);
    }
    context.table(node::hosts_table(hosts))
}

/// Asks as often as there are masters, without a failure between.
async fn ping(once: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let n_masters = match once {
        true => 1,
        false => node::hosts("master.mesos", context).await?.len().max(1),
    };
    let end = Instant::now() + PING_LIMIT;
    let mut n_answered = 0;
    let said = loop {
        match context
            .front
            .ask(Method::GET, "/service/marathon/ping", None)
            .await
        {
            Ok((status, text)) if status.is_success() => {
                n_answered += 1;
                if n_answered >= n_masters {
                    break String::from_utf8_lossy(&text).trim_end().to_owned();
                }
                continue;
            }
            _ => n_answered = 0,
        }
        if Instant::now() >= end {
            let limit = PING_LIMIT.as_secs();
            break format!("Unable to get ping for all {n_masters} masters in {limit}s");
        }
        tokio::time::sleep(PING_PAUSE).await;
    };
    context
        .printer
        .data(&format!("Marathon ping response[{n_masters}x]: {said}"))?;
    Ok(ExitStatus::Success)
}

async fn list_plugins(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let plugins = context
        .front
        .marathon(Method::GET, "v2/plugins", None)
        .await?;
    if context.wants_json(json) {
        context.printer.json(&plugins)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new([
        ("ID", Align::Left),
        ("IMPLEMENTATION", Align::Left),
        ("PLUGIN", Align::Left),
    ]);
    for plugin in plugins["plugins"].as_array().into_iter().flatten() {
        let text = |key: &str| plugin[key].as_str().unwrap_or("N/A").to_owned();
        table.row([text("id"), text("implementation"), text("plugin")]);
    }
    context.table(table.sorted())
}

/// What any command on pods comes to.
async fn refuse_pods(context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let path = "/service/marathon/v2/pods";
    let (status, _) = context.front.ask(Method::HEAD, path, None).await?;
    Err(match status {
        StatusCode::NOT_FOUND => {
            Failure::stated("This command is not supported by your version of Marathon")
        }
        _ => Failure::with_hint(
            "This client knows no pods, although your Marathon may",
            "the original client does, from 0.4.17 on",
        ),
    })
}

/// What any command on jobs comes to: without Metronome, the original's own words.
pub(super) async fn refuse_jobs(context: &Context<'_>) -> Result<ExitStatus, Failure> {
    refuse("METRONOME", "metronome", "jobs", context).await
}

/// What any command on diagnostics bundles comes to: without them, the original's own words.
pub(super) async fn refuse_diagnostics(context: &Context<'_>) -> Result<ExitStatus, Failure> {
    refuse(
        "SUPPORT_CLUSTER_REPORT",
        "diagnostics",
        "diagnostics bundles",
        context,
    )
    .await
}

/// Says whether it is the cluster or this client that does not know something.
async fn refuse(
    capability: &str,
    word: &str,
    what: &str,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let capabilities = context.front.capabilities().await?;
    if capabilities.iter().any(|name| name == capability) {
        return Err(Failure::with_hint(
            format!("This client knows no {what}, although your cluster does"),
            "the original client does",
        ));
    }
    Err(Failure::stated(format!(
        "DC/OS backend does not support {word} capabilities in this version. Must be DC/OS >= 1.8"
    )))
}
