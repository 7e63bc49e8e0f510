//! What can go wrong with the store, said so that a user knows what to do.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the store. The text says what to do; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The path is taken by something else.
    #[error(
        "{} is not a directory; hint: choose another data directory with --data-dir, or move that file away",
        path.display()
    )]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// It cannot be made, read or written.
    #[error(
        "the store in {} cannot be read and written by this user; hint: make it writable, or choose another \
         data directory with --data-dir",
        path.display()
    )]
    NoAccess {
        /// The directory of the store.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the store in {} is open in another process; hint: stop that one (zddcluster down), or choose another \
         data directory with --data-dir",
        path.display()
    )]
    Locked {
        /// The directory of the store.
        path: PathBuf,
    },
    /// The database is damaged. Nothing was written into it by us, and its snapshot is as it was.
    #[error("the store in {} is damaged ({cause}); hint: {}", path.display(), restore_hint(path, *.has_snapshot))]
    Corrupt {
        /// The directory of the store.
        path: PathBuf,
        /// What is wrong.
        cause: String,
        /// Its last good contents are in it, as `snapshot.json`.
        has_snapshot: bool,
    },
    /// It was written by a newer program. Nothing was changed.
    #[error(
        "the store in {} has schema version {found}, this program knows {known} and older; hint: use the newer \
         zddcluster that wrote it, or choose another data directory with --data-dir",
        path.display()
    )]
    NewerSchema {
        /// The directory of the store.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The disk is full. Nothing acknowledged is lost.
    #[error("no space left for the store in {}; hint: free some, writes then go on by themselves", path.display())]
    Full {
        /// The directory of the store.
        path: PathBuf,
    },
    /// Any other failure to write or read. Nothing acknowledged is lost.
    #[error("the store in {} failed: {cause}", path.display())]
    Failed {
        /// The directory of the store.
        path: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// An earlier commit failed and the store was not reopened since.
    #[error("the store failed and is not open again yet")]
    NeedsReopen,
    /// A snapshot file that cannot be read.
    #[error("snapshot {} cannot be read: {cause}", path.display())]
    BadSnapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

fn restore_hint(path: &Path, has_snapshot: bool) -> String {
    let path = path.display();
    if has_snapshot {
        format!(
            "mv {path} {path}.damaged, then zddcluster up --restore {path}.damaged/snapshot.json takes up what it \
             held at its last good start"
        )
    } else {
        format!("mv {path} {path}.damaged, and start with an empty one")
    }
}
