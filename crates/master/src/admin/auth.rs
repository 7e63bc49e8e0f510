//! Who may come in, as clients of DC/OS ask it: `/acs/api/v1/auth/…`, `/login`, `/pkgpanda/…`, `/exhibitor/`.
//!
//! | | without a token | with a token where others than this machine can connect |
//! |---|---|---|
//! | `HEAD /pkgpanda/active.buildinfo.full.json` | 200 | 401 until the token comes along |
//! | `…/auth/providers` | `{}` | one provider: a user of any name, whose password is the token |
//! | `POST …/auth/login` | 404: nobody has to | 200 `{"token": …}` for `{"uid", "password"}` or `{"token"}` |
//!
//! Every 401 says `WWW-Authenticate: oauthjwt` first, at which `dcos auth login` asks for a token to be pasted. A cluster that wants its
//! token only from agents and edges (all listeners on loopback) behaves as one without. Source: contract dcos-cli §6.

use axum::response::Response;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use zddcluster_runtime::Unauthorized;

use super::read_only;
use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok, text};
use crate::shared::Shared;

/// What everybody may ask, to find out how to come in (contract dcos-cli §6). Compared as sent: no other spelling is open.
const OPEN: [&str; 5] = [
    "/acs/api/v1/auth/login",
    "/acs/api/v1/auth/providers",
    "/dcos-metadata/dcos-version.json",
    "/login",
    "/metadata",
];

/// Whether a request needs no token.
pub(crate) fn is_open<B>(request: &Request<B>) -> bool {
    OPEN.contains(&request.uri().path())
}

/// Answers what is below these paths.
pub(super) fn route(shared: &Shared, call: &Call, segments: &[&str]) -> Outcome {
    match segments {
        ["pkgpanda", "active.buildinfo.full.json"] => read_only(call, || ok(&json!({}))),
        ["exhibitor", ..] => read_only(call, || text(StatusCode::OK, "")),
        ["acs", "api", "v1", "auth", "providers"] => read_only(call, || ok(&providers(shared))),
        ["acs", "api", "v1", "auth", "login"] => login(shared, call),
        ["login"] if shared.wants_login => read_only(call, page),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

fn providers(shared: &Shared) -> Value {
    if !shared.wants_login {
        return json!({});
    }
    json!({
        "dcos-users": {
            "authentication-type": "dcos-uid-password",
            "client-method": "dcos-usercredential-post-receive-authtoken",
            "config": { "start_flow_url": "/acs/api/v1/auth/login" },
            "description": "Any user name; the password is the token of the cluster",
        },
    })
}

fn login(shared: &Shared, call: &Call) -> Outcome {
    if !shared.wants_login {
        let message = "nobody has to log in to this cluster";
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let given = ["token", "password"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())
        .ok_or_else(|| ApiError::unauthorized(Unauthorized::Missing))?;
    if shared.is_token(given) {
        Ok(ok(&json!({ "token": given.trim() })))
    } else {
        tracing::warn!(client_ip = call.client_ip, "a login with a wrong token");
        Err(ApiError::unauthorized(Unauthorized::Wrong))
    }
}

/// Where the client sends its user for something to paste.
fn page() -> Response {
    let words = "Paste the token of this cluster into the client: what ZDD_TOKEN or the file behind \
                 --token-file holds.\n";
    text(StatusCode::OK, words)
}
