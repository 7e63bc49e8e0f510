//! A gateway in use: whose turn it is among its routes.
//!
//! ```text
//!   request ─▶ first condition it meets? ──yes──▶ its strength's turn? ──yes──▶ that route
//!                      │ no                            │ no, or nobody is there
//!                      └──────────────▶ by weight, among routes that can serve ◀┘
//! ```
//!
//! Turns are shared by all connections and workers, so the shares are exact over all of them. They go on over new tables for as long as
//! routes and weights stay the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use zddcluster_model::gateway::Route;

use super::LiveBackend;
use crate::choose::Rotation;
use crate::counters::Counters;
use crate::gateways::condition::Asked;
use crate::gateways::{self, proxy_name};
use crate::table::{Goal, Table};

/// A gateway of the table in use.
#[derive(Debug)]
pub(crate) struct LiveGateway {
    /// As it was asked for.
    pub(crate) spec: Arc<gateways::Gateway>,
    /// What statistics call it.
    pub(crate) name: Arc<str>,
    /// The clients' side.
    pub(crate) frontend: Arc<Counters>,
    /// What the routes lead to, at their positions.
    goals: Vec<LiveGoal>,
    weights: Vec<u32>,
    turn: Arc<Rotation>,
    /// Whose turn it is between a route's condition and its weight, at the routes' positions.
    strengths: Vec<Arc<Rotation>>,
}

/// What a route leads to.
#[derive(Debug)]
enum LiveGoal {
    Backend(Arc<LiveBackend>),
    Gateway(Arc<LiveGateway>),
    Nobody,
}

impl LiveGateway {
    /// Goes on where `old` was, the gateway of the same name in the table before.
    fn new(spec: &Arc<gateways::Gateway>, goals: Vec<LiveGoal>, old: Option<&Self>) -> Self {
        let routes = &spec.spec.routes;
        let part = |route: &Route| (route.name.clone(), route.weight);
        let is_same = |old: &&Self| {
            let before = old.spec.spec.routes.iter().map(part);
            before.eq(routes.iter().map(part))
        };
        let strength = |route: &Route| {
            let mut before = old.into_iter().flat_map(|old| {
                let routes = &old.spec.spec.routes;
                routes.iter().zip(&old.strengths)
            });
            let same =
                before.find(|(it, _)| it.name == route.name && it.strength == route.strength);
            same.map_or_else(Arc::default, |(_, turn)| Arc::clone(turn))
        };
        Self {
            name: proxy_name(&spec.spec.name, None).into(),
            frontend: old.map_or_else(Arc::default, |old| Arc::clone(&old.frontend)),
            goals,
            weights: routes.iter().map(|route| route.weight).collect(),
            turn: old
                .filter(is_same)
                .map_or_else(Arc::default, |old| Arc::clone(&old.turn)),
            strengths: routes.iter().map(strength).collect(),
            spec: Arc::clone(spec),
        }
    }

    /// The backend for a request, or for a connection if nothing is `asked`. Servers that were `tried` count as not there.
    pub(crate) fn pick(
        &self,
        asked: Option<&Asked<'_>>,
        tried: &[SocketAddr],
    ) -> Option<&Arc<LiveBackend>> {
        let can_serve = |at: usize| self.goals[at].can_serve(asked, tried);
        let by_condition = self
            .met(asked)
            .filter(|at| can_serve(*at) && self.has_strength(*at));
        let at = match by_condition {
            Some(at) => at,
            None => self.turn.pick(&self.weights, can_serve)?,
        };
        match &self.goals[at] {
            LiveGoal::Backend(backend) => Some(backend),
            LiveGoal::Gateway(gateway) => gateway.pick(asked, tried),
            LiveGoal::Nobody => None,
        }
    }

    /// The first route whose condition is met.
    fn met(&self, asked: Option<&Asked<'_>>) -> Option<usize> {
        let asked = asked?;
        let is_met = |condition: &Option<gateways::condition::Condition>| {
            condition.as_ref().is_some_and(|it| it.is_met(asked))
        };
        self.spec.conditions.iter().position(is_met)
    }

    /// Whether a request that meets the route's condition goes there for that.
    fn has_strength(&self, at: usize) -> bool {
        let strength = u32::from(self.spec.spec.routes[at].strength);
        // As most are: there is nothing to take turns about.
        if strength >= 100 {
            return true;
        }
        let shares = [strength, 100 - strength];
        self.strengths[at].pick(&shares, |_| true) == Some(0)
    }

    fn can_serve(&self, asked: Option<&Asked<'_>>, tried: &[SocketAddr]) -> bool {
        let met = self.met(asked);
        let may_go = |at: &usize| self.weights[*at] > 0 || met == Some(*at);
        let mut ways = (0..self.goals.len()).filter(may_go);
        ways.any(|at| self.goals[at].can_serve(asked, tried))
    }
}

impl LiveGoal {
    fn can_serve(&self, asked: Option<&Asked<'_>>, tried: &[SocketAddr]) -> bool {
        match self {
            Self::Backend(backend) => backend.can_serve(tried),
            Self::Gateway(gateway) => gateway.can_serve(asked, tried),
            Self::Nobody => false,
        }
    }
}

/// Makes the gateways of a table, inner ones before those that lead to them. Each goes on where that in `old` was.
pub(super) fn all(
    table: &Table,
    backends: &[Arc<LiveBackend>],
    old: &BTreeMap<String, Arc<LiveGateway>>,
) -> BTreeMap<String, Arc<LiveGateway>> {
    let mut made: BTreeMap<String, Arc<LiveGateway>> = BTreeMap::new();
    let mut left: Vec<_> = table.gateways.iter().collect();
    while !left.is_empty() {
        let n_left = left.len();
        left.retain(|(name, gateway)| {
            let live = |goal: &Goal| match goal {
                Goal::Backend(at) => Some(LiveGoal::Backend(Arc::clone(&backends[*at]))),
                Goal::Gateway(name) => made.get(name).cloned().map(LiveGoal::Gateway),
                Goal::Nobody => Some(LiveGoal::Nobody),
            };
            let Some(goals) = gateway.goals.iter().map(live).collect() else {
                return true;
            };
            let before = old.get(*name).map(Arc::as_ref);
            let gateway = LiveGateway::new(&gateway.spec, goals, before);
            made.insert((*name).clone(), Arc::new(gateway));
            false
        });
        assert!(left.len() < n_left, "no gateway leads to itself");
    }
    made
}
