//! What a running task uses of processor and memory, measured when somebody asks.
//!
//! A process is measured by its control groups, where it has some; else by `/proc`, for all processes that belong to it now, whose
//! ended children count as far as they were waited for. Source: Mesos' `ResourceStatistics`.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::executor::Spec;
use crate::executor::cgroup::Cgroup;
use crate::executor::procfs::{self, ProcessRecord};

/// The unit of processor time in `/proc` and `cpuacct.stat`: `USER_HZ`, 100 on every architecture Rust has a Linux target for that
/// runs containers.
const TICKS_A_SECOND: u64 = 100;

/// What a task has used so far, and uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in its own code.
    pub cpu_user: Duration,
    /// Processor time in the kernel for it.
    pub cpu_system: Duration,
    /// Memory that cannot be dropped and read again from a file, bytes.
    pub memory_rss: u64,
    /// All memory that is put down to it, the file cache included, bytes; if somebody tells.
    pub memory_total: Option<u64>,
    /// The most it may use, bytes.
    pub memory_limit: u64,
    /// Its processes.
    pub processes: u64,
}

impl Usage {
    /// Measures a task of the `process` containerizer. Blocks.
    pub(crate) fn of_process(spec: &Spec, main: &ProcessRecord) -> io::Result<Self> {
        let measured = match &spec.cgroup {
            Some(cgroup) => by_group(cgroup),
            None => None,
        };
        let measured = match measured {
            Some(measured) => measured,
            None => by_processes(spec, main)?,
        };
        Ok(Self {
            memory_limit: spec.limits.memory,
            ..measured
        })
    }
}

/// `None` if the groups do not count processor time: version 1 has a controller of its own for it.
fn by_group(cgroup: &Cgroup) -> Option<Usage> {
    let number =
        |path: &Path| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    let (cpu_user, cpu_system, memory_rss, memory_total) = match cgroup {
        Cgroup::V2(directory) => {
            let cpu = std::fs::read_to_string(directory.join("cpu.stat")).ok()?;
            let micros = |key: &str| field(&cpu, key).map(Duration::from_micros);
            let memory = std::fs::read_to_string(directory.join("memory.stat")).ok()?;
            (
                micros("user_usec")?,
                micros("system_usec")?,
                field(&memory, "anon")? + field(&memory, "shmem")?,
                number(&directory.join("memory.current")),
            )
        }
        Cgroup::V1 { memory, cpu } => {
            let times = std::fs::read_to_string(cpu.join("cpuacct.stat")).ok()?;
            let directory = memory;
            let memory = std::fs::read_to_string(directory.join("memory.stat")).ok()?;
            (
                ticks(field(&times, "user")?),
                ticks(field(&times, "system")?),
                field(&memory, "total_rss")?,
                number(&directory.join("memory.usage_in_bytes")),
            )
        }
    };
    Some(Usage {
        cpu_user,
        cpu_system,
        memory_rss,
        memory_total,
        memory_limit: 0,
        processes: cgroup.members().len() as u64,
    })
}

fn by_processes(spec: &Spec, main: &ProcessRecord) -> io::Result<Usage> {
    let ours = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let mut usage = Usage::default();
    for pid in procfs::members(main, &spec.marker, ours) {
        // One that ended meanwhile is gone from the sum.
        let Some((user, system)) = cpu_time(pid) else {
            continue;
        };
        usage.cpu_user += user;
        usage.cpu_system += system;
        usage.memory_rss += procfs::memory(pid);
        usage.processes += 1;
    }
    Ok(usage)
}

/// A process' own time and that of its children that it waited for: fields 14 to 17 of `/proc/<pid>/stat`.
fn cpu_time(pid: i32) -> Option<(Duration, Duration)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    times_in(&text)
}

fn times_in(stat: &str) -> Option<(Duration, Duration)> {
    // The second field is the name in brackets, which may itself hold brackets and blanks.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let (user, system) = (number(11)? + number(13)?, number(12)? + number(14)?);
    Some((ticks(user), ticks(system)))
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_A_SECOND)
}

/// The number of a line `key number`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, number) = line.split_once(' ')?;
        (name == key).then(|| number.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process_and_its_children() {
        let stat = "42 (a) b (c)) S 1 42 40 0 -1 4194560 1 0 0 0 150 20 50 5 20 0 1 0 987654";
        let times = (Duration::from_secs(2), Duration::from_millis(250));
        assert_eq!(times_in(stat), Some(times));
        assert_eq!(times_in("42 (a"), None);
    }

    #[test]
    fn files_of_control_groups_version_2() {
        let directory = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        put(
            "cpu.stat",
            "usage_usec 3\nuser_usec 2000000\nsystem_usec 500000\n",
        );
        put(
            "memory.stat",
            "anon 4096\nfile 999999\nshmem 1024\nanon_thp 0\n",
        );
        put("memory.current", "1005119\n");
        put("cgroup.procs", "");
        let usage = by_group(&Cgroup::V2(directory.path().to_owned())).unwrap();
        let expected = Usage {
            cpu_user: Duration::from_secs(2),
            cpu_system: Duration::from_millis(500),
            memory_rss: 5120,
            memory_total: Some(1_005_119),
            memory_limit: 0,
            processes: 0,
        };
        assert_eq!(usage, expected);
    }
}
