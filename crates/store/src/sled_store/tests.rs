//! The sled store against its contract: refusals that change nothing, random batches, a full disk.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::MemoryStore;

/// Far longer than sled's threads take to end.
const PATIENCE: Duration = Duration::from_secs(20);

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), value.as_bytes().to_vec())
}

fn record(key: &str, value: &str) -> Record {
    (key.to_owned(), value.as_bytes().to_vec())
}

/// Opens a store that was just closed: sled lets go of its lock a moment after the last handle is gone.
fn open_again(dir: &Path) -> Result<SledStore, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match SledStore::open(dir) {
            #[expect(clippy::disallowed_methods, reason = "a thread of the test")]
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                std::thread::sleep(REOPEN_POLL);
            }
            opened => return opened,
        }
    }
}

/// Every file below a directory with its contents.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn records_survive_and_a_snapshot_lies_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.load().unwrap(), []);
    store
        .commit(vec![put("b", "2"), put("a", "1"), put("c", "3")])
        .unwrap();
    store
        .commit(vec![
            Change::Remove("b".into()),
            Change::Remove("none".into()),
        ])
        .unwrap();
    drop(store);

    let mut store = open_again(dir.path()).unwrap();
    assert_eq!(store.load().unwrap(), [record("a", "1"), record("c", "3")]);
    let snapshot = crate::read_snapshot(&SledStore::snapshot_path(dir.path())).unwrap();
    assert_eq!(snapshot, store.load().unwrap());

    store
        .replace_all(vec![record("a", "9"), record("d", "4")])
        .unwrap();
    store.reopen().unwrap();
    assert_eq!(store.load().unwrap(), [record("a", "9"), record("d", "4")]);
}

#[test]
fn large_values_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let value = vec![b'x'; 3 * 1024 * 1024];
    store
        .commit(vec![Change::Put("big".into(), value.clone())])
        .unwrap();
    store.reopen().unwrap();
    assert_eq!(store.load().unwrap(), [("big".to_owned(), value)]);
}

#[test]
fn a_second_opener_is_told_to_stop_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let _first = SledStore::open(dir.path()).unwrap();
    let error = SledStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("zddcluster down"), "{error}");
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "mine").unwrap();
    for taken in [path.clone(), path.join("store")] {
        let error = SledStore::open(&taken).unwrap_err();
        assert!(
            matches!(error, StoreError::NotADirectory { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("--data-dir"), "{error}");
    }
    assert_eq!(fs::read(path).unwrap(), b"mine");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let db = &store.open.as_ref().unwrap().db;
    db.insert(SCHEMA_KEY, &7_u64.to_be_bytes()).unwrap();
    db.flush().unwrap();
    drop(store);
    let error = open_again(dir.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::NewerSchema { found: 7, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("newer zddcluster"), "{error}");
}

/// Damages a store with 300 records and opens it: an error that names the snapshot, and not a byte changed.
#[track_caller]
fn check_damage(damage: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    for i in 0..300 {
        store
            .commit(vec![put(&format!("app/{i}"), &"\"x\"".repeat(100))])
            .unwrap();
    }
    drop(store);
    // The snapshot is of the last start.
    drop(open_again(dir.path()).unwrap());

    damage(&dir.path().join("db"));
    let before = files(dir.path());
    let error = open_again(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(".damaged/snapshot.json"), "{text}");
    let after = files(dir.path());
    let snapshot = SledStore::snapshot_path(dir.path());
    assert_eq!(before[&snapshot], after[&snapshot]);
    assert_eq!(crate::read_snapshot(&snapshot).unwrap().len(), 300);
}

#[test]
fn a_damaged_store_is_an_error_and_keeps_its_snapshot() {
    // Nothing but the data.
    check_damage(|db| fs::remove_file(db.join("conf")).unwrap());
    // The log cut short: sled alone would go back in time without a word.
    check_damage(|db| {
        let file = File::options().write(true).open(db.join("db")).unwrap();
        file.set_len(4096).unwrap();
        for entry in fs::read_dir(db).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("snap.")
            {
                fs::remove_file(path).unwrap();
            }
        }
    });
    // Noise all over it.
    check_damage(|db| {
        let noise: Vec<u8> = (0..1_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        fs::write(db.join("db"), noise).unwrap();
    });
    // The data file lost.
    check_damage(|db| fs::remove_file(db.join("db")).unwrap());
}

fn change() -> impl Strategy<Value = Change> {
    let key = "[a-c]/[a-z]{1,2}";
    prop_oneof![
        3 => (key, vec(any::<u8>(), 0..200)).prop_map(|(key, value)| Change::Put(key, value)),
        1 => key.prop_map(Change::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Random batches, with reopening between them, leave what the same batches leave in memory.
    #[test]
    fn batches_equal_those_in_memory(
        rounds in vec((vec(change(), 0..12), any::<bool>()), 1..20)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = SledStore::open(dir.path()).unwrap();
        let mut memory = MemoryStore::new();
        for (batch, reopen) in rounds {
            disk.commit(batch.clone()).unwrap();
            memory.commit(batch).unwrap();
            if reopen {
                disk.reopen().unwrap();
            }
            prop_assert_eq!(disk.load().unwrap(), memory.load().unwrap());
        }
        drop(disk);
        let mut disk = open_again(dir.path()).unwrap();
        prop_assert_eq!(disk.load().unwrap(), memory.load().unwrap());
    }
}
