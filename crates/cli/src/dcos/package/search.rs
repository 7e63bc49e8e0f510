//! `dcos package search`.

use serde_json::{Value, json};

use super::super::Context;
use super::{api, text};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::text::python;

/// Characters of a description that are shown.
const SHOWN: usize = 77;

pub(super) async fn search(
    json: bool,
    query: Option<String>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let query = json!({ "query": query.unwrap_or_default() });
    let found = api::ask(context, "search", "v1", &query).await?;
    if context.wants_json(json) {
        context.printer.json(&found)?;
        return Ok(ExitStatus::Success);
    }
    let packages = found["packages"].as_array().map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        return Err(Failure::stated("No packages found."));
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("VERSION", Align::Left),
        ("SELECTED", Align::Left),
        ("FRAMEWORK", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    for package in packages {
        let is_so = |key: &str| python(&Value::from(package[key] == true));
        table.row([
            text(package, "name").to_owned(),
            text(package, "currentVersion").to_owned(),
            is_so("selected"),
            is_so("framework"),
            cut(text(package, "description")),
        ]);
    }
    context.table(table.unsorted())
}

fn cut(description: &str) -> String {
    if description.chars().count() < SHOWN {
        return description.to_owned();
    }
    let shown: String = description.chars().take(SHOWN).collect();
    shown + "..."
}
