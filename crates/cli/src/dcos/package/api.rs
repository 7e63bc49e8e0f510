//! Requests to the package API, and what its refusals are in the original client's words.
//!
//! Source: contract dcos-cli §5 and §8; dcoscli 0.4.14 `cosmospackage.py`.

use http::StatusCode;
use serde_json::Value;

use super::super::Context;
use crate::failure::Failure;
use crate::text::{printable, python, python_repr};

/// Marks a refusal whose body can be read.
const ERROR: &str = "application/vnd.dcos.package.error+json;charset=utf-8;version=v1";

/// The package API is not there, or not at this address.
const NOT_THERE: &str = "This version of the DC/OS CLI is not supported for your cluster. \
Please downgrade the CLI to an older version: https://dcos.io/docs/usage/cli/update/#downgrade";

/// Asks for `verb`, such as `repository/list`, in the version of the answer that is understood here.
pub(super) async fn ask(
    context: &Context<'_>,
    verb: &str,
    version: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let name = verb.replace('/', ".");
    let media_type = |kind: &str, version: &str| {
        format!("application/vnd.dcos.package.{name}-{kind}+json;charset=utf-8;version={version}")
    };
    let accept = media_type("response", version);
    let content_type = media_type("request", "v1");
    let answer = context
        .front
        .package(verb, &accept, &content_type, body)
        .await?;
    let read = || {
        serde_json::from_slice::<Value>(&answer.body).map_err(|error| Failure::Undecodable {
            url: answer.url.clone(),
            reason: error.to_string(),
        })
    };
    if answer.content_type.contains(ERROR) {
        return Err(refusal(&read()?));
    }
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Failure::stated(NOT_THERE));
    }
    if !answer.status.is_success() {
        return Err(Failure::from_mesos(&answer.url, answer.status));
    }
    if !answer.content_type.contains(&accept) {
        return Err(Failure::stated(format!(
            "Server returned incorrect response type, expected {accept} but got {}",
            printable(&answer.content_type)
        )));
    }
    read()
}

/// A refusal as the original prints it; what it leaves the reader alone with gets a hint.
fn refusal(error: &Value) -> Failure {
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    let name = error["data"]["packageName"].as_str().unwrap_or("NAME");
    match error["type"].as_str().unwrap_or_default() {
        "AmbiguousAppId" => Failure::stated(format!(
            "{message}.\nPlease use --app-id to specify the ID of the app to uninstall, or use --all to uninstall all apps."
        )),
        "MultipleFrameworkIds" => Failure::stated(format!(
            "{message}. Manually shut them down using 'dcos service shutdown'"
        )),
        "JsonSchemaMismatch" => Failure::stated(mismatch(&message, &error["data"])),
        "MarathonBadResponse" => Failure::stated(bad_response(message, &error["data"])),
        "PackageNotFound" => {
            Failure::with_hint(message, "see what there is with: dcos package search")
        }
        "VersionNotFound" => {
            let hint = format!("see them with: dcos package describe --package-versions {name}");
            Failure::with_hint(message, hint)
        }
        "PackageAlreadyInstalled" => Failure::with_hint(
            message,
            "see it with: dcos package list; another one beside it: --app-id ID",
        ),
        _ => Failure::stated(message),
    }
}

fn mismatch(message: &str, data: &Value) -> String {
    let mut lines = vec![format!("Error: {message}")];
    for error in data["errors"].as_array().into_iter().flatten() {
        let list = |key: &str| {
            let items = error[key].as_array()?;
            Some(items.iter().map(python).collect::<Vec<_>>().join(","))
        };
        if let Some(unwanted) = error.get("unwanted") {
            lines.push(format!("Unexpected properties: {}", python_repr(unwanted)));
        }
        if let Some(found) = error.get("found") {
            lines.push(format!("Found: {}", python(found)));
        }
        if let Some(expected) = list("expected") {
            lines.push(format!("Expected: {expected}"));
        }
        if let Some(missing) = list("missing") {
            lines.push(format!("Required parameter missing: {missing}"));
        }
        if let Some(pointer) = error["instance"]["pointer"].as_str() {
            let path = pointer.trim_start_matches('/').replace('/', ".");
            lines.push(format!("Path: {path}"));
        }
    }
    lines.push(
        "\nPlease create a JSON file with the appropriate options, and pass the /path/to/file as an --options argument."
            .to_owned(),
    );
    lines.join("\n")
}

fn bad_response(message: String, data: &Value) -> String {
    let mut lines = vec![message];
    for error in data["errors"].as_array().into_iter().flatten() {
        let texts = match &error["errors"] {
            Value::Array(texts) => texts.iter().map(python).collect(),
            _ => Vec::new(),
        };
        let text = error["error"].as_str().map(str::to_owned);
        lines.extend(text.into_iter().chain(texts));
    }
    lines.join("\n")
}
