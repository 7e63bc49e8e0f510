//! One file from a server into a file of ours.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use url::Url;
use zddcluster_client::WebClient;

use super::{FetchError, Limits};

/// A server that sends nothing for so long has failed: as Mesos' `--fetcher_stall_timeout`.
const SILENCE: Duration = Duration::from_secs(60);

/// Brings a file; returns its length. What came before an error stays in `file`.
pub(super) async fn download(
    web: &WebClient,
    url: &Url,
    file: std::fs::File,
    limits: Limits,
) -> Result<u64, FetchError> {
    let whole = stream(web, url, tokio::fs::File::from_std(file), limits);
    tokio::time::timeout(limits.time, whole)
        .await
        .map_err(|_| FetchError::TooSlow(limits.time))?
}

async fn stream(
    web: &WebClient,
    url: &Url,
    mut file: tokio::fs::File,
    limits: Limits,
) -> Result<u64, FetchError> {
    let answer = web.open(&Method::GET, url, SILENCE).await?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status()));
    }
    let announced = answer.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.file) {
        return Err(FetchError::TooLarge(limits.file));
    }
    let mut body = answer.into_body();
    let mut length = 0;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| FetchError::Silent(SILENCE))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| FetchError::Broken(error.into()))?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        length += bytes.len() as u64;
        if length > limits.file {
            return Err(FetchError::TooLarge(limits.file));
        }
        file.write_all(bytes).await?;
    }
    // An error of the last write is told here.
    file.flush().await?;
    Ok(length)
}

/// A file that is taken away unless it is said to be whole.
#[derive(Debug)]
pub(super) struct Part(Option<PathBuf>);

impl Part {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// It is whole, and stays.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "half a download stays");
        }
    }
}
