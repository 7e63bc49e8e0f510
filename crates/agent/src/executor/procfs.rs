//! What `/proc` says of processes: who they are (start time, boot), and which belong to a task.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use zddcluster_model::Timestamp;

/// A process beyond doubt: a pid alone may be reused, a pid with its start time within one boot is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessRecord {
    /// The pid.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since the boot.
    pub(crate) start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot_id: String,
}

impl ProcessRecord {
    /// The record of a process that runs now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let stat = Stat::of(pid)?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
            boot_id: boot_id()?,
        })
    }

    /// A handle on this very process, `None` if it is gone (a zombie is gone too).
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        if boot_id().ok()? != self.boot_id {
            return None;
        }
        let pid = Pid::from_raw(self.pid)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after the handle was taken: if it is the right one now, the handle holds the right one.
        let stat = Stat::of(self.pid).ok()?;
        (stat.start_time == self.start_time && !stat.is_dead()).then_some(pidfd)
    }

    /// Whether this very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.open().is_some()
    }

    /// Whether the machine was started anew since.
    pub(crate) fn is_of_another_boot(&self) -> bool {
        boot_id().is_ok_and(|boot_id| boot_id != self.boot_id)
    }

    /// Sends a signal to the process group this process leads, if the process still runs.
    pub(crate) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        let (Some(pidfd), Some(group)) = (self.open(), Pid::from_raw(self.pid)) else {
            return Ok(());
        };
        if rustix::process::kill_process_group(group, signal).is_ok() {
            return Ok(());
        }
        // It leads no group yet, or nobody of it may be signalled as a group: the leader at least, without a race.
        match rustix::process::pidfd_send_signal(&pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The id of this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// When this boot of the machine began, by its clock, to the second.
pub(crate) fn booted_at() -> io::Result<Timestamp> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let seconds: Option<i64> = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))
        .and_then(|seconds| seconds.trim().parse().ok());
    let seconds = seconds.ok_or_else(|| io::Error::other("/proc/stat has no btime"))?;
    Ok(Timestamp::from_millis(seconds * 1000))
}

/// The parts of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) start_time: u64,
}

impl Stat {
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not readable as such")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the name in brackets, which may itself hold brackets and blanks.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    /// Zombies and processes being taken down.
    pub(crate) fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// All pids there are now.
pub(crate) fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Living processes of the session or group `leader` leads or led, and any whose environment holds `marker`
/// (`NAME=value`).
///
/// The marker finds children that made a session of their own. `ours` is never among them.
pub(crate) fn members(leader: &ProcessRecord, marker: &str, ours: i32) -> Vec<i32> {
    // The kernel reuses a pid only when no session or group has it as its name any more.
    let is_reused = Stat::of(leader.pid).is_ok_and(|stat| stat.start_time != leader.start_time);
    let is_led =
        |stat: &Stat| !is_reused && (stat.session == leader.pid || stat.group == leader.pid);
    pids()
        .into_iter()
        .filter(|&pid| pid != ours)
        .filter(|&pid| {
            let Ok(stat) = Stat::of(pid) else {
                return false;
            };
            !stat.is_dead() && (is_led(&stat) || has_marker(pid, marker))
        })
        .collect()
}

fn has_marker(pid: i32, marker: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
        environ
            .split(|&byte| byte == 0)
            .any(|entry| entry == marker.as_bytes())
    })
}

/// Anonymous and shared memory of a process in bytes: what cannot be dropped and read again from a file.
///
/// Proportional where the kernel tells it, so that pages shared after a fork count once.
pub(crate) fn memory(pid: i32) -> u64 {
    let proportional = kib(
        format!("/proc/{pid}/smaps_rollup"),
        &["Pss_Anon:", "Pss_Shmem:"],
    );
    proportional
        .or_else(|| kib(format!("/proc/{pid}/status"), &["RssAnon:", "RssShmem:"]))
        .unwrap_or(0)
        * 1024
}

fn kib(path: impl AsRef<Path>, keys: &[&str]) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let values: Vec<u64> = text
        .lines()
        .filter_map(|line| {
            let value = keys.iter().find_map(|key| line.strip_prefix(key))?;
            value.split_ascii_whitespace().next()?.parse().ok()
        })
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let line = "42 (a) b (c)) S 1 42 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                state: b'S',
                group: 42,
                session: 40,
                start_time: 987_654
            })
        );
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn a_process_without_a_group_of_its_own_is_signalled() {
        use std::os::unix::process::ExitStatusExt as _;
        // A task's process is recorded before it leads a group.
        let mut child = std::process::Command::new("sleep")
            .arg("100000")
            .spawn()
            .unwrap();
        let record = ProcessRecord::of(child.id()).unwrap();
        record.signal_group(Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        record.signal_group(Signal::TERM).unwrap();
    }

    #[test]
    fn knows_itself_and_not_another() {
        let me = ProcessRecord::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(
            !ProcessRecord {
                start_time: me.start_time + 1,
                ..me.clone()
            }
            .is_alive()
        );
        assert!(
            !ProcessRecord {
                boot_id: "another".to_owned(),
                ..me
            }
            .is_alive()
        );
    }
}
