//! The agent's hold on the process that makes its executors, see [`crate::executor::spawn`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::executor::spawn;

/// Makes executors. Its process is started for the first task, and anew when it is gone.
#[derive(Debug)]
pub(super) struct Spawner {
    executable: PathBuf,
    living: Mutex<Option<Living>>,
}

/// A spawner's process.
#[derive(Debug)]
struct Living {
    /// Declared first: that it is closed is what ends the process.
    socket: OwnedFd,
    _process: Reaped,
}

/// A process that is waited for when it is not needed any more; it is about to end by then.
#[derive(Debug)]
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

impl Spawner {
    pub(super) fn new(executable: PathBuf) -> Self {
        Self {
            executable,
            living: Mutex::new(None),
        }
    }

    /// Has an executor made for the task of this directory; the pipe brings its word that the command was executed, and
    /// ends without it when it was not. Blocks.
    ///
    /// # Errors
    /// When no process can be started.
    pub(super) fn spawn(&self, task_dir: &Path) -> io::Result<OwnedFd> {
        let (ours, word) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // The lock is held over one `sendmsg` to a process that does nothing but fork.
        let mut slot = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(living) = &*slot {
            match spawn::ask(&living.socket, task_dir, word.as_fd()) {
                Err(error) if is_gone(&error) => {
                    tracing::warn!(
                        "the process that makes executors is gone; a new one is started"
                    );
                }
                asked => return asked.map(|()| ours),
            }
        }
        *slot = None;
        let living = slot.insert(self.start()?);
        spawn::ask(&living.socket, task_dir, word.as_fd())?;
        Ok(ours)
    }

    fn start(&self) -> io::Result<Living> {
        // Whole messages, and an end that the other side sees.
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let process = Command::new(&self.executable)
            .args(["executor", "--spawn"])
            // Not a byte of our environment: it may hold tokens.
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{}: {error}", self.executable.display()),
                )
            })?;
        Ok(Living {
            socket,
            _process: Reaped(process),
        })
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}
