//! The data directory, who uses it, and the room on its disk.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use zddcluster_cli::{Check, Examined};

use crate::down;
use crate::lock::DataDirLock;

/// Less than this, and the store cannot grow: it is a few megabytes, and logs of tasks come beside it.
const LEAST_FREE: u64 = 64 << 20;
/// Less than this is little for the sandboxes of a day.
const ENOUGH_FREE: u64 = 1 << 30;
/// Files that the sandboxes of a hundred tasks take, and as many again.
const ENOUGH_FILES: u64 = 2000;

pub(super) fn examine(examined: &Examined) -> Vec<Check> {
    let Examined {
        data_dir, running, ..
    } = examined;
    let mut checks = Vec::new();
    let there = nearest(data_dir);
    checks.push(
        match (running, access(&there, Access::WRITE_OK | Access::EXEC_OK)) {
            (Some(cluster), _) => Check::ok(
                "data",
                format!(
                    "{}: its cluster runs (pid {})",
                    data_dir.display(),
                    cluster.pid
                ),
            ),
            (None, Ok(())) => Check::ok("data", data_dir.display().to_string()),
            (None, Err(errno)) => Check::fault(
                "data",
                format!("{} cannot be used: {errno}", data_dir.display()),
                "choose a directory that you may write, with --data-dir",
            ),
        },
    );
    if running.is_none() {
        checks.extend(holder(data_dir));
        checks.extend(leftovers(down::describe_leftovers(data_dir)));
    }
    match statvfs(&there) {
        Ok(disk) => checks.extend(room(
            disk.f_bavail * disk.f_frsize,
            disk.f_favail,
            disk.f_files,
        )),
        Err(errno) => checks.push(Check::warning(
            "disk",
            format!(
                "the room on the disk of {} is not told: {errno}",
                there.display()
            ),
            "choose another directory with --data-dir",
        )),
    }
    checks
}

/// The directory, or what there is of the path to it.
fn nearest(dir: &Path) -> PathBuf {
    let mut above = dir.ancestors();
    let there = above.find(|path| path.exists());
    there.unwrap_or_else(|| Path::new("/")).to_owned()
}

/// Somebody who holds the directory without a cluster that answers for it.
fn holder(data_dir: &Path) -> Option<Check> {
    match DataDirLock::holder(data_dir) {
        Ok(None) => None,
        Ok(Some(pid)) => Some(Check::fault(
            "data",
            format!("pid {pid} uses {}", data_dir.display()),
            "`zddcluster down` ends it, --data-dir chooses another directory",
        )),
        Err(error) => Some(Check::fault(
            "data",
            format!("it cannot be told who uses {}: {error}", data_dir.display()),
            "is it another user's? choose another directory with --data-dir",
        )),
    }
}

fn leftovers(tasks: Vec<String>) -> Option<Check> {
    let n_tasks = tasks.len();
    (n_tasks > 0).then(|| {
        Check::warning(
            "tasks",
            format!(
                "{n_tasks} of a cluster that is gone are left: {}",
                tasks.join(", ")
            ),
            "`zddcluster up` takes them over, `zddcluster down` ends them",
        )
    })
}

/// `files` may be 0: then the file system has as many as it likes.
fn room(free: u64, free_files: u64, files: u64) -> Vec<Check> {
    let shown = format!("{} are free", bytes(free));
    let hint = "make room, or choose a directory on another disk with --data-dir";
    let mut checks = vec![match free {
        free if free < LEAST_FREE => Check::fault("disk", format!("only {shown}"), hint),
        free if free < ENOUGH_FREE => Check::warning("disk", format!("only {shown}"), hint),
        _ => Check::ok("disk", shown),
    }];
    if files > 0 && free_files < ENOUGH_FILES {
        let shown = format!("only {free_files} more files fit on it");
        checks.push(Check::warning("disk", shown, hint));
    }
    checks
}

/// `12.3 GB`.
pub(super) fn bytes(n: u64) -> String {
    match n {
        n if n >= 1 << 30 => format!("{:.1} GB", n as f64 / f64::from(1 << 30)),
        n => format!("{} MB", n >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zddcluster_cli::Verdict;

    #[test]
    fn little_room_is_told_and_none_is_a_fault() {
        let verdicts = |free, free_files, files| -> Vec<Verdict> {
            let checks = room(free, free_files, files).into_iter();
            checks.map(|check| check.verdict).collect()
        };
        assert_eq!(verdicts(5 << 30, 1 << 20, 1 << 20), [Verdict::Ok]);
        assert_eq!(verdicts(500 << 20, 0, 0), [Verdict::Warning]);
        assert_eq!(verdicts(1 << 20, 1 << 20, 1 << 20), [Verdict::Fault]);
        assert_eq!(
            verdicts(5 << 30, 10, 1 << 20),
            [Verdict::Ok, Verdict::Warning]
        );
        assert_eq!(room(5 << 30, 0, 0)[0].finding, "5.0 GB are free");
    }

    #[test]
    fn a_holder_without_a_cluster_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(&dir.path().join("none")), None);
        let _lock = DataDirLock::take(dir.path()).unwrap();
        let told = holder(dir.path()).unwrap();
        assert_eq!(told.verdict, Verdict::Fault);
        let pid = format!("pid {} uses ", std::process::id());
        assert!(told.finding.starts_with(&pid), "{told:?}");
    }
}
