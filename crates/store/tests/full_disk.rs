//! A disk that fills up: commits fail with a reason, reopening after space was made recovers, nothing acknowledged is lost.
//!
//! Needs the right to mount a small tmpfs; without it the test says that it was skipped.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use zddcluster_store::{Change, SledStore, Store as _, StoreError};

/// A tmpfs of a few megabytes, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> rustix::io::Result<Self> {
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"size=8m")?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_an_error_and_space_again_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = match SmallDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: cannot mount a tmpfs here ({error})"
            );
            return;
        }
    };
    let ballast = dir.path().join("ballast");
    let mut store = SledStore::open(dir.path().join("store")).unwrap();
    store
        .commit(vec![Change::Put("first".into(), b"1".to_vec())])
        .unwrap();
    fs::write(&ballast, vec![0; 2 * 1024 * 1024]).unwrap();

    let mut acknowledged = Vec::new();
    let error = loop {
        let key = format!("key/{:05}", acknowledged.len());
        let value = vec![b'z'; 20_000];
        match store.commit(vec![Change::Put(key.clone(), value.clone())]) {
            Ok(()) => acknowledged.push((key, value)),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1000, "the small disk never filled up");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert!(matches!(
        store.commit(vec![Change::Remove("first".into())]),
        Err(StoreError::NeedsReopen)
    ));

    fs::remove_file(&ballast).unwrap();
    store.reopen().unwrap();
    let mut known = vec![("first".to_owned(), b"1".to_vec())];
    known.append(&mut acknowledged);
    let found = store.load().unwrap();
    for record in &known {
        assert!(
            found.contains(record),
            "{} was acknowledged and is lost",
            record.0
        );
    }
    known.truncate(20);
    store.replace_all(known.clone()).unwrap();
    store
        .commit(vec![Change::Put("zz".into(), b"2".to_vec())])
        .unwrap();
    store.reopen().unwrap();
    known.sort();
    known.push(("zz".into(), b"2".to_vec()));
    known.sort();
    assert_eq!(store.load().unwrap(), known);
}
