//! `--with`: installs built-in packages as `dcos package install` does, unless they are installed.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};
use tracing::{info, warn};
use zddcluster_cli::Package;
use zddcluster_client::HttpClient;

use crate::plan::Plan;

/// The front door is in this process; more than this means that something is broken.
const LIMIT: Duration = Duration::from_secs(10);

/// What became of one package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    /// Its app was created now.
    Now(&'static str),
    /// Its app existed.
    Before(&'static str),
    /// It could not be installed; the log says why.
    Failed(&'static str),
}

/// Installs these packages. A failure is no reason to end the cluster.
pub(crate) async fn install(plan: &Plan, packages: &[Package]) -> Vec<Installed> {
    let http = HttpClient::new();
    let mut outcomes = Vec::new();
    for package in packages {
        let name = package.name();
        outcomes.push(match post(&http, plan, name).await {
            Ok(true) => {
                info!(package = name, "installed");
                Installed::Now(name)
            }
            Ok(false) => Installed::Before(name),
            Err(reason) => {
                warn!(package = name, %reason, "cannot install");
                Installed::Failed(name)
            }
        });
    }
    outcomes
}

/// Asks the package API for it; `false` if it is installed.
async fn post(http: &HttpClient, plan: &Plan, name: &str) -> Result<bool, String> {
    let media_type = |name: &str, version: &str| {
        format!("application/vnd.dcos.package.{name}+json;charset=utf-8;version={version}")
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/package/install", plan.front))
        .header(header::ACCEPT, media_type("install-response", "v2"))
        .header(header::CONTENT_TYPE, media_type("install-request", "v1"))
        .body(Bytes::from(json!({ "packageName": name }).to_string()))
        .map_err(|error| error.to_string())?;
    let response = http
        .send(request, LIMIT)
        .await
        .map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(true);
    }
    let refusal: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match refusal["type"].as_str() {
        Some("PackageAlreadyInstalled") => Ok(false),
        Some(_) | None => Err(format!(
            "{}: {}",
            response.status(),
            String::from_utf8_lossy(response.body())
        )),
    }
}
