//! `dcos cluster …`: the clusters that the client knows.
//!
//! Source: dcoscli 0.6.1 `cluster/main.py`; contract dcos-cli §6.

use serde_json::{Value, json};

use super::auth;
use crate::args::{ClusterVerb, LoginArgs};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::home::{Home, Known, Settings, is_cluster_id};
use crate::printer::Printer;
use crate::table::{Align, Table};

pub(super) async fn run(
    verb: ClusterVerb,
    home: &Home,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    match verb {
        ClusterVerb::Setup {
            login,
            insecure: _,
            no_check: _,
            ca_certs: _,
            dcos_url,
        } => setup(&dcos_url, &login, home, printer).await,
        ClusterVerb::List { attached, json } => list(attached, json, home, printer).await,
        ClusterVerb::Attach { name } => {
            home.attach(&home.find(&name)?.dir)?;
            Ok(ExitStatus::Success)
        }
        ClusterVerb::Rename { name, new_name } => rename(&name, &new_name, home),
        ClusterVerb::Remove { all: _, name: None } => {
            for known in home.clusters()? {
                home.remove(&known)?;
            }
            Ok(ExitStatus::Success)
        }
        ClusterVerb::Remove {
            all: _,
            name: Some(name),
        } => {
            home.remove(&home.find(&name)?)?;
            Ok(ExitStatus::Success)
        }
    }
}

/// Remembers a cluster and attaches it. Prints nothing when that is done.
async fn setup(
    url: &str,
    login: &LoginArgs,
    home: &Home,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    for name in ["DCOS_URL", "DCOS_DCOS_URL"] {
        if home.env(name).is_some() {
            printer.say(&format!("Ignoring '{name}' environment variable.\n"));
        }
    }
    let front = Front::at_url(url)?;
    let token = auth::log_in(&front, login).await.map_err(|failure| {
        // Whoever sets a cluster up is told so, not to log in to it first.
        if auth::is_refusal(&failure) {
            Failure::stated("Authentication failed. Please run `dcos cluster setup <dcos_url>`")
        } else {
            failure
        }
    })?;
    let metadata = front.mesos::<Value>("/metadata").await;
    let metadata = metadata.map_err(|failure| {
        Failure::stated(format!(
            "Error trying to find cluster id: {failure}\n Please make sure the provided DC/OS URL is valid: {url}"
        ))
    })?;
    let id = metadata["CLUSTER_ID"].as_str().unwrap_or_default();
    if !is_cluster_id(id) {
        return Err(Failure::stated(format!(
            "Error trying to find cluster id: {} names none",
            front.origin()
        )));
    }
    // All is asked before anything is written: who gives up meanwhile leaves nothing behind.
    let summary = front.mesos::<Value>("/mesos/state-summary").await;
    let name = summary.ok().and_then(|summary| {
        let name = summary["cluster"].as_str()?;
        Some(name.to_owned())
    });
    let Some(dir) = home.add(id)? else {
        return Err(Failure::with_hint(
            format!("Cluster [{url}] is already setup"),
            format!("to speak to it: dcos cluster attach {id}"),
        ));
    };
    let mut settings = Settings::of(&dir)?;
    settings.set("core", "dcos_url", url.into());
    settings.set("core", "ssl_verify", "false".into());
    if let Some(token) = token {
        settings.set("core", "dcos_acs_token", token.into());
    }
    settings.set("cluster", "name", name.unwrap_or_else(|| id.into()).into());
    settings.write()?;
    home.attach(&dir)?;
    Ok(ExitStatus::Success)
}

async fn list(
    attached: bool,
    json: bool,
    home: &Home,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    let mut clusters = home.clusters()?;
    clusters.retain(|known| known.is_attached || !attached);
    let mut documents = Vec::new();
    let mut table = Table::new([
        ("NAME", Align::Center),
        ("CLUSTER ID", Align::Center),
        ("STATUS", Align::Center),
        ("VERSION", Align::Center),
        ("URL", Align::Center),
    ]);
    for known in &clusters {
        let version = version(known).await;
        let status = match version {
            Some(_) => "AVAILABLE",
            None => "UNAVAILABLE",
        };
        let version = version.unwrap_or_else(|| "N/A".to_owned());
        documents.push(json!({
            "attached": known.is_attached,
            "cluster_id": known.id,
            "name": known.name,
            "status": status,
            "url": known.url,
            "version": version,
        }));
        let mark = if known.is_attached { "*" } else { "" };
        table.row([
            format!("{}{mark}", known.name),
            known.id.clone(),
            status.to_owned(),
            version,
            known.url.clone().unwrap_or_else(|| "N/A".to_owned()),
        ]);
    }
    if json || printer.is_json() {
        printer.json(&documents)?;
    } else if let Some(table) = table.unsorted() {
        printer.data(&table)?;
    } else if attached {
        return Err(Failure::stated(
            "No cluster is attached. Please run `dcos cluster attach <cluster-name>",
        ));
    }
    Ok(ExitStatus::Success)
}

/// The version of DC/OS that a cluster tells, if it answers: it tells everybody, so nobody's token is shown to it.
async fn version(known: &Known) -> Option<String> {
    let front = Front::at_url_unknown(known.url.as_deref()?).ok()?;
    let path = "/dcos-metadata/dcos-version.json";
    let version = front.mesos::<Value>(path).await.ok()?;
    version["version"].as_str().map(str::to_owned)
}

fn rename(name: &str, new_name: &str, home: &Home) -> Result<ExitStatus, Failure> {
    let known = home.find(name)?;
    let mut others = home.clusters()?.into_iter();
    if others.any(|other| other.name == new_name && other.id != known.id) {
        return Err(Failure::stated(format!(
            "A cluster with name [{new_name}] already exists"
        )));
    }
    let mut settings = Settings::of(&known.dir)?;
    settings.set("cluster", "name", new_name.into());
    settings.write()?;
    Ok(ExitStatus::Success)
}
