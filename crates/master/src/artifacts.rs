//! The artifact store: files under paths, in a directory of the master's own.
//!
//! ```text
//!   upload ──chunks──▶ .uploads/<number> ──flushed──▶ renamed to its path, the directories flushed
//! ```
//!
//! A path holds the old content or the new one, never a part of either, also after a power cut; what was begun and not
//! finished is taken away at the next start. Readers keep the content they opened. Source: contract marathon §2.7.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Largest artifact, bytes.
    pub(crate) limit: u64,
    last_upload: AtomicU64,
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
    length: u64,
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
    /// Takes a directory, which is made if absent, and clears it of unfinished uploads. Blocks.
    pub(crate) fn open(root: PathBuf, limit: u64) -> io::Result<Self> {
        std::fs::create_dir_all(root.join(UPLOADS))?;
        // Whole, since tasks are told where it is.
        let root = root.canonicalize()?;
        let uploads = root.join(UPLOADS);
        for entry in std::fs::read_dir(&uploads)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            root,
            limit,
            last_upload: AtomicU64::new(0),
        })
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
            length: 0,
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
        tokio::task::spawn_blocking(move || {
            match std::fs::symlink_metadata(&full) {
                Ok(metadata) if metadata.is_file() => std::fs::remove_file(&full)?,
                Ok(_) => return Ok(false),
                Err(error) if is_absent(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            let mut directory = full.parent();
            while let Some(here) = directory.filter(|here| *here != root) {
                // Fails for one that is not empty.
                if std::fs::remove_dir(here).is_err() {
                    break;
                }
                directory = here.parent();
            }
            flush(directory.unwrap_or(&root))?;
            Ok(true)
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl Upload {
    /// Adds bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    /// Bytes so far.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Makes it the content of a path, durably; true if there was none before.
    ///
    /// `Err` of [`io::ErrorKind::AlreadyExists`] if the path leads through another artifact or is a directory of some.
    pub(crate) async fn keep(mut self, store: &Artifacts, path: &ArtifactPath) -> io::Result<bool> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let (root, full) = (store.root.clone(), store.root.join(path.as_str()));
        let part = self.part;
        tokio::task::spawn_blocking(move || {
            let in_the_way = |error: io::Error| {
                use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
                match error.kind() {
                    NotADirectory | IsADirectory | AlreadyExists => AlreadyExists.into(),
                    _ => error,
                }
            };
            let directory = full.parent().unwrap_or(&root);
            std::fs::create_dir_all(directory).map_err(in_the_way)?;
            let is_new = match std::fs::symlink_metadata(&full) {
                Ok(metadata) if metadata.is_dir() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(_) => false,
                Err(_) => true,
            };
            std::fs::rename(&part.0, &full).map_err(in_the_way)?;
            // Every directory that may be new.
            for directory in directory.ancestors() {
                flush(directory)?;
                if directory == root {
                    break;
                }
            }
            Ok(is_new)
        })
        .await
        .map_err(io::Error::other)?
    }
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
