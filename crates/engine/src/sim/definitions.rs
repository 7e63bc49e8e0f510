//! Definitions that users write: every kind of app the engine has to decide about.

use serde_json::{Value, json};
use zddcluster_model::AppId;

use super::world::World;

/// The apps there may be. One depends only on those before it, but for mistakes.
pub(super) const APPS: [&str; 6] = ["/shop/db", "/a", "/b", "/zdd/base", "/zdd/web", RESIDENT];

/// The app that keeps its tasks' volumes; its resources never change.
pub(super) const RESIDENT: &str = "/res";

/// Minimum health and maximum over capacities that users choose from, besides any other.
const STRATEGIES: [(f64, f64); 8] = [
    (1.0, 1.0),
    (0.25, 0.25),
    (1.0, 0.0),
    (0.5, 0.1),
    (0.5, 0.5),
    (0.0, 0.0),
    (0.0, 1.0),
    (1.0, 0.1),
];

impl World {
    /// A whole definition; a `plain` one can run on any agent and is well.
    pub(super) fn definition(
        &mut self,
        app_id: &AppId,
        release: u64,
        instances: u32,
        is_plain: bool,
    ) -> Value {
        let (min, over) = self.strategy();
        // Its resources never change, and it must find a place when it is mended.
        let is_resident = app_id.as_str() == RESIDENT;
        let mut definition = json!({
            "id": app_id,
            "cmd": "serve",
            "instances": instances,
            "cpus": 0.1,
            "mem": 32,
            "env": { "RELEASE": release.to_string() },
            "upgradeStrategy": {
                "minimumHealthCapacity": min,
                "maximumOverCapacity": if is_resident { 0.0 } else { over },
            },
        });
        if is_resident || is_plain {
            definition["cpus"] = json!(0);
            definition["mem"] = json!(0);
        }
        if is_resident {
            definition["portDefinitions"] = json!([]);
            definition["container"] = json!({
                "type": "MESOS",
                "volumes": [
                    { "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } },
                    { "containerPath": "log", "mode": "RW", "persistent": { "size": 10 } },
                ],
            });
        }
        if self.one_in(4) {
            definition["backoffSeconds"] = json!(self.pick(&[2, 5, 30]));
            definition["maxLaunchDelaySeconds"] = json!(self.pick(&[20, 60]));
        }
        if self.one_in(6) {
            definition["taskKillGracePeriodSeconds"] = json!(self.pick(&[1, 12, 25]));
        }
        let has_port = !is_resident && !is_plain && self.ports(&mut definition, app_id);
        self.checks_of(&mut definition, has_port);
        if is_plain {
            definition["portDefinitions"] = json!([]);
            return definition;
        }
        if !is_resident {
            self.demands(&mut definition);
        }
        self.dependencies(&mut definition, app_id);
        if !self.is_faultless && self.one_in(5) {
            definition["env"]["FATE"] = json!(self.pick(&["sick", "crash", "unready"]));
        }
        definition
    }

    fn strategy(&mut self) -> (f64, f64) {
        if self.one_in(2) {
            return self.pick(&STRATEGIES);
        }
        let thousandths = |n: u32| f64::from(n) / 1000.0;
        (thousandths(self.below(1001)), thousandths(self.below(1001)))
    }

    /// Ports of one of several kinds; true if there is one called `main`.
    fn ports(&mut self, definition: &mut Value, app_id: &AppId) -> bool {
        let own = APPS.iter().position(|id| *id == app_id.as_str());
        let own = 15_000 + 10 * own.unwrap_or(0);
        let kind = self.below(8);
        match kind {
            0 => definition["portDefinitions"] = json!([]),
            1..=3 => definition["portDefinitions"] = json!([{ "port": 0, "name": "main" }]),
            4 => {
                definition["portDefinitions"] = json!([
                    { "port": 0, "name": "main" },
                    { "port": 0, "name": "admin" },
                ]);
            }
            5 => {
                // A number of its own, one of many apps, or one that is assigned.
                let port = self.pick(&[own, 15_005, 0]);
                definition["portDefinitions"] = json!([{ "port": port, "name": "main" }]);
                definition["requirePorts"] = json!(true);
            }
            _ => {
                let host_port = self.pick(&[0, 9_000, 9_001]);
                definition["container"] = json!({
                    "type": "DOCKER",
                    "docker": {
                        "image": "mhausenblas/simpleservice:0.4.0",
                        "network": "BRIDGE",
                        "portMappings": [
                            { "containerPort": 80, "hostPort": host_port, "name": "main" },
                            { "containerPort": 81, "hostPort": 0 },
                        ],
                    },
                });
            }
        }
        kind != 0
    }

    fn checks_of(&mut self, definition: &mut Value, has_port: bool) {
        let http = json!({
            "path": "/health",
            "gracePeriodSeconds": 20,
            "intervalSeconds": 20,
            "maxConsecutiveFailures": self.pick(&[0, 1, 3]),
        });
        let command = json!({
            "protocol": "COMMAND",
            "command": { "value": "true" },
            "gracePeriodSeconds": 5,
            "intervalSeconds": 7,
        });
        definition["healthChecks"] = match self.below(4) {
            0 | 1 => json!([]),
            2 if has_port => json!([http]),
            3 if has_port => json!([http, command]),
            _ => json!([command]),
        };
        let named = definition["portDefinitions"][0]["name"].is_string()
            || definition["container"]["docker"].is_object();
        if named && self.one_in(3) {
            definition["readinessChecks"] = json!([{ "portName": "main" }]);
        }
    }

    /// What not every agent has.
    fn demands(&mut self, definition: &mut Value) {
        if self.one_in(6) {
            definition["cpus"] = json!(self.pick(&[0.0, 0.7, 1.5]));
            definition["mem"] = json!(self.pick(&[0, 1500]));
            definition["disk"] = json!(self.pick(&[0, 400]));
        }
        if self.one_in(60) && definition["container"].is_null() {
            let external = json!({ "name": "db", "provider": "dvdi" });
            definition["container"] = json!({
                "type": "MESOS",
                "volumes": [{ "containerPath": "/db", "mode": "RW", "external": external }],
            });
        }
        if self.one_in(8) {
            let roles: &[&str] = if self.one_in(2) {
                &["slave_public"]
            } else {
                &["slave_public", "*"]
            };
            definition["acceptedResourceRoles"] = json!(roles);
        }
        if self.one_in(3) {
            let mut constraints = vec![self.constraint()];
            if self.one_in(4) {
                constraints.push(self.constraint());
            }
            definition["constraints"] = Value::Array(constraints);
        }
    }

    fn constraint(&mut self) -> Value {
        match self.below(14) {
            0 | 1 => json!(["hostname", "UNIQUE"]),
            2 => json!(["hostname", "CLUSTER", "127.0.0.11"]),
            3 => json!(["rack", "CLUSTER"]),
            4 => json!(["hostname", "CLUSTER"]),
            5 => json!(["rack", "GROUP_BY"]),
            6 => json!(["rack", "GROUP_BY", "2"]),
            7 => json!(["hostname", "GROUP_BY"]),
            8 => json!(["rack", "LIKE", "r[12]"]),
            9 => json!(["rack", "UNLIKE", "r1"]),
            10 => json!(["hostname", "MAX_PER", "2"]),
            11 => json!(["rack", "MAX_PER", "1"]),
            12 => json!(["hostname", "UNLIKE", r"127\.0\.0\.12"]),
            // No agent has such an attribute.
            _ => json!(["zone", "LIKE", ".*"]),
        }
    }

    fn dependencies(&mut self, definition: &mut Value, app_id: &AppId) {
        if self.one_in(2) {
            return;
        }
        let own = APPS
            .iter()
            .position(|id| *id == app_id.as_str())
            .unwrap_or(0);
        let mut wanted = Vec::new();
        if own > 0 {
            let most = own as u32;
            wanted.push(APPS[self.below(most) as usize]);
        }
        if own > 1 && self.one_in(3) {
            wanted.push("/shop");
        }
        if self.one_in(12) {
            // Perhaps a cycle, which is refused.
            wanted.push(self.pick(&APPS));
        }
        if self.one_in(8) {
            wanted.push("/nowhere");
        }
        wanted.retain(|id| *id != app_id.as_str());
        wanted.sort_unstable();
        wanted.dedup();
        definition["dependencies"] = json!(wanted);
    }
}
