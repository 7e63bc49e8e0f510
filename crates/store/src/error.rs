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
    #[error(
        "the store in {} is damaged ({cause}); hint: move that directory away and start \
         again{}",
        path.display(),
        restore_hint(snapshot.as_deref())
    )]
    Corrupt {
        /// The directory of the database.
        path: PathBuf,
        /// What is wrong.
        cause: String,
        /// The last good contents, if there are any.
        snapshot: Option<PathBuf>,
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

fn restore_hint(snapshot: Option<&Path>) -> String {
    snapshot.map_or_else(String::new, |path| {
        format!(
            "; the contents at its last good start are in {}, which `zddcluster up --restore {}` takes up",
            path.display(),
            path.display()
        )
    })
}
