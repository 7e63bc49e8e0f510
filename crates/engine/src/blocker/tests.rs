use serde_json::{Value, json};
use zddcluster_model::AppId;

use crate::blocker::{Blocker, blockers, blockers_of_app};
use crate::effect::Answer;
use crate::input::{Command, Input};
use crate::script::{Script, read};
use zddcluster_model::{EdgeId, TaskState};

fn app(extra: Value) -> Value {
    let mut app = json!({
        "id": "/a", "cmd": "x", "cpus": 0.1, "mem": 32, "instances": 2,
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
    });
    for (key, value) in extra.as_object().unwrap() {
        app[key] = value.clone();
    }
    app
}

/// Everything that waits, in words; task ids and hosts are cut down to what does not change.
fn waits(script: &Script) -> Vec<String> {
    let state = script.engine.state();
    let now = state.clock;
    let running = state.deployments.keys();
    let all: Vec<Blocker> = running.flat_map(|id| blockers(state, id)).collect();
    all.iter()
        .map(|blocker| {
            let mut text = blocker.lines(state, now).join("; ");
            for task in state.tasks.values() {
                text = text.replace(&task.id.to_string(), "TASK");
            }
            text
        })
        .collect()
}

fn hints(script: &Script) -> Vec<String> {
    let state = script.engine.state();
    let running = state.deployments.keys();
    let all = running.flat_map(|id| blockers(state, id));
    all.map(|blocker| blocker.hint(state)).collect()
}

#[test]
fn a_launch_waits_for_room_and_says_who_has_how_much() {
    let mut script = Script::new();
    script
        .post(app(json!({"cpus": 2.5, "instances": 3})))
        .unwrap();
    script.run_staged();
    script.tick(5_000);
    let few = "has 1.5 cpus free, 2.5 wanted";
    assert_eq!(
        waits(&script),
        [format!(
            "1 instance of /a to find an agent, since 5 s; agent 127.0.0.11 {few}; agent 127.0.0.12 {few}"
        )]
    );
    let expected = "lower cpus, stop or scale down what runs there, or add an agent";
    assert_eq!(hints(&script), [expected]);
    // It is looked at again when something changes.
    let agent_id = script.engine.state().agents.keys().next().unwrap().clone();
    script.lose_agent(&agent_id);
    assert!(waits(&script)[0].contains("agent 127.0.0.11 is away; agent 127.0.0.12 has"));
    // Offers, not attempts, are counted: two agents refused once, then one was left.
    let entry = script
        .engine
        .state()
        .queue
        .get(&AppId::absolute("/a"))
        .unwrap();
    let offers = &entry.offers;
    assert_eq!((offers.processed, offers.unused), (2 + 2 + 1, 2 + 1));
    assert_eq!(offers.last_declined, [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn each_agent_says_all_that_speaks_against_it() {
    for (extra, said, hint) in [
        (
            json!({"cpus": 9, "mem": 20_000}),
            "has 4 cpus free, 9 wanted (4 in all); has 14861 MiB of memory free, 20000 wanted (14861 in all)",
            "no agent of that size: lower cpus, or start agents with more (--resources)",
        ),
        (
            json!({"acceptedResourceRoles": ["slave_public"]}),
            "has role *, accepted is slave_public",
            "agents of role * need it in acceptedResourceRoles",
        ),
        (
            json!({"constraints": [["rack", "LIKE", "a"]], "gpus": 0}),
            "has no attribute rack, which rack LIKE a asks for",
            "change the constraint on rack, or add an agent that meets it",
        ),
        (
            json!({"ports": [50_000], "requirePorts": true}),
            "does not offer port 50000",
            "choose another port than 50000, or set requirePorts to false",
        ),
    ] {
        let mut script = Script::new();
        let mut extra = extra;
        extra["instances"] = 1.into();
        script.post(app(extra)).unwrap();
        let expected = format!(
            "1 instance of /a to find an agent, since 0 s; agent 127.0.0.11 {said}; agent 127.0.0.12 {said}"
        );
        assert_eq!(waits(&script), [expected]);
        assert_eq!(hints(&script), [hint]);
    }
}

#[test]
fn unique_is_used_up() {
    let mut script = Script::new();
    let unique = json!({"instances": 3, "constraints": [["hostname", "UNIQUE"]]});
    script.post(app(unique)).unwrap();
    let waits = waits(&script);
    assert!(
        waits[0]
            .contains("agent 127.0.0.11 has a task of it already, and hostname UNIQUE allows one"),
        "{waits:?}"
    );
    assert!(hints(&script)[0].contains("lower instances"));
}

#[test]
fn each_stage_of_an_update_is_named() {
    let mut script = Script::new();
    let checked = json!({
        "healthChecks": [{}],
        "portDefinitions": [{"port": 0, "name": "http-api"}],
        "readinessChecks": [{"preserveLastResponse": true}],
    });
    script.post(app(checked)).unwrap();
    assert_eq!(
        waits(&script),
        vec!["TASK to start on agent 127.0.0.11, since 0 s"; 1]
            .into_iter()
            .chain(["TASK to start on agent 127.0.0.12, since 0 s"])
            .collect::<Vec<_>>()
    );
    script.run_staged();
    script.tick(61_000);
    script.answer_checks(false);
    let unhealthy =
        "TASK to become healthy, running since 1 min 1 s; no counted check has failed so far";
    assert_eq!(waits(&script), [unhealthy; 2]);
    script.tick(300_000);
    script.answer_checks(false);
    assert!(waits(&script)[0].ends_with("the last check said: 500 Internal Server Error"));
    script.answer_checks(true);
    assert!(waits(&script)[0].starts_with("TASK to say that it is ready, running since"));
    let tasks = script.tasks("/a");
    for (task, status) in tasks.iter().zip([503, 503]) {
        script.step(Input::Readiness {
            task_id: task.id.clone(),
            is_ready: false,
            response: zddcluster_model::task::ReadinessResponse {
                status,
                content_type: String::new(),
                body: "warming up".to_owned(),
            },
        });
    }
    assert!(waits(&script)[1].ends_with("; it last answered 503: warming up"));
}

#[test]
fn an_end_waits_for_edges_and_for_the_process() {
    let mut script = Script::new();
    script.step(Input::EdgeConnected(EdgeId::new("e")));
    script.deploy(app(json!({})));
    let put = script.put("/a", json!({"cmd": "y"}), false);
    assert!(matches!(put, Ok(Answer::Deployment { .. })));
    script.tick(4_000);
    let decided = "TASK to end, decided 4 s ago: replaced or removed by a deployment";
    let drains = "SIGTERM waits for requests through edge e, at most 6 s more";
    assert_eq!(waits(&script), [format!("{decided}; {drains}")]);
    let task = script
        .tasks("/a")
        .into_iter()
        .find(|task| task.killing.is_some());
    let task_id = task.unwrap().id.clone();
    let edge_id = EdgeId::new("e");
    script.step(Input::Drained { edge_id, task_id });
    assert_eq!(waits(&script), [decided]);
    // What was not asked to end yet is no reason to wait.
    script.delete("/a").unwrap();
    assert_eq!(waits(&script).len(), 2);
}

#[test]
fn tasks_that_end_by_themselves_are_waited_for_with_their_last_words() {
    let mut script = Script::new();
    script.post(app(json!({"instances": 1}))).unwrap();
    script.run_staged();
    assert!(script.engine.state().deployments.is_empty());
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    let state = script.engine.state();
    // Also without a deployment.
    let waits = blockers_of_app(state, &AppId::absolute("/a"));
    let [blocker @ Blocker::BackOff { count: 1, .. }] = &waits[..] else {
        panic!("{waits:?}");
    };
    let lines = blocker.lines(state, state.clock);
    assert_eq!(
        lines,
        [
            "1 instance of /a to be launched in 1 s: its tasks ended by themselves".to_owned(),
            format!("the last one, {}, was TASK_FAILED: ", task.id),
        ]
    );
    assert!(blocker.hint(state).contains("DELETE /v2/queue/a/delay"));
}

#[test]
fn more_agents_than_are_kept_are_counted() {
    let mut script = Script::new();
    for host in 13..=130 {
        script.register_another(host);
    }
    let updates = vec![read(&app(json!({"cpus": 5, "instances": 1})))];
    let force = false;
    script
        .command(Command::UpdateApps { updates, force })
        .unwrap();
    let entry = script
        .engine
        .state()
        .queue
        .get(&AppId::absolute("/a"))
        .unwrap();
    assert_eq!(entry.refusals.len(), 100);
    assert_eq!(entry.offers.unused, 120);
    assert!(waits(&script)[0].ends_with("; so do 20 more"));
}

#[test]
fn an_app_that_a_stopped_deployment_left_waits_for_the_look_at_all_apps() {
    let mut script = Script::new();
    script.tick(60_000);
    script.deploy(app(json!({"instances": 3})));
    let told = |script: &Script| -> Vec<String> {
        let state = script.engine.state();
        let waits = blockers_of_app(state, &AppId::absolute("/a"));
        let lines = waits
            .iter()
            .map(|blocker| blocker.lines(state, state.clock));
        lines.map(|mut lines| lines.remove(0)).collect()
    };
    assert!(told(&script).is_empty(), "{:?}", told(&script));
    // One is killed for one that finds no agent; then the deployment is stopped.
    script.put("/a", json!({"cpus": 9}), false).unwrap();
    script.end_killed();
    assert_eq!(script.show("/a"), "2 old RUNNING; 1 queued");
    let running = script.engine.state().deployments.keys().next();
    let deployment_id = running.unwrap().clone();
    script
        .command(Command::CancelDeployment { deployment_id })
        .unwrap();
    let look = "1 instance of /a to be started at the next look at all apps, in 4 min 15 s";
    assert_eq!(told(&script), [look]);
    script.tick(255_000);
    assert_eq!(
        told(&script),
        ["1 instance of /a to find an agent, since 0 s"]
    );
}

#[test]
fn a_blocker_knows_its_app() {
    let mut script = Script::new();
    script
        .post(app(json!({"cpus": 2.5, "instances": 3})))
        .unwrap();
    let state = script.engine.state();
    let id = state.deployments.keys().next().unwrap();
    let all = blockers(state, id);
    assert_eq!(all.len(), 3);
    assert!(
        all.iter()
            .all(|blocker| blocker.is_of(&AppId::absolute("/a")))
    );
    assert!(
        !all.iter()
            .any(|blocker| blocker.is_of(&AppId::absolute("/b")))
    );
}

#[test]
fn files_that_are_waited_for_are_told_without_passwords() {
    let urls = [
        "http://me:s@cret@files/x?y=a:b@c",
        "http://me@files:80/x",
        "https://files/x#a:b@c",
        "nonsense",
    ];
    let blocker = Blocker::Download {
        app_id: AppId::absolute("/a"),
        urls: urls.map(str::to_owned).to_vec(),
    };
    let state = Script::new().engine.state().clone();
    let lines = blocker.lines(&state, state.clock);
    let shown = [
        "http://me:***@files/x?y=a:b@c",
        "http://me@files:80/x",
        "https://files/x#a:b@c",
        "nonsense",
    ];
    assert_eq!(lines[1..], shown);
}
