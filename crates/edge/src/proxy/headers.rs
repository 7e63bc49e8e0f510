//! What a proxy does to the heads of messages.
//!
//! Headers that are about one connection only do not pass (RFC 9110 §7.6.1). `Host` is never changed. The client's address and the
//! port it came to are added, as Marathon-LB's template does (contract marathon-lb §2.5).

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, request};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Where a request came from, as header values made once for a connection.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The client's address.
    pub(crate) client: HeaderValue,
    /// The port the client connected to.
    pub(crate) port: HeaderValue,
}

/// How a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May be sent again, and over a used connection: idempotent and without a body.
    Repeatable,
    /// Once, on a connection of its own.
    Once,
    /// Asks to leave HTTP on this connection.
    Upgrade,
}

/// Says how a request is to go out. `has_body` also for a body of unknown length.
pub(crate) fn kind(head: &request::Parts, has_body: bool) -> Kind {
    if names_token(&head.headers, CONNECTION, "upgrade") && head.headers.contains_key(UPGRADE) {
        return Kind::Upgrade;
    }
    let is_idempotent = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::DELETE,
        Method::TRACE,
    ]
    .contains(&head.method);
    // A server that does not speak HTTP/1.1 to this client closes anyway.
    let is_modern = head.headers.contains_key(HOST);
    if is_idempotent && !has_body && is_modern {
        Kind::Repeatable
    } else {
        Kind::Once
    }
}

/// Makes the head that goes to the server of the one that came; `None` if it cannot be passed on.
pub(crate) fn outgoing(head: &mut request::Parts, kind: Kind, origin: &Origin) -> Option<()> {
    if let Some(authority) = head.uri.authority().cloned() {
        // The absolute form: its authority stands above the header (RFC 9112 §3.2.2).
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = Uri::try_from(path).ok()?;
        let without_user = authority
            .as_str()
            .rsplit_once('@')
            .map_or(authority.as_str(), |(_, rest)| rest);
        head.headers
            .insert(HOST, HeaderValue::from_str(without_user).ok()?);
        head.uri = path;
    }
    let upgrade = head.headers.get(UPGRADE).cloned();
    strip(&mut head.headers);
    head.headers.remove(TE);
    // Answered by us as soon as the server takes the body.
    head.headers.remove(EXPECT);
    match (kind, upgrade) {
        (Kind::Upgrade, Some(upgrade)) => {
            head.headers
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, upgrade);
        }
        (Kind::Once, _) => {
            head.headers
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        (Kind::Repeatable | Kind::Upgrade, _) => {}
    }
    head.headers.append(X_FORWARDED_FOR, origin.client.clone());
    head.headers.insert(X_FORWARDED_PORT, origin.port.clone());
    head.version = if head.headers.contains_key(HOST) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    Some(())
}

/// Makes the head that goes to the client of the one that came from the server.
pub(crate) fn incoming(headers: &mut HeaderMap) {
    strip(headers);
    // How the body is framed towards the client is decided anew; the length, if known, stays.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
}

/// Removes what is about one connection only; `Transfer-Encoding` is left to the caller.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, CONNECTION)
            .filter_map(|token| token.parse().ok())
            // Nobody may have these removed by naming them.
            .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, UPGRADE] {
        headers.remove(name);
    }
}

fn names_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// A request as `METHOD URI` and header lines; returns how it goes out, in the same form.
    fn check(request: &[&str], has_body: bool, expected: &[&str]) {
        let (method, uri) = request[0].split_once(' ').unwrap();
        let mut builder = Request::builder().method(method).uri(uri);
        for line in &request[1..] {
            let (name, value) = line.split_once(": ").unwrap();
            builder = builder.header(name, value);
        }
        let (mut head, ()) = builder.body(()).unwrap().into_parts();
        let kind = kind(&head, has_body);
        let origin = Origin {
            client: HeaderValue::from_static("1.2.3.4"),
            port: HeaderValue::from_static("10080"),
        };
        outgoing(&mut head, kind, &origin).unwrap();
        let mut shown = vec![format!("{kind:?} {} {}", head.method, head.uri)];
        let lines = head.headers.iter();
        shown.extend(lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
        shown[1..].sort();
        assert_eq!(shown, expected, "{request:?}");
    }

    #[test]
    fn requests() {
        check(
            &[
                "GET /a?b",
                "host: h:10080",
                "connection: keep-alive, X-Secret, Host",
                "x-secret: 1",
                "keep-alive: 5",
            ],
            false,
            &[
                "Repeatable GET /a?b",
                "host: h:10080",
                "x-forwarded-for: 1.2.3.4",
                "x-forwarded-port: 10080",
            ],
        );
        check(
            &[
                "POST /",
                "host: h",
                "x-forwarded-for: 9.9.9.9",
                "x-forwarded-port: 1",
                "te: trailers",
                "expect: 100-continue",
            ],
            true,
            &[
                "Once POST /",
                "connection: close",
                "host: h",
                "x-forwarded-for: 1.2.3.4",
                "x-forwarded-for: 9.9.9.9",
                "x-forwarded-port: 10080",
            ],
        );
        check(
            &["GET http://user@real:1/x", "host: other"],
            false,
            &[
                "Repeatable GET /x",
                "host: real:1",
                "x-forwarded-for: 1.2.3.4",
                "x-forwarded-port: 10080",
            ],
        );
        check(
            &[
                "GET /",
                "host: h",
                "connection: Upgrade",
                "upgrade: websocket",
            ],
            false,
            &[
                "Upgrade GET /",
                "connection: upgrade",
                "host: h",
                "upgrade: websocket",
                "x-forwarded-for: 1.2.3.4",
                "x-forwarded-port: 10080",
            ],
        );
    }

    #[test]
    fn kinds() {
        let kind_of = |method: &str, has_body| {
            let (head, ()) = Request::builder()
                .method(method)
                .header(HOST, "h")
                .body(())
                .unwrap()
                .into_parts();
            kind(&head, has_body)
        };
        assert_eq!(kind_of("PUT", false), Kind::Repeatable);
        assert_eq!(kind_of("PUT", true), Kind::Once);
        assert_eq!(kind_of("POST", false), Kind::Once);
        assert_eq!(kind_of("PATCH", false), Kind::Once);
    }
}
