//! Records on disk, in sled 0.34.
//!
//! Layout of the directory given to [`SledStore::open`]: `db/` is sled's own, `snapshot.json` the contents at the last good
//! start. Inside sled one tree holds the records, and two keys of ours beside them: the schema version and a commit number.
//!
//! Why not sled's word alone. Its `flush` writes the log to the file but does not sync it on Linux, so each commit also syncs
//! the data file. A damaged log is silently cut at the damage when it is opened, so the commit number is compared with the
//! snapshot's: a database that went back in time is an error, and neither it nor the snapshot is touched. After a failed
//! write (disk full) sled stays failed until opened anew, and it may panic; both end in an error here.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sled::Batch;
use tracing::{debug, warn};

use crate::snapshot::{Snapshot, sync_dir};
use crate::{Change, Record, Store, StoreError};

/// Version of the records' meaning; a higher one on disk is refused.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Sorts before every record; no record's key begins with NUL.
const SCHEMA_KEY: &str = "\0schema";

/// Number of commits so far, big-endian.
const COMMIT_KEY: &str = "\0commit";

/// The state is held in memory by the engine and read from here only at start: sled needs room for its hot pages, no more.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// sled keeps values of about half a segment (512 KiB) and more in files of their own, which it does not sync. Well below that.
const LARGE_VALUE_BYTES: usize = 128 * 1024;

/// sled may wait for ever for a write that failed on a full disk, so a commit that could meet one is refused before: four of
/// its segments (512 KiB), more than it takes for one batch, over and above twice the batch itself.
const SPARE_BYTES: u64 = 2 * 1024 * 1024;

/// sled's worker threads may hold the old file's lock for a moment after it was closed.
const REOPEN_PATIENCE: Duration = Duration::from_millis(500);

/// How often a closed database is tried within [`REOPEN_PATIENCE`].
const REOPEN_POLL: Duration = Duration::from_millis(10);

/// The default store.
#[derive(Debug)]
pub struct SledStore {
    dir: PathBuf,
    /// `None` after a failure, until reopened.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    db: sled::Db,
    /// sled's data file, opened once more to sync it.
    data: File,
    /// Number of the last commit.
    commit: u64,
}

impl SledStore {
    /// Opens the store in `dir`, making it if there is none, and leaves a fresh `snapshot.json` beside it.
    ///
    /// `Err`, with nothing changed, if it is damaged, in use, of a newer schema, or not to be read and written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        make_dir(&dir)?;
        let open = Open::new(&dir)?;
        let store = Self {
            dir,
            open: Some(open),
        };
        store.write_snapshot()?;
        Ok(store)
    }

    /// Where the readable snapshot of a store in `dir` is.
    pub fn snapshot_path(dir: &Path) -> PathBuf {
        dir.join("snapshot.json")
    }

    /// Writes the contents beside the database. A failure to write is worth a warning only: it is a second line of defence.
    fn write_snapshot(&self) -> Result<(), StoreError> {
        let open = self.open.as_ref().ok_or(StoreError::NeedsReopen)?;
        let records = open.records(&self.dir)?;
        let path = Self::snapshot_path(&self.dir);
        if let Err(error) = Snapshot::new(SCHEMA_VERSION, open.commit, &records).write(&path) {
            warn!(%error, path = %path.display(), "the snapshot of the store could not be written");
        }
        Ok(())
    }

    /// Applies a batch; the store counts as failed when that does not work.
    fn write(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let open = self.open.as_mut().ok_or(StoreError::NeedsReopen)?;
        let result = open.commit(&self.dir, changes);
        if result.is_err() {
            // Closing may panic as well: sled flushes once more.
            let failed = self.open.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(failed)));
        }
        result
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<Vec<Record>, StoreError> {
        self.open
            .as_ref()
            .ok_or(StoreError::NeedsReopen)?
            .records(&self.dir)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return self.open.as_ref().map(drop).ok_or(StoreError::NeedsReopen);
        }
        self.write(changes)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let closed = self.open.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(closed)));
        check_space(&self.dir, 0)?;
        let deadline = Instant::now() + REOPEN_PATIENCE;
        loop {
            match Open::new(&self.dir) {
                Ok(open) => {
                    debug!(commit = open.commit, "store reopened");
                    self.open = Some(open);
                    return Ok(());
                }
                Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the trait is blocking; callers use a blocking thread"
                    )]
                    std::thread::sleep(REOPEN_POLL);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn replace_all(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let present = self.load()?;
        let removes = present.into_iter().map(|(key, _)| Change::Remove(key));
        let puts = records
            .into_iter()
            .map(|(key, value)| Change::Put(key, value));
        self.write(removes.chain(puts).collect())
    }
}

// === impl Open ===

impl Open {
    fn new(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("db");
        let snapshot = Snapshot::read(&SledStore::snapshot_path(dir))?;
        check_files(
            dir,
            &path,
            snapshot.as_ref().map_or(0, |snapshot| snapshot.commit),
        )?;
        let db = open_sled(dir, &path)?;
        let data = File::options()
            .read(true)
            .write(true)
            .open(path.join("db"))
            .map_err(|source| StoreError::NoAccess {
                path: path.clone(),
                source,
            })?;

        let read = |key: &str| guarded(dir, || db.get(key));
        let schema = read(SCHEMA_KEY)?.map(|bytes| number(&bytes));
        let commit = read(COMMIT_KEY)?.map(|bytes| number(&bytes));
        if let Some(Some(found)) = schema
            && found > u64::from(SCHEMA_VERSION)
        {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(StoreError::NewerSchema {
                path: dir.to_owned(),
                found,
                known: SCHEMA_VERSION,
            });
        }
        let corrupt = |cause: &str| corrupt(dir, cause);
        let commit = match (schema, commit) {
            (Some(Some(_)), Some(Some(commit))) => commit,
            (None, None) if db.is_empty() => 0,
            _ => return Err(corrupt("its schema version or commit number is missing")),
        };
        if let Some(snapshot) = snapshot
            && snapshot.commit > commit
        {
            return Err(corrupt(&format!(
                "it ends at commit {commit}, but had reached {} when it was last opened",
                snapshot.commit
            )));
        }

        let mut open = Self { db, data, commit };
        if schema.is_none() {
            open.commit(dir, Vec::new())?;
            sync_dir(&path)
                .and_then(|()| sync_dir(dir))
                .map_err(|source| StoreError::NoAccess {
                    path: dir.to_owned(),
                    source,
                })?;
        }
        Ok(open)
    }

    /// Every record, ours left out.
    fn records(&self, dir: &Path) -> Result<Vec<Record>, StoreError> {
        guarded(dir, || {
            self.db
                .iter()
                .map(|entry| entry.map(|(key, value)| (key, value.to_vec())))
                .collect::<Result<Vec<_>, _>>()
        })?
        .into_iter()
        .filter(|(key, _)| !key.starts_with(b"\0"))
        .map(|(key, value)| match String::from_utf8(key.to_vec()) {
            Ok(key) => Ok((key, value)),
            Err(_) => Err(corrupt(dir, "a key is not text")),
        })
        .collect()
    }

    /// One batch, one flush, one sync.
    fn commit(&mut self, dir: &Path, changes: Vec<Change>) -> Result<(), StoreError> {
        let commit = self.commit + 1;
        let mut has_large = false;
        let mut n_bytes = 0;
        let mut batch = Batch::default();
        for change in changes {
            match change {
                Change::Put(key, value) => {
                    n_bytes += key.len() + value.len();
                    has_large |= value.len() >= LARGE_VALUE_BYTES;
                    batch.insert(key.as_bytes(), value);
                }
                Change::Remove(key) => batch.remove(key.as_bytes()),
            }
        }
        check_space(dir, n_bytes as u64)?;
        batch.insert(SCHEMA_KEY, &u64::from(SCHEMA_VERSION).to_be_bytes());
        batch.insert(COMMIT_KEY, &commit.to_be_bytes());
        guarded(dir, || {
            self.db.apply_batch(batch)?;
            self.db.flush()?;
            if has_large {
                sync_files(&dir.join("db/blobs"))?;
            }
            self.data.sync_data()?;
            Ok(())
        })?;
        self.commit = commit;
        Ok(())
    }
}

/// Whether there is room for a batch of this size and what sled writes around it.
fn check_space(dir: &Path, n_bytes: u64) -> Result<(), StoreError> {
    let disk = rustix::fs::statvfs(dir).map_err(|errno| StoreError::NoAccess {
        path: dir.to_owned(),
        source: errno.into(),
    })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < SPARE_BYTES.saturating_add(n_bytes.saturating_mul(2)) {
        return Err(StoreError::Full {
            path: dir.to_owned(),
        });
    }
    Ok(())
}

/// Syncs every file of a directory, and the directory.
fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        match File::open(entry?.path()) {
            Ok(file) => file.sync_data()?,
            // sled removes those that are no longer needed at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_dir(dir)
}

/// Calls sled; its errors and its panics become ours.
fn guarded<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(dir, error)),
        Err(panic) => {
            let cause = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "sled panicked".to_owned());
            Err(if cause.contains("No space left") {
                StoreError::Full {
                    path: dir.to_owned(),
                }
            } else {
                StoreError::Failed {
                    path: dir.to_owned(),
                    cause,
                }
            })
        }
    }
}

fn translate(dir: &Path, error: sled::Error) -> StoreError {
    let path = dir.to_owned();
    match error {
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path }
        }
        // sled remakes errors that it hands from thread to thread; the kind may be lost, the text is not.
        sled::Error::Io(error)
            if error.kind() == io::ErrorKind::StorageFull
                || error.to_string().contains("No space left") =>
        {
            StoreError::Full { path }
        }
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            StoreError::NoAccess { path, source }
        }
        sled::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            corrupt(dir, &error.to_string())
        }
        sled::Error::Io(error) => StoreError::Failed {
            path,
            cause: error.to_string(),
        },
        error @ (sled::Error::Corruption { .. } | sled::Error::Unsupported(_)) => {
            corrupt(dir, &error.to_string())
        }
        error @ (sled::Error::CollectionNotFound(_) | sled::Error::ReportableBug(_)) => {
            StoreError::Failed {
                path,
                cause: error.to_string(),
            }
        }
    }
}

fn corrupt(dir: &Path, cause: &str) -> StoreError {
    let has_snapshot = SledStore::snapshot_path(dir).exists();
    StoreError::Corrupt {
        path: dir.to_owned(),
        cause: cause.to_owned(),
        has_snapshot,
    }
}

/// A big-endian number of eight bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn make_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::NotADirectory {
            path: dir.to_owned(),
        }),
        Err(_) => fs::create_dir_all(dir).map_err(|source| match source.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                StoreError::NotADirectory {
                    path: dir.to_owned(),
                }
            }
            _ => StoreError::NoAccess {
                path: dir.to_owned(),
                source,
            },
        }),
    }
}

/// sled takes an existing data file without its `conf`, or a lost data file, for a new database and would write over what is
/// left; that is found before sled sees it.
fn check_files(dir: &Path, path: &Path, snapshot_commit: u64) -> Result<(), StoreError> {
    let has_data = fs::metadata(path.join("db")).is_ok_and(|metadata| metadata.len() > 0);
    // sled's own measure of an empty or broken one.
    let has_conf = fs::metadata(path.join("conf")).is_ok_and(|metadata| metadata.len() > 8);
    match (has_data, has_conf) {
        (true, false) => Err(corrupt(dir, "its configuration file is missing")),
        (false, _) if snapshot_commit > 0 => Err(corrupt(dir, "its data file is missing")),
        (true, true) | (false, _) => Ok(()),
    }
}

/// Opens sled; a panic while recovering means a damaged log.
fn open_sled(dir: &Path, path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None);
    match guarded(dir, || config.open()) {
        Err(StoreError::Failed { cause, .. }) => Err(corrupt(dir, &cause)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
