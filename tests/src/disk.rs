//! Disks that are easily filled, or take no writes.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many megabytes on a directory. Needs the right to mount.
    pub fn mount(path: &Path, megabytes: u32) -> anyhow::Result<Self> {
        let size = CString::new(format!("size={megabytes}m"))?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), size.as_c_str())?;
        Ok(Self(path.to_owned()))
    }

    /// Takes no more writes.
    pub fn make_read_only(&self) -> anyhow::Result<()> {
        Ok(mount_remount(&self.0, MountFlags::RDONLY, c"")?)
    }

    /// Takes writes again.
    pub fn make_writable(&self) -> anyhow::Result<()> {
        Ok(mount_remount(&self.0, MountFlags::empty(), c"")?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a dying process may still have a file open.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
