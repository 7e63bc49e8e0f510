//! The engine's placement against this second wording of the contract, in clusters of any kind.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use zddcluster_model::agent::Resources;
use zddcluster_model::app::{App, AppUpdate, Form};
use zddcluster_model::{AgentId, AppId, TaskId, TaskState, Timestamp};

use super::{Held, amounts, refusal, wanted_ports};
use crate::Config;
use crate::placement::{Fellows, place};
use crate::state::{Agent, State, Task};
use crate::turn::{index_task, millionths};

const NOW: Timestamp = Timestamp::from_millis(1_476_272_335_934);

fn agent() -> impl Strategy<Value = Agent> {
    (
        prop::sample::select(vec!["*", "*", "slave_public"]),
        prop::option::of(prop::sample::select(vec!["r1", "r2"])),
        0..9_u32,
        0..6_u16,
        any::<bool>(),
    )
        .prop_map(|(role, rack, quarters, n_ports, is_connected)| Agent {
            id: AgentId::new("S"),
            epoch: 1,
            hostname: String::new(),
            port: 5051,
            role: role.to_owned(),
            attributes: rack
                .map(|rack| ("rack".to_owned(), rack.to_owned()))
                .into_iter()
                .collect(),
            resources: Resources {
                cpus: f64::from(quarters) / 4.0,
                mem: 256.0,
                disk: 100.0,
                gpus: 0,
                ports: vec![(9_000, 9_003)],
                dynamic_ports: vec![(9_002, 9_002 + n_ports)],
            },
            registered_at: NOW,
            is_connected: is_connected || quarters > 1,
            away_since: None,
        })
}

fn constraint() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(["hostname", "UNIQUE"]),
        json!(["hostname", "CLUSTER"]),
        json!(["rack", "CLUSTER", "r2"]),
        json!(["rack", "GROUP_BY"]),
        json!(["rack", "GROUP_BY", "2"]),
        json!(["hostname", "MAX_PER", "2"]),
        json!(["rack", "MAX_PER", "1"]),
        json!(["rack", "LIKE", "r1|x"]),
        json!(["rack", "UNLIKE", "r1"]),
    ])
}

fn app() -> impl Strategy<Value = App> {
    let ports = prop::sample::select(vec![
        json!({ "portDefinitions": [] }),
        json!({ "portDefinitions": [{ "port": 0 }] }),
        json!({ "portDefinitions": [{ "port": 0 }, { "port": 0 }] }),
        json!({ "portDefinitions": [{ "port": 9001 }], "requirePorts": true }),
        json!({ "portDefinitions": [{ "port": 9003 }, { "port": 9002 }], "requirePorts": true }),
    ]);
    (
        prop::sample::select(vec!["/a", "/b"]),
        prop::sample::select(vec![0.0, 0.1, 0.25, 1.0]),
        prop::sample::select(vec![0, 32, 100]),
        ports,
        prop::collection::vec(constraint(), 0..3),
        prop::sample::select(vec![json!(null), json!(["slave_public", "*"])]),
    )
        .prop_map(|(id, cpus, mem, ports, constraints, roles)| {
            let mut definition = json!({
                "cmd": "serve",
                "cpus": cpus,
                "mem": mem,
                "constraints": constraints,
                "acceptedResourceRoles": roles,
            });
            let more = ports.as_object().expect("an object").clone();
            definition.as_object_mut().expect("an object").extend(more);
            AppUpdate::read(definition.to_string().as_bytes(), Form::Partial)
                .expect("a good definition")
                .into_app(AppId::absolute(id), NOW)
                .expect("a good definition")
        })
}

fn config() -> Config {
    Config {
        master_uuid: uuid::Builder::from_random_bytes([7; 16]).into_uuid(),
        node: [1, 2, 3, 4, 5, 6],
        seed: 1,
        speed: 1.0,
        drain_millis: 0,
        agent_timeout_millis: 75_000,
        max_apps: None,
        plant: None,
    }
}

/// A task of `app` on an agent, as a launch makes it.
fn launch(state: &mut State, app: &App, agent: &Agent, ports: Vec<u16>, number: usize) -> Held {
    let task = Task {
        id: TaskId::new(&format!("{}.{number:04}", app.id.safe_name())),
        app_id: app.id.clone(),
        app: Some(Arc::new(app.clone())),
        version: app.version,
        agent_id: agent.id.clone(),
        host: agent.hostname.clone(),
        ports: ports.clone(),
        cpus: millionths(app.cpus),
        mem: millionths(app.mem),
        disk: millionths(app.disk),
        state: TaskState::Staging,
        staged_at: NOW,
        started_at: None,
        ended_at: None,
        message: String::new(),
        reason: None,
        ip_addresses: Vec::new(),
        container_id: String::new(),
        health: Vec::new(),
        killing: None,
        reservation: None,
        local_volumes: Vec::new(),
    };
    index_task(state, Arc::new(task));
    Held {
        app_id: app.id.clone(),
        agent_id: agent.id.clone(),
        version: app.version,
        ports,
        amounts: amounts(app),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// An agent that is chosen can take the task, ports and all; if none is chosen, none can.
    #[test]
    fn a_place_is_found_exactly_if_there_is_one(
        agents in prop::collection::vec(agent(), 0..5),
        apps in prop::collection::vec((app(), any::<u16>()), 1..25),
        is_single in prop::bool::weighted(0.2),
    ) {
        let mut state = State::new(&config(), NOW);
        for (idx, agent) in agents.into_iter().enumerate() {
            let agent = Agent {
                id: AgentId::new(&format!("S{idx}")),
                hostname: if is_single {
                    "127.0.0.1".to_owned()
                } else {
                    format!("127.0.0.{}", 11 + idx)
                },
                ..agent
            };
            state.agents.insert_mut(agent.id.clone(), Arc::new(agent));
        }
        let mut held: Vec<Held> = Vec::new();
        for (number, (app, random)) in apps.iter().enumerate() {
            let fellows = Fellows::of(&state, app);
            let placed = place(&state, app, &fellows, u32::from(*random));
            let agents = state.agents.clone();
            let known = |id: &AgentId| agents.get(id).map(|agent| &**agent);
            let launched: Vec<&Held> = held.iter().collect();
            let refuses = |agent: &Agent| refusal(agent, known, app, &launched, &[], &[]);
            if let Some(placed) = placed {
                prop_assert_eq!(refuses(&placed.agent), None);
                let wanted = wanted_ports(app);
                prop_assert_eq!(wanted.len(), placed.ports.len());
                for (idx, (wanted, port)) in wanted.iter().zip(&placed.ports).enumerate() {
                    prop_assert!(wanted.is_none_or(|wanted| wanted == *port));
                    let is_free = launched
                        .iter()
                        .filter(|held| is_single || held.agent_id == placed.agent.id)
                        .all(|held| !held.ports.contains(port));
                    prop_assert!(is_free && !placed.ports[..idx].contains(port));
                }
                let agent = Arc::clone(&placed.agent);
                held.push(launch(&mut state, app, &agent, placed.ports, number));
            } else {
                for agent in state.agents.values() {
                    prop_assert!(refuses(agent).is_some(), "{} would take it", agent.id);
                }
            }
        }
        crate::invariants::check(&state);
    }
}
