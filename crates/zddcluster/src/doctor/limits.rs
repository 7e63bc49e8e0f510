//! What the system lets one user have: open files, processes, watched files, memory.

use std::fs;

use rustix::process::{Resource, getrlimit};
use zddcluster_cli::Check;

use super::storage::bytes;
use crate::descriptors::WANTED;

/// A task of a lab takes an executor, itself and some threads; a hundred of them, and the user's own session.
const ENOUGH_PROCESSES: u64 = 2048;
/// The kernel's own default; fewer, and programs in tasks that watch their files fail.
const ENOUGH_INSTANCES: u64 = 128;
/// As above.
const ENOUGH_WATCHES: u64 = 8192;
/// The roles take some thirty megabytes, a task of the lab ten.
const ENOUGH_MEMORY: u64 = 256 << 20;

pub(super) fn examine() -> Vec<Check> {
    let mut checks = vec![
        files(getrlimit(Resource::Nofile).maximum),
        processes(getrlimit(Resource::Nproc).maximum),
    ];
    let setting = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    checks.extend(watches(
        setting("max_user_instances"),
        setting("max_user_watches"),
    ));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    checks.extend(available(&meminfo).map(memory));
    checks
}

fn files(most: Option<u64>) -> Check {
    const NAME: &str = "open files";
    match most {
        Some(most) if most < WANTED => Check::warning(
            NAME,
            format!("at most {most}; thousands of readers of events need more"),
            format!("ulimit -Hn {WANTED}, or LimitNOFILE={WANTED} in the unit of systemd"),
        ),
        Some(most) => Check::ok(NAME, format!("at most {most}")),
        None => Check::ok(NAME, "as many as there may be"),
    }
}

fn processes(most: Option<u64>) -> Check {
    const NAME: &str = "processes";
    match most {
        Some(most) if most < ENOUGH_PROCESSES => Check::warning(
            NAME,
            format!("at most {most} of this user"),
            format!("ulimit -Hu {ENOUGH_PROCESSES}, or nproc in /etc/security/limits.conf"),
        ),
        Some(most) => Check::ok(NAME, format!("at most {most} of this user")),
        None => Check::ok(NAME, "as many as there may be"),
    }
}

/// `None` where the system does not tell.
fn watches(instances: Option<u64>, watches: Option<u64>) -> Option<Check> {
    const NAME: &str = "inotify";
    let (instances, watches) = (instances?, watches?);
    let finding = format!("{instances} instances and {watches} watches of a user");
    let is_enough = instances >= ENOUGH_INSTANCES && watches >= ENOUGH_WATCHES;
    Some(match is_enough {
        true => Check::ok(NAME, finding),
        false => Check::warning(
            NAME,
            format!("only {finding}"),
            format!(
                "sysctl fs.inotify.max_user_instances={ENOUGH_INSTANCES} fs.inotify.max_user_watches={ENOUGH_WATCHES}"
            ),
        ),
    })
}

/// `MemAvailable` in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

fn memory(free: u64) -> Check {
    const NAME: &str = "memory";
    let finding = format!("{} are free", bytes(free));
    match free >= ENOUGH_MEMORY {
        true => Check::ok(NAME, finding),
        false => Check::warning(
            NAME,
            format!("only {finding}"),
            "end what is not needed; what the agents offer is nominal, whatever the machine has",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zddcluster_cli::Verdict;

    #[test]
    fn low_limits_are_told() {
        assert_eq!(files(Some(1024)).verdict, Verdict::Warning);
        assert_eq!(files(Some(WANTED)).verdict, Verdict::Ok);
        assert_eq!(files(None).verdict, Verdict::Ok);
        assert_eq!(processes(Some(100)).verdict, Verdict::Warning);
        assert_eq!(processes(None).verdict, Verdict::Ok);
        assert_eq!(watches(None, Some(1)), None);
        let few = watches(Some(16), Some(65_536)).unwrap();
        assert_eq!(few.verdict, Verdict::Warning);
        assert_eq!(
            watches(Some(128), Some(65_536)).unwrap().verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn memory_is_what_the_kernel_says() {
        let meminfo = "MemTotal:       16000000 kB\nMemAvailable:     204800 kB\n";
        assert_eq!(available(meminfo), Some(200 << 20));
        assert_eq!(memory(200 << 20).verdict, Verdict::Warning);
        assert_eq!(memory(1 << 30).finding, "1.0 GB are free");
        assert_eq!(available(""), None);
    }
}
