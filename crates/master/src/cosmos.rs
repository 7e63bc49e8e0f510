//! The package API, as DC/OS' Cosmos answers it: `GET /capabilities` and `POST /package/{verb}`.
//!
//! The universe is built in ([`zddcluster_model::package`]); an installation is an app with the labels of a package, so what is
//! installed is what runs, whoever created or removed it. Installing goes the way of `POST /v2/apps`, through the engine.
//!
//! ```text
//!   request ─▶ verb ─▶ Accept: version ─▶ Content-Type ─▶ body ─▶ universe / engine ─▶ answer of that version
//!                └──────────┴─────────────────┴────────────┴──────────┴──▶ error, with a media type of its own
//! ```
//!
//! Clients compare media types letter by letter, so each answer names the one that was asked for; what is not JSON of the
//! error's type makes old clients crash. So everything that goes wrong below these paths ends in [`CosmosError`].
//!
//! Source: contract dcos-cli §3, §5 and §8; the clients dcoscli 0.4.14, 0.4.17 and 0.6.1.

mod catalogue;
mod error;
mod fields;
mod install;
mod installed;
mod media;
mod repository;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use self::error::CosmosError;
use self::fields::Fields;
use self::media::{MediaType, Version};
use crate::error::ApiError;
use crate::http::{BodyError, Call, json_response, segments};
use crate::shared::Shared;

/// Largest request body, bytes. Options are a few hundred; a certificate with its chain among them some ten thousand.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// What this cluster can do, of what clients ask for. Neither LOGGING nor LOGGING_V2 is here, so that they read logs from
/// Mesos' files, nor METRONOME, so that they say themselves that there are no jobs.
const CAPABILITIES: [&str; 1] = ["PACKAGE_MANAGEMENT"];

/// What can be asked for below `/package`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Describe,
    Install,
    List,
    ListVersions,
    Render,
    RepositoryAdd,
    RepositoryDelete,
    RepositoryList,
    Search,
    Uninstall,
}

impl Verb {
    fn of(path: &[&str]) -> Option<Self> {
        Some(match path {
            ["describe"] => Self::Describe,
            ["install"] => Self::Install,
            ["list"] => Self::List,
            ["list-versions"] => Self::ListVersions,
            ["render"] => Self::Render,
            ["repository", "add"] => Self::RepositoryAdd,
            ["repository", "delete"] => Self::RepositoryDelete,
            ["repository", "list"] => Self::RepositoryList,
            ["search"] => Self::Search,
            ["uninstall"] => Self::Uninstall,
            _ => return None,
        })
    }

    /// As media types have it.
    fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Install => "install",
            Self::List => "list",
            Self::ListVersions => "list-versions",
            Self::Render => "render",
            Self::RepositoryAdd => "repository.add",
            Self::RepositoryDelete => "repository.delete",
            Self::RepositoryList => "repository.list",
            Self::Search => "search",
            Self::Uninstall => "uninstall",
        }
    }

    fn request_type(self) -> MediaType {
        MediaType::package(&format!("{}-request", self.name()), Version::V1)
    }

    /// The answers that are served, the oldest first.
    fn response_types(self) -> Vec<MediaType> {
        let versions: &[Version] = match self {
            Self::Describe => &[Version::V1, Version::V2, Version::V3],
            Self::Install => &[Version::V1, Version::V2],
            Self::List
            | Self::ListVersions
            | Self::Render
            | Self::RepositoryAdd
            | Self::RepositoryDelete
            | Self::RepositoryList
            | Self::Search
            | Self::Uninstall => &[Version::V1],
        };
        let name = format!("{}-response", self.name());
        versions
            .iter()
            .map(|version| MediaType::package(&name, *version))
            .collect()
    }
}

/// Whether a request is meant for this API.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    let segments = segments(request.uri().path());
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    matches!(segments.as_slice(), ["capabilities"] | ["package", ..])
}

/// Answers a request that [`is_asked`] of this API.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Body>) -> Response {
    let call = match Call::read_at_most(request, BODY_LIMIT).await {
        Ok(call) => call,
        Err(BodyError::TooLarge) => return CosmosError::TooLarge.into_response(),
        Err(error @ BodyError::BrokenOff(_)) => {
            return CosmosError::NotParsed(error.to_string()).into_response();
        }
    };
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let outcome = match segments.as_slice() {
        ["capabilities"] if call.is_read() => capabilities(&call),
        ["package", path @ ..]
            if call.method == Method::POST
                && let Some(verb) = Verb::of(path) =>
        {
            carry_out(shared, &call, verb).await
        }
        // What a newer client asks of a newer Cosmos, too: it takes this 404 for "not supported", and only this.
        _ => return ApiError::unknown_route(&call.path).into_response(),
    };
    outcome.unwrap_or_else(CosmosError::into_response)
}

fn capabilities(call: &Call) -> Result<Response, CosmosError> {
    let media_type = accepted(&call.headers, vec![MediaType::capabilities()])?;
    let names = CAPABILITIES.map(|name| json!({ "name": name }));
    Ok(typed(&media_type, &json!({ "capabilities": names })))
}

async fn carry_out(shared: &Arc<Shared>, call: &Call, verb: Verb) -> Result<Response, CosmosError> {
    let media_type = accepted(&call.headers, verb.response_types())?;
    let version = media_type.version();
    let content_type = joined(&call.headers, &CONTENT_TYPE);
    let request_type = verb.request_type();
    if !request_type.is_meant_by(&content_type) {
        return Err(CosmosError::UnsupportedContentType {
            supported: request_type.to_string(),
            actual: content_type,
        });
    }
    let fields = Fields::read(&call.body)?;
    let body = match verb {
        Verb::Describe => catalogue::describe(&fields, version)?,
        Verb::ListVersions => catalogue::list_versions(&fields)?,
        Verb::Search => catalogue::search(&fields)?,
        Verb::Render => install::render(&fields)?,
        Verb::Install => install::install(shared, &fields, &call.client_ip, version).await?,
        Verb::List => installed::list(&shared.state(), &fields)?,
        Verb::Uninstall => installed::uninstall(shared, &fields).await?,
        Verb::RepositoryList => repository::list(),
        Verb::RepositoryAdd => repository::add(&fields)?,
        Verb::RepositoryDelete => repository::delete(&fields)?,
    };
    Ok(typed(&media_type, &body))
}

/// The served media type that the caller would rather have.
fn accepted(headers: &HeaderMap, served: Vec<MediaType>) -> Result<MediaType, CosmosError> {
    let specified = joined(headers, &ACCEPT);
    match media::choose(&specified, &served) {
        Some(at) => Ok(served[at].clone()),
        None => Err(CosmosError::NotAcceptable {
            specified,
            available: served.iter().map(MediaType::to_string).collect(),
        }),
    }
}

/// All lines of a header as one.
fn joined(headers: &HeaderMap, name: &http::HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    lines.join(", ")
}

fn typed(media_type: &MediaType, body: &Value) -> Response {
    let mut response = json_response(StatusCode::OK, body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, media_type.header());
    response
}
