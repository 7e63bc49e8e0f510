//! What to do next in a swap: pure decisions on what Marathon and the edges say.
//!
//! ```text
//!   fetch ─▶ can anything drain? ─ no ──────────────────────▶ scale the new app up ─▶ fetch
//!              │ yes                                              ▲
//!              ▼                                                  │
//!            wait until old tasks are drained ─▶ are they all? ─ no: kill them
//!                                                  │ yes, and all that is wanted is new
//!                                                  ▼
//!                                            delete the old app
//! ```
//!
//! Source: contract marathon-lb §5.4, §5.7.

use serde_json::Value;

use super::definition::{NEW, TARGET, label};

/// An old server process of the edge lasts while connections to removed servers do; then it shows more numbers than these.
const MOST_PIDS: usize = 2;

/// One app of a swap, as Marathon tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side {
    pub(super) id: String,
    pub(super) instances: u64,
    pub(super) is_deploying: bool,
    /// All of its group, when it is whole.
    pub(super) target: u64,
    /// Where its swap is to stop; 0: nowhere.
    pub(super) stop_at: u64,
    pub(super) tasks: Vec<Task>,
}

/// A task and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    pub(super) id: String,
    /// Host and port, in the words of the edge's statistics.
    places: Vec<(String, String)>,
}

impl Side {
    /// Reads `app` of `GET /v2/apps/{id}`.
    pub(super) fn read(app: &Value) -> Self {
        let number = |name| label(app, name).and_then(|text| text.parse().ok());
        let instances = app["instances"].as_u64().unwrap_or(0);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Self {
            id: app["id"].as_str().unwrap_or_default().to_owned(),
            instances,
            is_deploying: !list(&app["deployments"]).is_empty(),
            target: number(TARGET).unwrap_or(instances),
            stop_at: number(NEW).unwrap_or(0),
            tasks: list(&app["tasks"])
                .iter()
                .map(|task| Task::read(task, app))
                .collect(),
        }
    }
}

impl Task {
    fn read(task: &Value, app: &Value) -> Self {
        let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut places = Vec::new();
        for port in array(&task["ports"]) {
            places.push((
                word(task["host"].as_str().unwrap_or_default()),
                port.to_string(),
            ));
        }
        let mappings = ["/container/docker/portMappings", "/container/portMappings"];
        for mapping in mappings
            .iter()
            .filter_map(|place| app.pointer(place))
            .flat_map(array)
        {
            for address in array(&task["ipAddresses"]) {
                let address = address["ipAddress"].as_str().unwrap_or_default();
                places.push((word(address), mapping["containerPort"].to_string()));
            }
        }
        Self {
            id: task["id"].as_str().unwrap_or_default().to_owned(),
            places,
        }
    }

    /// Whether the edge's server of this name is the task: `10_0_3_192_3238`, or `node1_10_0_3_192_3238`.
    fn is_server(&self, name: &str) -> bool {
        self.places.iter().any(|(host, port)| {
            let rest = name
                .strip_prefix(host.as_str())
                .and_then(|rest| rest.strip_suffix(port.as_str()));
            rest.is_some_and(|between| {
                between == "_" || (between.starts_with('_') && between.ends_with('_'))
            })
        })
    }
}

fn word(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// What all edges say of the group's backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) n_edges: usize,
    pub(super) servers: Vec<Server>,
    /// The most that any of them shows.
    pub(super) n_pids: usize,
}

/// A server in an edge's statistics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) status: String,
    /// Nothing waits for it or is in flight on it.
    pub(super) is_idle: bool,
}

impl Server {
    fn is_up(&self) -> bool {
        // `no check`: whoever has none is up while its task runs.
        ["UP", "no check"].contains(&self.status.as_str())
    }

    fn is_draining(&self) -> bool {
        self.status == "MAINT"
    }
}

impl Seen {
    /// How many servers are up, on each edge.
    pub(super) fn n_up(&self) -> usize {
        self.each(|server| server.is_up())
    }

    /// How many servers drain, on each edge.
    pub(super) fn n_draining(&self) -> usize {
        self.each(Server::is_draining)
    }

    fn each(&self, is_one: impl Fn(&Server) -> bool) -> usize {
        self.servers.iter().filter(|server| is_one(server)).count() / self.n_edges.max(1)
    }

    /// The tasks of `old` that every edge drains, idle ones only or all.
    pub(super) fn drained(&self, old: &Side, idle_only: bool) -> Vec<String> {
        let is_drained = |task: &&Task| {
            let of_task = self
                .servers
                .iter()
                .filter(|server| task.is_server(&server.name));
            let drained =
                of_task.filter(|server| server.is_draining() && (server.is_idle || !idle_only));
            drained.count() >= self.n_edges.max(1)
        };
        old.tasks
            .iter()
            .filter(is_drained)
            .map(|task| task.id.clone())
            .collect()
    }

    /// What the swap waits for; `None` if for nothing.
    pub(super) fn awaited(&self, old: &Side, new: &Side) -> Option<String> {
        let n_wanted = old.instances + new.instances;
        let n_listed = (self.servers.len() / self.n_edges.max(1)) as u64;
        if self.n_pids > MOST_PIDS {
            return Some("connections of removed servers to end".to_owned());
        }
        if n_listed != n_wanted {
            return Some(format!(
                "the edge to list {n_wanted} servers (it has {n_listed})"
            ));
        }
        let n_up = self.n_up() as u64;
        if n_up < new.target {
            return Some(format!("{} servers to be up ({n_up} are)", new.target));
        }
        if self.drained(old, true).is_empty() {
            return Some("an old server to have nothing in flight".to_owned());
        }
        None
    }
}

/// What an edge's view allows to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Kill these old tasks, and let the new app grow.
    Go(Vec<String>),
    /// Delete the old app.
    Delete,
    /// Look again: this is missing.
    Wait(String),
}

impl Seen {
    /// What to do in a swap that goes forward.
    pub(super) fn forward(&self, old: &Side, new: &Side, plan: Plan) -> Move {
        let can_drain = plan.n_drainable(old, new) > 0;
        // It was broken off after a kill, which has made the old app the one that was scaled last: to the edges that is the new
        // one, and they drain the other's tasks until that grows.
        let has_turned = self.n_of(new, Server::is_draining) > 0;
        if has_turned && plan.next(old, new) > new.instances {
            return Move::Go(Vec::new());
        }
        let awaited = if can_drain {
            self.awaited(old, new)
        } else {
            None
        };
        match awaited {
            Some(awaited) => Move::Wait(awaited),
            None if can_drain => {
                let drained = self.drained(old, true);
                // A kill that is not followed by the other app's growth would turn the two round for good.
                if plan.is_last_step(new) && (drained.len() as u64) < old.instances {
                    let all = old.instances;
                    return Move::Wait(format!("all {all} old servers to have nothing in flight"));
                }
                plan.after(old, new, drained)
            }
            None => plan.after(old, new, Vec::new()),
        }
    }

    /// What to do in a swap that goes back to `new`, the app that was there first. The younger app may be the reason: whether it
    /// is well does not matter. `has_scaled`: the edges know by now who is to grow.
    pub(super) fn back(&self, old: &Side, new: &Side, has_scaled: bool) -> Move {
        let is_whole = new.instances >= new.target;
        if !has_scaled && self.drained(old, false).is_empty() {
            // The edges still take the younger app for the one that grows: what they drain is the other's.
            return if !is_whole {
                Move::Go(Vec::new())
            } else if self.n_of(new, |server| server.is_up() || server.is_draining()) >= new.target
            {
                Move::Delete
            } else {
                Move::Wait(format!("{} servers of {}", new.target, new.id))
            };
        }
        if self.n_pids > MOST_PIDS {
            return Move::Wait("connections of removed servers to end".to_owned());
        }
        let drained = self.drained(old, true);
        let is_listed = self.n_of(old, |_| true) > drained.len() as u64;
        if is_whole {
            let n_up = self.n_of(new, Server::is_up);
            return if n_up < new.target {
                Move::Wait(format!(
                    "{} servers of {} to be up ({n_up} are)",
                    new.target, new.id
                ))
            } else if is_listed {
                Move::Wait(format!("servers of {} to have nothing in flight", old.id))
            } else {
                Move::Delete
            };
        }
        if drained.is_empty() && is_listed {
            return Move::Wait("an old server to have nothing in flight".to_owned());
        }
        Move::Go(drained)
    }

    /// How many servers of an app are such, on each edge.
    fn n_of(&self, side: &Side, is_one: impl Fn(&Server) -> bool) -> u64 {
        let of_side = |server: &&Server| side.tasks.iter().any(|task| task.is_server(&server.name));
        let n = self
            .servers
            .iter()
            .filter(of_side)
            .filter(|server| is_one(server))
            .count();
        (n / self.n_edges.max(1)) as u64
    }
}

/// What is wanted of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Stop at so many new instances; 0: go on to the end.
    pub(super) stop_at: u64,
    /// So many more a step; 0: half as many again.
    pub(super) linear: u64,
}

impl Plan {
    /// Whether the swap is where it is to stop.
    pub(super) fn is_stopped(&self, old: &Side, new: &Side) -> bool {
        self.stop_at > 0
            && new.instances >= self.stop_at
            && old.instances <= new.target.saturating_sub(self.stop_at)
    }

    /// What follows when these old tasks may go.
    pub(super) fn after(&self, old: &Side, new: &Side, kill: Vec<String>) -> Move {
        if self.is_last_step(new) && kill.len() as u64 == old.instances {
            Move::Delete
        } else {
            Move::Go(kill)
        }
    }

    /// Whether the new app is whole, and nothing is left to do but to end the old one.
    fn is_last_step(&self, new: &Side) -> bool {
        self.stop_at == 0 && new.instances >= new.target
    }

    /// How many old tasks the new ones let go.
    pub(super) fn n_drainable(&self, old: &Side, new: &Side) -> u64 {
        (old.instances + new.instances)
            .saturating_sub(new.target)
            .min(old.instances)
    }

    /// How many instances the new app gets next.
    pub(super) fn next(&self, old: &Side, new: &Side) -> u64 {
        let most = if self.stop_at > 0 {
            self.stop_at
        } else {
            new.target
        };
        if new.instances >= most {
            return new.instances;
        }
        let next = if self.linear > 0 {
            new.instances.saturating_add(self.linear)
        } else {
            new.instances + new.instances.div_ceil(2).max(1)
        };
        if self.stop_at == 0 && self.linear == 0 && next >= old.instances {
            return most;
        }
        next.min(most)
    }
}

#[cfg(test)]
mod tests;
