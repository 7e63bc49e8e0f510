//! The spawner: the one process of this program that an agent executes for its processes; it forks an executor for each.
//!
//! To execute this program costs more than all else that an executor does: it is tens of megabytes, with tens of thousands
//! of addresses to be put right, in pages that each executor would then have for itself. A fork of a process that has
//! done nothing else yet shares them all.
//!
//! ```text
//!   agent ── directory of the task, pipe for its word ──▶ spawner ──forks──▶ executor
//!         ◀───────────────────── "running" ────────────────────────────────────┘
//! ```
//!
//! It ends when the agent's end of its socket is closed, so with the agent; executors live on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::ForkResult;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::complain;

/// Longest path of a task's directory, in bytes: what Linux takes for a path.
const MAX_PATH: usize = 4096;

/// Asks the spawner behind `socket` for the executor of a task; its stdout is to be `word`.
///
/// # Errors
/// `BrokenPipe` or `ConnectionReset` when there is no spawner any more; others for a path that is too long.
pub(crate) fn ask(socket: impl AsFd, task_dir: &Path, word: BorrowedFd<'_>) -> io::Result<()> {
    let path = task_dir.as_os_str().as_bytes();
    if path.len() > MAX_PATH {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let fds = [word];
    if !rights.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let message = [IoSlice::new(path)];
    loop {
        match rustix::net::sendmsg(&socket, &message, &mut rights, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop).map_err(Into::into),
        }
    }
}

/// Serves the agent at the other end of stdin. Returns in each executor, with the directory of its task; and in the spawner
/// itself, with nothing, when the agent is gone.
pub(super) fn serve() -> io::Result<Option<PathBuf>> {
    // Ctrl-C at the agent's terminal is not for tasks.
    let _ = rustix::process::setsid();
    // Nobody asks how an executor ended: what it has to say is in its task's directory.
    on_child(SigHandler::SigIgn)?;
    while let Some((task_dir, word)) = next(io::stdin().as_fd())? {
        match fork() {
            Ok(Who::Spawner) => {}
            Ok(Who::Executor) => {
                on_child(SigHandler::SigDfl)?;
                // In place of the agent's socket, so that the agent's end is seen by the spawner alone.
                rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
                rustix::stdio::dup2_stdout(word)?;
                return Ok(Some(task_dir));
            }
            // The pipe closes without a word: this task does not start, the next one may.
            Err(error) => {
                let limits = "too many processes, or no memory";
                complain(&task_dir, &format!("no process for it: {error} ({limits})"));
            }
        }
    }
    Ok(None)
}

/// The next task; `None` when the agent is gone. A message that is none is left out.
fn next(agent: BorrowedFd<'_>) -> io::Result<Option<(PathBuf, OwnedFd)>> {
    let mut path = [0; MAX_PATH];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut path)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match rustix::net::recvmsg(agent, &mut pieces, &mut rights, flags) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        let word = rights.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        match word {
            Some(word) if !received.flags.contains(ReturnFlags::TRUNC) => {
                let path = OsString::from_vec(path[..received.bytes].to_vec());
                return Ok(Some((path.into(), word)));
            }
            None if received.bytes == 0 => return Ok(None),
            _ => {}
        }
    }
}

/// Who goes on after a fork.
enum Who {
    Spawner,
    Executor,
}

fn fork() -> io::Result<Who> {
    #[expect(unsafe_code, reason = "there is no safe way to fork")]
    // SAFETY: a spawner has this one thread, so nothing another one held (a lock, the allocator) is left as it was.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Who::Executor),
        ForkResult::Parent { .. } => Ok(Who::Spawner),
    }
}

fn on_child(handler: SigHandler) -> io::Result<()> {
    #[expect(unsafe_code, reason = "there is no safe way to set what a signal does")]
    // SAFETY: no handler of ours is set, only what the kernel does by itself.
    unsafe { signal(Signal::SIGCHLD, handler) }?;
    Ok(())
}
