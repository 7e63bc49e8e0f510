//! The artifact store: files under paths, in a directory of the master's own.
//!
//! ```text
//!   upload ──chunks──▶ .uploads/<number> ──flushed──▶ renamed to its path, the directories flushed
//! ```
//!
//! The store has a limit for one artifact and one for all; bytes of uploads under way count, so that many at once cannot fill
//! the disk either.
//!
//! A path holds the old content or the new one, never a part of either, also after a power cut; what was begun and not
//! finished is taken away at the next start. Readers keep the content they opened. Source: contract marathon §2.7.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::io::AsyncWriteExt as _;

/// Where uploads are until they are whole. No artifact can have a path in it.
const UPLOADS: &str = ".uploads";
/// The longest name of a file that file systems take, bytes.
const LONGEST_NAME: usize = 255;
/// The longest path, bytes: with the directory before it still below the system's 4096.
const LONGEST_PATH: usize = 2048;

/// A directory with artifacts.
#[derive(Debug)]
pub(crate) struct Artifacts {
    root: PathBuf,
    room: Arc<Room>,
    /// Held while paths appear, change or go. Only where a thread may block.
    paths: Arc<Mutex<()>>,
    last_upload: AtomicU64,
}

/// How much the store may hold, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest artifact.
    pub(crate) one: u64,
    /// All together.
    pub(crate) all: u64,
}

/// How much the store holds.
#[derive(Debug)]
struct Room {
    limits: Limits,
    /// Bytes of artifacts and of uploads under way.
    taken: AtomicU64,
}

/// What an upload has taken of the room; given back when dropped.
#[derive(Debug)]
struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    /// Takes bytes; false if there are not so many left.
    fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| {
            let taken = taken.checked_add(bytes)?;
            (taken <= self.limits.all).then_some(taken)
        };
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    fn give_back(&self, bytes: u64) {
        let less = |taken: u64| Some(taken.saturating_sub(bytes));
        // Never `Err`: there is always a value.
        let _ = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Taken {
    /// Lets it stay taken; what was there before is given back.
    fn keep(mut self, before: u64) {
        self.bytes = before;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

/// Where an artifact is: segments without any that lead elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactPath(String);

/// Why a path cannot be an artifact's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    #[error("the path of an artifact must not be empty")]
    Empty,
    #[error("the path of an artifact must not have '.' or '..' in it")]
    LeadsElsewhere,
    #[error("the path of an artifact must be UTF-8 without control characters")]
    NotText,
    #[error("the path of an artifact is too long")]
    TooLong,
    #[error("the path of an artifact must not begin with {UPLOADS}")]
    Reserved,
}

impl ArtifactPath {
    /// From segments as they were decoded; empty ones are dropped.
    pub(crate) fn new<'a>(segments: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPath> {
        let segments: Vec<&str> = segments
            .into_iter()
            .flat_map(|segment| segment.split('/'))
            .filter(|segment| !segment.is_empty())
            .collect();
        let Some(first) = segments.first() else {
            return Err(BadPath::Empty);
        };
        if *first == UPLOADS {
            return Err(BadPath::Reserved);
        }
        for segment in &segments {
            if [".", ".."].contains(segment) {
                return Err(BadPath::LeadsElsewhere);
            }
            // What was not UTF-8 was decoded to the replacement character: two such paths would be one.
            let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
            if segment.contains(is_odd) {
                return Err(BadPath::NotText);
            }
            if segment.len() > LONGEST_NAME {
                return Err(BadPath::TooLong);
            }
        }
        let path = segments.join("/");
        if path.len() > LONGEST_PATH {
            return Err(BadPath::TooLong);
        }
        Ok(Self(path))
    }

    /// With slashes between the segments, none before.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why an upload takes no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the artifact is larger than {0} bytes")]
    TooLarge(u64),
    #[error(
        "the artifact store is full: it holds {0} bytes at most; hint: DELETE what no app fetches"
    )]
    Full(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An artifact that can be read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: tokio::fs::File,
    /// Bytes.
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

/// What is being written. Dropped without [`Upload::keep`], it is taken away.
#[derive(Debug)]
pub(crate) struct Upload {
    file: tokio::fs::File,
    part: Part,
    taken: Taken,
}

/// A file that is not whole yet.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already if it was kept; else the next start takes away what stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Artifacts {
    /// Takes a directory, which is made if absent, clears it of unfinished uploads, and adds up what it holds. Blocks.
    pub(crate) fn open(root: PathBuf, limits: Limits) -> io::Result<Self> {
        std::fs::create_dir_all(root.join(UPLOADS))?;
        // Whole, since tasks are told where it is.
        let root = root.canonicalize()?;
        let uploads = root.join(UPLOADS);
        for entry in std::fs::read_dir(&uploads)? {
            std::fs::remove_file(entry?.path())?;
        }
        let taken = AtomicU64::new(length_below(&root)?);
        Ok(Self {
            root,
            room: Arc::new(Room { limits, taken }),
            paths: Arc::default(),
            last_upload: AtomicU64::new(0),
        })
    }

    /// The largest artifact, bytes.
    pub(crate) fn largest(&self) -> u64 {
        self.room.limits.one.min(self.room.limits.all)
    }

    /// The URI by which a task fetches an artifact: a file of this machine, as with Marathon's own `file://` stores. Agents on
    /// other machines need the directory at the same place.
    pub(crate) fn uri(&self, path: &ArtifactPath) -> String {
        format!("file://{}", self.root.join(path.as_str()).display())
    }

    /// Begins an artifact; where it will be is said at its end.
    pub(crate) async fn begin(&self) -> io::Result<Upload> {
        let number = self.last_upload.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(UPLOADS).join(number.to_string());
        let file = tokio::fs::File::create(&path).await?;
        Ok(Upload {
            file,
            part: Part(path),
            taken: Taken {
                room: Arc::clone(&self.room),
                bytes: 0,
            },
        })
    }

    /// Opens an artifact; `None` if there is none.
    pub(crate) async fn find(&self, path: &ArtifactPath) -> io::Result<Option<Found>> {
        let full = self.root.join(path.as_str());
        let opened = tokio::task::spawn_blocking(move || {
            let file = File::open(full)?;
            let metadata = file.metadata()?;
            Ok::<_, io::Error>((file, metadata))
        })
        .await
        .map_err(io::Error::other)?;
        match opened {
            Ok((file, metadata)) if metadata.is_file() => Ok(Some(Found {
                file: file.into(),
                length: metadata.len(),
                modified: metadata.modified()?,
            })),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an artifact; false if there is none. Directories that are empty then go, too.
    pub(crate) async fn remove(&self, path: &ArtifactPath) -> io::Result<bool> {
        let (root, full) = (self.root.clone(), self.root.join(path.as_str()));
        let (room, paths) = (Arc::clone(&self.room), Arc::clone(&self.paths));
        tokio::task::spawn_blocking(move || {
            let paths = paths.lock().unwrap_or_else(PoisonError::into_inner);
            match present(&full)? {
                Some(metadata) if metadata.is_file() => {
                    std::fs::remove_file(&full)?;
                    room.give_back(metadata.len());
                }
                Some(_) | None => return Ok(false),
            }
            let mut directory = full.parent();
            while let Some(here) = directory.filter(|here| *here != root) {
                // Fails for one that is not empty.
                if std::fs::remove_dir(here).is_err() {
                    break;
                }
                directory = here.parent();
            }
            drop(paths);
            flush(directory.unwrap_or(&root))?;
            Ok(true)
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl Upload {
    /// Adds bytes, if there is room for them.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let n = bytes.len() as u64;
        let Taken { room, bytes: taken } = &mut self.taken;
        let Limits { one, all } = room.limits;
        if taken.saturating_add(n) > one {
            return Err(WriteError::TooLarge(one));
        }
        if !room.take(n) {
            return Err(WriteError::Full(all));
        }
        *taken += n;
        Ok(self.file.write_all(bytes).await?)
    }

    /// Makes it the content of a path, durably; true if there was none before.
    ///
    /// `Err` of [`io::ErrorKind::AlreadyExists`] if the path leads through another artifact or is a directory of some.
    pub(crate) async fn keep(mut self, store: &Artifacts, path: &ArtifactPath) -> io::Result<bool> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let (root, full) = (store.root.clone(), store.root.join(path.as_str()));
        let (part, taken) = (self.part, self.taken);
        let paths = Arc::clone(&store.paths);
        tokio::task::spawn_blocking(move || {
            let paths = paths.lock().unwrap_or_else(PoisonError::into_inner);
            let in_the_way = |error: io::Error| {
                use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
                match error.kind() {
                    NotADirectory | IsADirectory | AlreadyExists => AlreadyExists.into(),
                    _ => error,
                }
            };
            let directory = full.parent().unwrap_or(&root);
            std::fs::create_dir_all(directory).map_err(in_the_way)?;
            let before = present(&full)?;
            if before.as_ref().is_some_and(Metadata::is_dir) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(&part.0, &full).map_err(in_the_way)?;
            taken.keep(before.as_ref().map_or(0, Metadata::len));
            drop(paths);
            // Every directory that may be new.
            for directory in directory.ancestors() {
                flush(directory)?;
                if directory == root {
                    break;
                }
            }
            Ok(before.is_none())
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// What is at a path itself, if anything is.
fn present(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes of all files below a directory.
fn length_below(root: &Path) -> io::Result<u64> {
    let (mut length, mut waiting) = (0, vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.is_file() {
                length += metadata.len();
            }
        }
    }
    Ok(length)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Makes the entries of a directory durable.
fn flush(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The media type by a path's extension.
pub(crate) fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    let extension = extension.map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("json") => "application/json",
        Some("txt" | "log" | "conf" | "cfg" | "properties" | "md") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("css") => "text/css",
        Some("csv") => "text/csv",
        Some("js") => "text/javascript",
        Some("xml") => "application/xml",
        Some("yaml" | "yml") => "application/yaml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        Some("sh") => "application/x-sh",
        Some("jar") => "application/java-archive",
        Some("zip") => "application/zip",
        Some("tar") => "application/x-tar",
        Some("gz" | "tgz") => "application/gzip",
        Some("bz2" | "tbz2") => "application/x-bzip2",
        Some("xz" | "txz") => "application/x-xz",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_absent_counts_as_absent() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(present(&file).unwrap().unwrap().len(), 5);
        assert!(present(&directory.path().join("none")).unwrap().is_none());
        assert!(present(&file.join("below")).unwrap().is_none());
        let too_long = directory.path().join("x".repeat(LONGEST_NAME + 1));
        assert!(present(&too_long).is_err());
    }

    #[tokio::test]
    async fn the_room_that_is_taken_is_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { one: 8, all: 10 };
        let open = || Artifacts::open(directory.path().join("store"), limits).unwrap();
        let taken = |store: &Artifacts| store.room.taken.load(Ordering::Relaxed);
        let at = |path: &str| ArtifactPath::new([path]).unwrap();
        let store = open();
        let put = async |path: &str, content: &[u8]| {
            let mut upload = store.begin().await?;
            upload.write(content).await?;
            Ok::<bool, WriteError>(upload.keep(&store, &at(path)).await?)
        };
        assert!(put("a/b", b"12345").await.unwrap());
        assert!(!put("a/b", b"1234").await.unwrap());
        assert_eq!(taken(&store), 4);
        assert!(matches!(
            put("c", b"123456789").await,
            Err(WriteError::TooLarge(8))
        ));
        assert!(matches!(
            put("c", b"1234567").await,
            Err(WriteError::Full(10))
        ));
        assert!(put("a", b"1").await.is_err());
        assert_eq!(taken(&store), 4);
        // What is under way counts, and counts no more when it is given up.
        let mut upload = store.begin().await.unwrap();
        upload.write(b"123456").await.unwrap();
        assert!(matches!(put("c", b"1").await, Err(WriteError::Full(10))));
        drop(upload);
        assert!(put("c", b"123456").await.unwrap());
        assert_eq!((taken(&store), taken(&open())), (10, 10));
        assert!(store.remove(&at("a/b")).await.unwrap());
        assert!(!store.remove(&at("a/b")).await.unwrap());
        assert_eq!((taken(&store), taken(&open())), (6, 6));
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.tgz", "/a//b/", ".hidden", "a/..b", "ä ö/x"] {
            assert!(ArtifactPath::new([good]).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", BadPath::Empty),
            ("//", BadPath::Empty),
            ("..", BadPath::LeadsElsewhere),
            ("a/../../etc/passwd", BadPath::LeadsElsewhere),
            ("a/./b", BadPath::LeadsElsewhere),
            ("a\0b", BadPath::NotText),
            ("a\nb", BadPath::NotText),
            ("a\u{fffd}", BadPath::NotText),
            (".uploads/1", BadPath::Reserved),
        ] {
            assert_eq!(ArtifactPath::new([bad]), Err(why), "{bad:?}");
        }
        let long = "x".repeat(LONGEST_NAME + 1);
        assert_eq!(ArtifactPath::new([long.as_str()]), Err(BadPath::TooLong));
    }
}
