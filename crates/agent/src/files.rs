//! Reading in sandboxes, whatever a task may have put there.
//!
//! A path is a sandbox's `directory` and what follows it. The kernel itself resolves the rest beneath the sandbox
//! (`openat2` with `RESOLVE_BENEATH`), so neither `..` nor a link that a task swaps in at the last moment leads out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use serde::Serialize;
use zddcluster_runtime::whole_characters;

use crate::process::user::{User, users};

/// The most bytes of one answer: Mesos reads 16 pages.
pub(crate) const MAX_READ: u64 = 64 << 10;

/// Directories from `slaves` to the container: `slaves/A/frameworks/F/executors/T/runs/C`.
const SANDBOX_DEPTH: usize = 8;

/// Why a file is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("not found")]
    NotFound,
    #[error("the path leads out of the sandboxes")]
    Outside,
    #[error("not a file")]
    NotAFile,
    #[error("not a directory")]
    NotADirectory,
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            // Out of the root, a magic link, a link where none may be, a file that cannot be opened without harm.
            Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO => Self::Outside,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// As it is in the file.
    pub(crate) data: Vec<u8>,
    /// Where it starts, or the size of the file when that was asked for.
    pub(crate) offset: u64,
}

impl Piece {
    /// Its text, as long as what it stands for; see [`whole_characters`].
    pub(crate) fn text(&self) -> String {
        whole_characters(&self.data)
    }
}

/// One line of a listing.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Entry {
    gid: String,
    mode: String,
    mtime: f64,
    nlink: u64,
    path: String,
    size: u64,
    uid: String,
}

impl Entry {
    /// A log that is no file.
    pub(crate) fn of_log(path: &str, size: u64) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            gid: "root".to_owned(),
            mode: mode(0o100_644),
            mtime: now.as_secs() as f64,
            nlink: 1,
            path: path.to_owned(),
            size,
            uid: "root".to_owned(),
        }
    }
}

/// The sandboxes under one work directory.
#[derive(Clone, Debug)]
pub(crate) struct Sandboxes {
    work_dir: PathBuf,
}

impl Sandboxes {
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            work_dir: work_dir.to_owned(),
        }
    }

    pub(crate) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// Reads at most `length` bytes from `offset` on; without an offset tells the size.
    pub(crate) fn read(
        &self,
        path: &str,
        offset: Option<u64>,
        length: Option<u64>,
    ) -> Result<Piece, FileError> {
        let (file, size) = self.open(path)?;
        let Some(offset) = offset.filter(|&offset| offset < size) else {
            return Ok(Piece {
                data: Vec::new(),
                offset: size,
            });
        };
        let length = length.unwrap_or(MAX_READ).min(MAX_READ).min(size - offset);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(Piece {
            data: bytes,
            offset,
        })
    }

    /// Opens a file; returns its size too.
    pub(crate) fn open(&self, path: &str) -> Result<(File, u64), FileError> {
        // Not blocking: a task may have put a pipe there.
        let file = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile);
        }
        Ok((file, metadata.len()))
    }

    /// Lists a directory by name.
    pub(crate) fn browse(&self, path: &str) -> Result<Vec<Entry>, FileError> {
        let directory = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if !directory.metadata()?.is_dir() {
            return Err(FileError::NotADirectory);
        }
        let users = users();
        let prefix: PathBuf = Path::new(path).components().collect();
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let Ok(stat) =
                rustix::fs::statat(&directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            else {
                // Gone meanwhile.
                continue;
            };
            entries.push(Entry {
                gid: name_of(&users, stat.st_gid, |user| user.gid),
                mode: mode(stat.st_mode),
                mtime: stat.st_mtime as f64,
                nlink: stat.st_nlink,
                path: prefix
                    .join(name.to_string_lossy().as_ref())
                    .display()
                    .to_string(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                uid: name_of(&users, stat.st_uid, |user| user.uid),
            });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn resolve(&self, path: &str, flags: OFlags) -> Result<File, FileError> {
        if path.contains('\0') {
            return Err(FileError::Outside);
        }
        let path = Path::new(path);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(FileError::Outside);
        }
        let inside = path
            .strip_prefix(&self.work_dir)
            .map_err(|_| FileError::NotFound)?;
        let parts: Vec<Component<'_>> = inside.components().collect();
        let is_sandbox = parts.len() >= SANDBOX_DEPTH
            && [
                (0, "slaves"),
                (2, "frameworks"),
                (4, "executors"),
                (6, "runs"),
            ]
            .into_iter()
            .all(|(at, name)| parts[at].as_os_str() == name);
        if !is_sandbox {
            return Err(FileError::NotFound);
        }
        let sandbox: PathBuf = parts[..SANDBOX_DEPTH].iter().collect();
        let rest: PathBuf = parts[SANDBOX_DEPTH..].iter().collect();
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(
            CWD,
            &self.work_dir,
            directory,
            Mode::empty(),
            ResolveFlags::empty(),
        )?;
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let sandbox = openat2(&root, &sandbox, directory, Mode::empty(), straight)?;
        let rest = if rest.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &rest
        };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(
            &sandbox,
            rest,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            beneath,
        )?;
        Ok(File::from(opened))
    }
}

fn name_of(users: &[User], id: u32, of: impl Fn(&User) -> u32) -> String {
    users
        .iter()
        .find(|user| of(user) == id)
        .map_or_else(|| id.to_string(), |user| user.name.clone())
}

/// `-rw-r--r--`.
fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let permissions = bits.map(|(bit, letter)| if mode & (1 << bit) == 0 { '-' } else { letter });
    std::iter::once(kind).chain(permissions).collect()
}

#[cfg(test)]
mod tests;
