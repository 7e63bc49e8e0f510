//! What an agent has left to offer.

use zddcluster_model::agent::Resources;

use crate::state::{Agent, State};
use crate::turn::millionths;

impl State {
    /// What is free on an agent: its resources without what its launched tasks hold.
    pub fn free_on(&self, agent: &Agent) -> Resources {
        let offered = agent.resources.clone();
        let Some(usage) = self.usage.get(&agent.id) else {
            return offered;
        };
        let left = |total: f64, used: i64| (millionths(total) - used) as f64 / 1e6;
        let without = |ranges: Vec<(u16, u16)>| {
            let mut free = Vec::new();
            for (begin, end) in ranges {
                let mut begin = u32::from(begin);
                for taken in usage.ports.range(begin as u16..=end) {
                    let taken = u32::from(*taken);
                    if begin < taken {
                        free.push((begin as u16, (taken - 1) as u16));
                    }
                    begin = taken + 1;
                }
                if begin <= u32::from(end) {
                    free.push((begin as u16, end));
                }
            }
            free
        };
        Resources {
            cpus: left(offered.cpus, usage.cpus),
            mem: left(offered.mem, usage.mem),
            disk: left(offered.disk, usage.disk),
            ports: without(offered.ports),
            dynamic_ports: without(offered.dynamic_ports),
            ..offered
        }
    }
}
