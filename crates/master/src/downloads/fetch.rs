//! Carrying out download orders: GET what is missing, into the artifact store.
//!
//! One task an order; [`AT_ONCE`] files at a time, all orders together. An order is called off with the step of the deployment
//! that waits for it; what has not come whole by then is taken away. The end of any other goes to the one writer, with the
//! number of the attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;
use zddcluster_client::{WebClient, WebError};
use zddcluster_engine::{Attempt, DownloadOrder, Input};
use zddcluster_model::deployment::Download;
use zddcluster_model::secret::without_password;
use zddcluster_runtime::{OnFailure, chain};

use super::HEADS_AT_ONCE;
use crate::artifacts::{ArtifactPath, Artifacts, BadPath, WriteError};
use crate::shared::{Message, Shared};

/// Files that are brought at once; others wait for their turn, and their time begins with it. More would share the same line.
pub(crate) const AT_ONCE: usize = 4;

/// How long a file may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Without anything coming.
    silence: Duration,
    /// From its turn on to its last byte.
    whole: Duration,
}

/// A gigabyte, the largest artifact, takes an hour at 300 kB/s; who is slower holds up its deployment, and others' turns.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(60),
    whole: Duration::from_secs(3600),
};

/// The orders that run, and how much may be asked at once.
#[derive(Debug)]
pub(crate) struct Downloads {
    /// Not the cluster's own client, which brings its token along. Made at the first use: it reads what this machine trusts.
    pub(super) web: LazyLock<WebClient>,
    pub(super) questions: Semaphore,
    turns: Semaphore,
    running: Mutex<BTreeMap<Attempt, CancellationToken>>,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            web: LazyLock::new(WebClient::new),
            questions: Semaphore::new(HEADS_AT_ONCE),
            turns: Semaphore::new(AT_ONCE),
            running: Mutex::default(),
        }
    }
}

impl Downloads {
    /// Calls an order off; nothing happens if it has ended.
    pub(crate) fn stop(&self, attempt: Attempt) {
        if let Some(token) = self.lock().remove(&attempt) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Attempt, CancellationToken>> {
        // A panic elsewhere leaves only whole entries behind.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a file was not brought.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("there is no artifact store")]
    NoStore,
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error("the address cannot be used")]
    Address(#[from] url::ParseError),
    #[error(transparent)]
    Web(#[from] WebError),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server broke off")]
    Body(#[from] hyper::Error),
    #[error("the server is silent")]
    Silent,
    #[error("it took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the artifact store fails")]
    Store(#[from] std::io::Error),
}

/// Carries out an order beside everything else; its end goes to the one writer.
pub(crate) fn start(shared: &Arc<Shared>, order: DownloadOrder) {
    let shared = Arc::clone(shared);
    let token = shared.token().child_token();
    let before = shared.downloads.lock().insert(order.attempt, token.clone());
    debug_assert!(before.is_none(), "an attempt has a number of its own");
    let tasks = shared.tasks.clone();
    tasks.spawn("download", OnFailure::Log, async move {
        // Cancel-safe: what is not whole is taken away; who takes the plan up again begins anew.
        let ended = token.run_until_cancelled(all(&shared, &order)).await;
        shared.downloads.lock().remove(&order.attempt);
        let Some(result) = ended else {
            return Ok(());
        };
        let DownloadOrder {
            attempt,
            deployment_id,
            app_id,
            downloads: _,
        } = order;
        if let Err(reason) = &result {
            tracing::warn!(%deployment_id, %app_id, reason, "the deployment fails");
        }
        let ended = Input::Downloaded {
            deployment_id,
            app_id,
            attempt,
            result,
        };
        shared.send(Message::Input(ended)).await?;
        Ok(())
    });
}

/// Brings all files of an order, one after the other; the error is for people.
async fn all(shared: &Shared, order: &DownloadOrder) -> Result<(), String> {
    for download in &order.downloads {
        // Never closed.
        let _turn = shared.downloads.turns.acquire().await;
        let store = shared.artifacts.as_ref().ok_or(FetchError::NoStore);
        let fetched = match store {
            Ok(store) => fetch(store, &shared.downloads.web, download, PATIENCE).await,
            Err(error) => Err(error),
        };
        fetched.map_err(|error| {
            let url = without_password(&download.url);
            format!("{url} could not be downloaded: {}", chain(&error))
        })?;
    }
    Ok(())
}

/// Brings one file into the store, unless it is there.
async fn fetch(
    store: &Artifacts,
    web: &WebClient,
    download: &Download,
    patience: Patience,
) -> Result<(), FetchError> {
    let bring = bring(store, web, download, patience.silence);
    let brought = tokio::time::timeout(patience.whole, bring).await;
    brought.unwrap_or(Err(FetchError::TooSlow(patience.whole)))
}

async fn bring(
    store: &Artifacts,
    web: &WebClient,
    download: &Download,
    silence: Duration,
) -> Result<(), FetchError> {
    let path = ArtifactPath::new([download.path.as_str()])?;
    if store.find(&path).await?.is_some() {
        return Ok(());
    }
    let url = Url::parse(&download.url)?;
    let answer = web.open(&Method::GET, &url, silence).await?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status()));
    }
    let mut body = answer.into_body();
    let mut upload = store.begin().await?;
    loop {
        let frame = tokio::time::timeout(silence, body.frame()).await;
        let Some(frame) = frame.map_err(|_| FetchError::Silent)? else {
            break;
        };
        if let Some(bytes) = frame?.data_ref() {
            upload.write(bytes).await?;
        }
    }
    upload.keep(store, &path).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::artifacts::Limits;

    #[tokio::test]
    async fn a_server_that_is_never_silent_and_never_done_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let (one, all) = (1 << 20, 1 << 20);
        let store = Artifacts::open(directory.path().join("store"), Limits { one, all }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let trickle = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Patience {
            silence: Duration::from_secs(60),
            whole: Duration::from_millis(200),
        };
        let path = "0/x".to_owned();
        let download = Download { url, path };
        let web = WebClient::new();
        let fetch = fetch(&store, &web, &download, patience);
        let limit = Duration::from_secs(30);
        let both = async { tokio::join!(trickle, fetch).1 };
        let fetched = tokio::time::timeout(limit, both).await.unwrap();
        assert!(
            matches!(fetched, Err(FetchError::TooSlow(_))),
            "{fetched:?}"
        );
        let uploads = directory.path().join("store/.uploads");
        assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0);
    }
}
