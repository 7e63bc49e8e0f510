//! Roles that run on their own with a data directory, for `status` and `down`: who they are and how each ends.
//!
//! ```text
//!   <data dir>/lock                 held by the master, or by `up`
//!   <data dir>/agent-11/lock        held by an agent in a process of its own, in its work directory
//!   <data dir>/dns-127.0.0.1:8053/  a role that keeps nothing is found by its lock alone, if it was given the directory
//!   <data dir>/edge-127.0.0.2/
//! ```
//!
//! A lock goes with its process, however that ends; what is left of it is an empty directory.

use std::io;
use std::path::{Path, PathBuf};

use zddcluster_cli::MemberArgs;

use crate::fault::Fault;
use crate::lock::DataDirLock;
use crate::plan::AGENT_DIR_PREFIX;

/// Before the address a DNS server answers at.
pub(crate) const DNS: &str = "dns-";

/// Before the address an edge listens on.
pub(crate) const EDGE: &str = "edge-";

/// A role that runs in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// `dns at 127.0.0.1:8053`.
    pub(crate) name: String,
    /// Its process.
    pub(crate) pid: i32,
}

/// Has a role that keeps nothing be found in the data directory it was given, as long as the lock is held; none without one.
pub(crate) fn join(
    member: &MemberArgs,
    kind: &str,
    address: &str,
) -> Result<Option<DataDirLock>, Fault> {
    let Some(data_dir) = member.data_dir() else {
        return Ok(None);
    };
    let dir = data_dir.join(format!("{kind}{address}"));
    let lock = DataDirLock::take(&dir).map_err(Fault::settings)?;
    Ok(Some(lock))
}

/// DNS servers and edges that run with this data directory.
pub(crate) fn servers(data_dir: &Path) -> io::Result<Vec<Member>> {
    let mut members = holders(data_dir, DNS, "dns at ")?;
    members.extend(holders(data_dir, EDGE, "edge at ")?);
    Ok(members)
}

/// Agents below this data directory that run in processes of their own.
pub(crate) fn agents(data_dir: &Path) -> io::Result<Vec<Member>> {
    holders(data_dir, AGENT_DIR_PREFIX, "agent in agent-")
}

/// All roles that run on their own with this data directory, one line each, for `status`.
pub(crate) fn describe(data_dir: &Path) -> Vec<String> {
    let holder = DataDirLock::holder(data_dir).map(|pid| {
        let name = match data_dir.join("store").is_dir() {
            true => "master",
            false => "agent",
        };
        pid.map(|pid| Member {
            name: name.to_owned(),
            pid,
        })
        .into_iter()
        .collect()
    });
    [holder, agents(data_dir), servers(data_dir)]
        .into_iter()
        .flat_map(|found: io::Result<Vec<Member>>| match found {
            Ok(members) => members
                .into_iter()
                .map(|Member { name, pid }| format!("{name} (pid {pid})"))
                .collect(),
            Err(error) => vec![format!("{}: {error}", data_dir.display())],
        })
        .collect()
}

/// Who holds the locks of the directories whose names begin like this; `says` takes the beginning's place.
fn holders(data_dir: &Path, prefix: &str, says: &str) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for dir in dirs(data_dir, prefix) {
        if let Some(pid) = DataDirLock::holder(&dir)? {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let rest = name.strip_prefix(prefix).unwrap_or_default();
            members.push(Member {
                name: format!("{says}{rest}"),
                pid,
            });
        }
    }
    Ok(members)
}

/// The directories below the data directory whose names begin like this, in their order.
pub(crate) fn dirs(data_dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix) && path.is_dir()
        })
        .collect();
    dirs.sort();
    dirs
}
