//! A disk that is easily filled.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A tmpfs, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many megabytes on a directory.
    pub(crate) fn mount(path: &Path, megabytes: u32) -> anyhow::Result<Self> {
        let size = CString::new(format!("size={megabytes}m"))?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), size.as_c_str())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a dying process may still have a file open.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
