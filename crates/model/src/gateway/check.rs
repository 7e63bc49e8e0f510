//! What a gateway may say.

use std::collections::BTreeSet;

use super::{ALWAYS, Condition, Gateway, Listen, Mode, Route, Target};

/// Why a gateway cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A name that could not be shown or sent.
    #[error("{what} {name:?} must have 1 to 200 visible characters")]
    Name {
        /// Whose.
        what: &'static str,
        /// It.
        name: String,
    },
    /// Nowhere to go.
    #[error("the gateway {0:?} has no routes")]
    NoRoutes(String),
    /// One name for two routes.
    #[error("the gateway {gateway:?} has two routes named {route:?}")]
    SameRoute {
        /// The gateway.
        gateway: String,
        /// The route.
        route: String,
    },
    /// Another percentage.
    #[error("the strength of the route {0:?} is more than 100")]
    Strength(String),
    /// More than can be counted with.
    #[error("the weight of the route {0:?} is more than {MOST_WEIGHT}")]
    Weight(String),
    /// A connection has no headers.
    #[error("the gateway {0:?} has mode tcp, which allows neither conditions nor vhosts")]
    Tcp(String),
    /// Nothing to restrict.
    #[error("the gateway {0:?} has paths but no vhosts")]
    Paths(String),
    /// Something that no `Host` is.
    #[error("{0:?} is no host name (without scheme, port and path)")]
    Vhost(String),
    /// Something that no path begins with.
    #[error("the path {0:?} does not begin with a slash")]
    Path(String),
    /// Something that cannot be called.
    #[error("the route {0:?} leads to nobody")]
    NoServers(String),
    /// No app's id.
    #[error("{0:?} is not an app's id, which begins with a slash")]
    AppId(String),
    /// Met by nothing or by everything.
    #[error("the condition of the route {0:?} has an empty list")]
    EmptyCondition(String),
    /// No port 0.
    #[error("the port of the gateway {0:?} must be 1 to 65535")]
    Port(String),
}

/// A weight's largest value: sums of thousands of them can still be counted with.
pub const MOST_WEIGHT: u32 = 1_000_000;
/// A name's largest length.
const LONGEST_NAME: usize = 200;

impl Gateway {
    /// Whether it can be used by itself; how it goes with others is the edge's affair.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), Fault> {
        check_name("the gateway's name", &self.name)?;
        let name = || self.name.clone();
        let Listen {
            port,
            mode,
            vhosts,
            paths,
        } = &self.listen;
        if *port == Some(0) {
            return Err(Fault::Port(name()));
        }
        if vhosts.is_empty() && !paths.is_empty() {
            return Err(Fault::Paths(name()));
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if let Some(vhost) = vhosts
            .iter()
            .find(|vhost| vhost.is_empty() || !vhost.bytes().all(is_host))
        {
            return Err(Fault::Vhost(vhost.clone()));
        }
        if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
            return Err(Fault::Path(path.clone()));
        }
        if self.routes.is_empty() {
            return Err(Fault::NoRoutes(name()));
        }
        let has_conditions = self.routes.iter().any(|route| route.condition.is_some());
        if *mode == Mode::Tcp && (has_conditions || !vhosts.is_empty()) {
            return Err(Fault::Tcp(name()));
        }
        let mut names = BTreeSet::new();
        for route in &self.routes {
            route.check()?;
            if !names.insert(&route.name) {
                return Err(Fault::SameRoute {
                    gateway: name(),
                    route: route.name.clone(),
                });
            }
        }
        Ok(())
    }
}

impl Route {
    fn check(&self) -> Result<(), Fault> {
        check_name("the route's name", &self.name)?;
        let name = || self.name.clone();
        if self.strength > ALWAYS {
            return Err(Fault::Strength(name()));
        }
        if self.weight > MOST_WEIGHT {
            return Err(Fault::Weight(name()));
        }
        if self.condition.as_ref().is_some_and(Condition::has_gap) {
            return Err(Fault::EmptyCondition(name()));
        }
        match &self.to {
            Target::App(app) if !app.id.starts_with('/') => Err(Fault::AppId(app.id.clone())),
            Target::Servers(servers) if servers.is_empty() => Err(Fault::NoServers(name())),
            Target::Backend(of) | Target::Gateway(of) if of.is_empty() => {
                Err(Fault::NoServers(name()))
            }
            Target::App(_) | Target::Backend(_) | Target::Gateway(_) | Target::Servers(_) => Ok(()),
        }
    }
}

impl Condition {
    fn has_gap(&self) -> bool {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.is_empty() || conditions.iter().any(Self::has_gap)
            }
            Self::Not(condition) => condition.has_gap(),
            Self::Header(_) | Self::Cookie(_) | Self::Host(_) | Self::Path(_) | Self::Method(_) => {
                false
            }
        }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), Fault> {
    let is_visible = |c: char| !c.is_whitespace() && !c.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_visible) {
        return Err(Fault::Name {
            what,
            name: name.to_owned(),
        });
    }
    Ok(())
}
