//! The control groups of one task: made by the agent, joined by the task, watched by the executor.
//!
//! Version 2 has one directory, version 1 one for each controller. Shares as in Mesos: `cpu.shares = 1024 · cpus`, at
//! least 2; no hard CPU limit, since Mesos sets none by default. Swap is closed where the kernel can, so that the memory
//! limit means what it says.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::procfs;

/// Mesos' smallest memory limit (`MIN_MEMORY` in `src/slave/containerizer/mesos/isolators/cgroups`): 32 MiB.
const MIN_MEMORY: u64 = 32 << 20;

/// The smallest `cpu.shares` the kernel takes.
const MIN_SHARES: u64 = 2;

/// Where one task's limits are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Cgroup {
    /// One unified directory.
    V2(PathBuf),
    /// One directory for each controller.
    V1 { memory: PathBuf, cpu: PathBuf },
}

/// What a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: u64,
    /// In the unit of `cpu.shares`.
    pub(crate) shares: u64,
}

impl Limits {
    /// From an app's `cpus` and `mem` (MiB).
    pub(crate) fn new(cpus: f64, mem: f64) -> Self {
        Self {
            memory: ((mem * f64::from(1 << 20)) as u64).max(MIN_MEMORY),
            shares: ((cpus * 1024.0) as u64).max(MIN_SHARES),
        }
    }

    /// `cpu.weight` of version 2 for the shares, by the kernel documentation's usual mapping of [2, 262144] to [1, 10000].
    fn weight(self) -> u64 {
        (1 + (self.shares.min(262_144) - MIN_SHARES) * 9_999 / 262_142).clamp(1, 10_000)
    }
}

impl Cgroup {
    /// Makes the groups and sets the limits.
    pub(crate) fn create(&self, limits: Limits) -> io::Result<()> {
        for directory in self.directories() {
            std::fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
        }
        let memory = limits.memory.to_string();
        match self {
            Self::V2(directory) => {
                put(directory, "memory.max", &memory)?;
                // Absent without swap accounting.
                let _ = put(directory, "memory.swap.max", "0");
                put(directory, "cpu.weight", &limits.weight().to_string())
            }
            Self::V1 {
                memory: directory,
                cpu,
            } => {
                put(directory, "memory.limit_in_bytes", &memory)?;
                // Absent without swap accounting.
                let _ = put(directory, "memory.memsw.limit_in_bytes", &memory);
                put(cpu, "cpu.shares", &limits.shares.to_string())
            }
        }
    }

    /// Moves a process, or the caller with pid 0, into the groups.
    pub(crate) fn join(&self, pid: u32) -> io::Result<()> {
        self.directories()
            .iter()
            .try_for_each(|directory| put(directory, "cgroup.procs", &pid.to_string()))
    }

    /// The living processes in it.
    pub(crate) fn members(&self) -> Vec<i32> {
        let directory = self.memory_directory();
        std::fs::read_to_string(directory.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|&pid| procfs::Stat::of(pid).is_ok_and(|stat| !stat.is_dead()))
            .collect()
    }

    /// Whether the kernel killed a process of it for its memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let file = match self {
            Self::V2(directory) => directory.join("memory.events"),
            Self::V1 { memory, .. } => memory.join("memory.oom_control"),
        };
        std::fs::read_to_string(file)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }

    /// The most memory it ever used, bytes.
    pub(crate) fn peak(&self) -> Option<u64> {
        let file = match self {
            Self::V2(directory) => directory.join("memory.peak"),
            Self::V1 { memory, .. } => memory.join("memory.max_usage_in_bytes"),
        };
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Takes the groups away; they must be empty. Absent ones are fine.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for directory in self.directories() {
            match std::fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(directory, &error)),
            }
        }
        Ok(())
    }

    /// The directory with the memory controller.
    pub(crate) fn memory_directory(&self) -> &Path {
        match self {
            Self::V2(directory) => directory,
            Self::V1 { memory, .. } => memory,
        }
    }

    fn directories(&self) -> Vec<&Path> {
        match self {
            Self::V2(directory) => vec![directory],
            Self::V1 { memory, cpu } if memory == cpu => vec![memory],
            Self::V1 { memory, cpu } => vec![memory, cpu],
        }
    }
}

fn put(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    // Never created: a missing control file is a missing controller.
    let mut control = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|error| named(&path, &error))?;
    io::Write::write_all(&mut control, value.as_bytes()).map_err(|error| named(&path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_mesos_sets_them() {
        assert_eq!(
            Limits::new(0.1, 32.0),
            Limits {
                memory: 33_554_432,
                shares: 102
            }
        );
        assert_eq!(
            Limits::new(0.0, 0.0),
            Limits {
                memory: 33_554_432,
                shares: 2
            }
        );
        assert_eq!(Limits::new(1.0, 128.5).memory, 134_742_016);
        assert_eq!(Limits::new(0.0, 0.0).weight(), 1);
        assert_eq!(Limits::new(1.0, 0.0).weight(), 39);
    }
}
