//! The JSON form of a whole app: printed in Marathon's key order, and read back from it losslessly.
//!
//! Nullable keys are always there, as `null`; `uris` repeats `fetch`, `ports` repeats `portDefinitions`; the three port keys are
//! absent with `ipAddress`. Source: contract marathon §1.11, traps 1 and 2.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    App, AppIpAddress, Constraint, Container, ContainerKind, Docker, EnvValue, Fetch, HealthCheck,
    KillSelection, Operator, PortDefinition, ReadinessCheck, Residency, Secret, UpgradeStrategy,
    VersionInfo,
};
use crate::id::AppId;
use crate::number::whole_or_shortest;
use crate::time::Timestamp;

/// A double printed by [`whole_or_shortest`].
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        whole_or_shortest(&self.0, serializer)
    }
}

impl Serialize for App {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut app = serializer.serialize_struct("App", 34)?;
        app.serialize_field("id", &self.id)?;
        app.serialize_field("cmd", &self.cmd)?;
        app.serialize_field("args", &self.args)?;
        app.serialize_field("user", &self.user)?;
        app.serialize_field("env", &self.env)?;
        app.serialize_field("instances", &self.instances)?;
        app.serialize_field("cpus", &Number(self.cpus))?;
        app.serialize_field("mem", &Number(self.mem))?;
        app.serialize_field("disk", &Number(self.disk))?;
        app.serialize_field("gpus", &self.gpus)?;
        app.serialize_field("executor", &self.executor)?;
        app.serialize_field("constraints", &self.constraints)?;
        app.serialize_field(
            "uris",
            &self.fetch.iter().map(|f| &f.uri).collect::<Vec<_>>(),
        )?;
        app.serialize_field("fetch", &self.fetch)?;
        app.serialize_field("storeUrls", &self.store_urls)?;
        app.serialize_field("backoffSeconds", &self.backoff_seconds)?;
        app.serialize_field("backoffFactor", &Number(self.backoff_factor))?;
        app.serialize_field("maxLaunchDelaySeconds", &self.max_launch_delay_seconds)?;
        app.serialize_field("container", &self.container)?;
        app.serialize_field("healthChecks", &self.health_checks)?;
        app.serialize_field("readinessChecks", &self.readiness_checks)?;
        app.serialize_field("dependencies", &self.dependencies)?;
        app.serialize_field("upgradeStrategy", &self.upgrade_strategy)?;
        app.serialize_field("labels", &self.labels)?;
        app.serialize_field("acceptedResourceRoles", &self.accepted_resource_roles)?;
        app.serialize_field("ipAddress", &self.ip_address)?;
        app.serialize_field("version", &self.version)?;
        app.serialize_field("residency", &self.residency)?;
        app.serialize_field("secrets", &self.secrets)?;
        app.serialize_field(
            "taskKillGracePeriodSeconds",
            &self.task_kill_grace_period_seconds,
        )?;
        if self.ip_address.is_none() {
            app.serialize_field("ports", &self.service_ports())?;
            app.serialize_field("portDefinitions", &self.port_definitions)?;
            app.serialize_field("requirePorts", &self.require_ports)?;
        }
        if let Some(version_info) = &self.version_info {
            app.serialize_field("versionInfo", version_info)?;
        }
        app.end()
    }
}

impl<'de> Deserialize<'de> for App {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stored {
            id: AppId,
            cmd: Option<String>,
            args: Option<Vec<String>>,
            user: Option<String>,
            env: BTreeMap<String, EnvValue>,
            instances: u32,
            cpus: f64,
            mem: f64,
            disk: f64,
            gpus: u32,
            executor: String,
            constraints: Vec<Constraint>,
            fetch: Vec<Fetch>,
            store_urls: Vec<String>,
            backoff_seconds: u64,
            backoff_factor: f64,
            max_launch_delay_seconds: u64,
            container: Option<Container>,
            health_checks: Vec<HealthCheck>,
            readiness_checks: Vec<ReadinessCheck>,
            dependencies: BTreeSet<AppId>,
            upgrade_strategy: UpgradeStrategy,
            labels: BTreeMap<String, String>,
            accepted_resource_roles: Option<Vec<String>>,
            ip_address: Option<AppIpAddress>,
            version: Timestamp,
            residency: Option<Residency>,
            secrets: BTreeMap<String, Secret>,
            task_kill_grace_period_seconds: Option<u64>,
            #[serde(default)]
            port_definitions: Vec<PortDefinition>,
            #[serde(default)]
            require_ports: bool,
            #[serde(default)]
            version_info: Option<VersionInfo>,
            #[serde(default)]
            kill_selection: KillSelection,
        }
        let app = Stored::deserialize(deserializer)?;
        Ok(Self {
            id: app.id,
            cmd: app.cmd,
            args: app.args,
            user: app.user,
            env: app.env,
            instances: app.instances,
            cpus: app.cpus,
            mem: app.mem,
            disk: app.disk,
            gpus: app.gpus,
            executor: app.executor,
            constraints: app.constraints,
            fetch: app.fetch,
            store_urls: app.store_urls,
            backoff_seconds: app.backoff_seconds,
            backoff_factor: app.backoff_factor,
            max_launch_delay_seconds: app.max_launch_delay_seconds,
            container: app.container,
            health_checks: app.health_checks,
            readiness_checks: app.readiness_checks,
            dependencies: app.dependencies,
            upgrade_strategy: app.upgrade_strategy,
            labels: app.labels,
            accepted_resource_roles: app.accepted_resource_roles,
            ip_address: app.ip_address,
            version: app.version,
            residency: app.residency,
            secrets: app.secrets,
            task_kill_grace_period_seconds: app.task_kill_grace_period_seconds,
            port_definitions: app.port_definitions,
            require_ports: app.require_ports,
            version_info: app.version_info,
            kill_selection: app.kill_selection,
        })
    }
}

impl Serialize for Docker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Engine(engine) => engine.serialize(serializer),
            Self::Image(image) => image.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Docker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `network` is printed by the DOCKER form only, there always.
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.get("network").is_some() {
            serde_json::from_value(value)
                .map(Self::Engine)
                .map_err(D::Error::custom)
        } else {
            serde_json::from_value(value)
                .map(Self::Image)
                .map_err(D::Error::custom)
        }
    }
}

impl Container {
    /// True if the Docker engine is to run it.
    pub fn is_docker(&self) -> bool {
        self.kind == ContainerKind::Docker
    }
}

impl Operator {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Like => "LIKE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Unlike => "UNLIKE",
            Self::MaxPer => "MAX_PER",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Unique,
            Self::Like,
            Self::Cluster,
            Self::GroupBy,
            Self::Unlike,
            Self::MaxPer,
        ]
        .into_iter()
        .find(|operator| operator.as_str() == word)
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            field,
            operator,
            value,
        } = self;
        match value {
            Some(value) => (field, operator.as_str(), value).serialize(serializer),
            None => (field, operator.as_str()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut words = Vec::<String>::deserialize(deserializer)?.into_iter();
        let (Some(field), Some(operator)) = (words.next(), words.next()) else {
            return Err(D::Error::custom(
                "a constraint needs a field and an operator",
            ));
        };
        let operator = Operator::parse(&operator)
            .ok_or_else(|| D::Error::custom(format!("unknown operator {operator}")))?;
        Ok(Self {
            field,
            operator,
            value: words.next(),
        })
    }
}
