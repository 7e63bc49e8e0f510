//! From a task's pipes into its log files, which are moved aside when they are full.
//!
//! Only one old file is kept (`stdout.1`), so a sandbox's logs are bounded by twice the limit for each stream.
//! A full disk loses output, never the task: the write is dropped and tried anew with the next piece.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// One read; what a pipe holds by default.
const CHUNK: usize = 64 << 10;

/// The most that is read after the task's end: nobody is left to write, so this is only met by a foreign holder of the pipe.
const DRAIN_LIMIT: usize = 1 << 20;

/// A log file with a limit.
#[derive(Debug)]
pub(crate) struct RotatingLog {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl RotatingLog {
    /// Opens `<directory>/<name>` for appending.
    pub(crate) fn open(directory: &Path, name: &str, limit: u64) -> io::Result<Self> {
        let path = directory.join(name);
        let file = create(&path)?;
        Ok(Self {
            path,
            file,
            size: 0,
            limit,
        })
    }

    /// Goes on with a log that was `size` bytes long; what came after is cut off, to be written again.
    ///
    /// Anything but a plain file is taken away and made anew.
    pub(crate) fn resume(directory: &Path, name: &str, limit: u64, size: u64) -> io::Result<Self> {
        let path = directory.join(name);
        // Neither a link nor a pipe the task may have put there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .append(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path);
        let Some((file, metadata)) = file
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .ok()
        else {
            return Self::open(directory, name, limit);
        };
        if !metadata.is_file() {
            return Self::open(directory, name, limit);
        }
        let size = metadata.len().min(size);
        file.set_len(size)?;
        Ok(Self {
            path,
            file,
            size,
            limit,
        })
    }

    /// Bytes in the file now.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends `bytes`, moving the file aside first when they would not fit; lines stay whole where they can.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if bytes.len() > room {
            let last_line = bytes[..room]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            self.append(&bytes[..last_line]);
            bytes = &bytes[last_line..];
            self.rotate();
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
    }

    fn rotate(&mut self) {
        if self.size == 0 {
            return;
        }
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        if std::fs::rename(&self.path, old).is_err() {
            return;
        }
        if let Ok(file) = create(&self.path) {
            self.file = file;
            self.size = 0;
        }
    }
}

/// Makes the file anew. The sandbox may belong to the task's user, so whatever stands there is taken away, never followed.
fn create(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            open()
        }
        other => other,
    }
}

/// Whether a pipe may have more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipe {
    /// It may.
    Open,
    /// All writers closed it.
    Closed,
}

/// Moves one chunk, if there is one; never blocks once the pipe is non-blocking.
pub(super) fn step(pipe: &OwnedFd, log: &mut RotatingLog) -> (Pipe, usize) {
    let mut chunk = [0; CHUNK];
    match rustix::io::read(pipe, &mut chunk) {
        Ok(0) => (Pipe::Closed, 0),
        Ok(n) => {
            log.write(&chunk[..n]);
            (Pipe::Open, n)
        }
        Err(Errno::AGAIN | Errno::INTR) => (Pipe::Open, 0),
        Err(_) => (Pipe::Closed, 0),
    }
}

/// Takes what the ended task left in the pipe.
///
/// All it wrote is there already, so an empty pipe is the end even if another process holds it open.
pub(super) fn drain(pipe: &OwnedFd, log: &mut RotatingLog) {
    let mut drained = 0;
    while drained < DRAIN_LIMIT {
        match step(pipe, log) {
            (Pipe::Open, n) if n > 0 => drained += n,
            (Pipe::Open | Pipe::Closed, _) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_moves_aside_at_a_line() {
        let sandbox = tempfile::tempdir().unwrap();
        let read =
            |name: &str| std::fs::read_to_string(sandbox.path().join(name)).unwrap_or_default();
        let mut log = RotatingLog::open(sandbox.path(), "stdout", 10).unwrap();
        log.write(b"one\ntwo\nthree\n");
        assert_eq!(
            (read("stdout.1").as_str(), read("stdout").as_str()),
            ("one\ntwo\n", "three\n")
        );
        log.write(b"four\nfive");
        assert_eq!(
            (read("stdout.1").as_str(), read("stdout").as_str()),
            ("three\n", "four\nfive")
        );
        log.write(b"a line longer than any file");
        assert_eq!(read("stdout"), "a line longer than any file");
    }

    #[test]
    fn a_log_goes_on_where_it_was() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("stdout");
        std::fs::write(&path, "one\ntwo\nlost").unwrap();
        let mut log = RotatingLog::resume(sandbox.path(), "stdout", 100, 8).unwrap();
        log.write(b"three\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(log.size(), 14);

        // A task's own idea of its log.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        let mut log = RotatingLog::resume(sandbox.path(), "stdout", 100, 8).unwrap();
        log.write(b"four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let sandbox = tempfile::tempdir().unwrap();
        let precious = sandbox.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, sandbox.path().join("stderr")).unwrap();
        RotatingLog::open(sandbox.path(), "stderr", 10)
            .unwrap()
            .write(b"log");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
    }
}
