//! Users who write `/zdd` as a whole: its apps are those of [`super::definitions::APPS`] below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_model::group::GroupUpdate;
use zddcluster_model::{App, AppId};

use super::journal::Want;
use super::world::World;
use crate::input::Command;

/// What users multiply instances by.
const FACTORS: [f64; 4] = [0.3, 0.5, 1.0, 1.5];

/// The apps that may be in the group.
const NAMES: [&str; 2] = ["base", "web"];

impl World {
    /// Creates, changes, scales, restores or deletes the group.
    pub(super) fn write_group(&mut self, force: bool) {
        let base = AppId::absolute("/zdd");
        let state = self.engine.state();
        let is_there = state.root.group(&base).is_some();
        let versions = state.group_versions(&base);
        let ids = NAMES.map(|name| base.child(name));
        let apps = |group: Option<&zddcluster_model::Group>| -> BTreeMap<AppId, Arc<App>> {
            let known = ids.iter().filter_map(|id| group?.app(id).map(Arc::clone));
            known.map(|app| (app.id.clone(), app)).collect()
        };
        let present = apps(state.root.group(&base));
        let mut wants: Vec<(AppId, Want)> = Vec::new();
        let update = match self.below(5) {
            0 if is_there => {
                wants.extend(present.into_keys().map(|id| (id, Want::Gone)));
                let group_id = base;
                self.ask_for(wants, force, true, |_| Command::DeleteGroup {
                    group_id,
                    force,
                });
                return;
            }
            1 if is_there => {
                let factor = self.pick(&FACTORS);
                let scaled = |app: &App| (f64::from(app.instances) * factor).ceil() as u32;
                for (id, app) in present {
                    wants.push((id, Want::Instances(scaled(&app))));
                }
                json!({ "scaleBy": factor })
            }
            2 if !versions.is_empty() => {
                let pick = self.below(versions.len() as u32) as usize;
                let version = versions[pick];
                let group = self.engine.state().group_at(&base, version);
                let mut before = apps(group);
                for id in ids {
                    let app = before.remove(&id);
                    if app.is_some() || present.contains_key(&id) {
                        wants.push((id, Want::Like(app)));
                    }
                }
                json!({ "version": version })
            }
            _ => {
                let mut definitions = Vec::new();
                for (name, id) in NAMES.into_iter().zip(ids) {
                    if self.one_in(3) {
                        if present.contains_key(&id) {
                            wants.push((id, Want::Gone));
                        }
                        continue;
                    }
                    let release = self.users.next_release();
                    let instances = 1 + self.below(5);
                    let mut definition = self.definition(&id, release, instances, false);
                    definition["id"] = json!(name);
                    definitions.push(definition);
                    wants.push((id, Want::Written { release, instances }));
                }
                let mut update = json!({ "apps": definitions });
                if self.one_in(4) {
                    update["dependencies"] = json!(["/shop"]);
                }
                update
            }
        };
        let update = read(&update);
        // Perhaps a cycle, which is refused.
        self.ask_for(wants, force, true, |_| Command::UpdateGroup {
            base,
            update,
            force,
        });
    }
}

fn read(update: &Value) -> GroupUpdate {
    GroupUpdate::read(update.to_string().as_bytes()).expect("a good group")
}
