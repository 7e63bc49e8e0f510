//! What a follower reads of Marathon's API, leniently.
//!
//! A real Marathon of any 1.x version, our own master, and whatever fronts them leave keys out, send `null`, or add keys of
//! their own; one odd app must not blind a follower to all others. So every field has a default, `null` counts as
//! absent, unknown keys are skipped, and a list keeps its readable elements ([`AppsAnswer`]).
//!
//! Source: contract marathon-lb §4 (fields read from each app).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer to `GET /v2/apps?embed=apps.tasks`.
#[derive(Debug, Default, PartialEq)]
pub struct AppsAnswer {
    /// The apps that could be read.
    pub apps: Vec<App>,
    /// Why the others could not: app id (or `?`) and reason.
    pub unreadable: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for AppsAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            apps: Vec<Value>,
        }
        let mut answer = Self::default();
        for value in Raw::deserialize(deserializer)?.apps {
            let id = value
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or("?")
                .to_owned();
            match serde_json::from_value(value) {
                Ok(app) => answer.apps.push(app),
                Err(error) => answer.unreadable.push((id, error.to_string())),
            }
        }
        Ok(answer)
    }
}

/// The answer to `GET /v2/apps/{id}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AppAnswer {
    /// The app with its tasks.
    pub app: App,
}

/// An app with its tasks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Absolute path, with the leading slash.
    pub id: String,
    /// The version as printed; changes with every change of the definition.
    #[serde(default, deserialize_with = "nullable")]
    pub version: String,
    /// Labels; values that are no text are left out.
    #[serde(default, deserialize_with = "texts")]
    pub labels: BTreeMap<String, String>,
    /// Wanted number of tasks.
    #[serde(default, deserialize_with = "nullable")]
    pub instances: u64,
    /// Service ports by the old key.
    #[serde(default, deserialize_with = "nullable")]
    pub ports: Vec<i64>,
    /// Service ports; `None` when the key is absent or `null`.
    #[serde(default)]
    pub port_definitions: Option<Vec<PortDefinition>>,
    /// The container.
    #[serde(default)]
    pub container: Option<Container>,
    /// Networks (Marathon ≥ 1.5).
    #[serde(default, deserialize_with = "nullable")]
    pub networks: Vec<Network>,
    /// Set with IP-per-task.
    #[serde(default)]
    pub ip_address: Option<Value>,
    /// Health checks.
    #[serde(default, deserialize_with = "nullable")]
    pub health_checks: Vec<HealthCheck>,
    /// When it was changed.
    #[serde(default)]
    pub version_info: Option<VersionInfo>,
    /// What readiness checks say of the tasks of a running deployment, if embedded.
    #[serde(default, deserialize_with = "nullable")]
    pub readiness_check_results: Vec<Readiness>,
    /// The tasks, if embedded.
    #[serde(default, deserialize_with = "nullable")]
    pub tasks: Vec<Task>,
}

/// A service port.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct PortDefinition {
    /// The port.
    #[serde(default, deserialize_with = "nullable")]
    pub port: i64,
}

/// A container, as far as ports are concerned.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Docker's part.
    #[serde(default)]
    pub docker: Option<Docker>,
    /// Mappings (Marathon ≥ 1.5).
    #[serde(default)]
    pub port_mappings: Option<Vec<PortMapping>>,
}

/// The Docker part of a container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Docker {
    /// `HOST`, `BRIDGE`, `USER`.
    #[serde(default)]
    pub network: Option<String>,
    /// Mappings.
    #[serde(default)]
    pub port_mappings: Option<Vec<PortMapping>>,
}

/// A mapped port.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port in the container.
    #[serde(default)]
    pub container_port: Option<i64>,
    /// Service port.
    #[serde(default)]
    pub service_port: Option<i64>,
}

/// A network of an app.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Network {
    /// `host`, `container`, `container/bridge`.
    #[serde(default, deserialize_with = "nullable")]
    pub mode: String,
}

/// When an app was changed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// The last change of the number of instances, as printed: sorts as text.
    #[serde(default, deserialize_with = "nullable")]
    pub last_scaling_at: String,
}

/// One readiness check's standing for one task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The task.
    #[serde(default, deserialize_with = "nullable")]
    pub task_id: String,
    /// The last word was good.
    #[serde(default, deserialize_with = "nullable")]
    pub ready: bool,
}

/// A health check.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// `HTTP`, `TCP`, `COMMAND`, …
    #[serde(default, deserialize_with = "nullable")]
    pub protocol: String,
    /// Which of the app's ports.
    #[serde(default)]
    pub port_index: Option<i64>,
    /// A fixed port instead.
    #[serde(default)]
    pub port: Option<i64>,
    /// What is asked for.
    #[serde(default)]
    pub path: Option<String>,
    /// From one check to the next.
    #[serde(default)]
    pub interval_seconds: Option<u64>,
    /// For the answer.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// So many may fail in a row.
    #[serde(default)]
    pub max_consecutive_failures: Option<u64>,
}

/// A task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The app it belongs to.
    #[serde(default, deserialize_with = "nullable")]
    pub app_id: String,
    /// Host name or address of its agent.
    #[serde(default, deserialize_with = "nullable")]
    pub host: String,
    /// Host ports.
    #[serde(default, deserialize_with = "nullable")]
    pub ports: Vec<i64>,
    /// `TASK_RUNNING` and so on; older Marathons leave it out.
    #[serde(default)]
    pub state: Option<String>,
    /// The app version it was started with.
    #[serde(default, deserialize_with = "nullable")]
    pub version: String,
    /// Its own addresses.
    #[serde(default, deserialize_with = "nullable")]
    pub ip_addresses: Vec<TaskAddress>,
    /// What health checks say; `None` when the key is absent.
    #[serde(default)]
    pub health_check_results: Option<Vec<Option<HealthResult>>>,
}

/// An address of a task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskAddress {
    /// As text.
    #[serde(default, deserialize_with = "nullable")]
    pub ip_address: String,
}

/// One health check's standing for one task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct HealthResult {
    /// The last word was good.
    #[serde(default, deserialize_with = "nullable")]
    pub alive: bool,
}

/// Reads `null` as the default.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads an object's texts; other values are left out.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values: BTreeMap<String, Value> = nullable(deserializer)?;
    let text = |(key, value)| match value {
        Value::String(text) => Some((key, text)),
        _ => None,
    };
    Ok(values.into_iter().filter_map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_app_does_not_hide_the_others() {
        let answer: AppsAnswer = serde_json::from_str(
            r#"{"apps":[
                {"id":"/good","labels":null,"ports":[10000],"tasks":[{"id":"good.1","host":"h","ports":[31000],
                  "healthCheckResults":[{"alive":true},null],"extra":1}]},
                {"id":"/odd","ports":"none"},
                {"id":"/bare"}]}"#,
        )
        .unwrap();
        let ids: Vec<_> = answer.apps.iter().map(|app| app.id.as_str()).collect();
        assert_eq!(ids, ["/good", "/bare"]);
        assert_eq!(answer.unreadable[0].0, "/odd");
        let results = answer.apps[0].tasks[0]
            .health_check_results
            .as_deref()
            .unwrap();
        assert_eq!(results, [Some(HealthResult { alive: true }), None]);
    }

    #[test]
    fn labels_that_are_no_text_are_left_out() {
        let app: App =
            serde_json::from_str(r#"{"id":"/a","labels":{"A":"1","B":2,"C":null}}"#).unwrap();
        assert_eq!(
            app.labels,
            BTreeMap::from([("A".to_owned(), "1".to_owned())])
        );
    }
}
