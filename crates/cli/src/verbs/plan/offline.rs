//! Planning without a master: on a cluster that was written down, or on one of given agents.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use zddcluster_engine::predict::timeline::{Outcome, Reason};
use zddcluster_engine::predict::{
    Assumptions, Cluster, Given, GivenAgent, Limits, Request, Timeline, predict as predict_course,
};
use zddcluster_engine::{Config, Refusal, State};
use zddcluster_model::Timestamp;
use zddcluster_model::agent::Resources;
use zddcluster_model::app::{Fault, ReadError};

use super::input;
use crate::args::PlaceArgs;
use crate::failure::Failure;

/// Between what runs before and the update, milliseconds: by then all is quiet.
const QUIET_MILLIS: i64 = 600_000;

/// Port ranges of a DC/OS private agent.
const PRIVATE_PORTS: [(u16, u16); 6] = [
    (1025, 2180),
    (2182, 3887),
    (3889, 5049),
    (5052, 8079),
    (8082, 8180),
    (8182, 32_000),
];

/// Port ranges of a DC/OS public agent.
const PUBLIC_PORTS: [(u16, u16); 3] = [(1, 21), (23, 5050), (5052, 32_000)];

/// Ports that are chosen for tasks: those of `zddcluster up`.
const DYNAMIC_PORTS: (u16, u16) = (20_000, 31_999);

impl PlaceArgs {
    /// Whether a cluster was given, so that none need run.
    pub(super) const fn is_offline(&self) -> bool {
        self.cluster.is_some() || self.agents.is_some()
    }
}

/// Works out a request on the cluster that was given.
pub(super) fn predict(place: &PlaceArgs, request: &Value) -> Result<Timeline, Failure> {
    let (config, state, now) = match &place.cluster {
        Some(path) => written_down(path)?,
        None => given(place)?,
    };
    course(&config, &state, now, request).map(|(timeline, _)| timeline)
}

fn course(
    config: &Config,
    state: &State,
    now: Timestamp,
    request: &Value,
) -> Result<(Timeline, State), Failure> {
    let Request {
        command,
        assumptions,
    } = Request::read(request.to_string().as_bytes()).map_err(|error| unread(&error))?;
    let predicted = predict_course(config, state, now, command, &assumptions, &Limits::USUAL);
    let prediction = predicted.map_err(|refusal| refused(&refusal))?;
    Ok((prediction.timeline, prediction.state))
}

fn written_down(path: &Path) -> Result<(Config, State, Timestamp), Failure> {
    let text = std::fs::read(path).map_err(|source| Failure::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let read = Cluster::read(&text).and_then(|cluster| {
        let (config, state) = cluster.restore()?;
        Ok((config, state, cluster.time))
    });
    read.map_err(|error| {
        Failure::with_hint(
            format!("{}: {}", path.display(), crate::text::chain(&error)),
            "write one down with: curl http://127.0.0.1:8080/zdd/v1/cluster > FILE",
        )
    })
}

fn given(place: &PlaceArgs) -> Result<(Config, State, Timestamp), Failure> {
    let n_private = place.agents.unwrap_or(0);
    let private = (0..n_private).map(|idx| agent(place, idx, false));
    let public = (0..place.public_agents).map(|idx| agent(place, idx, true));
    let given = Given {
        agents: private.chain(public).collect(),
    };
    let (config, mut state) = given.build();
    if !place.from.is_empty() {
        let request = input::of_files(&place.from)?.request(false, &Assumptions::default());
        let now = state.clock;
        let (before, after) = course(&config, &state, now, &request)?;
        if before.verdict.outcome != Outcome::Finishes {
            let reasons = before.verdict.reasons.iter();
            let reasons: Vec<String> = reasons
                .map(|Reason { app, text, .. }| format!("\n  {app}: {text}"))
                .collect();
            return Err(Failure::with_hint(
                format!("what --from names does not come up:{}", reasons.concat()),
                "give more with --agents, --cpus or --mem",
            ));
        }
        state = after;
    }
    let now = state.clock.plus_millis(QUIET_MILLIS);
    Ok((config, state, now))
}

/// An agent as `up` has them: private ones from .11, public ones from .2 on.
fn agent(place: &PlaceArgs, idx: u16, is_public: bool) -> GivenAgent {
    let address = u32::from_be_bytes([127, 0, 0, if is_public { 2 } else { 11 }]);
    let hostname = if is_public && idx > 8 {
        format!("public-{idx}")
    } else {
        std::net::Ipv4Addr::from(address + u32::from(idx)).to_string()
    };
    let (role, ports) = if is_public {
        ("slave_public", &PUBLIC_PORTS[..])
    } else {
        ("*", &PRIVATE_PORTS[..])
    };
    let attributes = is_public.then(|| ("public_ip".to_owned(), "true".to_owned()));
    GivenAgent {
        hostname,
        role: role.to_owned(),
        attributes: BTreeMap::from_iter(attributes),
        resources: Resources {
            cpus: place.cpus,
            mem: place.mem,
            disk: place.disk,
            gpus: 0,
            ports: ports.to_vec(),
            dynamic_ports: vec![DYNAMIC_PORTS],
        },
    }
}

fn unread(error: &ReadError) -> Failure {
    let details = match error {
        ReadError::Faults(faults) => lines(faults),
        ReadError::Empty(text) | ReadError::Syntax(text) => format!("\n  {text}"),
        ReadError::Argument(_) => String::new(),
    };
    Failure::stated(format!("{error}{details}"))
}

fn refused(refusal: &Refusal) -> Failure {
    let details = match refusal {
        Refusal::Invalid(faults) => lines(faults),
        _ => String::new(),
    };
    Failure::stated(format!("{refusal}{details}"))
}

fn lines(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|fault| format!("\n  {}: {}", fault.path, fault.errors.join(", ")))
        .collect()
}
