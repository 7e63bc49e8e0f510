//! Updates that cannot end, and what is said of them.

use super::*;

fn running(given: &Given, keys: Value) -> Cluster {
    Cluster::of(given).after(json!({ "apps": [service("a", "0.9", keys)] }))
}

fn stuck(cluster: &Cluster, keys: Value, assumptions: Value) -> Timeline {
    let timeline = cluster.predict(json!({
        "app": "/zdd/a",
        "update": service("a", "1.0", keys),
        "assumptions": assumptions,
    }));
    assert_eq!(
        timeline.verdict.outcome,
        Outcome::CannotFinish,
        "{timeline:#?}"
    );
    assert_eq!(timeline.total_millis, None);
    assert!(!timeline.verdict.reasons.is_empty());
    timeline
}

#[test]
fn short_resources_are_named_with_the_agents() {
    // Four tasks of half a core fill two agents of one core; four more do not fit beside them.
    let cluster = running(&agents(2, 1.0), json!({ "cpus": 0.5 }));
    let timeline = stuck(&cluster, json!({ "cpus": 0.5 }), json!({}));
    assert_eq!(kinds(&timeline), [Hindrance::Resources]);
    let text = texts(&timeline)[0];
    for part in [
        "4 instances wait",
        "127.0.0.11, 127.0.0.12",
        "cpus",
        "0.5",
        "0 cpus free",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        picture(timeline.points.last().unwrap()),
        "4 × 0.9 serving; 4 waiting"
    );
    assert_eq!(timeline.apps[0].capacity.lowest, 4);
    // One place at a time is enough for less overcapacity.
    let mut keys = strategy(0.5, 0.0);
    keys["cpus"] = json!(0.5);
    let cluster = running(&agents(2, 1.0), keys.clone());
    let timeline = cluster.predict(json!({ "app": "/zdd/a", "update": service("a", "1.0", keys) }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    assert_eq!(timeline.usage.cluster.cpus, 2.0);
}

#[test]
fn a_definition_too_large_for_any_agent_waits_for_ever() {
    let cluster = running(&agents(2, 4.0), json!({}));
    let timeline = stuck(&cluster, json!({ "mem": 5000 }), json!({}));
    let text = texts(&timeline)[0];
    assert!(text.contains("mem") && text.contains("5000"), "{text}");
}

#[test]
fn health_checks_that_never_pass_are_named() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let timeline = stuck(&cluster, checked(json!({})), json!({ "fails": 1 }));
    assert_eq!(kinds(&timeline), [Hindrance::Health]);
    let text = texts(&timeline)[0];
    assert!(
        text.contains("1 of 4") && text.contains("HTTP /health"),
        "{text}"
    );
    // Three pass and let three old ones go; the fourth is killed for its health, and so are its successors.
    assert_eq!(timeline.apps[0].capacity.lowest, 4);
    assert!(changes(&timeline).contains(&Change::KilledForHealth));
    let since = timeline.verdict.stands_since.expect("it stands still");
    assert_eq!(
        picture(&timeline.points[since]),
        "1 × 0.9 serving, 3 × 1.0 serving, 1 × 1.0 running"
    );
}

#[test]
fn answers_slower_than_the_timeout_never_pass() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let timeline = stuck(&cluster, checked(json!({})), json!({ "answerSeconds": 21 }));
    assert!(
        texts(&timeline)[0].contains("4 of 4"),
        "{:?}",
        texts(&timeline)
    );
}

#[test]
fn a_readiness_check_that_never_passes_is_named() {
    let keys = json!({
        "portDefinitions": [{ "name": "main-api", "port": 0 }],
        "readinessChecks": [{ "name": "warm", "path": "/ready", "portName": "main-api" }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 },
    });
    let cluster = running(&agents(2, 4.0), keys.clone());
    let timeline = stuck(&cluster, keys, json!({ "fails": "all" }));
    assert_eq!(kinds(&timeline), [Hindrance::Readiness]);
    let text = texts(&timeline)[0];
    for part in ["2 of 4", "warm", "/ready", "200"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(timeline.apps[0].capacity.lowest, 2);
}

#[test]
fn tasks_that_end_by_themselves_are_named() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let timeline = stuck(&cluster, checked(json!({})), json!({ "crashes": 2 }));
    assert_eq!(kinds(&timeline), [Hindrance::Crash]);
    assert!(
        texts(&timeline)[0].contains("2 of 4"),
        "{:?}",
        texts(&timeline)
    );
    assert!(changes(&timeline).contains(&Change::Failed));
}

#[test]
fn a_constraint_that_cannot_hold_is_named() {
    let cluster = running(&agents(2, 4.0), json!({}));
    let keys = json!({ "constraints": [["hostname", "UNIQUE"]] });
    let timeline = stuck(&cluster, keys, json!({}));
    assert_eq!(kinds(&timeline), [Hindrance::Constraint]);
    let text = texts(&timeline)[0];
    assert!(
        text.contains("2 instances wait") && text.contains("hostname UNIQUE"),
        "{text}"
    );

    let keys = json!({ "constraints": [["rack", "LIKE", "r1"]] });
    let timeline = stuck(&cluster, keys, json!({}));
    assert!(
        texts(&timeline)[0].contains("rack"),
        "{:?}",
        texts(&timeline)
    );
}

#[test]
fn a_taken_port_is_named() {
    let keys =
        json!({ "portDefinitions": [{ "port": 8500 }], "requirePorts": true, "instances": 2 });
    let cluster = running(&agents(2, 4.0), keys.clone());
    let timeline = stuck(&cluster, keys, json!({}));
    assert_eq!(kinds(&timeline), [Hindrance::Ports]);
    assert!(
        texts(&timeline)[0].contains("8500"),
        "{:?}",
        texts(&timeline)
    );
}

#[test]
fn a_role_that_nobody_has_is_named() {
    let cluster = running(&agents(2, 4.0), json!({}));
    let keys = json!({ "acceptedResourceRoles": ["slave_public"] });
    let timeline = stuck(&cluster, keys, json!({}));
    assert_eq!(kinds(&timeline), [Hindrance::Role]);
}

#[test]
fn without_checks_none_can_fail() {
    let cluster = running(&agents(2, 4.0), json!({}));
    let timeline = cluster.predict(json!({
        "app": "/zdd/a",
        "update": service("a", "1.0", json!({})),
        "assumptions": { "fails": "all" },
    }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    assert!(
        timeline.notes[0].contains("no checks"),
        "{:?}",
        timeline.notes
    );
}

#[test]
fn work_without_end_is_given_up() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let request = json!({ "app": "/zdd/a", "update": service("a", "1.0", checked(json!({}))) });
    let request = Request::read(request.to_string().as_bytes()).unwrap();
    let limits = Limits {
        steps: 5,
        is_over: &|| false,
    };
    let Cluster { config, state } = &cluster;
    let predicted = predict(
        config,
        state,
        state.clock,
        request.command,
        &Assumptions::default(),
        &limits,
    );
    let timeline = predicted.unwrap().timeline;
    assert_eq!(timeline.verdict.outcome, Outcome::Unknown);
    assert!(
        timeline.notes[0].contains("given up"),
        "{:?}",
        timeline.notes
    );
}

#[test]
fn a_service_that_says_absurd_times_is_too_slow() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let mut keys = checked(json!({}));
    keys["env"] = json!({ "HEALTH_MIN": "4000000000", "HEALTH_MAX": "4294967295" });
    let timeline = stuck(&cluster, keys, json!({}));
    assert_eq!(kinds(&timeline), [Hindrance::Health]);
}

#[test]
fn of_a_scaling_only_the_tasks_that_come_are_told() {
    let cluster = running(&agents(2, 4.0), checked(json!({})));
    let timeline = cluster.predict(json!({
        "app": "/zdd/a",
        "update": { "instances": 6 },
        "assumptions": { "fails": 1 },
    }));
    let text = texts(&timeline)[0];
    assert!(text.starts_with("1 of 2 new tasks never passes"), "{text}");
}

#[test]
fn of_many_agents_the_first_are_named_and_the_rest_counted() {
    let first = "127.0.0.11, 127.0.0.12, 127.0.0.13, 127.0.0.14, 127.0.0.15";
    for (n_agents, told) in [
        (5, vec![format!("each of {first} has 4 cpus")]),
        (
            8,
            vec![format!("each of {first} and 3 more agents has 4 cpus")],
        ),
        (
            130,
            vec![
                "each of 127.0.0.11, 127.0.0.12, ".to_owned(),
                "30 more agents do not take them either".to_owned(),
            ],
        ),
    ] {
        let cluster = Cluster::of(&agents(n_agents, 4.0));
        let app = service("a", "1.0", json!({ "cpus": 5, "instances": 2 }));
        let timeline = cluster.predict(json!({ "apps": [app] }));
        let texts = texts(&timeline);
        assert_eq!(texts.len(), told.len(), "{texts:?}");
        for (text, told) in texts.iter().zip(told) {
            let wanted = format!("2 instances wait to be placed: {told}");
            assert!(text.starts_with(&wanted), "{text}");
        }
    }
}

#[test]
fn a_restart_of_a_unique_app_counts_the_tasks_that_are_there() {
    // A change of the definition is a new config, and its tasks do not count the old ones; a change of nothing is not.
    let unique = json!({ "instances": 2, "constraints": [["hostname", "UNIQUE"]] });
    let cluster = running(&agents(2, 4.0), unique.clone());
    let update = service("a", "1.0", unique);
    let timeline = cluster.predict(json!({ "app": "/zdd/a", "update": update }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    let command = crate::input::Command::RestartApp {
        app_id: AppId::absolute("/zdd/a"),
        force: false,
    };
    let Cluster { config, state } = &cluster;
    let assumptions = Assumptions::default();
    let now = state.clock;
    let predicted = predict(config, state, now, command, &assumptions, &Limits::USUAL);
    let timeline = predicted.unwrap().timeline;
    assert_eq!(
        texts(&timeline),
        [
            "2 instances wait to be placed: each of 127.0.0.11, 127.0.0.12 has a task of it already, \
             and hostname UNIQUE allows one"
        ]
    );
}
