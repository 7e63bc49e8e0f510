//! `/zdd/v1/gateways` on the admin port: who drives gateways reads and changes them here.
//!
//! Writes follow each other. One that is answered with success is in use, and in the file if there is one. With a token, all of it
//! is only for those who have it.
//!
//! Source: [`zddcluster_model::gateway`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zddcluster_model::gateway::{Gateway, Gateways};

use super::{Refusal, file};
use crate::state::Shared;

/// What the routes share.
#[derive(Clone)]
struct Api {
    shared: Arc<Shared>,
    /// Held during a change, from what it is based on to its end.
    writes: Arc<Mutex<()>>,
}

/// The routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let token = shared.config.token.clone();
    let api = Api {
        shared,
        writes: Arc::default(),
    };
    let router = Router::new()
        .route("/zdd/v1/gateways", get(list).put(replace))
        .route("/zdd/v1/gateways/{*name}", get(one).put(put).delete(remove))
        .with_state(api);
    match token {
        Some(token) => token.wrap(router),
        None => router,
    }
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("cannot read the body: {0}")]
    Body(#[from] BytesRejection),
    #[error("the body is not as it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the body is about the gateway {body:?}, the path about {path:?}")]
    Name { body: String, path: String },
    #[error("there is no gateway {0:?}")]
    Unknown(String),
    #[error(transparent)]
    Gateways(#[from] Refusal),
    #[error("cannot write {path}: {source}; nothing has changed")]
    Write { path: PathBuf, source: io::Error },
    #[error("the change was broken off: the edge is ending")]
    Ending,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Body(rejection) => rejection.status(),
            Self::Json(_) | Self::Name { .. } => StatusCode::BAD_REQUEST,
            Self::Gateways(Refusal::Unusable(_) | Refusal::Twice(_)) => StatusCode::BAD_REQUEST,
            Self::Gateways(Refusal::Conflict(_)) => StatusCode::CONFLICT,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Write { .. } | Self::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        let message = serde_json::json!({ "message": self.to_string() });
        (status, Json(message)).into_response()
    }
}

async fn list(State(api): State<Api>) -> Json<Gateways> {
    Json(api.all())
}

async fn one(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Gateway>, Refused> {
    let found = api.shared.gateways().get(&name).cloned();
    let gateway = found.ok_or(Refused::Unknown(name))?;
    Ok(Json(gateway.spec.clone()))
}

async fn replace(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Gateways>, Refused> {
    let gateways: Gateways = parse(body)?;
    api.change(|all| {
        *all = gateways;
        Ok(())
    })
    .await?;
    Ok(Json(api.all()))
}

async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Gateway>), Refused> {
    let mut gateway: Gateway = parse(body)?;
    if gateway.name.is_empty() {
        gateway.name.clone_from(&name);
    }
    if gateway.name != name {
        let body = gateway.name;
        return Err(Refused::Name { body, path: name });
    }
    let new = gateway.clone();
    let is_new = api
        .change(|all| {
            let same = all.gateways.iter_mut().find(|it| it.name == new.name);
            Ok(match same {
                Some(same) => {
                    *same = new;
                    false
                }
                None => {
                    all.gateways.push(new);
                    true
                }
            })
        })
        .await?;
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(gateway)))
}

async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    api.change(|all| {
        let at = all.gateways.iter().position(|it| it.name == name);
        all.gateways.remove(at.ok_or(Refused::Unknown(name))?);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Refused> {
    Ok(serde_json::from_slice(&body?)?)
}

impl Api {
    fn all(&self) -> Gateways {
        let gateways = self.shared.gateways();
        let specs = gateways.values().map(|gateway| gateway.spec.clone());
        Gateways {
            gateways: specs.collect(),
        }
    }

    /// Changes the gateways. Once it has begun to write it goes on to its end, also when whoever asked for it has gone.
    async fn change<T>(
        &self,
        edit: impl FnOnce(&mut Gateways) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let writing = Arc::clone(&self.writes).lock_owned().await;
        let mut gateways = self.all();
        let outcome = edit(&mut gateways)?;
        let shared = Arc::clone(&self.shared);
        let set = super::read(gateways.clone(), |port| shared.is_reserved(port))?;
        let written = tokio::task::spawn_blocking(move || {
            if let Some(path) = &shared.config.gateways {
                file::save(path, &gateways).map_err(|source| Refused::Write {
                    path: path.clone(),
                    source,
                })?;
            }
            shared.put_gateways(set);
            drop(writing);
            Ok(())
        });
        written.await.unwrap_or(Err(Refused::Ending))?;
        Ok(outcome)
    }
}
