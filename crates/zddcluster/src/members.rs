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
    /// Where its lock is.
    pub(crate) dir: PathBuf,
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

/// DNS servers and edges that run with this data directory; `Err` for one of which it cannot be told.
pub(crate) fn servers(data_dir: &Path) -> Vec<io::Result<Member>> {
    let mut members = holders(data_dir, DNS, "dns at ");
    members.extend(holders(data_dir, EDGE, "edge at "));
    members
}

/// Agents below this data directory that run in processes of their own; `Err` for one of which it cannot be told.
pub(crate) fn agents(data_dir: &Path) -> Vec<io::Result<Member>> {
    holders(data_dir, AGENT_DIR_PREFIX, "agent in agent-")
}

/// All roles that run on their own with this data directory, one line each, for `status`.
pub(crate) fn describe(data_dir: &Path) -> Vec<String> {
    let name = match data_dir.join("store").is_dir() {
        true => "master",
        false => "agent",
    };
    let itself = holder(data_dir, || name.to_owned()).transpose();
    itself
        .into_iter()
        .chain(agents(data_dir))
        .chain(servers(data_dir))
        .map(|found| match found {
            Ok(Member { name, pid, dir: _ }) => format!("{name} (pid {pid})"),
            Err(error) => error.to_string(),
        })
        .collect()
}

/// Who holds the lock of a directory. An error names the directory.
fn holder(dir: &Path, name: impl FnOnce() -> String) -> io::Result<Option<Member>> {
    let pid = DataDirLock::holder(dir).map_err(|error| at(dir, &error))?;
    Ok(pid.map(|pid| Member {
        name: name(),
        pid,
        dir: dir.to_owned(),
    }))
}

/// Who holds the locks of the directories whose names begin like this; `says` takes the beginning's place.
fn holders(data_dir: &Path, prefix: &str, says: &str) -> Vec<io::Result<Member>> {
    let dirs = match dirs(data_dir, prefix) {
        Ok(dirs) => dirs,
        Err(error) => return vec![Err(error)],
    };
    let member = |dir: PathBuf| {
        let name = || {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let rest = name.strip_prefix(prefix).unwrap_or_default();
            format!("{says}{rest}")
        };
        holder(&dir, name).transpose()
    };
    dirs.into_iter().filter_map(member).collect()
}

/// The directories below the data directory whose names begin like this, in their order; none if it does not exist.
///
/// # Errors
/// When they cannot be told; names the path.
pub(crate) fn dirs(data_dir: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(data_dir, &error)),
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| at(data_dir, &error))?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let path = entry.path();
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => dirs.push(path),
            Ok(_) => {}
            // Taken away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path, &error)),
        }
    }
    dirs.sort();
    Ok(dirs)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot look into {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(dirs(&dir.path().join("none"), "").unwrap().len(), 0);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = dirs(&file, "").unwrap_err();
        assert!(error.to_string().contains("/file: "), "{error}");
    }
}
