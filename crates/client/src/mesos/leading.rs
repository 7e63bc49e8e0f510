//! Finding the master that leads: every other one knows its address, but nothing of the cluster.

use std::time::Duration;

use ::http::header::{ACCEPT, LOCATION};
use ::http::{Request, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::{MesosError, MesosMaster, State};
use crate::HttpError;

/// Where a state is read; the second one by masters from before Mesos 1.0.
const PATHS: [&str; 2] = ["/master/state", "/master/state.json"];

/// What a master says when it is asked for the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Leading {
    /// It leads, and this is the state.
    Itself(State),
    /// Another one leads, at this `HOST:PORT`.
    Other(String),
}

impl MesosMaster {
    /// Reads the whole state if this master leads, within `timeout`; else says who does.
    ///
    /// # Errors
    /// When the request fails, the answer is not a state, or the master knows of no leader.
    pub async fn state_if_leading(&self, timeout: Duration) -> Result<Leading, MesosError> {
        let [path, older_path] = PATHS;
        match self.read_if_leading(path, timeout).await {
            Err(MesosError::Http(error)) if error.status() == Some(StatusCode::NOT_FOUND) => {
                self.read_if_leading(older_path, timeout).await
            }
            read => read,
        }
    }

    async fn read_if_leading(&self, path: &str, timeout: Duration) -> Result<Leading, MesosError> {
        let url = format!("{}{path}", self.base);
        let request = Request::get(&url)
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| HttpError::Address {
                url: url.clone(),
                reason: error.to_string(),
            })?;
        let (head, body) = self.http.send(request, timeout).await?.into_parts();
        if head.status.is_redirection() {
            let location = head.headers.get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let location = location.unwrap_or_default();
            return match authority(location) {
                Some(leader) => Ok(Leading::Other(leader.to_owned())),
                None => Err(MesosError::Redirect {
                    location: location.to_owned(),
                }),
            };
        }
        if !head.status.is_success() {
            let status = head.status;
            return Err(HttpError::Status { status, body }.into());
        }
        let document: Value =
            serde_json::from_slice(&body).map_err(|source| HttpError::Decode { url, source })?;
        let own_pid = document["pid"].as_str().map(str::to_owned);
        let state = State::from_v0(document)?;
        let Some((_, leader)) = state.leader.split_once('@') else {
            return Err(MesosError::NoLeader);
        };
        // A master may be reached at another address than the one it goes by.
        let leads = match own_pid {
            Some(pid) => pid == state.leader,
            None => authority(&self.base) == Some(leader),
        };
        match leads {
            true => Ok(Leading::Itself(state)),
            false => Ok(Leading::Other(leader.to_owned())),
        }
    }
}

/// `HOST:PORT` of an `http://` address; Mesos leaves the scheme out of its redirects.
fn authority(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("http:")
        .unwrap_or(url)
        .strip_prefix("//")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|authority| !authority.is_empty())
}

#[cfg(test)]
mod tests;
