//! Space on the agent's disk: a task that filled it must not keep it from the others after its end.
//!
//! Disk is not limited (Mesos does not by default). What ended tasks leave is kept for whoever wants to look, as long as there
//! is space; when it runs short, all but the logs of ended tasks goes, the oldest first. As Mesos' `--gc_disk_headroom`, which
//! is a tenth of the disk there; on a laptop's disk that is nearly always full.

use std::fs;
use std::path::Path;

use rustix::fs::statvfs;

/// Space is short when less than this part of the disk is free,
const SMALL_PART: u64 = 20;

/// and less than so many bytes: what a dozen tasks write in a minute.
const LITTLE: u64 = 512 << 20;

/// Whether space runs short on the disk of a directory. Blocks.
pub(crate) fn is_short(directory: &Path) -> bool {
    // Nothing is taken away because somebody cannot tell.
    let Ok(disk) = statvfs(directory) else {
        return false;
    };
    let (free, all) = (disk.f_bavail, disk.f_blocks);
    free < all / SMALL_PART && free.saturating_mul(disk.f_frsize) < LITTLE
}

/// Takes away all of an ended task's sandbox but its logs; whether there was anything. Blocks.
pub(crate) fn keep_logs_only(sandbox: &Path) -> bool {
    let logs = ["stdout", "stderr", "stdout.1", "stderr.1"];
    let mut has_removed = false;
    for entry in fs::read_dir(sandbox).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let is_log = logs.iter().any(|log| entry.file_name() == *log);
        let removed = match kind.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false if is_log => continue,
            false => fs::remove_file(entry.path()),
        };
        has_removed |= removed.is_ok();
    }
    has_removed
}

/// The same for one sandbox after the other, until space is not short any more. Blocks.
pub(crate) fn make_room<'a>(work_dir: &Path, sandboxes: impl IntoIterator<Item = &'a Path>) {
    for sandbox in sandboxes {
        if !is_short(work_dir) {
            return;
        }
        // Looked at each time while space is short; said once.
        if keep_logs_only(sandbox) {
            tracing::warn!(sandbox = %sandbox.display(), "the disk is full: only the logs of this ended task are kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_stay() {
        let sandbox = tempfile::tempdir().unwrap();
        for file in ["stdout", "stderr.1", "big", "stdout.2"] {
            fs::write(sandbox.path().join(file), file).unwrap();
        }
        fs::create_dir_all(sandbox.path().join("deep/er")).unwrap();
        fs::write(sandbox.path().join("deep/er/big"), "big").unwrap();
        // A link is taken away, not what it leads to.
        let precious = tempfile::tempdir().unwrap();
        fs::write(precious.path().join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(precious.path(), sandbox.path().join("link")).unwrap();
        assert!(keep_logs_only(sandbox.path()));
        assert!(
            !keep_logs_only(sandbox.path()),
            "there is nothing left to remove"
        );
        let mut left: Vec<_> = fs::read_dir(sandbox.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["stderr.1", "stdout"]);
        assert!(precious.path().join("kept").exists());
    }
}
