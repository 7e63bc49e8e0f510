//! Files that are either whole or absent, whatever happens: written beside, flushed, renamed, directory flushed.
//!
//! What means nothing after a power cut, such as which process a task is, is not flushed ([`note`]): whoever reads it
//! sees first that the machine was started anew since. A process that dies, however it dies, loses nothing it has written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Readable by the agent's own user only: an intent holds a task's environment, which may hold secrets.
pub(crate) const PRIVATE: u32 = 0o600;

/// Puts `bytes` under `path` so that a reader sees the old content or the new one, and the new one is on disk afterwards.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, File::sync_all)?;
    sync_parent(path)
}

/// The same for this boot of the machine only.
pub(crate) fn note<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?, |_| Ok(()))
}

fn replace(
    path: &Path,
    bytes: &[u8],
    flush: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            flush(&file)
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        // A full disk must not keep the half that fitted.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}

/// [`write`] of a value as JSON.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write(path, &serde_json::to_vec(value)?)
}

/// Reads a JSON file; `None` if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Flushes the directory that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    File::open(parent)?.sync_all()
}
