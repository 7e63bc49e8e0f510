//! The definition of the app that comes next, made of the user's file and of the app that is there. Pure.
//!
//! Source: contract marathon-lb §5.3, §5.7.

use serde_json::{Map, Value, json};

pub(super) const GROUP: &str = "HAPROXY_DEPLOYMENT_GROUP";
pub(super) const ALT_PORT: &str = "HAPROXY_DEPLOYMENT_ALT_PORT";
pub(super) const COLOUR: &str = "HAPROXY_DEPLOYMENT_COLOUR";
pub(super) const STARTED_AT: &str = "HAPROXY_DEPLOYMENT_STARTED_AT";
pub(super) const TARGET: &str = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES";
pub(super) const NEW: &str = "HAPROXY_DEPLOYMENT_NEW_INSTANCES";
pub(super) const PORT: &str = "HAPROXY_0_PORT";
const APP_ID: &str = "HAPROXY_APP_ID";
/// The edge's groups, for the app and for its first port.
const EDGE_GROUPS: [&str; 2] = ["HAPROXY_GROUP", "HAPROXY_0_GROUP"];

/// What the command line adds to the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Supplied {
    pub(super) group: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) alt_port: Option<u16>,
}

/// How many instances are to be new, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// To begin with.
    pub(super) initial: u64,
    /// Where to stop; 0: at all of them.
    pub(super) new: u64,
}

/// A file with all that a swap needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Definition {
    app: Map<String, Value>,
    id: String,
    /// The deployment group as the label has it.
    pub(super) group: String,
    alt_port: String,
    port: u64,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unusable {
    #[error("the file does not hold the definition of an app")]
    NoApp,
    #[error("the definition lacks {}", .0.join(", "))]
    Lacks(Vec<&'static str>),
}

/// Takes the user's file.
///
/// # Errors
/// All that is missing is named together.
pub(super) fn read(file: Value, supplied: &Supplied) -> Result<Definition, Unusable> {
    let Value::Object(mut app) = file else {
        return Err(Unusable::NoApp);
    };
    let mut lacks = Vec::new();
    let id = app
        .get("id")
        .and_then(Value::as_str)
        .filter(|id| !id.trim_matches('/').is_empty());
    let id = id.map(|id| format!("/{}", id.trim_matches('/')));
    if id.is_none() {
        lacks.push("id");
    }
    let labels = app.entry("labels").or_insert_with(|| json!({}));
    let Value::Object(labels) = labels else {
        return Err(Unusable::NoApp);
    };
    let text = |name: &str| labels.get(name).and_then(Value::as_str).map(str::to_owned);
    let group = supplied
        .group
        .clone()
        .or_else(|| text(GROUP))
        .filter(|group| !group.trim_matches('/').is_empty());
    if group.is_none() {
        lacks.push("labels.HAPROXY_DEPLOYMENT_GROUP (or --group)");
    }
    let alt_port = supplied
        .alt_port
        .map(|port| port.to_string())
        .or_else(|| text(ALT_PORT));
    if alt_port.is_none() {
        lacks.push("labels.HAPROXY_DEPLOYMENT_ALT_PORT (or --alt-port)");
    }
    let of_label = text(PORT).and_then(|port| port.parse().ok());
    let in_place = place_of_port(&mut app)
        .and_then(|port| port.as_u64())
        .filter(|port| *port > 0);
    let port = supplied.port.map(u64::from).or(in_place).or(of_label);
    if port.is_none() {
        lacks.push("a service port (or --port)");
    }
    match (id, group, alt_port, port) {
        (Some(id), Some(group), Some(alt_port), Some(port)) => Ok(Definition {
            app,
            id,
            group,
            alt_port,
            port,
        }),
        _ => Err(Unusable::Lacks(lacks)),
    }
}

/// Where the definition holds its first service port, if it does.
fn place_of_port(app: &mut Map<String, Value>) -> Option<&mut Value> {
    const PLACES: [&str; 4] = [
        "/container/docker/portMappings/0/servicePort",
        "/container/portMappings/0/servicePort",
        "/portDefinitions/0/port",
        "/ports/0",
    ];
    let found = PLACES.into_iter().find_map(|place| {
        let (key, rest) = place[1..].split_once('/')?;
        let value = app.get(key)?.pointer(&format!("/{rest}"))?;
        value.is_number().then(|| (key, rest.to_owned()))
    });
    let (key, rest) = found?;
    app.get_mut(key)?.pointer_mut(&format!("/{rest}"))
}

/// A label of an app.
pub(super) fn label<'a>(app: &'a Value, name: &str) -> Option<&'a str> {
    app.get("labels")?.get(name)?.as_str()
}

impl Definition {
    /// The service port, by which the edge names the group's backend.
    pub(super) fn port(&self) -> u64 {
        self.port
    }

    /// The app to be created, when `last` is what is there of the group; `now` is the time as ISO text.
    pub(super) fn next(
        mut self,
        last: Option<&Value>,
        wanted: Wanted,
        now: &str,
    ) -> (Value, Vec<String>) {
        let mut notes = Vec::new();
        let given = self
            .app
            .get("instances")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        let (colour, port, instances, target, new) = match last {
            None => ("blue", self.port, given, given, 0),
            Some(last) => {
                let colour = if label(last, COLOUR) == Some("blue") {
                    "green"
                } else {
                    "blue"
                };
                let there = last.get("instances").and_then(Value::as_u64).unwrap_or(0);
                if there != given {
                    notes.push(format!("the definition wants {given} instances; {there} are there, so {there} it will be"));
                }
                let new = wanted.new.min(there);
                let most = if new > 0 { new } else { there };
                // zdd.py never begins with none, which would leave nothing to wait for.
                let initial = wanted.initial.min(most).max(1.min(there));
                (colour, self.port_beside(last), initial, there, new)
            }
        };
        match place_of_port(&mut self.app) {
            Some(place) => *place = json!(port),
            None => {
                self.app.insert("ports".to_owned(), json!([port]));
            }
        }
        self.app
            .insert("id".to_owned(), json!(format!("{}-{colour}", self.id)));
        self.app.insert("instances".to_owned(), json!(instances));
        if let Some(Value::Object(labels)) = self.app.get_mut("labels") {
            if !EDGE_GROUPS.iter().any(|name| labels.contains_key(*name)) {
                let group = last
                    .and_then(|last| label(last, EDGE_GROUPS[0]))
                    .unwrap_or("external");
                notes.push(format!(
                    "the definition names no HAPROXY_GROUP: {group} is used"
                ));
                labels.insert(EDGE_GROUPS[0].to_owned(), json!(group));
            }
            let started = match last.and_then(|last| label(last, STARTED_AT)) {
                // Whose clock is ahead, or in another zone: later all the same, as text.
                Some(before) if before >= now => format!("{before}1"),
                _ => now.to_owned(),
            };
            for (name, value) in [
                (GROUP, self.group),
                (ALT_PORT, self.alt_port),
                (APP_ID, self.id.clone()),
                (PORT, self.port.to_string()),
                (COLOUR, colour.to_owned()),
                (STARTED_AT, started),
                (TARGET, target.to_string()),
                (NEW, new.to_string()),
            ] {
                labels.insert(name.to_owned(), json!(value));
            }
        }
        (Value::Object(self.app), notes)
    }

    /// The service port that the app that is there does not have.
    fn port_beside(&self, last: &Value) -> u64 {
        let port_of = |name| label(last, name).and_then(|port| port.parse::<u64>().ok());
        let there = last.pointer("/ports/0").and_then(Value::as_u64);
        if there.is_some() && there == port_of(ALT_PORT) {
            port_of(PORT).unwrap_or(self.port)
        } else {
            port_of(ALT_PORT)
                .or_else(|| self.alt_port.parse().ok())
                .unwrap_or(self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lab's file, shortened.
    fn lab() -> Value {
        json!({"id": "/zdd/blue", "instances": 4, "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": "10080"}})
    }

    fn supplied() -> Supplied {
        Supplied {
            group: Some("zdd".to_owned()),
            port: None,
            alt_port: Some(10081),
        }
    }

    const ALL: Wanted = Wanted { initial: 1, new: 0 };

    #[test]
    fn what_is_missing_is_named() {
        // contract: lb-native-missing
        let lacks = |file, supplied: &Supplied| read(file, supplied).unwrap_err().to_string();
        assert_eq!(
            lacks(
                json!({"id": "/zdd/green", "instances": 4}),
                &Supplied::default()
            ),
            "the definition lacks labels.HAPROXY_DEPLOYMENT_GROUP (or --group), labels.HAPROXY_DEPLOYMENT_ALT_PORT (or \
             --alt-port), a service port (or --port)"
        );
        assert_eq!(
            lacks(json!({}), &supplied()),
            "the definition lacks id, a service port (or --port)"
        );
        assert_eq!(
            lacks(json!([]), &supplied()),
            "the file does not hold the definition of an app"
        );
        assert!(read(lab(), &supplied()).is_ok());
    }

    #[test]
    fn the_first_app_is_blue_and_whole() {
        // contract: lb-zdd-first
        let (app, notes) =
            read(lab(), &supplied())
                .unwrap()
                .next(None, ALL, "2016-10-12T11:38:56.845000");
        assert_eq!(notes, [""; 0]);
        assert_eq!(
            app,
            json!({
                "id": "/zdd/blue-blue", "instances": 4, "ports": [10080],
                "labels": {
                    "HAPROXY_GROUP": "external", "HAPROXY_0_PORT": "10080", "HAPROXY_APP_ID": "/zdd/blue",
                    "HAPROXY_DEPLOYMENT_GROUP": "zdd", "HAPROXY_DEPLOYMENT_ALT_PORT": "10081",
                    "HAPROXY_DEPLOYMENT_COLOUR": "blue", "HAPROXY_DEPLOYMENT_STARTED_AT": "2016-10-12T11:38:56.845000",
                    "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4", "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
                },
            })
        );
    }

    #[test]
    fn the_next_app_has_the_other_colour_and_port() {
        // contract: lb-zdd-next
        let (blue, _) = read(lab(), &supplied())
            .unwrap()
            .next(None, ALL, "2016-10-12");
        let file = json!({"id": "zdd/blue", "instances": 9, "portDefinitions": [{"port": 10080}]});
        let definition = read(file, &supplied()).unwrap();
        let (green, notes) = definition.clone().next(Some(&blue), ALL, "2016-10-13");
        assert_eq!(green["id"], "/zdd/blue-green");
        assert_eq!(green["portDefinitions"][0]["port"], 10081);
        assert_eq!(green["instances"], 1);
        let of = |app: &Value, name| label(app, name).unwrap().to_owned();
        assert_eq!(
            (of(&green, TARGET), of(&green, NEW), of(&green, PORT)),
            ("4".into(), "0".into(), "10080".into())
        );
        assert_eq!(
            (of(&green, "HAPROXY_GROUP"), of(&green, STARTED_AT)),
            ("external".into(), "2016-10-13".into())
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
        // And back again; whatever the clock says, it is later.
        let mut there = green;
        there["ports"] = json!([10081]);
        let (blue, _) = definition.clone().next(Some(&there), ALL, "2016-10-12");
        assert_eq!(
            (&blue["id"], &blue["portDefinitions"][0]["port"]),
            (&json!("/zdd/blue-blue"), &json!(10080))
        );
        assert_eq!(of(&blue, STARTED_AT), "2016-10-131");
        // As many as are wanted, and not more than are there.
        for (initial, new, instances, label) in [
            (3, 0, 3, "0"),
            (9, 0, 4, "0"),
            (3, 2, 2, "2"),
            (1, 9, 1, "4"),
            (0, 0, 1, "0"),
        ] {
            let mut there = there.clone();
            there["instances"] = json!(4);
            let (app, _) = definition
                .clone()
                .next(Some(&there), Wanted { initial, new }, "2017");
            assert_eq!(
                (&app["instances"], of(&app, NEW).as_str()),
                (&json!(instances), label),
                "{initial} {new}"
            );
        }
    }

    #[test]
    fn ports_are_found_where_zdd_py_finds_them() {
        for file in [
            json!({"id": "a", "container": {"docker": {"portMappings": [{"servicePort": 7}]}}, "ports": [8]}),
            json!({"id": "a", "container": {"portMappings": [{"servicePort": 7}]}}),
            json!({"id": "a", "portDefinitions": [{"port": 7}]}),
            json!({"id": "a", "ports": [7]}),
            json!({"id": "a", "ports": [7], "labels": {"HAPROXY_0_PORT": "9"}}),
            json!({"id": "a", "ports": [0], "labels": {"HAPROXY_0_PORT": "7"}}),
        ] {
            assert_eq!(read(file.clone(), &supplied()).unwrap().port, 7, "{file}");
        }
    }
}
