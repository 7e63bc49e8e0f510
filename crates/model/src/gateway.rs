//! Gateways: a port or hosts of the edge whose requests are dealt out by weights and conditions.
//!
//! ```text
//!   GET    /zdd/v1/gateways          {"gateways": [Gateway, ..]}, by name
//!   PUT    /zdd/v1/gateways          the same: replaces all at once; 200
//!   GET    /zdd/v1/gateways/{name}   Gateway; 404
//!   PUT    /zdd/v1/gateways/{name}   Gateway, whose `name` may be left out; 201 if it is new, else 200
//!   DELETE /zdd/v1/gateways/{name}   204; 404
//! ```
//!
//! on the edge's admin port. What cannot be used is refused with 400 or 409 and `{"message": ..}`, and changes nothing. A change is in
//! use when it is answered: one table is swapped for another, and no connection is lost.
//!
//! ```json
//! {"name": "shop",
//!  "listen": {"port": 10099, "vhosts": ["shop.example"]},
//!  "routes": [{"name": "old", "weight": 80, "to": {"app": {"id": "/shop/old"}}},
//!             {"name": "new", "weight": 20, "to": {"app": {"id": "/shop/new"}},
//!              "condition": {"header": {"name": "User-Agent", "is": {"contains": "Firefox"}}}}]}
//! ```
//!
//! A request goes to the first route whose condition it meets, with that route's `strength` in percent; all others go by weight, over all
//! routes. Weights are exact: of any five requests in a row four go to `old` above. A route that has no server at the moment is
//! passed over, and the others share its part.
//!
//! Source: contract vamp §1.4, §1.5, §3.3, §3.4; what is said there of routes holds here, the form is ours.

mod check;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::check::{Fault, MOST_WEIGHT};

/// All of a condition that is always met, in percent.
const ALWAYS: u8 = 100;

/// Every gateway of an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateways {
    /// By name.
    pub gateways: Vec<Gateway>,
}

/// A port or hosts, and where their requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// What it is called: visible characters, `/` among them.
    #[serde(default)]
    pub name: String,
    /// Where its requests come from.
    #[serde(default)]
    pub listen: Listen,
    /// Where they go; at least one, each with a name of its own.
    pub routes: Vec<Route>,
}

/// Where a gateway's requests come from. One without port and vhosts is only reached from other gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// A listener of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How traffic is understood.
    #[serde(default)]
    pub mode: Mode,
    /// Hosts on the edge's vhost ports, without port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vhosts: Vec<String>,
    /// Prefixes that restrict the vhosts; none: any path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// How traffic is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each request has its turn.
    #[default]
    Http,
    /// Each connection has.
    Tcp,
}

/// One way for a gateway's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// What it is called: visible characters.
    pub name: String,
    /// Its part of the requests, against the sum of all; 0 takes only what its condition brings.
    #[serde(default)]
    pub weight: u32,
    /// What brings requests besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// How many of the requests that meet the condition it takes, in percent.
    #[serde(default = "always", skip_serializing_if = "is_always")]
    pub strength: u8,
    /// Who answers.
    pub to: Target,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// The tasks of an app, whatever its groups are. Labels about its backend count.
    App(AppPort),
    /// The servers of a backend that labels have made, by its name: `zdd_blue_10080`.
    Backend(String),
    /// Another gateway, by its name: its routes and conditions decide then.
    Gateway(String),
    /// Servers outside, by address; at least one.
    Servers(Vec<SocketAddr>),
}

/// One port of an app's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppPort {
    /// The app.
    pub id: String,
    /// Its port, counted from 0.
    #[serde(default)]
    pub port: usize,
}

/// What a request is to be like. Names of headers are in any case, those of cookies are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Condition {
    /// Every one is met; at least one.
    All(Vec<Self>),
    /// One of these is met; at least one.
    Any(Vec<Self>),
    /// This one is not met.
    Not(Box<Self>),
    /// A header is there.
    Header(Field),
    /// A cookie is there.
    Cookie(Field),
    /// The whole `Host`, with its port.
    Host(Wanted),
    /// The path, without query.
    Path(Wanted),
    /// The method.
    Method(Wanted),
}

/// A header or cookie, of which one value at least is as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value; left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Text>,
    /// Capital letters are like small ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

/// What a text is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Its value.
    pub is: Text,
    /// Capital letters are like small ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Text {
    /// All of it.
    Equals(String),
    /// A part of it.
    Contains(String),
    /// Its beginning.
    StartsWith(String),
    /// Its end.
    EndsWith(String),
    /// A part of it fits this regular expression, in the syntax of the `regex` crate.
    Matches(String),
}

fn always() -> u8 {
    ALWAYS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it skips by reference"
)]
fn is_always(strength: &u8) -> bool {
    *strength == ALWAYS
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn whole() -> Value {
        json!({
            "name": "shop/web",
            "listen": {"port": 10099, "mode": "http", "vhosts": ["shop.example"], "paths": ["/a"]},
            "routes": [
                {"name": "old:0.9", "weight": 80, "to": {"app": {"id": "/shop/old", "port": 1}}},
                {"name": "new", "weight": 20, "strength": 50, "to": {"servers": ["127.0.0.1:8080"]},
                 "condition": {"any": [
                     {"all": [{"header": {"name": "User-Agent", "is": {"contains": "Firefox"}}},
                              {"not": {"cookie": {"name": "old"}}}]},
                     {"host": {"is": {"equals": "x"}, "ignoreCase": true}},
                     {"path": {"is": {"startsWith": "/b"}}},
                     {"method": {"is": {"matches": "^P"}}}]}},
                {"name": "b", "weight": 0, "to": {"backend": "zdd_blue_10080"}},
                {"name": "g", "weight": 0, "to": {"gateway": "other"}},
            ]
        })
    }

    #[test]
    fn it_goes_there_and_back() {
        let gateway: Gateway = from_value(whole()).unwrap();
        assert_eq!(gateway.check(), Ok(()));
        assert_eq!(to_value(&gateway).unwrap(), whole());
        let short = json!({"routes": [{"name": "r", "to": {"app": {"id": "/a"}}}]});
        let short: Gateway = from_value(short).unwrap();
        assert_eq!((short.routes[0].weight, short.routes[0].strength), (0, 100));
    }

    #[test]
    fn faults_are_named() {
        let check = |pointer: &str, value: Value, expected: &str| {
            let mut gateway = whole();
            *gateway.pointer_mut(pointer).unwrap() = value;
            let fault = from_value::<Gateway>(gateway).unwrap().check().unwrap_err();
            assert_eq!(fault.to_string(), expected);
        };
        let mut tcp = whole()["listen"].clone();
        tcp["mode"] = json!("tcp");
        check(
            "/name",
            json!("a b"),
            "the gateway's name \"a b\" must have 1 to 200 visible characters",
        );
        check(
            "/listen",
            tcp,
            "the gateway \"shop/web\" has mode tcp, which allows neither conditions nor vhosts",
        );
        check(
            "/listen",
            json!({"paths": ["/"]}),
            "the gateway \"shop/web\" has paths but no vhosts",
        );
        check(
            "/listen/vhosts/0",
            json!("a:80"),
            "\"a:80\" is no host name (without scheme, port and path)",
        );
        check(
            "/listen/paths/0",
            json!("a"),
            "the path \"a\" does not begin with a slash",
        );
        check(
            "/listen/port",
            json!(0),
            "the port of the gateway \"shop/web\" must be 1 to 65535",
        );
        check(
            "/routes",
            json!([]),
            "the gateway \"shop/web\" has no routes",
        );
        check(
            "/routes/1/name",
            json!("b"),
            "the gateway \"shop/web\" has two routes named \"b\"",
        );
        check(
            "/routes/1/strength",
            json!(101),
            "the strength of the route \"new\" is more than 100",
        );
        check(
            "/routes/1/weight",
            json!(1_000_001),
            "the weight of the route \"new\" is more than 1000000",
        );
        check(
            "/routes/1/to/servers",
            json!([]),
            "the route \"new\" leads to nobody",
        );
        check(
            "/routes/0/to/app/id",
            json!("x"),
            "\"x\" is not an app's id, which begins with a slash",
        );
        check(
            "/routes/1/condition",
            json!({"not": {"all": []}}),
            "the condition of the route \"new\" has an empty list",
        );
    }

    #[test]
    fn nothing_unknown_is_skipped() {
        for (pointer, name) in [
            ("", "sticky"),
            ("/listen", "host"),
            ("/routes/0", "balance"),
        ] {
            let mut gateway = whole();
            gateway.pointer_mut(pointer).unwrap()[name] = json!("x");
            let error = from_value::<Gateway>(gateway).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
