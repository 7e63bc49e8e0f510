//! The rules (422) one app has to keep by itself, in Marathon's words.
//!
//! Rules across apps (name clashes, cycles) are [`crate::group::check_tree`]. Source: contract marathon §1.2 to §1.10.

mod checks;
mod container;
mod ports;
mod roles;
mod uri;

use super::{App, Constraint, ContainerKind, EnvValue, Fault, Operator};
use crate::id::{MAX_ID_LENGTH, MAX_SEGMENTS, SEGMENT_FAULT};

pub(super) use checks::BAD_PORT_INDEX;

/// The broken rules of an app.
#[derive(Default)]
struct Broken(Vec<Fault>);

impl Broken {
    fn add(&mut self, path: impl Into<String>, error: impl Into<String>) {
        self.0.push(Fault {
            path: path.into(),
            errors: vec![error.into()],
        });
    }
}

/// Every rule the app breaks; the same path may be there more than once.
pub(super) fn rule_faults(app: &App) -> Vec<Fault> {
    let mut broken = Broken::default();
    check_ids(app, &mut broken);
    check_command(app, &mut broken);
    check_environment(app, &mut broken);
    check_resources(app, &mut broken);
    for constraint in &app.constraints {
        check_constraint(constraint, &mut broken);
    }
    for (idx, fetch) in app.fetch.iter().enumerate() {
        if !uri::is_valid(&fetch.uri) {
            broken.add(format!("/fetch({idx})"), "URI has invalid syntax.");
        }
    }
    container::check(app, &mut broken);
    ports::check(app, &mut broken);
    checks::check(app, &mut broken);
    roles::check(app, &mut broken);
    check_strategy(app, &mut broken);
    check_labels(app, &mut broken);
    broken.0
}

fn check_ids(app: &App, broken: &mut Broken) {
    if app.id.is_root() {
        broken.add("/id", "must not be the root path");
    }
    for _ in app.id.segment_faults() {
        broken.add("/id", SEGMENT_FAULT);
    }
    if app.id.segments().count() > MAX_SEGMENTS {
        broken.add("/id", format!("must have at most {MAX_SEGMENTS} segments"));
    }
    if app.id.as_str().len() > MAX_ID_LENGTH {
        broken.add(
            "/id",
            format!("must be at most {MAX_ID_LENGTH} characters long"),
        );
    }
    for (idx, dependency) in app.dependencies.iter().enumerate() {
        for _ in dependency.segment_faults() {
            broken.add(format!("/dependencies({idx})"), SEGMENT_FAULT);
        }
    }
}

/// A text that goes to the operating system when a process is started ends at the first NUL character.
const NO_NUL: &str = "must not contain NUL characters";

fn check_command(app: &App, broken: &mut Broken) {
    let has_image = app
        .container
        .as_ref()
        .is_some_and(|container| match container.kind {
            ContainerKind::Docker => true,
            ContainerKind::Mesos => container.docker.is_some() || container.appc.is_some(),
        });
    let is_right = match (&app.cmd, &app.args) {
        (Some(_), Some(_)) => false,
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => has_image,
    };
    if !is_right {
        let text =
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
        broken.add("/", text);
    }
    if app.cmd.as_ref().is_some_and(|cmd| cmd.contains('\0')) {
        broken.add("/cmd", NO_NUL);
    }
    if app.user.as_ref().is_some_and(|user| user.contains('\0')) {
        broken.add("/user", NO_NUL);
    }
    for (idx, arg) in app.args.iter().flatten().enumerate() {
        if arg.contains('\0') {
            broken.add(format!("/args({idx})"), NO_NUL);
        }
    }
}

fn check_environment(app: &App, broken: &mut Broken) {
    for (name, value) in &app.env {
        let path = format!("/env({name})");
        if name.is_empty() {
            broken.add(&path, "must not be empty");
        }
        if name.contains(['=', '\0']) {
            broken.add(&path, "name must not contain '=' or NUL characters");
        }
        match value {
            EnvValue::Text(text) if text.contains('\0') => broken.add(&path, NO_NUL),
            EnvValue::Text(_) => {}
            EnvValue::Secret { secret } if !app.secrets.contains_key(secret) => {
                broken.add(
                    &path,
                    format!("references an undefined secret named '{secret}'"),
                );
            }
            EnvValue::Secret { .. } => {}
        }
    }
    // Labels and the image are told to the task in its environment.
    for (name, value) in &app.labels {
        if name.contains('\0') || value.contains('\0') {
            broken.add(format!("/labels({name})"), NO_NUL);
        }
    }
    let docker = app
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    if docker.is_some_and(|docker| docker.image().contains('\0')) {
        broken.add("/container/docker/image", NO_NUL);
    }
    if !app.secrets.is_empty() {
        broken.add("/secrets", "must be empty");
        let text = "Feature secrets is not enabled. Enable with --enable_features secrets)";
        broken.add("/", text);
    }
}

fn check_resources(app: &App, broken: &mut Broken) {
    for (name, value) in [("cpus", app.cpus), ("mem", app.mem), ("disk", app.disk)] {
        if value < 0.0 {
            broken.add(
                format!("/{name}"),
                format!("got {value:?}, expected 0.0 or more"),
            );
        }
    }
    if app.gpus > 0 {
        let text =
            "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)";
        broken.add("/", text);
        if app
            .container
            .as_ref()
            .is_some_and(|container| container.kind == ContainerKind::Docker)
        {
            broken.add("/", "GPU resources only work with the Mesos containerizer");
        }
    }
}

fn check_constraint(constraint: &Constraint, broken: &mut Broken) {
    let path = "/constraints";
    let Constraint {
        field: _,
        operator,
        value,
    } = constraint;
    let value = value.as_deref();
    let is_number = |text: &str| text.parse::<i32>().is_ok();
    match operator {
        Operator::Unique if value.is_some() => broken.add(path, "Value specified but not used"),
        Operator::Unique | Operator::Cluster => {}
        Operator::GroupBy if value.is_none() => {}
        Operator::GroupBy | Operator::MaxPer => {
            if !value.is_some_and(is_number) {
                broken.add(path, "Value was specified but is not a number");
            }
        }
        Operator::Like | Operator::Unlike => match value {
            None => broken.add(path, "A regular expression value must be provided"),
            Some(text) if regex::Regex::new(text).is_err() => {
                broken.add(path, format!("'{text}' is not a valid regular expression"));
            }
            Some(_) => {}
        },
    }
}

fn check_strategy(app: &App, broken: &mut Broken) {
    let strategy = app.upgrade_strategy;
    let capacities = [
        ("minimumHealthCapacity", strategy.minimum_health_capacity),
        ("maximumOverCapacity", strategy.maximum_over_capacity),
    ];
    for (name, value) in capacities {
        if !(0.0..=1.0).contains(&value) {
            let text = format!("got {value:?}, expected between 0.0 and 1.0");
            broken.add(format!("/upgradeStrategy/{name}"), text);
        }
    }
    let is_single = is_single_instance(app);
    for (idx, (name, value)) in capacities.into_iter().enumerate() {
        let must_be_zero = is_single || (app.is_resident() && idx == 1);
        if must_be_zero && value != 0.0 {
            let text = format!("got {value:?}, expected 0.0");
            broken.add(format!("/upgradeStrategy/{name}"), text);
        }
    }
    if is_single && app.instances > 1 {
        broken.add("/", "Single instance app may only have one instance");
    }
}

fn is_single_instance(app: &App) -> bool {
    app.labels
        .get("MARATHON_SINGLE_INSTANCE_APP")
        .is_some_and(|value| value == "true")
}

fn check_labels(app: &App, broken: &mut Broken) {
    const API_VERSION: &str = "DCOS_MIGRATION_API_VERSION";
    if app.labels.contains_key(App::DRAIN_LABEL) && app.drain_seconds().is_none() {
        let most = App::MAX_DRAIN_SECONDS;
        broken.add(
            format!("/labels({})", App::DRAIN_LABEL),
            format!("must be a whole number of seconds from 0 to {most}"),
        );
    }
    let Some(version) = app.labels.get(API_VERSION) else {
        return;
    };
    if version != "v1" {
        broken.add(
            "/labels",
            format!("{API_VERSION} must be 'v1', got '{version}'"),
        );
    }
    for needed in ["DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_MIGRATION_API_PATH"] {
        if app.labels.get(needed).is_none_or(String::is_empty) {
            broken.add(
                "/labels",
                format!("{needed} must be set with {API_VERSION}"),
            );
        }
    }
}
