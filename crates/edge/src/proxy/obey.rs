//! Carrying out what [`crate::verdict`] says.

use http::HeaderValue;

use super::fields::Fields;
use super::head::{RequestHead, ResponseHead};
use super::pages::{self, Said};
use super::rewrite::Additions;
use super::trust::Told;
use super::visit::{Entry, Route, Visit};
use crate::gateways::condition::Asked;
use crate::passwords::Attempt;
use crate::table::Backend;
use crate::verdict::{self, Facts, HSTS, Refusal};

/// What is known of a request. `told`: what a trusted proxy says of where it comes from.
pub(crate) fn facts<'a>(visit: &'a Visit, head: &RequestHead<'a>, told: Option<Told>) -> Facts<'a> {
    let text = |value| std::str::from_utf8(value).ok();
    let has_told_tls = told.and_then(|told| told.is_tls).unwrap_or(false);
    Facts {
        client: told.map_or(visit.client, |told| told.client),
        is_tls: visit.tls_name.is_some() || has_told_tls,
        host: match &visit.tls_name {
            // On a service port the host is what it always is.
            Some(name) if matches!(visit.entry, Entry::Vhosts { .. }) => name,
            Some(_) | None => head.host().and_then(text).unwrap_or_default(),
        },
        target: head.target,
        authorization: head.fields.get("authorization").and_then(text),
    }
}

/// What gateways' conditions look at.
pub(crate) fn asked<'a>(head: &RequestHead<'a>) -> Asked<'a> {
    Asked {
        method: head.method,
        host: head.host().unwrap_or_default(),
        path: head.path(),
        fields: head.fields,
    }
}

/// The answer that a refusal is.
pub(crate) fn refuse(refusal: Refusal) -> Said {
    let (page, name, value) = match refusal {
        Refusal::Forbidden => return pages::FORBIDDEN.into(),
        Refusal::Unauthorized(realm) | Refusal::Unchecked(Attempt { realm, .. }) => (
            pages::UNAUTHORIZED,
            "WWW-Authenticate",
            format!("Basic realm=\"{realm}\""),
        ),
        Refusal::Moved(place) => (pages::MOVED, "Location", place),
    };
    // What a label or a request brings must not end the line.
    if HeaderValue::from_str(&value).is_err() {
        return pages::BAD_REQUEST.into();
    }
    Said {
        page,
        lines: format!("{name}: {value}\r\n"),
    }
}

/// The server that a client is to stay with: its position.
pub(crate) fn wanted_server(backend: &Backend, fields: &Fields<'_>) -> Option<usize> {
    if !backend.options.is_sticky {
        return None;
    }
    fields
        .cookies()
        .find_map(|cookies| verdict::wanted_server(backend, cookies))
}

/// What changes in an answer that comes by `route`.
pub(crate) fn complete(head: &ResponseHead<'_>, route: &Route) -> Additions {
    let Route {
        server,
        backend,
        has_cookie,
    } = route;
    let mut additions = Additions::default();
    let options = &backend.options;
    if options.has_hsts {
        additions
            .replaced
            .push(("Strict-Transport-Security", HSTS.to_owned()));
    }
    if options.location_root.is_some() {
        let location = head.fields.get("location");
        let location = location.and_then(|location| std::str::from_utf8(location).ok());
        let location = location.and_then(|location| verdict::location(backend, location));
        additions
            .replaced
            .extend(location.map(|location| ("Location", location)));
    }
    if options.is_sticky && !has_cookie {
        let cookie = verdict::set_cookie(&server.spec);
        additions.added.push(("Set-Cookie", cookie));
        additions
            .added
            .push(("Cache-Control", "private".to_owned()));
    }
    additions
}
