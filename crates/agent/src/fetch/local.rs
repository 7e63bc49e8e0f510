//! Files of this machine, opened with the rights of the user whose copy it will be.
//!
//! The kernel itself decides, of the file and of all directories above it, with whatever lists of access they have: a thread
//! of its own takes on the user for files alone (`setfsuid`), opens, and ends. As the task's processes it has no further
//! groups, and unlike them it cannot be signalled by the user.

use std::fs::File;
use std::path::Path;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::FetchError;
use crate::containerizer::Owner;

/// Opens a file to be read; as the agent itself without an owner. Blocks.
pub(super) fn open(path: &Path, owner: Option<&Owner>) -> Result<File, FetchError> {
    let file = match owner {
        None => open_here(path),
        Some(owner) => std::thread::scope(|scope| {
            let opened = scope.spawn(|| {
                become_for_files(owner)?;
                open_here(path)
            });
            opened.join().unwrap_or(Err(Errno::IO))
        }),
    };
    let file = file.map_err(|error| match owner {
        Some(owner) if error == Errno::ACCESS => FetchError::Unreadable(owner.name.clone()),
        _ => FetchError::Read(error.into()),
    })?;
    // Of what is open: the path may lead elsewhere by now.
    match file.metadata().map_err(FetchError::Read)?.is_file() {
        true => Ok(file),
        false => Err(FetchError::NoFile),
    }
}

/// For the rest of this thread's life.
fn become_for_files(owner: &Owner) -> Result<(), Errno> {
    rustix::thread::set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    // They answer what was before, whether it worked or not; so the second one tells.
    setfsgid(gid);
    setfsuid(uid);
    match (setfsgid(gid), setfsuid(uid)) == (gid, uid) {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

fn open_here(path: &Path) -> Result<File, Errno> {
    // Without waiting for somebody to write into a pipe; and nothing that this process has open, by `/proc/self/fd`.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, flags, Mode::empty(), resolve).map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_the_user_may_read_is_the_kernel_s_word() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = Owner {
            name: "nobody".to_owned(),
            uid: 65534,
            gid: 65534,
        };
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode: u32, ids: (u32, u32)| {
            chown(path, Some(ids.0), Some(ids.1)).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let above = dir.path().join("above");
        let file = above.join("file");
        fs::create_dir(&above).unwrap();
        fs::write(&file, "content").unwrap();
        set(dir.path(), 0o755, (0, 0));
        let (root, his, group) = ((0, 0), (65534, 0), (0, 65534));
        for (of_above, of_file, may) in [
            ((0o755, root), (0o644, root), true),
            ((0o755, root), (0o600, his), true),
            ((0o755, root), (0o640, group), true),
            ((0o755, root), (0o640, root), false),
            ((0o750, group), (0o644, root), true),
            // The file's own mode does not tell.
            ((0o700, root), (0o644, root), false),
            ((0o700, root), (0o600, his), false),
        ] {
            set(&above, of_above.0, of_above.1);
            set(&file, of_file.0, of_file.1);
            match open(&file, Some(&nobody)) {
                Ok(_) => assert!(may, "{of_above:?} {of_file:?}"),
                Err(FetchError::Unreadable(_)) => assert!(!may, "{of_above:?} {of_file:?}"),
                Err(error) => panic!("{error}"),
            }
            open(&file, None).unwrap();
        }
        // The thread that asked is root as before.
        assert_eq!(setfsuid(Uid::from_raw(0)), Uid::from_raw(0));
    }

    #[test]
    fn what_the_agent_has_open_is_no_file_of_the_machine() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(file.as_file());
        let path = format!("/proc/self/fd/{number}");
        let error = open(path.as_ref(), None).unwrap_err();
        assert!(matches!(error, FetchError::Read(_)), "{error}");
    }
}
