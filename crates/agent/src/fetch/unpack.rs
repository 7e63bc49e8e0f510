//! Archives: told by the ends of their names, as Mesos' fetcher does, and unpacked without leaving the sandbox.
//!
//! | ending | what it is |
//! |---|---|
//! | `.tar` | files in a row |
//! | `.tgz` `.tar.gz`, `.tbz2` `.tar.bz2`, `.txz` `.tar.xz` | the same, compressed |
//! | `.gz` | one file, which loses the ending |
//! | `.zip` | files, each stored or deflated |
//!
//! Any other file stays as it is. Refused, by its name, is a part that is no file, directory or link, and one that would lead
//! out of the sandbox. Source: Mesos 1.0 `fetcher.cpp`.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use tar::EntryType;
use zip::ZipArchive;

use super::FetchError;
use super::place::Place;
use super::source::inside;

/// Memory that an `.xz` may ask for, KiB: what its strongest setting, `-9`, takes to decompress is 65 MiB.
const XZ_MEMORY: u32 = 128 << 10;

/// What stands before a file in a `.tar`: names of paths, and attributes, of which Linux allows 64 KiB each.
const LONGEST_HEADERS: u64 = 1 << 20;

/// The longest target of a symbolic link in a `.zip`, where it is a file's content: a path of Linux has no more.
const LONGEST_TARGET: u64 = 4096;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Tar(Packing),
    /// One file.
    Gzip,
    Zip,
}

/// How a `.tar` is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Bzip2,
    Xz,
}

impl Format {
    /// `None` for what is no archive.
    pub(super) fn of(name: &Path) -> Option<Self> {
        let name = name.file_name()?.to_str()?;
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        Some(if ends(&[".tar"]) {
            Self::Tar(Packing::None)
        } else if ends(&[".tgz", ".tar.gz"]) {
            Self::Tar(Packing::Gzip)
        } else if ends(&[".tbz2", ".tar.bz2"]) {
            Self::Tar(Packing::Bzip2)
        } else if ends(&[".txz", ".tar.xz"]) {
            Self::Tar(Packing::Xz)
        } else if ends(&[".gz"]) {
            Self::Gzip
        } else if ends(&[".zip"]) {
            Self::Zip
        } else {
            return None;
        })
    }

    /// Unpacks a file of this name at the top of `place`. Blocks.
    pub(super) fn unpack(
        self,
        name: &Path,
        file: File,
        place: &mut Place<'_>,
    ) -> Result<(), FetchError> {
        let packed = BufReader::new(file);
        match self {
            Self::Tar(Packing::None) => tar(packed, place),
            Self::Tar(Packing::Gzip) => tar(MultiGzDecoder::new(packed), place),
            Self::Tar(Packing::Bzip2) => tar(MultiBzDecoder::new(packed), place),
            Self::Tar(Packing::Xz) => tar(XzReader::new_mem_limit(packed, true, XZ_MEMORY), place),
            Self::Gzip => {
                let name = name.with_extension("");
                let name = name.file_name().ok_or(FetchError::NoName)?;
                let content = &mut MultiGzDecoder::new(packed);
                place.put(Path::new(name), 0o644, content).map(drop)
            }
            Self::Zip => zip(packed, place),
        }
    }
}

/// Reads what may be read now: a name in an archive is kept in memory, and may claim to be as long as a file.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(n as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::other("a name or a header in it is too long"))?);
        Ok(n)
    }
}

fn tar(packed: impl Read, place: &mut Place<'_>) -> Result<(), FetchError> {
    let left = Rc::new(Cell::new(0));
    let mut archive = tar::Archive::new(Metered {
        inner: packed,
        left: Rc::clone(&left),
    });
    let mut entries = archive.entries().map_err(FetchError::Read)?;
    loop {
        left.set(LONGEST_HEADERS);
        let Some(entry) = entries.next() else {
            return Ok(());
        };
        left.set(u64::MAX);
        let mut entry = entry.map_err(FetchError::Read)?;
        let kind = entry.header().entry_type();
        let path = entry.path().map_err(FetchError::Read)?.into_owned();
        let mode = entry.header().mode().map_err(FetchError::Read)?;
        if kind == EntryType::XGlobalHeader {
            // A comment on the whole archive: git writes one.
            continue;
        }
        let name = inside(&path).ok_or_else(|| FetchError::Escapes(path.clone()))?;
        if name.as_os_str().is_empty() {
            // The sandbox itself, `./`.
            continue;
        }
        let target = entry.link_name().map_err(FetchError::Read)?;
        let target = target.map(|target| target.into_owned());
        match (kind, target) {
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                place.put(&name, mode, &mut entry)?;
            }
            (EntryType::Directory, _) => place.directory(&name, mode)?,
            (EntryType::Symlink, Some(target)) => place.symlink(&name, &target)?,
            (EntryType::Link, Some(target)) => place.hard_link(&name, &target)?,
            _ => return Err(FetchError::Kind(path)),
        }
    }
}

fn zip(packed: impl Read + Seek, place: &mut Place<'_>) -> Result<(), FetchError> {
    let mut archive = ZipArchive::new(packed)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let path = PathBuf::from(entry.name()?.as_ref());
        let name = inside(&path).ok_or_else(|| FetchError::Escapes(path.clone()))?;
        if name.as_os_str().is_empty() {
            continue;
        }
        // Archives made elsewhere than on Unix name no permissions.
        let mode = entry.unix_mode();
        if entry.is_dir() {
            place.directory(&name, mode.unwrap_or(0o755))?;
        } else if entry.is_symlink() {
            let mut target = String::new();
            let mut content = (&mut entry).take(LONGEST_TARGET);
            content
                .read_to_string(&mut target)
                .map_err(FetchError::Read)?;
            place.symlink(&name, Path::new(&target))?;
        } else if entry.is_file() {
            place.put(&name, mode.unwrap_or(0o644), &mut entry)?;
        } else {
            return Err(FetchError::Kind(path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
