//! `storeUrls`: files that are copied into the artifact store before tasks fetch them from there.
//!
//! ```text
//!   request ──HEAD each URL──▶ 422, or its place in the store ──▶ deployment: ResolveArtifacts ──GET what is missing──▶ store
//! ```
//!
//! The place is made of the file's ETag, or of its URL if it has none, and its name: a file that changes and says so gets a new
//! place, and the app with it a new definition. Source: contract marathon §1.2, §3.1; Marathon's `PathFun`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ETAG;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use sha1::{Digest as _, Sha1};
use zddcluster_client::HttpClient;
use zddcluster_engine::{Command, DownloadOrder, Input};
use zddcluster_model::AppId;
use zddcluster_model::app::{AppUpdate, Fault};
use zddcluster_model::deployment::Download;
use zddcluster_runtime::OnFailure;

use crate::artifacts::{ArtifactPath, Artifacts};
use crate::error::ApiError;
use crate::shared::{Message, Shared};

/// How long a server may take to say that it has a file.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// A download that brings nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// Downloads that deployments of these updates have to wait for, by app.
pub(crate) type Downloads = BTreeMap<AppId, Vec<Download>>;

/// Puts the places in the store into the updates of apps that name `storeUrls`; `Err` (422) if one cannot be had.
pub(crate) async fn resolve(
    shared: &Shared,
    updates: Vec<(AppId, &mut AppUpdate)>,
) -> Result<Downloads, ApiError> {
    let updates = updates.into_iter();
    let updates = updates.map(|(app_id, update)| (app_id, String::new(), update));
    resolve_at(shared, updates.collect()).await
}

/// The same for updates that stand at these places of a body: `/apps(0)`.
pub(crate) async fn resolve_at(
    shared: &Shared,
    updates: Vec<(AppId, String, &mut AppUpdate)>,
) -> Result<Downloads, ApiError> {
    let mut downloads = Downloads::new();
    for (app_id, at, update) in updates {
        if update.store_urls().is_empty() {
            continue;
        }
        let Some(store) = &shared.artifacts else {
            return Err(refused(&at, 0, "this master has no artifact store"));
        };
        let mut uris = Vec::new();
        for (idx, url) in update.store_urls().iter().enumerate() {
            let path = place(url).await.map_err(|reason| {
                tracing::info!(%app_id, url, reason, "storeUrls cannot be resolved");
                refused(&at, idx, "URL could not be resolved.")
            })?;
            uris.push(store.uri(&path));
            let found = store.find(&path).await;
            if !matches!(found, Ok(Some(_))) {
                let path = path.as_str().to_owned();
                let url = url.clone();
                let of_app = downloads.entry(app_id.clone()).or_default();
                of_app.push(Download { url, path });
            }
        }
        update.resolve_store_urls(uris);
    }
    Ok(downloads)
}

/// The command, after these downloads.
pub(crate) fn after(downloads: Downloads, command: Command) -> Command {
    if downloads.is_empty() {
        return command;
    }
    Command::WithDownloads {
        downloads,
        command: Box::new(command),
    }
}

fn refused(at: &str, idx: usize, error: &str) -> ApiError {
    ApiError::rules(vec![Fault {
        path: format!("{at}/storeUrls({idx})"),
        errors: vec![error.to_owned()],
    }])
}

/// Where a URL's file has its place; the error is for the log.
async fn place(url: &str) -> Result<ArtifactPath, String> {
    let request = Request::builder()
        .method(Method::HEAD)
        .uri(url)
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    // Not the cluster's own client, which brings its token along.
    let answer = HttpClient::new().open(request, HEAD_LIMIT).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let etag = answer.headers().get(ETAG).map(|value| value.as_bytes());
    let name = url::Url::parse(url)
        .ok()
        .and_then(|url| Some(url.path_segments()?.next_back()?.to_owned()))
        .unwrap_or_default();
    let key = etag
        .filter(|etag| !etag.is_empty())
        .unwrap_or(url.as_bytes());
    let mut place = String::new();
    for byte in Sha1::digest(key) {
        write!(place, "{byte:02x}").map_err(|error| error.to_string())?;
    }
    if name.is_empty() {
        return Err("it names no file".to_owned());
    }
    ArtifactPath::new([place.as_str(), &name]).map_err(|error| error.to_string())
}

/// Carries out an order beside everything else; its end goes to the one writer.
pub(crate) fn start(shared: &Arc<Shared>, order: DownloadOrder) {
    let shared = Arc::clone(shared);
    let token = shared.token().clone();
    shared
        .tasks
        .clone()
        .spawn("download", OnFailure::Log, async move {
            let DownloadOrder {
                deployment_id,
                app_id,
                downloads,
            } = order;
            let all = async {
                for download in &downloads {
                    fetch(&shared, download).await.map_err(|error| {
                        format!("{} could not be downloaded: {error}", download.url)
                    })?;
                }
                Ok(())
            };
            // Cancel-safe: what is not whole is taken away; the next master begins anew.
            let Some(result) = token.run_until_cancelled(all).await else {
                return Ok(());
            };
            if let Err(reason) = &result {
                tracing::warn!(%deployment_id, %app_id, reason, "the deployment fails");
            }
            let ended = Input::Downloaded {
                deployment_id,
                app_id,
                result,
            };
            shared.send(Message::Input(ended)).await?;
            Ok(())
        });
}

/// Brings one file into the store, unless it is there.
async fn fetch(shared: &Shared, download: &Download) -> Result<(), String> {
    let store: &Artifacts = shared
        .artifacts
        .as_ref()
        .ok_or("there is no artifact store")?;
    let path = ArtifactPath::new([download.path.as_str()]).map_err(|error| error.to_string())?;
    let text = |error: std::io::Error| error.to_string();
    if store.find(&path).await.map_err(text)?.is_some() {
        return Ok(());
    }
    let request = Request::get(&download.url)
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let answer = HttpClient::new().open(request, SILENCE).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()));
    }
    let mut body = answer.into_body();
    let mut upload = store.begin().await.map_err(text)?;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| "the server is silent".to_owned())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        if upload.length() + bytes.len() as u64 > store.limit {
            return Err(format!("it is larger than {} bytes", store.limit));
        }
        upload.write(bytes).await.map_err(text)?;
    }
    upload.keep(store, &path).await.map_err(text)?;
    Ok(())
}
