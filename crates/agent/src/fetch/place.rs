//! A directory into which files are put under foreign names, and none gets beside it.
//!
//! No name is ever followed: a file is always made anew, and what stands above it must be a directory, not a link to one.
//! So it does not matter where links lead that an archive brought before.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::source::inside;
use super::{FetchError, Limits};
use crate::containerizer::Owner;

/// One piece of a copy; between two of them it is looked whether anybody still waits.
const CHUNK: usize = 64 << 10;

/// Permissions that a file may have; neither set-user-ID nor sticky.
const PERMISSIONS: u32 = 0o777;

/// The owner may always look into and change a directory, whatever an archive says: files of it are to follow.
const OWNERS: u32 = 0o700;

/// The directory, and how much may still be put there.
#[derive(Debug)]
pub(super) struct Place<'a> {
    root: &'a Path,
    owner: Option<&'a Owner>,
    limits: Limits,
    n_bytes: u64,
    n_entries: u64,
    given_up: &'a CancellationToken,
}

impl<'a> Place<'a> {
    pub(super) fn new(
        root: &'a Path,
        owner: Option<&'a Owner>,
        limits: Limits,
        given_up: &'a CancellationToken,
    ) -> Self {
        Self {
            root,
            owner,
            limits,
            n_bytes: 0,
            n_entries: 0,
            given_up,
        }
    }

    /// Puts a file there, instead of whatever had its name. What cannot be written whole is taken away.
    ///
    /// It comes back to be read, once it is rewound.
    pub(super) fn put(
        &mut self,
        name: &Path,
        mode: u32,
        content: &mut dyn Read,
    ) -> Result<File, FetchError> {
        let (path, mut file) = self.make(name, mode)?;
        match self.copy(content, &mut file) {
            Ok(()) => Ok(file),
            Err(error) => {
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Makes an empty file there, instead of whatever had its name; it may be written and read.
    pub(super) fn make(&mut self, name: &Path, mode: u32) -> Result<(PathBuf, File), FetchError> {
        let path = self.free(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        if let Some(owner) = self.owner {
            std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        // After the owner changed, and whatever this process' mask is.
        file.set_permissions(Permissions::from_mode(mode & PERMISSIONS))?;
        Ok((path, file))
    }

    /// Makes a directory there, if there is none.
    pub(super) fn directory(&mut self, name: &Path, mode: u32) -> Result<(), FetchError> {
        self.count()?;
        let path = self.above(name, true)?;
        let mode = (mode & PERMISSIONS) | OWNERS;
        Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    /// Makes a symbolic link there. One that would lead out of the directory, by its text alone, is refused.
    pub(super) fn symlink(&mut self, name: &Path, to: &Path) -> Result<(), FetchError> {
        let mut depth = name.components().count().saturating_sub(1);
        for part in to.components() {
            depth = match part {
                Component::Normal(_) => depth + 1,
                Component::CurDir => depth,
                Component::ParentDir if depth > 0 => depth - 1,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    let (name, to) = (name.to_owned(), to.to_owned());
                    return Err(FetchError::LinkEscapes { name, to });
                }
            };
        }
        let path = self.free(name)?;
        std::os::unix::fs::symlink(to, &path)?;
        if let Some(owner) = self.owner {
            std::os::unix::fs::lchown(&path, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(())
    }

    /// Gives a file that was put there a second name.
    pub(super) fn hard_link(&mut self, name: &Path, to: &Path) -> Result<(), FetchError> {
        let escapes = || FetchError::LinkEscapes {
            name: name.to_owned(),
            to: to.to_owned(),
        };
        let to = inside(to).ok_or_else(escapes)?;
        let file = to.file_name().ok_or_else(escapes)?;
        let original = self.above(to.parent().unwrap_or_else(|| Path::new("")), false)?;
        let original = original.join(file);
        // Of a symbolic link it would be one more name for the link, wherever that leads.
        if !original.symlink_metadata()?.is_file() {
            return Err(escapes());
        }
        let path = self.free(name)?;
        Ok(fs::hard_link(original, path)?)
    }

    /// Copies until the end, the limit, or until nobody waits any more.
    pub(super) fn copy(
        &mut self,
        from: &mut dyn Read,
        to: &mut dyn Write,
    ) -> Result<(), FetchError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.given_up.is_cancelled() {
                return Err(FetchError::GivenUp);
            }
            let n = match from.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FetchError::Read(error)),
            };
            self.n_bytes += n as u64;
            if self.n_bytes > self.limits.unpacked {
                return Err(FetchError::TooLarge(self.limits.unpacked));
            }
            to.write_all(&chunk[..n])?;
        }
    }

    fn count(&mut self) -> Result<(), FetchError> {
        self.n_entries += 1;
        if self.n_entries > self.limits.entries {
            return Err(FetchError::TooMany(self.limits.entries));
        }
        if self.given_up.is_cancelled() {
            return Err(FetchError::GivenUp);
        }
        Ok(())
    }

    /// The full path of a name that nothing has any more, its directories made.
    fn free(&mut self, name: &Path) -> Result<PathBuf, FetchError> {
        self.count()?;
        let escapes = || FetchError::Escapes(name.to_owned());
        let file = name.file_name().ok_or_else(escapes)?;
        let path = self.above(name.parent().unwrap_or_else(|| Path::new("")), true)?;
        let path = path.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::InTheWay {
                name: name.to_owned(),
                source: error,
            }),
            Ok(()) | Err(_) => Ok(path),
        }
    }

    /// The full path of a directory, each part of which is a directory; made where `makes` and absent.
    fn above(&self, name: &Path, makes: bool) -> Result<PathBuf, FetchError> {
        let mut path = self.root.to_owned();
        for part in name.components() {
            let Component::Normal(part) = part else {
                return Err(FetchError::Escapes(name.to_owned()));
            };
            path.push(part);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(FetchError::NoDirectory(name.to_owned())),
                Err(error) if makes && error.kind() == io::ErrorKind::NotFound => {
                    DirBuilder::new().mode(0o755).create(&path)?;
                    if let Some(owner) = self.owner {
                        std::os::unix::fs::lchown(&path, Some(owner.uid), Some(owner.gid))?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(path)
    }
}
