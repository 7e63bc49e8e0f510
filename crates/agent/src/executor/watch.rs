//! One `poll` over all that can happen to a running task: output, exit, too much memory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, waitid};

use super::cgroup::Cgroup;
use super::procfs::{self, ProcessRecord};
use super::pump::{self, Pipe, RotatingLog};
use super::{Spec, kill_members};

/// How often memory is measured where no control group does it: Mesos' posix isolator has nothing finer either.
const MEASURE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// Without a handle on the process its end is looked for this often.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Whether a process has ended, without taking its status.
const PEEK: WaitIdOptions = WaitIdOptions::EXITED
    .union(WaitIdOptions::NOHANG)
    .union(WaitIdOptions::NOWAIT);

/// Pumps until the main process has ended (it is left to be waited for).
///
/// Returns the bytes used if the task was killed for its memory.
pub(super) fn until_exit(
    spec: &Spec,
    record: &ProcessRecord,
    child: Pid,
    stdout: &mut (OwnedFd, RotatingLog),
    stderr: &mut (OwnedFd, RotatingLog),
) -> Option<u64> {
    for pipe in [&stdout.0, &stderr.0] {
        // A file description of our own: the task's end stays blocking.
        let _ = rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK);
    }
    let pidfd = Pid::from_raw(record.pid)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let out_of_memory = spec.cgroup.as_ref().and_then(OutOfMemory::listen);
    let timeout = match (&pidfd, &spec.cgroup) {
        (None, _) => Some(LOOK),
        (Some(_), None) => Some(MEASURE),
        (Some(_), Some(_)) => None,
    };
    let (mut out, mut err) = (Pipe::Open, Pipe::Open);
    let mut over_memory = None;
    loop {
        let watched = [
            (pidfd.as_ref().map(AsFd::as_fd), PollFlags::IN),
            ((out == Pipe::Open).then(|| stdout.0.as_fd()), PollFlags::IN),
            ((err == Pipe::Open).then(|| stderr.0.as_fd()), PollFlags::IN),
            (
                out_of_memory.as_ref().map(OutOfMemory::as_fd),
                OutOfMemory::flags(&spec.cgroup),
            ),
        ];
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(watched.len());
        let places = watched.map(|(fd, flags)| {
            fd.map(|fd| {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                fds.len() - 1
            })
        });
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            // Interrupted.
            continue;
        }
        let [exited, has_out, has_err, memory] =
            places.map(|place| place.is_some_and(|at| !fds[at].revents().is_empty()));
        if has_out {
            out = pump::step(&stdout.0, &mut stdout.1).0;
        }
        if has_err {
            err = pump::step(&stderr.0, &mut stderr.1).0;
        }
        if over_memory.is_none() {
            over_memory = match &spec.cgroup {
                Some(cgroup) if memory => {
                    if let Some(listener) = &out_of_memory {
                        listener.reset();
                    }
                    cgroup
                        .was_out_of_memory()
                        .then(|| cgroup.peak().unwrap_or(spec.limits.memory))
                }
                Some(_) => None,
                None => measure(spec, record),
            };
            if over_memory.is_some() {
                // The kernel kills one process; the task is all of them.
                kill_members(spec, record);
            }
        }
        let ended = match &pidfd {
            Some(_) => exited,
            // Only looked at: the status is taken later.
            None => !matches!(waitid(WaitId::Pid(child), PEEK), Ok(None)),
        };
        if ended {
            return over_memory;
        }
    }
}

/// The bytes used, if they are more than allowed.
fn measure(spec: &Spec, leader: &ProcessRecord) -> Option<u64> {
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    let used = procfs::members(leader, &spec.marker, ours)
        .into_iter()
        .map(procfs::memory)
        .sum();
    (used > spec.limits.memory).then_some(used)
}

/// The kernel's notice that a group ran out of memory.
enum OutOfMemory {
    /// `memory.events`, which becomes "exceptional" when it changes.
    V2(File),
    /// An eventfd tied to `memory.oom_control`.
    V1 { event: OwnedFd, _control: File },
}

impl OutOfMemory {
    /// `None` if the kernel does not offer it: then the counter is looked at after the end.
    fn listen(cgroup: &Cgroup) -> Option<Self> {
        let directory = cgroup.memory_directory();
        match cgroup {
            Cgroup::V2(_) => Some(Self::V2(File::open(directory.join("memory.events")).ok()?)),
            Cgroup::V1 { .. } => {
                let control = File::open(directory.join("memory.oom_control")).ok()?;
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let event = rustix::event::eventfd(0, flags).ok()?;
                File::options()
                    .write(true)
                    .open(directory.join("cgroup.event_control"))
                    .and_then(|mut file| {
                        file.write_all(
                            format!("{} {}", event.as_raw_fd(), control.as_raw_fd()).as_bytes(),
                        )
                    })
                    .ok()?;
                Some(Self::V1 {
                    event,
                    _control: control,
                })
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::V2(file) => file.as_fd(),
            Self::V1 { event, .. } => event.as_fd(),
        }
    }

    fn flags(cgroup: &Option<Cgroup>) -> PollFlags {
        match cgroup {
            Some(Cgroup::V2(_)) => PollFlags::PRI,
            Some(Cgroup::V1 { .. }) | None => PollFlags::IN,
        }
    }

    /// Takes the notice, so that the next one is seen.
    fn reset(&self) {
        let mut buffer = [0; 512];
        let _ = match self {
            Self::V2(file) => rustix::io::pread(file, &mut buffer, 0),
            Self::V1 { event, .. } => rustix::io::read(event, &mut buffer),
        };
    }
}
