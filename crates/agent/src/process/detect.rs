//! Which way memory and CPU are limited on this machine: tried out, not guessed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::executor::cgroup::{Cgroup, Limits};

/// The directory all our groups are in.
const BASE: &str = "zddcluster";

/// How tasks are limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Control groups of version 2 under this directory.
    V2(PathBuf),
    /// Control groups of version 1 under these.
    V1 { memory: PathBuf, cpu: PathBuf },
    /// The executor measures memory and kills; CPU is free.
    Watcher,
}

/// How tasks that are plain processes are limited on this machine, in words; `Err` if only memory is, and only by watching it.
///
/// Tries it out with `executable`, which is ours. Blocks for some milliseconds.
///
/// # Errors
/// See above.
pub fn limits_of_processes(executable: &Path) -> Result<String, String> {
    let mechanism = Mechanism::detect(executable);
    let words = mechanism.describe();
    match mechanism {
        Mechanism::V2(_) | Mechanism::V1 { .. } => Ok(words),
        Mechanism::Watcher => Err(words),
    }
}

impl Mechanism {
    /// The first that works: one group is made, a process moved into it, and the group removed again.
    ///
    /// Blocks for some milliseconds.
    pub(crate) fn detect(executable: &Path) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        candidates(&mounts, &own)
            .into_iter()
            .find(|candidate| match candidate.try_out(executable) {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(?candidate, %error, "control groups cannot be used here");
                    false
                }
            })
            .unwrap_or(Self::Watcher)
    }

    /// The groups of one container.
    pub(crate) fn cgroup(&self, container: &str) -> Option<Cgroup> {
        match self {
            Self::V2(base) => Some(Cgroup::V2(base.join(container))),
            Self::V1 { memory, cpu } => Some(Cgroup::V1 {
                memory: memory.join(container),
                cpu: cpu.join(container),
            }),
            Self::Watcher => None,
        }
    }

    /// For the log.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::V2(base) => format!("control groups v2 (memory, cpu) in {}", base.display()),
            Self::V1 { memory, cpu } => {
                format!("control groups v1 (memory, cpu) in {} and {}", memory.display(), cpu.display())
            }
            Self::Watcher => {
                "a watcher that kills a task over its memory; CPU is not limited (no usable control groups)"
                    .to_owned()
            }
        }
    }

    fn try_out(&self, executable: &Path) -> io::Result<()> {
        if let Self::V2(base) = self {
            enable_controllers(base)?;
        }
        let Some(cgroup) = self.cgroup(&format!("probe-{}", std::process::id())) else {
            return Ok(());
        };
        let outcome = cgroup.create(Limits::new(1.0, 32.0)).and_then(|()| {
            let mut held = Command::new(executable)
                .args(["executor", "--hold"])
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let joined = cgroup.join(held.id());
            drop(held.stdin.take());
            held.wait()?;
            joined
        });
        let removed = cgroup.remove();
        outcome.and(removed)
    }
}

/// Memory and cpu for the children of `base`, and for that of `base` itself.
fn enable_controllers(base: &Path) -> io::Result<()> {
    if let Some(parent) = base.parent() {
        let offered = std::fs::read_to_string(parent.join("cgroup.controllers"))?;
        if !["memory", "cpu"]
            .iter()
            .all(|wanted| offered.split_ascii_whitespace().any(|word| word == *wanted))
        {
            return Err(io::Error::other(
                "the memory and cpu controllers are not offered",
            ));
        }
    }
    std::fs::create_dir_all(base)?;
    for directory in base.parent().into_iter().chain([base]) {
        let control = directory.join("cgroup.subtree_control");
        let enabled = std::fs::read_to_string(&control)?;
        for controller in ["memory", "cpu"] {
            if !enabled
                .split_ascii_whitespace()
                .any(|word| word == controller)
            {
                std::fs::write(&control, format!("+{controller}"))?;
            }
        }
    }
    Ok(())
}

/// Places to try, best first, from `/proc/self/mounts` and `/proc/self/cgroup`.
///
/// The root of a hierarchy comes first (as Mesos and Docker do), then the part the machine gave to us: beside our own
/// group, where version 2 wants it, or in it.
fn candidates(mounts: &str, own: &str) -> Vec<Mechanism> {
    let mut unified = None;
    let (mut memory, mut cpu) = (None, None);
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, kind, options, ..] = fields.as_slice() else {
            continue;
        };
        let has = |controller: &str| options.split(',').any(|option| option == controller);
        match *kind {
            "cgroup2" => unified = Some(PathBuf::from(point)),
            "cgroup" => {
                if has("memory") {
                    memory = Some(PathBuf::from(point));
                }
                if has("cpu") {
                    cpu = Some(PathBuf::from(point));
                }
            }
            _ => {}
        }
    }
    let own_path = |controller: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = controllers.split(',').any(|name| name == controller);
            is_it.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mut found = Vec::new();
    if let Some(root) = unified {
        found.push(Mechanism::V2(root.join(BASE)));
        if let Some(path) = own_path("").filter(|path| !path.is_empty()) {
            let ours = root.join(path);
            found.extend(ours.parent().map(|parent| Mechanism::V2(parent.join(BASE))));
            found.push(Mechanism::V2(ours.join(BASE)));
        }
    }
    if let (Some(memory), Some(cpu)) = (memory, cpu) {
        found.push(Mechanism::V1 {
            memory: memory.join(BASE),
            cpu: cpu.join(BASE),
        });
        if let (Some(own_memory), Some(own_cpu)) = (own_path("memory"), own_path("cpu")) {
            found.push(Mechanism::V1 {
                memory: memory.join(own_memory).join(BASE),
                cpu: cpu.join(own_cpu).join(BASE),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_both_versions() {
        let v2 = candidates(
            "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope\n",
        );
        let user = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice";
        assert_eq!(
            v2,
            [
                Mechanism::V2("/sys/fs/cgroup/zddcluster".into()),
                Mechanism::V2(format!("{user}/zddcluster").into()),
                Mechanism::V2(format!("{user}/run.scope/zddcluster").into()),
            ]
        );
        let v1 = candidates(
            "cgroup /cg/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /cg/memory cgroup rw,memory 0 0\n",
            "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n",
        );
        assert_eq!(
            v1,
            [
                Mechanism::V1 {
                    memory: "/cg/memory/zddcluster".into(),
                    cpu: "/cg/cpu,cpuacct/zddcluster".into()
                },
                Mechanism::V1 {
                    memory: "/cg/memory/docker/abc/zddcluster".into(),
                    cpu: "/cg/cpu,cpuacct/docker/abc/zddcluster".into()
                },
            ]
        );
        assert_eq!(candidates("", ""), []);
    }
}
