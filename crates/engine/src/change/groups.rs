//! Groups: from a request to the tree it wants.
//!
//! The parts of the body are laid over the group by `model`; here every app that is not as before gets its ports and versions,
//! and the whole tree goes the way of all changes, [`Turn::deploy`]. Source: contract marathon §2.5, §3.1.

use std::sync::Arc;

use zddcluster_model::app::{App, Fault, RuleErrors, validate_change};
use zddcluster_model::deployment::Step;
use zddcluster_model::group::{GroupRequest, GroupUpdate, place};
use zddcluster_model::{AppId, Group, Timestamp};

use super::deploy::Change;
use super::ports::{assign_service_ports, used_ports};
use super::{as_new, with_versions};
use crate::effect::{Answer, Refusal};
use crate::plan::{resolve_step, steps};
use crate::turn::Turn;

/// The most instances: Marathon's integers end here, and a product beyond is this.
const MOST_INSTANCES: f64 = i32::MAX as f64;

impl Turn<'_> {
    /// POST: a group that is not there yet.
    pub(super) fn create_group(
        &mut self,
        base: &AppId,
        update: GroupUpdate,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let group_id = update.path(base);
        let wanted = update.check(base, version)?;
        // Said before the change begins: no event.
        if self.state.root.group(&group_id).is_some() {
            return Err(Refusal::GroupExists(group_id));
        }
        if self.state.root.app(&group_id).is_some() {
            return Err(Refusal::AppAtPath(group_id));
        }
        self.change_group(group_id, wanted, version, force)
    }

    /// PUT: creates or changes a group.
    pub(super) fn update_group(
        &mut self,
        base: &AppId,
        update: GroupUpdate,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let group_id = update.path(base);
        let wanted = update.check(base, version)?;
        self.change_group(group_id, wanted, version, force)
    }

    /// PUT with `dryRun`: the steps that the change would take; nothing happens.
    pub(super) fn plan_group(
        &mut self,
        base: &AppId,
        update: GroupUpdate,
    ) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let group_id = update.path(base);
        let wanted = update.check(base, version)?;
        let root = self.tree_with(&group_id, wanted, version)?;
        self.check_wanted(&root).map_err(Refusal::Invalid)?;
        let downloads = std::mem::take(&mut self.downloads);
        let mut planned: Vec<Step> = resolve_step(&downloads).into_iter().collect();
        planned.extend(steps(&self.state.root, &root));
        Ok(Answer::Steps(planned))
    }

    /// DELETE: the group and all below it go; the root is emptied.
    pub(super) fn delete_group(
        &mut self,
        group_id: &AppId,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let root = &self.state.root;
        if group_id.is_root() {
            let mut empty = Group::empty(AppId::root(), version);
            empty.dependencies.clone_from(&root.dependencies);
            return self.deploy(Change::new(AppId::root(), empty, version, force));
        }
        // What is changed is the group that held it.
        let parent = group_id.parent();
        if root.group(group_id).is_none() {
            let refusal = Refusal::UnknownGroup(group_id.clone());
            return Err(self.refuse_change(parent, version, refusal));
        }
        let root = root.without_group(group_id, version);
        self.deploy(Change::new(parent, root, version, force))
    }

    fn change_group(
        &mut self,
        group_id: AppId,
        wanted: GroupRequest,
        version: Timestamp,
        force: bool,
    ) -> Result<Answer, Refusal> {
        match self.tree_with(&group_id, wanted, version) {
            Ok(root) => self.deploy(Change::new(group_id, root, version, force)),
            Err(refusal) => Err(self.refuse_change(group_id, version, refusal)),
        }
    }

    /// The present tree with the group as it is wanted.
    fn tree_with(
        &self,
        group_id: &AppId,
        wanted: GroupRequest,
        version: Timestamp,
    ) -> Result<Group, Refusal> {
        let root = &self.state.root;
        let current = root.group(group_id);
        let group = match wanted {
            GroupRequest::Content(content) => content
                .apply(group_id, current, version)
                .map_err(|missing| Refusal::IllegalArgument(missing.to_string()))?,
            GroupRequest::ScaleBy(factor) => match current {
                Some(group) => group.with_apps(version, &mut |app| scaled(app, factor)),
                None => Group::empty(group_id.clone(), version),
            },
            GroupRequest::Restore(wanted) => {
                let group = self.state.group_at(group_id, wanted).ok_or_else(|| {
                    let text = format!("Group {group_id} not available in version {wanted}");
                    Refusal::IllegalArgument(text)
                })?;
                group.with_apps(version, &mut Arc::clone)
            }
        };
        self.settle_apps(root.with_group(group, version), version)
    }

    /// Gives every app that is not the present one its service ports, versions and version info.
    ///
    /// One that turns out to be as before is the present one again. `Err` also if one changes what it may not.
    fn settle_apps(&self, mut root: Group, version: Timestamp) -> Result<Group, Refusal> {
        let mut used = used_ports(&self.state.root);
        used.extend(used_ports(&root));
        let mut settled: Vec<Arc<App>> = Vec::new();
        let mut faults = Vec::new();
        for app in root.transitive_apps() {
            let current = self.state.root.app(&app.id);
            if current.is_some_and(|current| Arc::ptr_eq(current, app)) {
                continue;
            }
            let mut app = (**app).clone();
            assign_service_ports(&mut app, current.map(|current| &**current), &mut used)?;
            let Some(current) = current else {
                settled.push(Arc::new(as_new(app, version)));
                continue;
            };
            let app = with_versions(app, current, version);
            if app == **current {
                settled.push(Arc::clone(current));
                continue;
            }
            if let Err(RuleErrors(more)) = validate_change(current, &app) {
                let place = place(&root, &app.id);
                faults.extend(more.into_iter().map(|fault| Fault {
                    path: format!("{place}{}", fault.path.trim_end_matches('/')),
                    ..fault
                }));
            }
            settled.push(Arc::new(app));
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        for app in settled {
            root.put_app(app, version);
        }
        Ok(root)
    }
}

fn scaled(app: &Arc<App>, factor: f64) -> Arc<App> {
    let instances = (f64::from(app.instances) * factor)
        .ceil()
        .min(MOST_INSTANCES) as u32;
    if instances == app.instances {
        return Arc::clone(app);
    }
    Arc::new(App {
        instances,
        ..(**app).clone()
    })
}
