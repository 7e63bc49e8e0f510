//! What tests and fuzz targets stand on: an edge of the group `g`, on paper.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::args::Config;
use crate::gateways::Set;
use crate::labels::Policy;
use crate::proxy::rewrite;
use crate::proxy::visit::{Entry, Visit};
use crate::start::Addresses;
use crate::state::Shared;
use crate::table::Rules;

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

static NO_APPS: BTreeSet<String> = BTreeSet::new();
static NO_HEALTH: BTreeMap<String, bool> = BTreeMap::new();
static NO_HOSTS: BTreeMap<String, IpAddr> = BTreeMap::new();
static NO_GATEWAYS: Set = Set::new();

/// Takes the group `g`; vhosts are on this port.
pub(crate) fn policy(http_port: Option<u16>) -> Policy {
    Policy {
        groups: BTreeSet::from(["g".to_owned()]),
        has_token: false,
        strict_mode: false,
        http_port,
        reserved: BTreeSet::from([9090]),
    }
}

/// By labels and health alone.
pub(crate) fn rules(policy: &Policy) -> Rules<'_> {
    Rules {
        policy,
        health_check: true,
        hidden_apps: &NO_APPS,
        draining: &|_| false,
        last_health: &NO_HEALTH,
        hosts: &NO_HOSTS,
        assignable: None,
        gateways: &NO_GATEWAYS,
    }
}

/// Where its fixed listeners would be.
pub(crate) fn addresses(http: Option<u16>, https: Option<u16>) -> Addresses {
    let at = |port| SocketAddr::new(LOCALHOST, port);
    Addresses {
        http: http.map(at),
        https: https.map(at),
        stats: at(9090),
        app_id: at(9091),
    }
}

/// What its parts share; it knows no app.
pub(crate) fn shared(http_port: Option<u16>) -> Shared {
    let args = ["sse", "-m", "http://m:1", "--group", "g"].map(str::to_owned);
    let config = Config::from_args(args, None, |_| None).expect("nothing is missing");
    Shared::new(config, policy(http_port), addresses(http_port, None), None)
}

/// A client's connection to the service `/a` on 10080, whose one task is at this port of this machine.
pub(crate) fn visit(server_port: u16) -> Visit {
    let shared = shared(None);
    let app = serde_json::json!({
        "id": "/a", "version": "1", "ports": [10080],
        "labels": { "HAPROXY_GROUP": "g", "HAPROXY_0_MODE": "http" },
        "tasks": [{ "id": "a.1", "host": "127.0.0.1", "ports": [server_port], "state": "TASK_RUNNING" }],
    });
    let app = serde_json::from_value(app).expect("it is an app");
    shared.put(app, BTreeMap::new());
    Visit {
        shared: Arc::new(shared),
        entry: Entry::Service {
            port: 10080,
            backend: "a_10080".into(),
        },
        frontend: Arc::default(),
        client: LOCALHOST,
        port: 10080,
        tls_name: None,
        forwarded: rewrite::forwarded(LOCALHOST, Some(10080), false),
    }
}
