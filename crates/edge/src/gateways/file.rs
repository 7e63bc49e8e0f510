//! The file that gateways are kept in, if there is one: what has been acknowledged is there after a crash.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use zddcluster_model::gateway::Gateways;

use super::{Refusal, Set};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the gateways in {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} holds no gateways; hint: mend it, or move it away to begin without any")]
    Json {
        /// Where.
        path: PathBuf,
        /// Where in it, and why not.
        source: serde_json::Error,
    },
    /// They cannot be in use.
    #[error(
        "the gateways in {path} cannot be used: {reason}; hint: mend it, or move it away to begin without any"
    )]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Reads the gateways; none if there is no file yet.
///
/// # Errors
/// When the file is there and cannot be used as it is.
pub(crate) fn load(path: &Path, is_reserved: impl Fn(u16) -> bool) -> Result<Set, FileError> {
    let path = || path.to_owned();
    let bytes = match fs::read(path()) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Set::new()),
        Err(source) => {
            return Err(FileError::Read {
                path: path(),
                source,
            });
        }
    };
    let gateways: Gateways = serde_json::from_slice(&bytes).map_err(|source| FileError::Json {
        path: path(),
        source,
    })?;
    super::read(gateways, is_reserved).map_err(|refusal: Refusal| FileError::Refused {
        path: path(),
        reason: refusal.to_string(),
    })
}

/// Writes the gateways: after it has returned they are on disk, and before it the former ones are.
///
/// # Errors
/// When they could not be written; the former ones are there then.
pub(crate) fn save(path: &Path, gateways: &Gateways) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let written = write(&new, gateways).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Half a file is of no use; it may not even be there.
        let _ = fs::remove_file(&new);
    }
    written?;
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn write(path: &Path, gateways: &Gateways) -> io::Result<()> {
    let mut file = File::create(path)?;
    serde_json::to_writer_pretty(&mut file, gateways)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateways.json");
        assert!(load(&path, |_| false).unwrap().is_empty());
        let route = json!({"name": "r", "weight": 1, "to": {"servers": ["127.0.0.1:80"]}});
        let gateways =
            json!({"gateways": [{"name": "a", "listen": {"port": 1}, "routes": [route]}]});
        let gateways: Gateways = serde_json::from_value(gateways).unwrap();
        save(&path, &gateways).unwrap();
        let loaded = load(&path, |_| false).unwrap();
        assert_eq!(loaded["a"].spec, gateways.gateways[0]);
        let refused = load(&path, |port| port == 1).unwrap_err();
        assert!(refused.to_string().contains("the port 1 is the edge's own"));
        fs::write(&path, "{").unwrap();
        let broken = load(&path, |_| false).unwrap_err();
        assert!(matches!(broken, FileError::Json { .. }), "{broken}");
    }

    #[test]
    fn what_cannot_be_written_leaves_the_former_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateways.json");
        save(&path, &Gateways::default()).unwrap();
        // Where the new file is to be, there is something that is no file.
        fs::create_dir(directory.path().join("gateways.json.new")).unwrap();
        assert!(save(&path, &Gateways::default()).is_err());
        assert!(load(&path, |_| false).unwrap().is_empty());
    }
}
