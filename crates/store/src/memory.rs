//! A store without a disk, for tests: the same contract as [`SledStore`](crate::SledStore), with failures on order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Change, Record, Store, StoreError};

/// Records in memory. Clones share them, so that a test can look into a store it gave away, or "restart" on it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<String, Vec<u8>>,
    n_commits: u64,
    is_full: bool,
    has_failed: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on commits fail as on a full disk, until [`MemoryStore::free`].
    pub fn fill(&self) {
        self.lock().is_full = true;
    }

    /// Ends [`MemoryStore::fill`]; the store still has to be reopened.
    pub fn free(&self) {
        self.lock().is_full = false;
    }

    /// The records as they are "on disk".
    pub fn records(&self) -> Vec<Record> {
        self.lock()
            .records
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Commits that succeeded so far.
    pub fn n_commits(&self) -> u64 {
        self.lock().n_commits
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the records with `change`, unless the store has failed or is full.
    fn write(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.has_failed {
            return Err(StoreError::NeedsReopen);
        }
        if inner.is_full {
            inner.has_failed = true;
            return Err(StoreError::Full {
                path: PathBuf::from("memory"),
            });
        }
        change(&mut inner.records);
        inner.n_commits += 1;
        Ok(())
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<Record>, StoreError> {
        if self.lock().has_failed {
            return Err(StoreError::NeedsReopen);
        }
        Ok(self.records())
    }

    fn commit(&mut self, batch: Vec<Change>) -> Result<(), StoreError> {
        self.write(|records| {
            for change in batch {
                match change {
                    Change::Put(key, value) => {
                        records.insert(key, value);
                    }
                    Change::Remove(key) => {
                        records.remove(&key);
                    }
                }
            }
        })
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.lock().has_failed = false;
        Ok(())
    }

    fn replace_all(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        self.write(|present| *present = records.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_commit_blocks_until_reopened() {
        let mut store = MemoryStore::new();
        store
            .commit(vec![Change::Put("a".into(), b"1".to_vec())])
            .unwrap();
        store.fill();
        let put_b = vec![Change::Put("b".into(), b"2".to_vec())];
        assert!(matches!(
            store.commit(put_b.clone()),
            Err(StoreError::Full { .. })
        ));
        store.free();
        assert!(matches!(
            store.commit(put_b.clone()),
            Err(StoreError::NeedsReopen)
        ));
        store.reopen().unwrap();
        store.commit(put_b).unwrap();
        assert_eq!(store.records().len(), 2);
        assert_eq!(store.n_commits(), 2);
    }
}
