//! `dcos package repo`: where packages come from.

use serde_json::json;

use super::super::Context;
use super::{api, text};
use crate::args::RepoVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;

pub(super) async fn run(verb: RepoVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        RepoVerb::List { json } => return list(json, context).await,
        RepoVerb::Add {
            index,
            repo_name,
            repo_url,
        } => {
            let mut body = json!({ "name": repo_name, "uri": repo_url });
            if let Some(index) = index {
                body["index"] = index.into();
            }
            api::ask(context, "repository/add", "v1", &body).await?;
        }
        RepoVerb::Remove { repo_names } => {
            for name in repo_names {
                api::ask(context, "repository/delete", "v1", &json!({ "name": name })).await?;
            }
        }
    }
    Ok(ExitStatus::Success)
}

async fn list(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let answer = api::ask(context, "repository/list", "v1", &json!({})).await?;
    if context.wants_json(json) {
        context.printer.json(&answer)?;
        return Ok(ExitStatus::Success);
    }
    let repositories = answer["repositories"].as_array().into_iter().flatten();
    let lines: Vec<String> = repositories
        .map(|repository| format!("{}: {}", text(repository, "name"), text(repository, "uri")))
        .collect();
    if lines.is_empty() {
        return Err(Failure::stated(
            "There are currently no repos configured. Please use `dcos package repo add` to add a repo",
        ));
    }
    context.printer.data(&lines.join("\n"))?;
    Ok(ExitStatus::Success)
}
