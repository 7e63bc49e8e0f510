//! Whether gateways can be in use at the same time.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::gateway::{Mode, Target};

use super::{Set, shown};

/// Why they cannot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Conflict {
    #[error("the port {port} is the edge's own: the gateway {gateway:?} cannot have it")]
    Reserved { gateway: String, port: u16 },
    #[error("the port {port} is that of the gateway {other:?}: {gateway:?} cannot have it too")]
    Port {
        gateway: String,
        other: String,
        port: u16,
    },
    #[error(
        "the host {vhost:?} with these paths is that of the gateway {other:?}: {gateway:?} cannot have it too"
    )]
    Vhost {
        gateway: String,
        other: String,
        vhost: String,
    },
    #[error(
        "{name:?} and {other:?} are the same to statistics: letters, digits and -._ tell names apart"
    )]
    Name { name: String, other: String },
    #[error("the gateway {0:?} leads to itself, by way of others or at once")]
    Circle(String),
    #[error("the gateway {gateway:?} leads to {other:?}, which has another mode")]
    Mode { gateway: String, other: String },
}

/// Checks the gateways against each other and the ports that are the edge's own.
///
/// # Errors
/// The first conflict, by name.
pub(crate) fn check_together(set: &Set, is_reserved: impl Fn(u16) -> bool) -> Result<(), Conflict> {
    let mut ports = BTreeMap::new();
    let mut vhosts = BTreeMap::new();
    let mut names = BTreeMap::new();
    for gateway in set.values().map(|gateway| &gateway.spec) {
        let name = || gateway.name.clone();
        if let Some(other) = names.insert(shown(&gateway.name), name()) {
            return Err(Conflict::Name {
                name: name(),
                other,
            });
        }
        let mut routes = BTreeMap::new();
        for route in &gateway.routes {
            if let Some(other) = routes.insert(shown(&route.name), &route.name) {
                return Err(Conflict::Name {
                    name: route.name.clone(),
                    other: other.clone(),
                });
            }
        }
        if let Some(port) = gateway.listen.port {
            if is_reserved(port) {
                let gateway = name();
                return Err(Conflict::Reserved { gateway, port });
            }
            if let Some(other) = ports.insert(port, name()) {
                let gateway = name();
                return Err(Conflict::Port {
                    gateway,
                    other,
                    port,
                });
            }
        }
        let paths: BTreeSet<&str> = gateway.listen.paths.iter().map(String::as_str).collect();
        let of_gateway: BTreeSet<String> = gateway
            .listen
            .vhosts
            .iter()
            .map(|vhost| vhost.to_ascii_lowercase())
            .collect();
        for vhost in of_gateway {
            if let Some(other) = vhosts.insert((vhost.clone(), paths.clone()), name()) {
                let gateway = name();
                return Err(Conflict::Vhost {
                    gateway,
                    other,
                    vhost,
                });
            }
        }
        for other in inner(set, &gateway.name) {
            let mode = |name: &str| set.get(name).map(|it| it.spec.listen.mode);
            if mode(other).is_some_and(|mode: Mode| mode != gateway.listen.mode) {
                return Err(Conflict::Mode {
                    gateway: name(),
                    other: other.to_owned(),
                });
            }
        }
    }
    for name in set.keys() {
        if leads_to(set, name, name) {
            return Err(Conflict::Circle(name.clone()));
        }
    }
    Ok(())
}

/// The gateways that one leads to.
pub(crate) fn inner<'a>(set: &'a Set, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let routes = set.get(name).into_iter().flat_map(|it| &it.spec.routes);
    routes.filter_map(|route| match &route.to {
        Target::Gateway(name) => Some(name.as_str()),
        Target::App(_) | Target::Backend(_) | Target::Servers(_) => None,
    })
}

/// Whether one leads to another, by way of others or at once.
fn leads_to(set: &Set, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = inner(set, from).collect();
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            next.extend(inner(set, name));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::read;

    fn refusal(gateways: Value) -> String {
        let gateways = serde_json::from_value(json!({ "gateways": gateways })).unwrap();
        let refusal = read(gateways, |port| port == 9090);
        refusal.map_or_else(|refusal| refusal.to_string(), |_| String::new())
    }

    fn gateway(name: &str, listen: Value, to: Value) -> Value {
        json!({"name": name, "listen": listen, "routes": [{"name": "r", "weight": 1, "to": to}]})
    }

    #[test]
    fn conflicts_are_named() {
        // contract: lb-gateway-refused
        let to = json!({"servers": ["127.0.0.1:1"]});
        let own = gateway("a", json!({"port": 9090}), to.clone());
        assert_eq!(
            refusal(json!([own])),
            "the port 9090 is the edge's own: the gateway \"a\" cannot have it"
        );
        let on_port = |name| gateway(name, json!({"port": 10_099}), to.clone());
        assert_eq!(
            refusal(json!([on_port("a"), on_port("b")])),
            "the port 10099 is that of the gateway \"a\": \"b\" cannot have it too"
        );
        assert_eq!(
            refusal(json!([on_port("a"), on_port("a")])),
            "there are two gateways named \"a\""
        );
        let on_host = |name, paths| {
            gateway(
                name,
                json!({"vhosts": ["H.example"], "paths": paths}),
                to.clone(),
            )
        };
        assert_eq!(
            refusal(json!([on_host("a", json!([])), on_host("b", json!([]))])),
            "the host \"h.example\" with these paths is that of the gateway \"a\": \"b\" cannot have it too"
        );
        assert_eq!(
            refusal(json!([
                on_host("a", json!(["/x"])),
                on_host("b", json!([]))
            ])),
            ""
        );
        let here = |name| gateway(name, json!({}), to.clone());
        assert_eq!(
            refusal(json!([here("a/b"), here("a:b")])),
            "\"a:b\" and \"a/b\" are the same to statistics: letters, digits and -._ tell names apart"
        );
        let inward = |name, other: &str| gateway(name, json!({}), json!({ "gateway": other }));
        let circle = json!([inward("a", "b"), inward("b", "c"), inward("c", "b")]);
        assert_eq!(
            refusal(circle),
            "the gateway \"b\" leads to itself, by way of others or at once"
        );
        let tcp = gateway("t", json!({"mode": "tcp"}), to.clone());
        assert_eq!(
            refusal(json!([inward("a", "t"), tcp])),
            "the gateway \"a\" leads to \"t\", which has another mode"
        );
        // What is not there yet may come.
        assert_eq!(refusal(json!([inward("a", "later")])), "");
    }
}
