//! How a task's process comes to life: forked, written down, told to go.
//!
//! In this order, so that no command ever runs that is not in the books: its process waits until `process.json` is written, and
//! ends if its executor dies before.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitOptions};

use super::procfs::ProcessRecord;
use super::pump::RotatingLog;
use super::{PROCESS, RUNNING, Spec, glog_line, stage};
use crate::durable;

/// A task whose command runs.
pub(super) struct Running {
    pub(super) child: Pid,
    pub(super) record: ProcessRecord,
    pub(super) stdout: (OwnedFd, RotatingLog),
    pub(super) stderr: (OwnedFd, RotatingLog),
}

/// Brings the task to life; the error is what the user should read.
pub(super) fn start(directory: &Path, spec: &Spec) -> Result<Running, String> {
    let log = |name: &str| {
        RotatingLog::open(&spec.sandbox, name, spec.log_limit)
            .map_err(|error| format!("the sandbox's {name} cannot be written: {error}"))
    };
    let (stdout, mut stderr) = (log("stdout")?, log("stderr")?);
    stderr.write(format!("{}\n", glog_line(&spec.banner)).as_bytes());

    let starting = |error: io::Error| format!("Failed to start the task's process: {error}");
    let (mut ours, theirs) = UnixStream::pair().map_err(starting)?;
    let pipe =
        || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| starting(error.into()));
    let ((out, task_out), (err, task_err)) = (pipe()?, pipe()?);
    let child = match fork().map_err(starting)? {
        Fork::Executor(child) => child,
        Fork::Task => {
            // Held by both, it would not tell the task's process of the executor's end.
            drop(ours);
            stage::become_task(spec, theirs, &task_out, &task_err);
        }
    };
    drop((theirs, task_out, task_err));
    let record = ProcessRecord::of(child.as_raw_nonzero().get().unsigned_abs())
        .and_then(|record| durable::note(&directory.join(PROCESS), &record).map(|()| record))
        .and_then(|record| ours.write_all(stage::GO).map(|()| record));
    // The other end closes when the command is executed, or tells why it is not.
    let mut complaint = String::new();
    let told = match &record {
        Ok(_) => ours.read_to_string(&mut complaint).map(|_| ()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    drop(ours);
    match (record, told) {
        (Ok(record), Ok(())) if complaint.is_empty() => {
            // Nobody listens if the agent died meanwhile; it will find `process.json`.
            let mut to_agent = io::stdout();
            let _ = to_agent
                .write_all(RUNNING.as_bytes())
                .and_then(|()| to_agent.flush());
            let null = File::options()
                .write(true)
                .open("/dev/null")
                .map_err(starting)?;
            let _ = rustix::stdio::dup2_stdout(null);
            Ok(Running {
                child,
                record,
                stdout: (out, stdout),
                stderr: (err, stderr),
            })
        }
        (_, told) => {
            let _ = rustix::process::kill_process(child, Signal::KILL);
            let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
            Err(match told {
                Ok(()) => complaint,
                Err(error) => starting(error),
            })
        }
    }
}

/// Who goes on after a fork.
enum Fork {
    /// The executor, with the task's process.
    Executor(Pid),
    /// The task's process.
    Task,
}

/// To execute this program once more, as a process of its own, would take longer than all else that an executor does.
fn fork() -> io::Result<Fork> {
    #[expect(unsafe_code, reason = "there is no safe way to fork")]
    // SAFETY: an executor has this one thread, so nothing another one held (a lock, the allocator) is left as it was.
    let forked = unsafe { nix::unistd::fork() }?;
    match forked {
        nix::unistd::ForkResult::Child => Ok(Fork::Task),
        nix::unistd::ForkResult::Parent { child } => Pid::from_raw(child.as_raw())
            .map(Fork::Executor)
            .ok_or_else(|| io::Error::other("a process without a number")),
    }
}
