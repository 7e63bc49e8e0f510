//! `--with`: installs built-in packages, exactly as `dcos package install` would, unless their apps exist.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;
use tracing::{info, warn};
use zddcluster_cli::Package;
use zddcluster_client::HttpClient;
use zddcluster_model::package;

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

/// Posts the package's app; `false` if there is one with its id.
async fn post(http: &HttpClient, plan: &Plan, name: &str) -> Result<bool, String> {
    let package = package::find(name).ok_or("no such package")?;
    let app = package
        .render(&Value::Null)
        .map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/v2/apps", plan.front))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(app.to_string()))
        .map_err(|error| error.to_string())?;
    let response = http
        .send(request, LIMIT)
        .await
        .map_err(|error| error.to_string())?;
    match response.status() {
        StatusCode::CREATED => Ok(true),
        StatusCode::CONFLICT => Ok(false),
        status => Err(format!(
            "{status}: {}",
            String::from_utf8_lossy(response.body())
        )),
    }
}
