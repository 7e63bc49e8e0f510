//! Gateways: ports and hosts whose requests are dealt out by weights and conditions, as an API asks for them.
//!
//! [`Gateway`] is one that has been checked and whose conditions are ready to be asked; [`check_together`] says whether a set of them
//! can be in use at the same time. The table resolves what their routes lead to, `live` knows whose turn it is.
//!
//! ```text
//!   PUT ──api──▶ checked, compiled ──file──▶ on disk, if there is one ──▶ state ──build──▶ table ──swap──▶ routes
//! ```
//!
//! Source: [`zddcluster_model::gateway`].

pub(crate) mod api;
pub(crate) mod condition;
pub(crate) mod file;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::gateway::{self, Fault};

use self::condition::Condition;
pub(crate) use self::together::{Conflict, check_together};

/// Gateways in use, by name.
pub(crate) type Set = BTreeMap<String, Arc<Gateway>>;

/// A gateway that can be used.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// As it was asked for.
    pub(crate) spec: gateway::Gateway,
    /// The conditions of its routes, at the routes' positions.
    pub(crate) conditions: Vec<Option<Condition>>,
}

impl PartialEq for Gateway {
    fn eq(&self, other: &Self) -> bool {
        // The conditions are made of it.
        self.spec == other.spec
    }
}

impl Eq for Gateway {}

/// Why a gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It says something that cannot be.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// An expression cannot be read, or would be too large.
    #[error("the condition of the route {route:?} cannot be used: {source}")]
    Expression {
        /// The route.
        route: String,
        /// Why not; of several lines.
        source: regex::Error,
    },
}

impl Gateway {
    /// Checks a gateway and makes its conditions ready.
    ///
    /// # Errors
    /// When it cannot be used, whatever else there is.
    pub(crate) fn new(spec: gateway::Gateway) -> Result<Self, Unusable> {
        spec.check()?;
        let compile = |route: &gateway::Route| {
            let condition = route.condition.as_ref().map(Condition::new).transpose();
            condition.map_err(|source| Unusable::Expression {
                route: route.name.clone(),
                source,
            })
        };
        let conditions = spec.routes.iter().map(compile);
        let conditions = conditions.collect::<Result<_, _>>()?;
        Ok(Self { spec, conditions })
    }
}

/// Checks gateways, each by itself and all together.
///
/// # Errors
/// When one cannot be used.
pub(crate) fn read(
    gateways: gateway::Gateways,
    is_reserved: impl Fn(u16) -> bool,
) -> Result<Set, Refusal> {
    let mut set = Set::new();
    for spec in gateways.gateways {
        let gateway = Gateway::new(spec)?;
        let name = gateway.spec.name.clone();
        if set.insert(name.clone(), Arc::new(gateway)).is_some() {
            return Err(Refusal::Twice(name));
        }
    }
    check_together(&set, is_reserved)?;
    Ok(set)
}

/// Why gateways are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// One of them is of no use.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// They do not go together.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// One name for two.
    #[error("there are two gateways named {0:?}")]
    Twice(String),
}

/// What statistics call a gateway, or a route of one.
pub(crate) fn proxy_name(gateway: &str, route: Option<&str>) -> String {
    let mut name = format!("gateway:{}", shown(gateway));
    if let Some(route) = route {
        name.push(':');
        name.push_str(&shown(route));
    }
    name
}

/// A name with characters that statistics can show.
fn shown(name: &str) -> String {
    let keep = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "-._".contains(c) => c,
        _ => '_',
    };
    name.chars().map(keep).collect()
}
