//! Carrying out what [`crate::verdict`] says.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, LOCATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, request};

use super::body::Answer;
use super::http::Visit;
use super::pages;
use crate::table::{Backend, Server};
use crate::verdict::{self, Facts, HSTS, Refusal};

/// What is known of a request.
pub(crate) fn facts<'a>(visit: &Visit, head: &'a request::Parts) -> Facts<'a> {
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    Facts {
        client: visit.client,
        is_tls: false,
        host: header(HOST).unwrap_or_default(),
        target: head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str()),
        authorization: header(AUTHORIZATION),
    }
}

/// The answer that a refusal is.
pub(crate) fn refuse(refusal: Refusal) -> Response<Answer> {
    match refusal {
        Refusal::Forbidden => pages::FORBIDDEN.response(),
        Refusal::Unauthorized(realm) => {
            let mut response = pages::UNAUTHORIZED.response();
            if let Ok(challenge) = HeaderValue::try_from(format!("Basic realm=\"{realm}\"")) {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        }
        Refusal::Moved(place) => {
            let Ok(place) = HeaderValue::try_from(place) else {
                return pages::BAD_REQUEST.response();
            };
            let mut response = Response::new(Answer::fixed(Bytes::new()));
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            response.headers_mut().insert(LOCATION, place);
            response
        }
    }
}

/// Changes a request on its way to a server of `backend`; false if there is nothing to change.
pub(crate) fn change<B>(request: &mut Request<B>, backend: &Backend, facts: &Facts<'_>) -> bool {
    let changes = verdict::changes(backend, facts);
    if changes == verdict::Changes::default() {
        return false;
    }
    let target = changes.target.and_then(|target| Uri::try_from(target).ok());
    if let Some(target) = target {
        *request.uri_mut() = target;
    }
    let host = changes
        .host
        .and_then(|host| HeaderValue::from_str(host).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    if changes.loses_cookie {
        let headers = request.headers_mut();
        let left: Vec<_> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| match value.to_str() {
                Ok(cookies) => {
                    verdict::without_cookie(cookies).and_then(|left| left.try_into().ok())
                }
                Err(_) => Some(value.clone()),
            })
            .collect();
        headers.remove(COOKIE);
        for value in left {
            headers.append(COOKIE, value);
        }
    }
    true
}

/// The server that a client is to stay with: its position.
pub(crate) fn wanted_server(backend: &Backend, headers: &HeaderMap) -> Option<usize> {
    if !backend.options.is_sticky {
        return None;
    }
    let mut cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies.find_map(|cookies| verdict::wanted_server(backend, cookies))
}

/// Changes the answer that `server` gave to a request with these headers.
pub(crate) fn complete(
    answer: &mut HeaderMap,
    request: &HeaderMap,
    backend: &Backend,
    server: &Server,
) {
    let options = &backend.options;
    if options.has_hsts {
        answer.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    let location = answer
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let location = location.and_then(|location| verdict::location(backend, location));
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        answer.insert(LOCATION, location);
    }
    let is_with_server =
        wanted_server(backend, request).is_some_and(|at| backend.servers[at].name == server.name);
    if options.is_sticky
        && !is_with_server
        && let Ok(cookie) = HeaderValue::try_from(verdict::set_cookie(server))
    {
        answer.append(SET_COOKIE, cookie);
        answer.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}
