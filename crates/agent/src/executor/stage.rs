//! The task's process before its command: it joins its groups, waits for "go" and executes.
//!
//! Everything that must hold from the command's first instruction on (session, groups, user, environment) is set up
//! here by the process itself, so nothing is moved or limited late.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{SPEC, Spec};
use crate::durable;

/// What the executor says once the pid is on disk.
pub(super) const GO: &[u8] = b"go";

/// The end of a process that never became the task; the executor does not ask for it.
const GIVEN_UP: i32 = 1;

/// Becomes the task: waits for the executor's word, then executes the command.
///
/// Ends the process when the executor is gone, or when the command cannot be executed, which the executor is told.
pub(super) fn become_task(
    spec: &Spec,
    mut executor: UnixStream,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> ! {
    let complaint = match set_up(spec, stdout, stderr) {
        Ok(mut command) => {
            let mut go = [0; GO.len()];
            if executor.read_exact(&mut go).is_err() {
                // The executor died before it recorded us: nothing may run.
                leave();
            }
            let error = command.exec();
            format!(
                "Failed to execute '{}': {error}",
                spec.argv.first().map_or("", String::as_str)
            )
        }
        Err(complaint) => complaint,
    };
    let _ = executor.write_all(complaint.as_bytes());
    leave()
}

#[expect(
    clippy::exit,
    reason = "half of the executor's memory is here, too, and must not be run to its end"
)]
fn leave() -> ! {
    std::process::exit(GIVEN_UP)
}

/// Everything but the command: session, the three standard descriptors, groups, directory.
fn set_up(spec: &Spec, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<Command, String> {
    let _ = rustix::process::setsid();
    let text = |what: &str, error: io::Error| format!("{what}: {error}");
    let null =
        File::open("/dev/null").map_err(|error| text("/dev/null cannot be opened", error))?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr))
        .map_err(|error| text("the output cannot be connected", error.into()))?;
    prepare(spec, &spec.argv)
}

/// Executes a shell command in the environment of the task of this directory; returns only if that cannot be done.
pub(super) fn check(directory: &Path, command: &OsStr) {
    let _ = rustix::process::setsid();
    let shell = [OsStr::new("/bin/sh"), OsStr::new("-c"), command];
    if let Ok(mut command) = read_spec(directory).and_then(|spec| prepare(&spec, &shell)) {
        let _ = command.exec();
    }
}

/// A command beside the task, once this process has what the task has.
pub(super) fn command_in<S: AsRef<OsStr>>(directory: &Path, argv: &[S]) -> Result<Command, String> {
    prepare(&read_spec(directory)?, argv)
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
pub(super) fn hold() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
