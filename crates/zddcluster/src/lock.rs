//! One `up` for a data directory: an advisory lock that the kernel drops with the process, however it ends.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How long those who only look who holds a lock are waited for; a look takes microseconds.
const LOOKERS_LIMIT: Duration = Duration::from_secs(1);
/// Between two tries.
const LOOKERS_PAUSE: Duration = Duration::from_millis(2);

/// The lock, held until dropped. The file stays and names the last holder.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

/// Why the data directory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process holds it.
    #[error(
        "another zddcluster{} uses the data directory {}; hint: `zddcluster down` ends it, `--data-dir` \
         chooses another directory",
        holder(*.pid),
        .dir.display()
    )]
    Held { dir: PathBuf, pid: Option<i32> },
    /// The directory or the file in it cannot be made or written.
    #[error("cannot use {} as data directory; hint: choose one that you may write, with --data-dir", .dir.display())]
    Unusable {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

impl DataDirLock {
    /// Takes the lock of `dir`, making the directory if there is none.
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable {
            dir: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(unusable)?;
        let mut file = open(dir).map_err(unusable)?;
        if !lock(&file).map_err(unusable)? {
            return Err(LockError::Held {
                dir: dir.to_owned(),
                pid: read_pid(&mut file),
            });
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unusable)?;
        Ok(Self { _file: file })
    }

    /// The process that holds the lock of `dir`; `Ok(None)` if nobody does, or it has no name in there yet.
    pub(crate) fn holder(dir: &Path) -> io::Result<Option<i32>> {
        let mut file = match File::options().read(true).open(path(dir)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A shared lock, so that two lookers do not see each other.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(read_pid(&mut file)),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Takes a lock, over those who only look; `false` if somebody holds it.
#[expect(
    clippy::disallowed_methods,
    reason = "before anything runs that would have to wait"
)]
fn lock(file: &File) -> io::Result<bool> {
    let until = Instant::now() + LOOKERS_LIMIT;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        // Lookers share a lock with everybody but its holder.
        match flock(file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(file, FlockOperation::Unlock)?,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        std::thread::sleep(LOOKERS_PAUSE);
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

fn open(dir: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path(dir))
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("data");
        assert_eq!(DataDirLock::holder(&dir).unwrap(), None);
        let lock = DataDirLock::take(&dir).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(DataDirLock::holder(&dir).unwrap(), Some(pid));
        let error = DataDirLock::take(&dir).unwrap_err();
        assert!(
            error.to_string().contains(&format!("(pid {pid})")),
            "{error}"
        );
        drop(lock);
        assert_eq!(DataDirLock::holder(&dir).unwrap(), None);
        DataDirLock::take(&dir).unwrap();
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a looker that is slow; no runtime waits"
    )]
    fn whoever_looks_is_in_nobody_s_way() {
        let dir = tempfile::tempdir().unwrap();
        let looker = open(dir.path()).unwrap();
        flock(&looker, FlockOperation::NonBlockingLockShared).unwrap();
        let looks = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(looker);
        });
        DataDirLock::take(dir.path()).unwrap();
        looks.join().unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDirLock::take(&path).unwrap_err();
        assert!(matches!(error, LockError::Unusable { .. }), "{error:?}");
    }
}
