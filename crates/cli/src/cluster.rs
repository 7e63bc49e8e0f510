//! The cluster file: what `up` leaves in its data directory for `status`, `env`, `dcos` and `down` to find it by.
//!
//! `<data dir>/cluster.json` is written when all listeners are bound, replaced as a whole (write, sync, rename) and
//! removed at an orderly end. After a kill -9 it stays; a reader therefore checks that its process still lives.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zddcluster_model::Timestamp;

use crate::args::LoopbackNet;

/// The file's name in the data directory.
const FILE_NAME: &str = "cluster.json";

/// A running cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// The process of `up`.
    pub pid: u32,
    /// The version of its executable.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Where it lives.
    pub net: LoopbackNet,
    /// What listens where.
    pub addresses: Addresses,
    /// Its agents, public ones first.
    pub agents: Vec<AgentEntry>,
    /// `--speed`.
    pub speed: f64,
    /// The containerizer in use: `process` or `docker`.
    pub containerizer: String,
    /// Where the log goes, if it goes to a file (`--detach`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log: Option<PathBuf>,
}

/// What listens where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Marathon API, admin router paths, start page.
    pub front: SocketAddr,
    /// Mesos master API.
    pub mesos: SocketAddr,
    /// DNS, UDP and TCP.
    pub dns: SocketAddr,
    /// Where an edge listens once one is installed: the first public agent; none without public agents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edge: Option<IpAddr>,
}

/// An agent as `up` started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEntry {
    /// The id the master gave it, if it was known when the file was written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// Its address.
    pub hostname: String,
    /// `*` or `slave_public`.
    pub role: String,
}

/// Why the cluster file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFileError {
    /// It is there but cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a cluster file, or one of another version.
    #[error("{} is not a cluster file of this version", .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing says where data is kept.
    #[error("neither --data-dir nor ZDD_DATA_DIR, XDG_DATA_HOME or HOME says where data is kept")]
    NoHome,
}

impl ClusterFileError {
    /// What can be done.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "is it another user's? choose a directory with --data-dir",
            Self::Parse { .. } => {
                "stop the cluster with the zddcluster that started it, or remove the file"
            }
            Self::Write { .. } => "choose another directory with --data-dir",
            Self::NoHome => "name a directory: --data-dir DIR",
        }
    }
}

impl ClusterFile {
    /// The file's path in a data directory.
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE_NAME)
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, ClusterFileError> {
        let path = Self::path_in(data_dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ClusterFileError::Read { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(file) => Ok(Some(file)),
            Err(source) => Err(ClusterFileError::Parse { path, source }),
        }
    }

    /// Reads the file if its cluster runs; `None` otherwise.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read_running(data_dir: &Path) -> Result<Option<Self>, ClusterFileError> {
        Ok(Self::read(data_dir)?.filter(Self::is_alive))
    }

    /// Replaces the file as a whole: a reader sees the old one or the new one, also after a crash.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, data_dir: &Path) -> Result<(), ClusterFileError> {
        let path = Self::path_in(data_dir);
        let write = || -> io::Result<()> {
            let new = data_dir.join(format!("{FILE_NAME}.{}.new", std::process::id()));
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| ClusterFileError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Removes the file if it still is this process's; none is fine too.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, data_dir: &Path) -> Result<(), ClusterFileError> {
        if Self::read(data_dir)?.is_none_or(|file| file.pid != self.pid) {
            return Ok(());
        }
        let path = Self::path_in(data_dir);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ClusterFileError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Whether the process that wrote the file is still there, as far as the system tells (Linux: /proc).
    ///
    /// One that has ended and whose parent has not taken notice yet is not. A number that was given to another process since is
    /// not noticed here: then nobody answers at the front door.
    pub fn is_alive(&self) -> bool {
        let processes = Path::new("/proc");
        if !processes.join("self").exists() {
            return true;
        }
        let stat = fs::read_to_string(processes.join(self.pid.to_string()).join("stat"));
        // `4711 (name) S …`; the name may itself hold brackets.
        let state = stat.as_ref().ok().and_then(|stat| stat.rsplit_once(')'));
        state.is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X', 'x']))
    }

    /// The front door as a URL without a trailing slash.
    pub fn front_url(&self) -> String {
        format!("http://{}", self.addresses.front)
    }
}

/// Where a cluster keeps its data: `given` (`--data-dir` or `ZDD_DATA_DIR`), else `zddcluster` in `XDG_DATA_HOME` or
/// `~/.local/share`. Absolute; it may not exist yet.
///
/// # Errors
/// When nothing says where.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf, ClusterFileError> {
    data_dir_from(given, |name| std::env::var_os(name).map(PathBuf::from))
}

fn data_dir_from(
    given: Option<&Path>,
    env: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, ClusterFileError> {
    if let Some(given) = given {
        return std::path::absolute(given).map_err(|source| ClusterFileError::Read {
            path: given.to_owned(),
            source,
        });
    }
    // The XDG specification: relative paths are to be ignored.
    let absolute = |name| env(name).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("zddcluster"))
        .ok_or(ClusterFileError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(pid: u32) -> ClusterFile {
        ClusterFile {
            pid,
            version: "0.1.0".into(),
            started_at: Timestamp::from_millis(1_476_272_336_845),
            net: LoopbackNet::DEFAULT,
            addresses: Addresses {
                front: "127.0.0.1:8080".parse().unwrap(),
                mesos: "127.0.0.1:5050".parse().unwrap(),
                dns: "127.0.0.1:8053".parse().unwrap(),
                edge: Some("127.0.0.2".parse().unwrap()),
            },
            agents: vec![AgentEntry {
                id: None,
                hostname: "127.0.0.11".into(),
                role: "*".into(),
            }],
            speed: 1.0,
            containerizer: "process".into(),
            log: None,
        }
    }

    #[test]
    fn read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ClusterFile::read(dir.path()).unwrap(), None);
        let mine = file(std::process::id());
        mine.write(dir.path()).unwrap();
        assert_eq!(
            ClusterFile::read_running(dir.path()).unwrap().as_ref(),
            Some(&mine)
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing else is left"
        );

        file(1).remove(dir.path()).unwrap();
        assert!(
            ClusterFile::read(dir.path()).unwrap().is_some(),
            "it is not that process's"
        );
        mine.remove(dir.path()).unwrap();
        assert_eq!(ClusterFile::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_dead_process_is_no_cluster() {
        let dir = tempfile::tempdir().unwrap();
        // Above the largest number Linux gives.
        file(u32::MAX).write(dir.path()).unwrap();
        assert_eq!(ClusterFile::read_running(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_process_that_ended_and_is_not_yet_missed_is_no_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        file(child.id()).write(dir.path()).unwrap();
        assert!(ClusterFile::read_running(dir.path()).unwrap().is_some());
        // It ends with its input. The end of its output comes when the kernel has closed its files, just before it is a zombie.
        drop(child.stdin.take());
        io::copy(&mut child.stdout.take().unwrap(), &mut io::sink()).unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(ClusterFile::read_running(dir.path()).unwrap(), None);
        child.wait().unwrap();
    }

    #[test]
    fn data_is_kept_where_the_user_keeps_data() {
        let check = |given: Option<&str>, xdg: Option<&str>, home: Option<&str>| {
            let found = data_dir_from(given.map(Path::new), |name| match name {
                "XDG_DATA_HOME" => xdg.map(PathBuf::from),
                "HOME" => home.map(PathBuf::from),
                _ => None,
            });
            found.ok().map(|path| path.display().to_string())
        };
        assert_eq!(
            check(Some("/d"), Some("/x"), Some("/h")).as_deref(),
            Some("/d")
        );
        assert_eq!(
            check(None, Some("/x"), Some("/h")).as_deref(),
            Some("/x/zddcluster")
        );
        assert_eq!(
            check(None, Some("x"), Some("/h")).as_deref(),
            Some("/h/.local/share/zddcluster")
        );
        assert_eq!(check(None, None, None), None);
    }
}
