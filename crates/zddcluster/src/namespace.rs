//! Programs that take this process' place: a shell that sees other files than the machine, a command in a task.
//!
//! A mount namespace is root's, or anybody's within a user namespace. There the user is mapped to himself: with his rights and no
//! more he runs the program, for the rights that the mounts need end when it is executed.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;
use zddcluster_agent::Enter;
use zddcluster_cli::{Namespace, NamespaceError, TaskCommand};
use zddcluster_model::TaskId;

/// Runs a command in a task; returns only if it cannot.
pub(crate) fn enter_task(command: &TaskCommand) -> Box<dyn std::error::Error> {
    let TaskCommand {
        work_dir,
        task_id,
        argv,
        interactive,
        tty,
    } = command;
    let enter = Enter {
        argv: argv.clone(),
        interactive: *interactive,
        tty: *tty,
    };
    zddcluster_agent::enter(work_dir, &TaskId::new(task_id), &enter).into()
}

/// Runs a program in a namespace; returns only if it cannot.
pub(crate) fn run(namespace: &Namespace) -> NamespaceError {
    let Namespace { files, argv, env } = namespace;
    if !files.is_empty()
        && let Err(error) = show(files)
    {
        return error;
    }
    let (program, args) = argv.split_first().map_or_else(
        || (std::ffi::OsString::from("/bin/sh"), &[][..]),
        |(program, args)| (program.clone(), args),
    );
    let envs = env.iter().map(|(name, value)| (name, value));
    let source = Command::new(&program).args(args).envs(envs).exec();
    NamespaceError::Execute {
        program: program.to_string_lossy().into_owned(),
        source,
    }
}

/// Has this process see files in place of others; nobody else does.
fn show(files: &[(PathBuf, PathBuf)]) -> Result<(), NamespaceError> {
    // Asked before, for within a user namespace nobody has a name yet.
    let (uid, gid) = (getuid(), getgid());
    let refused = |errno: Errno| NamespaceError::Refused(errno.into());
    match unshare(UnshareFlags::NEWNS) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(refused)?;
            let map = |file: &str, text: String| {
                std::fs::write(format!("/proc/self/{file}"), text)
                    .map_err(|source| broken(format!("cannot write /proc/self/{file}"), source))
            };
            map("setgroups", "deny".to_owned())?;
            map("uid_map", format!("{uid} {uid} 1"))?;
            map("gid_map", format!("{gid} {gid} 1"))?;
        }
        Err(errno) => return Err(refused(errno)),
    }
    // What is mounted here is nobody else's business.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|errno| broken("cannot keep mounts to itself".to_owned(), errno.into()))?;
    for (content, target) in files {
        mount_bind(content, target).map_err(|errno| {
            let what = format!("cannot show {} as {}", content.display(), target.display());
            broken(what, errno.into())
        })?;
    }
    Ok(())
}

fn broken(what: String, source: io::Error) -> NamespaceError {
    NamespaceError::Broken { what, source }
}

#[expect(
    unsafe_code,
    reason = "what is unshared are mounts and users, not memory or descriptors, so no thread is left behind with a wrong idea of them"
)]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the call is unsafe for UnshareFlags::FILES, which is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
