//! Users who write `/zdd` as a whole; `/zdd/base` is the only app that is ever in it.

use serde_json::{Value, json};
use zddcluster_model::app::EnvValue;
use zddcluster_model::group::GroupUpdate;
use zddcluster_model::{App, AppId};

use super::users::{Entry, Pending};
use super::world::World;
use crate::input::Command;

/// What users multiply instances by.
const FACTORS: [f64; 4] = [0.3, 0.5, 1.0, 1.5];

impl World {
    /// Creates, changes, scales, restores or deletes the group.
    pub(super) fn write_group(&mut self, force: bool) {
        let (base, app_id) = (AppId::absolute("/zdd"), AppId::absolute("/zdd/base"));
        let root = &self.engine.state().root;
        let is_there = root.group(&base).is_some();
        let entry = root.app(&app_id).map(|app| acknowledged(app));
        let versions = self.engine.state().group_versions(&base);
        let (pending, update) = match self.below(5) {
            0 if is_there => {
                let group_id = base;
                self.request(app_id, Pending::Delete, |_| Command::DeleteGroup {
                    group_id,
                    force,
                });
                return;
            }
            1 if is_there => {
                let factor = FACTORS[self.below(FACTORS.len() as u32) as usize];
                let scaled = entry.map(|entry| (f64::from(entry.instances) * factor).ceil() as u32);
                let pending = scaled.map_or(Pending::Other, Pending::Scale);
                (pending, json!({ "scaleBy": factor }))
            }
            2 if !versions.is_empty() => {
                let version = versions[self.below(versions.len() as u32) as usize];
                let group = self.engine.state().group_at(&base, version);
                let app = group.and_then(|group| group.app(&app_id));
                let pending = match app {
                    Some(app) => Pending::Write(acknowledged(app)),
                    None => Pending::Delete,
                };
                (pending, json!({ "version": version }))
            }
            _ => {
                let (entry, mut definition) = self.definition(&app_id);
                definition["id"] = json!("base");
                (Pending::Write(entry), json!({ "apps": [definition] }))
            }
        };
        let update = read(&update);
        self.request(app_id, pending, |_| Command::UpdateGroup {
            base,
            update,
            force,
        });
    }
}

/// What the journal holds of an app.
fn acknowledged(app: &App) -> Entry {
    let release = match app.env.get("RELEASE") {
        Some(EnvValue::Text(text)) => text.parse().expect("a release of ours"),
        other => panic!("{}: {other:?} is no release", app.id),
    };
    Entry {
        release,
        instances: app.instances,
    }
}

fn read(update: &Value) -> GroupUpdate {
    GroupUpdate::read(update.to_string().as_bytes()).expect("a good group")
}
