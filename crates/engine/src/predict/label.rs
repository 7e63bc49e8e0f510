//! What versions are called in the picture: by what differs between them.
//!
//! The first that tells the new version from all others: a variable of the environment whose name ends in VERSION (the lab's
//! SIMPLE_SERVICE_VERSION), the tag of the image. Else they are `old` and `new`.

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::app::EnvValue;
use zddcluster_model::{App, Timestamp};

/// Longest label; longer ones are cut.
const LONGEST: usize = 12;

/// Labels of the versions of one app, by version.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    by_version: BTreeMap<Timestamp, String>,
}

impl Labels {
    /// Names every version in `all`, of which `target`, if any, is the one that the plan brings. Versions with one `key` are the
    /// same to the plan and get one name; `name` is for an app that has no other.
    pub(super) fn new(
        all: &[Arc<App>],
        target: Option<&App>,
        key: fn(&App) -> Timestamp,
        name: &str,
    ) -> Self {
        let mut variables: Vec<&str> = all
            .iter()
            .flat_map(|app| app.env.keys())
            .map(String::as_str)
            .filter(|name| name.to_ascii_uppercase().ends_with("VERSION"))
            .collect();
        variables.sort_unstable();
        variables.dedup();
        let own = target.or_else(|| all.first().map(|app| &**app));
        let others = || {
            let others = all.iter();
            others.filter(|app| own.is_some_and(|own| key(app) != key(own)))
        };
        let tells = |teller: &Option<&str>| {
            let Some(own) = own else { return false };
            let told = told_by(*teller, own);
            told.is_some() && others().all(|app| told_by(*teller, app) != told)
        };
        let mut tellers = variables.into_iter().map(Some).chain([None]);
        let teller = tellers.find(tells);
        let is_alone = others().next().is_none();
        let label = |app: &App| {
            let is_new = target.is_some_and(|target| key(app) >= key(target));
            let fallback = match (is_alone, is_new) {
                (true, _) => name,
                (false, true) => "new",
                (false, false) => "old",
            };
            let told = teller.and_then(|teller| told_by(teller, app));
            told.unwrap_or(fallback).chars().take(LONGEST).collect()
        };
        let by_version = all.iter().map(|app| (app.version, label(app))).collect();
        Self { by_version }
    }

    /// What a version is called.
    pub(super) fn of(&self, version: Timestamp) -> &str {
        self.by_version.get(&version).map_or("old", String::as_str)
    }
}

/// What a variable of the environment, or else the tag of the image, says of an app; `None` if nothing that can be drawn.
fn told_by<'a>(variable: Option<&str>, app: &'a App) -> Option<&'a str> {
    let text = match variable {
        Some(name) => match app.env.get(name)? {
            EnvValue::Text(text) => text.as_str(),
            EnvValue::Secret { .. } => return None,
        },
        None => {
            let (_, tag) = app.image()?.rsplit_once(':')?;
            // A colon may stand before a port.
            (!tag.contains('/')).then_some(tag)?
        }
    };
    let is_drawable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    is_drawable.then_some(text)
}
