//! What a container uses, as the engine measures it.
//!
//! One look without a second sample (`one-shot`): sums are what is shown, and the engine would wait a second for the other.

use std::io;
use std::time::Duration;

use bollard::models::ContainerStatsResponse;

use super::engine::Engine;
use crate::containerizer::Order;
use crate::executor::cgroup::Limits;
use crate::usage::Usage;

/// Asks the engine.
pub(super) async fn usage(engine: &Engine, order: &Order) -> io::Result<Usage> {
    let stats = engine
        .stats(&order.container_name)
        .await
        .map_err(io::Error::other)?;
    let limit = Limits::new(order.launch.cpus, order.launch.mem).memory;
    Ok(usage_of(&stats, limit))
}

fn usage_of(stats: &ContainerStatsResponse, limit: u64) -> Usage {
    let cpu = stats.cpu_stats.as_ref();
    let cpu = cpu.and_then(|cpu| cpu.cpu_usage.as_ref());
    let nanos = |count: Option<u64>| Duration::from_nanos(count.unwrap_or_default());
    let memory = stats.memory_stats.as_ref();
    let total = memory.and_then(|memory| memory.usage);
    let part = |name: &str| {
        let parts = memory.and_then(|memory| memory.stats.as_ref());
        parts.and_then(|parts| parts.get(name)).copied()
    };
    // Control groups of version 1 have `total_rss`, those of version 2 `anon` and `shmem`.
    let rss = part("total_rss").or_else(|| Some(part("anon")? + part("shmem").unwrap_or(0)));
    let pids = stats.pids_stats.as_ref().and_then(|pids| pids.current);
    Usage {
        cpu_user: nanos(cpu.and_then(|cpu| cpu.usage_in_usermode)),
        cpu_system: nanos(cpu.and_then(|cpu| cpu.usage_in_kernelmode)),
        memory_rss: rss.or(total).unwrap_or_default(),
        memory_total: total,
        memory_limit: limit,
        processes: pids.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_engine() {
        let stats = serde_json::json!({
            "cpu_stats": {
                "cpu_usage": {
                    "total_usage": 2_500_000_000_u64,
                    "usage_in_usermode": 2_000_000_000_u64,
                    "usage_in_kernelmode": 500_000_000,
                },
            },
            "memory_stats": { "usage": 8192, "stats": { "anon": 4096, "file": 2048, "shmem": 1024 } },
            "pids_stats": { "current": 3 },
        });
        let stats = serde_json::from_value(stats).unwrap();
        let expected = Usage {
            cpu_user: Duration::from_secs(2),
            cpu_system: Duration::from_millis(500),
            memory_rss: 5120,
            memory_total: Some(8192),
            memory_limit: 7,
            processes: 3,
        };
        assert_eq!(usage_of(&stats, 7), expected);
    }
}
