//! What a task wants in its sandbox before it starts: files of this machine and of servers, unpacked where they are archives.
//!
//! ```text
//!   each URI ── file ────────────────▶ copied ──────▶ sandbox/NAME ─┬─ executable: 0755
//!            ── http(s) ─────────────▶ downloaded ──▶ sandbox/NAME ─┼─ extract, and NAME is an archive's: unpacked beside it
//!            ── http(s), cache: kept, or downloaded and kept ───────┘  (a kept one is unpacked from where it is kept)
//! ```
//!
//! URIs are fetched in their order, so a later one replaces what an earlier one brought. All of it belongs to the task's user.
//! Whatever goes wrong fails the task with the URI and the reason; nothing is left out in silence. Source: contract marathon
//! §1.10; Mesos 1.0 `fetcher.cpp` (`executable` goes before `extract`, and what is no archive is left as it is).

mod cache;
mod download;
mod local;
mod place;
mod source;
mod unpack;

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;
use zddcluster_client::{WebClient, WebError};
use zddcluster_model::app::Fetch;
use zddcluster_model::secret::without_password;
use zddcluster_runtime::chain;

use self::cache::Cache;
use self::download::{Part, download};
use self::place::Place;
use self::source::{Source, target};
use self::unpack::Format;
use crate::containerizer::{LaunchError, Owner};

/// In the agent's work directory: downloads that are kept.
pub(crate) const DIRECTORY: &str = "fetch";

/// Bytes of downloads that are kept: Mesos' `--fetcher_cache_size`.
const CACHE_SIZE: u64 = 2 << 30;

/// How much one URI may bring, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a download.
    pub(crate) file: u64,
    /// Bytes of a copy, or of all files of an archive.
    pub(crate) unpacked: u64,
    /// Files, directories and links of an archive.
    pub(crate) entries: u64,
    /// For a download.
    pub(crate) time: Duration,
}

impl Limits {
    /// Larger than any distribution of a program that a task would bring along (a JDK: 0.2 GiB, 0.5 unpacked, 1,000 files);
    /// small enough that a server or an archive gone wrong does not fill a machine's disk. An hour brings 4 GiB through 10 Mbit/s.
    pub(crate) const DEFAULT: Self = Self {
        file: 4 << 30,
        unpacked: 8 << 30,
        entries: 500_000,
        time: Duration::from_secs(3600),
    };
}

/// Why a file is not in the sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{scheme}:// is not supported; {known}")]
    Scheme { scheme: String, known: &'static str },
    #[error("it is not a usable address")]
    Url(#[source] url::ParseError),
    #[error("a path must be absolute")]
    Relative,
    #[error("it names no file; \"outputFile\" can name it")]
    NoName,
    #[error("'{0}' cannot be its name in the sandbox")]
    Name(String),
    #[error("it is not a file")]
    NoFile,
    #[error("user '{0}' may not read it")]
    Unreadable(String),
    #[error(transparent)]
    Web(#[from] WebError),
    #[error("the server answered {0}")]
    Status(http::StatusCode),
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the server has been silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it takes longer than {} s", .0.as_secs_f64())]
    TooSlow(Duration),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it holds more than {0} files")]
    TooMany(u64),
    #[error("'{}' would be outside of the sandbox", .0.display())]
    Escapes(PathBuf),
    #[error("'{}' is a link to '{}', which is outside of the sandbox or no file of it", .name.display(), .to.display())]
    LinkEscapes { name: PathBuf, to: PathBuf },
    #[error("'{}' is neither a file, a directory nor a link", .0.display())]
    Kind(PathBuf),
    #[error("'{}' leads through something that is no directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("'{}' cannot be replaced", .name.display())]
    InTheWay { name: PathBuf, source: io::Error },
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error("it is no .zip that can be unpacked")]
    Zip(#[from] zip::result::ZipError),
    #[error("it cannot be written")]
    Write(#[from] io::Error),
    #[error("nobody waits for it any more")]
    GivenUp,
}

/// Fetches for the tasks of one agent. Clones share what is kept.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    web: WebClient,
    cache: Arc<Cache>,
    limits: Limits,
}

impl Fetcher {
    /// Keeps downloads in `directory`. Blocks.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self::with(directory, CACHE_SIZE, Limits::DEFAULT)
    }

    fn with(directory: PathBuf, cache_size: u64, limits: Limits) -> Self {
        Self {
            web: WebClient::new(),
            cache: Arc::new(Cache::open(directory, cache_size)),
            limits,
        }
    }

    /// Brings everything a task asks for into its sandbox, which is there.
    ///
    /// Dropping the future gives up: nothing is written any more after a moment, and what is there stays.
    pub(crate) async fn fetch(
        &self,
        wanted: &[Fetch],
        sandbox: &Path,
        owner: Option<&Owner>,
    ) -> Result<(), LaunchError> {
        for fetch in wanted {
            self.fetch_one(fetch, sandbox, owner)
                .await
                .map_err(|error| {
                    let uri = without_password(&fetch.uri);
                    LaunchError::new(format!("Failed to fetch '{uri}': {}", chain(&error)))
                })?;
        }
        Ok(())
    }

    async fn fetch_one(
        &self,
        fetch: &Fetch,
        sandbox: &Path,
        owner: Option<&Owner>,
    ) -> Result<(), FetchError> {
        let source = Source::parse(&fetch.uri)?;
        let name = match &fetch.output_file {
            Some(name) => name,
            None => source.name()?,
        };
        let job = Job {
            name: target(name)?,
            sandbox: sandbox.to_owned(),
            owner: owner.cloned(),
            is_executable: fetch.executable,
            format: Format::of(Path::new(name)).filter(|_| fetch.extract && !fetch.executable),
            limits: self.limits,
            given_up: CancellationToken::new(),
        };
        // File work goes on in a thread of its own: it has to hear that nobody waits.
        let _given_up = job.given_up.clone().drop_guard();
        match source {
            Source::Local(path) => job.run(move |job| job.copy_local(&path)).await,
            Source::Web(url) if fetch.cache => {
                let limits = self.limits;
                let file = self
                    .cache
                    .get(url.as_str(), |file| download(&self.web, &url, file, limits))
                    .await?;
                job.run(move |job| match job.format {
                    Some(format) => format.unpack(&job.name, file, &mut job.place()),
                    None => job.copy(file).map(drop),
                })
                .await
            }
            Source::Web(url) => self.bring(&url, job).await,
        }
    }

    /// Downloads into the sandbox.
    async fn bring(&self, url: &Url, job: Job) -> Result<(), FetchError> {
        let made = job.clone();
        let (path, file) = made
            .run(|job| job.place().make(&job.name, job.mode()))
            .await?;
        let part = Part::new(path);
        let written = file.try_clone()?;
        download(&self.web, url, written, self.limits).await?;
        part.keep();
        job.run(move |job| job.unpack(file)).await
    }
}

/// One URI's work on files.
#[derive(Clone, Debug)]
struct Job {
    name: PathBuf,
    sandbox: PathBuf,
    owner: Option<Owner>,
    is_executable: bool,
    /// What is to be unpacked.
    format: Option<Format>,
    limits: Limits,
    given_up: CancellationToken,
}

impl Job {
    /// Runs a part of it where it may block.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, FetchError> + Send + 'static,
    ) -> Result<T, FetchError> {
        tokio::task::spawn_blocking(move || work(&self))
            .await
            .map_err(io::Error::other)?
    }

    fn place(&self) -> Place<'_> {
        Place::new(
            &self.sandbox,
            self.owner.as_ref(),
            self.limits,
            &self.given_up,
        )
    }

    const fn mode(&self) -> u32 {
        if self.is_executable { 0o755 } else { 0o644 }
    }

    fn copy_local(&self, path: &Path) -> Result<(), FetchError> {
        let file = local::open(path, self.owner.as_ref())?;
        let copied = self.copy(file)?;
        self.unpack(copied)
    }

    /// Copies into the sandbox; the copy comes back.
    fn copy(&self, mut file: File) -> Result<File, FetchError> {
        self.place().put(&self.name, self.mode(), &mut file)
    }

    /// Unpacks the file that was put into the sandbox, if it is an archive. Not by its name: that may lead elsewhere by now.
    fn unpack(&self, mut file: File) -> Result<(), FetchError> {
        let Some(format) = self.format else {
            return Ok(());
        };
        file.rewind().map_err(FetchError::Read)?;
        format.unpack(&self.name, file, &mut self.place())
    }
}

#[cfg(test)]
mod tests;
