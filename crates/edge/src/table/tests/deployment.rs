//! Deployment groups.

use super::*;

/// One app of a swap: how many tasks are wanted, which run and which of them are healthy (`+` and `-`), and what the labels say.
struct Side {
    name: &'static str,
    instances: u64,
    /// A sign for each task: `+` healthy, `-` not, `k` being killed.
    tasks: &'static str,
    /// `STARTED_AT`, if not empty.
    started: &'static str,
    /// `TARGET_INSTANCES` and `NEW_INSTANCES`, if it has them.
    target: Option<(u64, &'static str)>,
    scaled: &'static str,
    is_checked: bool,
}

fn blue(instances: u64, tasks: &'static str) -> Side {
    Side {
        name: "blue",
        instances,
        tasks,
        started: "2016-10-01T00:00:00.000001",
        target: Some((4, "0")),
        scaled: "2016-10-01T00:00:00.000Z",
        is_checked: true,
    }
}

fn green(instances: u64, tasks: &'static str) -> Side {
    Side {
        name: "green",
        started: "2016-10-02T00:00:00",
        scaled: "2016-10-02T00:00:00.000Z",
        ..blue(instances, tasks)
    }
}

impl Side {
    fn app(&self) -> Value {
        let base = if self.name == "blue" { 1000 } else { 2000 };
        let tasks = self.tasks.chars().enumerate().map(|(n, sign)| {
            let state = if sign == 'k' { "TASK_KILLING" } else { "TASK_RUNNING" };
            let mut task = json!({"id": format!("{}.{n}", self.name), "host": "10.0.0.1", "ports": [base + n], "state": state});
            if self.is_checked {
                task["healthCheckResults"] = json!([{"alive": sign == '+'}]);
            }
            task
        });
        let mut app = json!({
            "id": format!("/svc-{}", self.name), "ports": [10000 + base], "instances": self.instances,
            "tasks": tasks.collect::<Vec<_>>(), "versionInfo": {"lastScalingAt": self.scaled},
            "labels": {
                "HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "svc",
                "HAPROXY_0_PORT": "10000", "HAPROXY_0_MODE": "http",
            },
        });
        if self.is_checked {
            app["healthChecks"] = json!([{"protocol": "HTTP"}]);
        }
        if !self.started.is_empty() {
            app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = json!(self.started);
        }
        if let Some((target, new)) = self.target {
            app["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] = json!(target.to_string());
            app["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"] = json!(new);
        }
        app
    }
}

/// The servers of the pair's backend in order: `b0 b1 g0`, with a `!` behind the draining.
fn shown(apps: &[&Side]) -> String {
    let world = world(Value::Array(apps.iter().map(|side| side.app()).collect()));
    let (table, warnings) = world.build();
    assert_eq!(table.backends.len(), 1, "{warnings:?}");
    assert_eq!(table.backends[0].name, "svc_10000");
    let server = |server: &Server| {
        let mark = if server.is_draining { "!" } else { "" };
        let (name, n) = server.task_id.as_str().split_once('.').unwrap();
        format!("{}{n}{mark}", &name[..1])
    };
    table.backends[0]
        .servers
        .iter()
        .map(server)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_swap_from_four_to_four() {
    // contract: lb-zdd-drain, lb-zdd-roles, lb-group-name, lb-maint-stays
    for (old, new, expected) in [
        (blue(4, "++++"), green(1, ""), "b0 b1 b2 b3"),
        (blue(4, "++++"), green(1, "-"), "b0 b1 b2 b3"),
        (blue(4, "++++"), green(1, "+"), "b0! b1 b2 b3 g0"),
        // One is killed, two are wanted: the second new one has to be healthy first.
        (blue(3, "+++"), green(2, "+-"), "b0 b1 b2 g0"),
        (blue(3, "+++"), green(2, "++"), "b0! b1 b2 g0 g1"),
        (blue(3, "k+++"), green(2, "++"), "b1! b2 b3 g0 g1"),
        (blue(2, "++"), green(4, "++++"), "b0! b1! g0 g1 g2 g3"),
        (
            blue(4, "++++"),
            green(4, "++++"),
            "b0! b1! b2! b3! g0 g1 g2 g3",
        ),
        (
            blue(4, "++++"),
            green(6, "++++++"),
            "b0! b1! b2! b3! g0 g1 g2 g3 g4 g5",
        ),
        // Fewer are wanted than there are: none but one a healthy new one.
        (blue(9, "++++"), green(1, "+"), "b0! b1 b2 b3 g0"),
    ] {
        assert_eq!(shown(&[&old, &new]), expected);
        // The order in which they are listed means nothing.
        assert_eq!(shown(&[&new, &old]), expected);
    }
}

#[test]
fn who_is_new_is_told_by_time_and_by_the_last_scaling() {
    // contract: lb-zdd-roles
    let with = |side: Side, started, scaled, target| Side {
        started,
        scaled,
        target,
        ..side
    };
    let early = "2016-10-01T00:00:00.000Z";
    let late = "2016-10-03T00:00:00.000Z";
    let full = Some((4, "2"));
    // Nothing at all is earliest.
    let blue_unstarted = with(blue(4, "++++"), "", early, None);
    let green_started = with(green(1, "+"), "2016", early, full);
    assert_eq!(shown(&[&blue_unstarted, &green_started]), "b0! b1 b2 b3 g0");
    // The swap is taken back: blue was scaled last, so green drains.
    let blue_back = with(blue(4, "++++"), "2016-10-01", late, full);
    let green_half = with(green(2, "++"), "2016-10-02", early, full);
    assert_eq!(shown(&[&blue_back, &green_half]), "b0 b1 b2 b3 g0! g1!");
    // Without NEW_INSTANCES it is not.
    let green_plain = with(green(2, "++"), "2016-10-02", early, None);
    assert_eq!(shown(&[&blue_back, &green_plain]), "b0! b1! b2 b3 g0 g1");
}

#[test]
fn the_target_is_one_without_new_instances() {
    // contract: lb-zdd-target
    let new = Side {
        target: None,
        ..green(1, "+")
    };
    assert_eq!(shown(&[&blue(1, "+"), &new]), "b0! g0");
    let odd = Side {
        target: Some((4, "")),
        ..green(1, "+")
    };
    assert_eq!(
        shown(&[&blue(3, "+++"), &odd]),
        "b0 b1 b2 g0",
        "any value counts"
    );
}

#[test]
fn without_health_checks_running_tasks_count() {
    // contract: lb-zdd-running
    let unchecked = |side: Side| Side {
        is_checked: false,
        ..side
    };
    let (old, new) = (unchecked(blue(4, "++++")), unchecked(green(4, "+")));
    assert_eq!(shown(&[&old, &new]), "b0! b1 b2 b3 g0");
}

#[test]
fn other_sizes_of_groups() {
    // contract: lb-zdd-one-app
    assert_eq!(shown(&[&blue(2, "++")]), "b0 b1");
    let third = Side {
        name: "red",
        ..green(1, "+")
    };
    assert_eq!(shown(&[&blue(1, "+"), &green(1, "+"), &third]), "b0 g0 r0");
    let mut slashed = blue(1, "+").app();
    slashed["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = json!("/a/svc");
    let (table, _) = world(json!([slashed])).build();
    assert_eq!(table.backends[0].name, "a_svc_10000");
    assert_eq!(table.by_app_id, BTreeMap::from([("/a/svc".to_owned(), 0)]));
}
