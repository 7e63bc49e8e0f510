//! Requests whose refusal is the point: any status is an answer.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::ClusterSandbox;

/// How long an answer may take on a machine that runs all other tests at the same time.
const LIMIT: Duration = Duration::from_secs(20);

impl ClusterSandbox {
    /// Sends a request to the front door; returns the status and the body: JSON if it is JSON, else its text.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        self.send_to(method, &self.url(path), body, &[]).await
    }

    /// The same to any URL, with more headers.
    pub async fn send_to(
        &self,
        method: Method,
        url: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(&method)
            .uri(url)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into())?;
        let answer = self.http().send(request, LIMIT).await;
        let answer = answer.with_context(|| format!("no answer to {method} {url}"))?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((answer.status(), body))
    }

    /// Posts an app that has to be taken.
    pub async fn post_app(&self, app: &Value) -> anyhow::Result<()> {
        let (status, body) = self.send(Method::POST, "/v2/apps", app.to_string()).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{status}: {body}");
        Ok(())
    }

    /// Puts a change of an app that has to be taken.
    pub async fn put_app(&self, app_id: &str, change: &Value) -> anyhow::Result<()> {
        let path = format!("/v2/apps{app_id}");
        let (status, body) = self.send(Method::PUT, &path, change.to_string()).await?;
        anyhow::ensure!(status.is_success(), "{status}: {body}");
        Ok(())
    }
}
