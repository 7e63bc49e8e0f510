//! The task's process before its command: it joins its groups, waits for "go" and executes.
//!
//! Everything that must hold from the command's first instruction on (session, groups, user, environment) is set up
//! here by the process itself, so nothing is moved or limited late.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{ExecutorError, SPEC, Spec};
use crate::durable;

/// What the executor says once the pid is on disk.
pub(super) const GO: &[u8] = b"go";

/// Lowest descriptor for the duplicate of the socket: above the three standard ones.
const ABOVE_STDIO: i32 = 3;

/// Becomes the task; returns only when the executor is gone or the command cannot be executed.
pub(super) fn become_task(directory: &Path) -> Result<(), ExecutorError> {
    let _ = rustix::process::setsid();
    // Stdin is the socket to the executor; the duplicate closes by itself when the command is executed.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), ABOVE_STDIO)
        .map_err(io::Error::from)
        .map_err(ExecutorError::io(
            "the socket to the executor cannot be taken",
        ))?;
    let mut executor = UnixStream::from(socket);
    let null = File::open("/dev/null").map_err(ExecutorError::io("/dev/null cannot be opened"))?;
    rustix::stdio::dup2_stdin(&null)
        .map_err(io::Error::from)
        .map_err(ExecutorError::io("stdin cannot be replaced"))?;
    let prepared = read_spec(directory).and_then(|spec| {
        let command = prepare(&spec, &spec.argv)?;
        Ok((spec, command))
    });
    let complaint = match prepared {
        Ok((spec, mut command)) => {
            let mut go = [0; GO.len()];
            if executor.read_exact(&mut go).is_err() {
                // The executor died before it recorded us: nothing may run.
                return Ok(());
            }
            let error = command.exec();
            format!(
                "Failed to execute '{}': {error}",
                spec.argv.first().map_or("", String::as_str)
            )
        }
        Err(complaint) => complaint,
    };
    executor
        .write_all(complaint.as_bytes())
        .map_err(ExecutorError::io("the executor is gone"))
}

/// Executes a shell command in the environment of the task of this directory; returns only if that cannot be done.
pub(super) fn check(directory: &Path, command: &OsStr) {
    let _ = rustix::process::setsid();
    let shell = [OsStr::new("/bin/sh"), OsStr::new("-c"), command];
    if let Ok(mut command) = read_spec(directory).and_then(|spec| prepare(&spec, &shell)) {
        let _ = command.exec();
    }
}

fn read_spec(directory: &Path) -> Result<Spec, String> {
    durable::read_json(&directory.join(SPEC))
        .map_err(|error| format!("spec.json cannot be read: {error}"))?
        .ok_or_else(|| "spec.json is missing".to_owned())
}

/// Takes on what the task has but the command: groups, directory; user and environment come with the execution.
fn prepare<S: AsRef<OsStr>>(spec: &Spec, argv: &[S]) -> Result<Command, String> {
    if let Some(cgroup) = &spec.cgroup {
        cgroup
            .join(std::process::id())
            .map_err(|error| format!("Failed to join the control group: {error}"))?;
    }
    let [program, args @ ..] = argv else {
        return Err("there is no command".to_owned());
    };
    // Before the user changes: the sandbox is the user's, a directory above it may not be.
    std::env::set_current_dir(&spec.sandbox)
        .map_err(|error| format!("Failed to enter {}: {error}", spec.sandbox.display()))?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&spec.env);
    if let Some((uid, gid)) = spec.user {
        // As root this also drops the supplementary groups.
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// Waits for the end of stdin: a process the agent moves into a control group to see whether it may.
pub(super) fn hold() -> Result<(), ExecutorError> {
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map(|_| ())
        .map_err(ExecutorError::io("stdin cannot be read"))
}
