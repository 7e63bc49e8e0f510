//! `storeUrls`: files that are copied into the artifact store before tasks fetch them from there.
//!
//! ```text
//!   command ──rehearsed──▶ refused
//!             │ HEAD each URL ──▶ 422
//!             ▼
//!      its place in the store ──▶ deployment: ResolveArtifacts ──GET what is missing──▶ store   (`fetch`)
//! ```
//!
//! The place is made of the file's ETag, or of its URL if it has none, and its name: a file that changes and says so gets a new
//! place, and the app with it a new definition. Servers are asked only for a command that is not refused anyway, and by a dry
//! run not at all: there each file has the place of one without ETag. Servers are asked over `http` and `https`, and redirects
//! are followed; the place is that of the URL as it was given. Source: contract marathon §1.2, §2.5, §3.1; Marathon's `PathFun`.

mod fetch;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use http::header::ETAG;
use sha1::{Digest as _, Sha1};
use tokio::time::Instant;
use url::Url;
use zddcluster_engine::{Command, Engine};
use zddcluster_model::AppId;
use zddcluster_model::app::{AppUpdate, Fault};
use zddcluster_model::deployment::Download;
use zddcluster_model::secret::without_password;
use zddcluster_runtime::chain;

use crate::artifacts::ArtifactPath;
use crate::error::ApiError;
use crate::shared::Shared;

#[cfg(test)]
pub(crate) use self::fetch::AT_ONCE;
pub(crate) use self::fetch::{Downloads, start};

/// How long a server may take to say that it has a file.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long all servers of one command may take together: callers wait for it.
const RESOLVE_LIMIT: Duration = Duration::from_secs(60);
/// HEADs that are open at once, all commands together: a body may name thousands of URLs, and sockets are for others, too.
const HEADS_AT_ONCE: usize = 16;

/// The command as the one writer takes it: with places in the store instead of `storeUrls`, and with the downloads that its
/// deployment has to wait for.
///
/// `Err` is what the command would be refused for anyway, or 422 if a file cannot be had.
pub(crate) async fn resolved(shared: &Shared, mut command: Command) -> Result<Command, ApiError> {
    let urls = urls_of(&mut command);
    let Some((_, at, idx, _)) = urls.first() else {
        return Ok(command);
    };
    let Some(store) = &shared.artifacts else {
        return Err(refused(at, *idx, "this master has no artifact store"));
    };
    let asks = !matches!(command, Command::PlanGroup { .. });
    if asks {
        let (config, now) = (&shared.engine_config, shared.clock.now());
        Engine::rehearse(config, &shared.state(), now, without_urls(&command))?;
    }
    let deadline = Instant::now() + RESOLVE_LIMIT;
    let places: Vec<ArtifactPath> = stream::iter(urls.clone())
        .map(|(app_id, at, idx, url)| async move {
            let found = if asks {
                ask(shared, &url, deadline).await
            } else {
                place(&url, None)
            };
            found.map_err(|reason| {
                tracing::info!(%app_id, url = without_password(&url), reason, "storeUrls cannot be resolved");
                refused(&at, idx, "URL could not be resolved.")
            })
        })
        .buffered(HEADS_AT_ONCE)
        .try_collect()
        .await?;
    let mut downloads: BTreeMap<AppId, Vec<Download>> = BTreeMap::new();
    for ((app_id, _, _, url), path) in urls.iter().zip(&places) {
        if !matches!(store.find(path).await, Ok(Some(_))) {
            let (path, url) = (path.as_str().to_owned(), url.clone());
            let of_app = downloads.entry(app_id.clone()).or_default();
            of_app.push(Download { url, path });
        }
    }
    let mut places = places.iter().map(|path| store.uri(path));
    for (_, _, update) in updates_of(&mut command) {
        let n_urls = update.store_urls().len();
        if n_urls > 0 {
            update.resolve_store_urls(places.by_ref().take(n_urls));
        }
    }
    if downloads.is_empty() {
        return Ok(command);
    }
    let command = Box::new(command);
    Ok(Command::WithDownloads { downloads, command })
}

/// The command as it is if the files bring nothing new: one that changes nothing then is no matter for a lock.
fn without_urls(command: &Command) -> Command {
    let mut command = command.clone();
    for (_, _, update) in updates_of(&mut command) {
        if !update.store_urls().is_empty() {
            update.resolve_store_urls([]);
        }
    }
    command
}

/// Every URL of a command: its app, where that stands in the body (`/apps(0)`), the index there, and the URL.
fn urls_of(command: &mut Command) -> Vec<(AppId, String, usize, String)> {
    let mut urls = Vec::new();
    for (app_id, at, update) in updates_of(command) {
        for (idx, url) in update.store_urls().iter().enumerate() {
            urls.push((app_id.clone(), at.clone(), idx, url.clone()));
        }
    }
    urls
}

/// The apps that a command describes, with where each stands in the body.
fn updates_of(command: &mut Command) -> Vec<(AppId, String, &mut AppUpdate)> {
    let whole = String::new;
    match command {
        Command::CreateApp { update, .. } => {
            let app_id = AppId::absolute(update.id.as_deref().unwrap_or_default());
            vec![(app_id, whole(), update)]
        }
        Command::UpdateApp { app_id, update, .. } => vec![(app_id.clone(), whole(), update)],
        Command::UpdateApps { updates, .. } => {
            let named = updates.iter_mut().filter_map(|update| {
                let app_id = AppId::absolute(update.id.as_deref()?);
                Some((app_id, whole(), update))
            });
            named.collect()
        }
        Command::CreateGroup { base, update, .. }
        | Command::UpdateGroup { base, update, .. }
        | Command::PlanGroup { base, update } => update.apps_mut(base),
        Command::WithDownloads { command, .. } => updates_of(command),
        Command::DeleteApp { .. }
        | Command::RestartApp { .. }
        | Command::DeleteGroup { .. }
        | Command::KillTasks { .. }
        | Command::CancelDeployment { .. }
        | Command::RollBackDeployment { .. }
        | Command::ResetDelay { .. }
        | Command::Abdicate
        | Command::StopTasks => Vec::new(),
    }
}

fn refused(at: &str, idx: usize, error: &str) -> ApiError {
    ApiError::rules(vec![Fault {
        path: format!("{at}/storeUrls({idx})"),
        errors: vec![error.to_owned()],
    }])
}

/// Asks a server for the place of its file; the error is for the log.
async fn ask(shared: &Shared, url: &str, deadline: Instant) -> Result<ArtifactPath, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let answer = async {
        // Never closed.
        let _turn = shared.downloads.questions.acquire().await;
        let web = &shared.downloads.web;
        web.open(&Method::HEAD, &parsed, HEAD_LIMIT).await
    };
    let answer = tokio::time::timeout_at(deadline, answer)
        .await
        .map_err(|_| "the servers of this command were too slow".to_owned())?
        .map_err(|error| chain(&error))?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let etag = answer.headers().get(ETAG).map(|value| value.as_bytes());
    place(url, etag.filter(|etag| !etag.is_empty()))
}

/// Where a file has its place; the error is for the log.
fn place(url: &str, etag: Option<&[u8]>) -> Result<ArtifactPath, String> {
    let name = Url::parse(url)
        .ok()
        .and_then(|url| Some(url.path_segments()?.next_back()?.to_owned()))
        .unwrap_or_default();
    if name.is_empty() {
        return Err("it names no file".to_owned());
    }
    let mut place = String::new();
    for byte in Sha1::digest(etag.unwrap_or(url.as_bytes())) {
        write!(place, "{byte:02x}").expect("a string takes everything");
    }
    ArtifactPath::new([place.as_str(), &name]).map_err(|error| error.to_string())
}
