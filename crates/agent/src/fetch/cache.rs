//! Downloads that are kept for the next task: one file a URL, the least recently used ones let go when there are too many.
//!
//! What is kept is taken to be what the URL stands for, for as long as it is kept: nobody is asked again, as with Mesos' cache.
//! A file that is let go while a task is being given it is still read to its end: whoever reads it has it open.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::FetchError;
use super::download::Part;

/// Ends the name of a download that is not whole.
const PART: &str = ".part";

/// One agent's kept downloads.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    /// Bytes.
    capacity: u64,
    /// URLs of which one task is being served, others wait.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    n_parts: AtomicU64,
    /// Held while files are counted and let go.
    counting: Mutex<()>,
}

impl Cache {
    /// Parts that an earlier agent left are taken away. Blocks.
    pub(super) fn open(directory: PathBuf, capacity: u64) -> Self {
        for (path, _) in files(&directory) {
            if path.to_string_lossy().ends_with(PART) {
                let _ = fs::remove_file(path);
            }
        }
        Self {
            directory,
            capacity,
            busy: Mutex::default(),
            n_parts: AtomicU64::new(0),
            counting: Mutex::default(),
        }
    }

    /// The file of a URL: the one that is kept, else what `download` brings. Who asks for the same meanwhile waits for it.
    ///
    /// Dropped, a download is given up, and the next one who waits makes it.
    pub(super) async fn get<D>(
        self: &Arc<Self>,
        url: &str,
        download: impl FnOnce(File) -> D,
    ) -> Result<File, FetchError>
    where
        D: Future<Output = Result<u64, FetchError>>,
    {
        let key = key(url);
        let turn = self.turn(&key);
        let _turn = turn.lock().await;
        let this = Arc::clone(self);
        let path = self.directory.join(&key);
        let kept = {
            let path = path.clone();
            blocking(move || this.kept(&path)).await?
        };
        if let Some(file) = kept {
            return Ok(file);
        }
        let number = self.n_parts.fetch_add(1, Ordering::Relaxed);
        let part_path = self.directory.join(format!("{number}{PART}"));
        let part = Part::new(part_path.clone());
        let file = {
            let path = part_path.clone();
            blocking(move || create(&path)).await?
        };
        let length = download(file).await?;
        let this = Arc::clone(self);
        Ok(blocking(move || this.keep(part, &part_path, &path, length)).await?)
    }

    /// Who holds it may serve this key. Of keys that nobody asks for any more nothing is remembered.
    fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(busy.entry(key.to_owned()).or_default())
    }

    fn kept(&self, path: &Path) -> io::Result<Option<File>> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        match File::open(path) {
            Ok(file) => {
                // When it was last used.
                file.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes room for a whole download and keeps it; one that has no room is good for this once.
    fn keep(&self, part: Part, part_path: &Path, path: &Path, length: u64) -> io::Result<File> {
        let file = File::open(part_path)?;
        if length > self.capacity {
            return Ok(file);
        }
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept: Vec<_> = files(&self.directory)
            .into_iter()
            .filter(|(path, _)| !path.to_string_lossy().ends_with(PART))
            .map(|(path, metadata)| {
                let used_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                (used_at, metadata.len(), path)
            })
            .collect();
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, length, _)| length).sum();
        for (_, length_of_other, other) in kept {
            if total + length <= self.capacity {
                break;
            }
            fs::remove_file(other)?;
            total -= length_of_other;
        }
        fs::rename(part_path, path)?;
        part.keep();
        Ok(file)
    }
}

/// The name of a URL's file: a URL may be longer than a name, and hold slashes and passwords.
fn key(url: &str) -> String {
    let mut key = String::new();
    for byte in Sha256::digest(url.as_bytes()) {
        // Writing to a text does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn files(directory: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        metadata.is_file().then(|| (entry.path(), metadata))
    };
    entries.filter_map(file).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    async fn get(cache: &Arc<Cache>, url: &str, content: &str) -> String {
        let content = content.to_owned();
        let brought = cache.get(url, async |mut file: File| {
            // Others come meanwhile.
            tokio::task::yield_now().await;
            file.write_all(content.as_bytes())?;
            Ok(content.len() as u64)
        });
        let mut text = String::new();
        brought.await.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn size(directory: &Path) -> u64 {
        let files = files(directory);
        files.iter().map(|(_, metadata)| metadata.len()).sum()
    }

    #[tokio::test]
    async fn one_download_serves_all_who_ask() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::open(directory.path().join("fetch"), 100));
        let both = tokio::join!(get(&cache, "a", "first"), get(&cache, "a", "second"));
        assert_eq!(both, ("first".to_owned(), "first".to_owned()));
        assert_eq!(get(&cache, "b", "other").await, "other");
        // The next agent finds it, and no half of a file.
        let half = directory.path().join("fetch/7.part");
        fs::write(&half, "half").unwrap();
        let cache = Arc::new(Cache::open(directory.path().join("fetch"), 100));
        assert_eq!(get(&cache, "a", "third").await, "first");
        assert!(!half.exists());
    }

    #[tokio::test]
    async fn the_least_recently_used_is_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::open(directory.path().to_owned(), 10));
        let used_at = |url: &str, seconds: u64| {
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let file = File::open(directory.path().join(key(url))).unwrap();
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
        };
        get(&cache, "a", "aaaa").await;
        get(&cache, "b", "bbbb").await;
        used_at("a", 2);
        used_at("b", 1);
        get(&cache, "c", "cccc").await;
        assert_eq!(size(directory.path()), 8);
        assert_eq!(get(&cache, "a", "again").await, "aaaa");
        // One that is larger than all of it is given, and not kept.
        let large = "larger than that";
        assert_eq!(get(&cache, "d", large).await, large);
        assert_eq!(get(&cache, "d", "next").await, "next");
        assert!(size(directory.path()) <= 10);
    }

    #[tokio::test]
    async fn a_failed_download_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::open(directory.path().to_owned(), 10));
        let failed = cache.get("a", async |mut file: File| {
            file.write_all(b"half")?;
            Err(FetchError::TooLarge(1))
        });
        assert!(failed.await.is_err());
        assert_eq!(size(directory.path()), 0);
        assert_eq!(get(&cache, "a", "whole").await, "whole");
    }
}
