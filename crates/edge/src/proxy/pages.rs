//! The answers the edge makes itself (contract marathon-lb §2.8).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

/// One of the edge's own answers: status and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    status: StatusCode,
    title: &'static str,
    body: &'static str,
}

macro_rules! page {
    ($status:expr, $title:literal, $line:literal) => {
        Page {
            status: $status,
            title: $title,
            body: concat!(
                "<html><body><h1>",
                $title,
                "</h1>\n",
                $line,
                "\n</body></html>\n"
            ),
        }
    };
}

/// The client's request cannot be read.
pub(crate) const BAD_REQUEST: Page = page!(
    StatusCode::BAD_REQUEST,
    "400 Bad request",
    "Your browser sent an invalid request."
);
/// The client was too slow.
pub(crate) const REQUEST_TIMEOUT: Page = page!(
    StatusCode::REQUEST_TIMEOUT,
    "408 Request Time-out",
    "Your browser didn't send a complete request in time."
);
/// The server's answer cannot be read.
pub(crate) const BAD_GATEWAY: Page = page!(
    StatusCode::BAD_GATEWAY,
    "502 Bad Gateway",
    "The server returned an invalid or incomplete response."
);
/// The client is not let in without a password.
pub(crate) const UNAUTHORIZED: Page = page!(
    StatusCode::UNAUTHORIZED,
    "401 Unauthorized",
    "You need a valid user and password to access this content."
);
/// The client is not let in.
pub(crate) const FORBIDDEN: Page = page!(
    StatusCode::FORBIDDEN,
    "403 Forbidden",
    "Request forbidden by administrative rules."
);
/// The client has asked for this host over a connection for another one.
pub(crate) const MISDIRECTED: Page = page!(
    StatusCode::MISDIRECTED_REQUEST,
    "421 Misdirected Request",
    "This connection is for another host."
);
/// Nobody can serve.
pub(crate) const UNAVAILABLE: Page = page!(
    StatusCode::SERVICE_UNAVAILABLE,
    "503 Service Unavailable",
    "No server is available to handle this request."
);
/// The server was too slow.
pub(crate) const GATEWAY_TIMEOUT: Page = page!(
    StatusCode::GATEWAY_TIMEOUT,
    "504 Gateway Time-out",
    "The server didn't respond in time."
);
/// It is elsewhere. Only a head.
pub(crate) const MOVED: Page = Page {
    status: StatusCode::MOVED_PERMANENTLY,
    title: "301 Moved Permanently",
    body: "",
};
/// The edge is well.
pub(crate) const READY: Page = page!(StatusCode::OK, "200 OK", "Service ready.");

impl Page {
    /// The answer around any type of body.
    pub(crate) fn with<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response
    }

    /// The body.
    pub(crate) fn bytes(self) -> Bytes {
        Bytes::from_static(self.body.as_bytes())
    }

    /// The status.
    pub(crate) fn status(self) -> StatusCode {
        self.status
    }

    /// The whole answer as it goes over the wire. `lines` are more of its head; to a HEAD no body goes.
    pub(crate) fn raw(self, lines: &str, is_head: bool) -> String {
        let Self { title, body, .. } = self;
        let about_body = match body {
            "" => "",
            _ => "Cache-Control: no-cache\r\nContent-Type: text/html\r\n",
        };
        format!(
            "HTTP/1.1 {title}\r\n{about_body}Content-Length: {}\r\n{lines}\r\n{}",
            body.len(),
            if is_head { "" } else { body }
        )
    }
}

/// One of the edge's own answers with what is particular to this one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) page: Page,
    /// More lines of the head.
    pub(crate) lines: String,
}

impl From<Page> for Said {
    fn from(page: Page) -> Self {
        Self {
            page,
            lines: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_contracts() {
        // contract: lb-answer-503, lb-answer-502, lb-answer-504, lb-answer-408, lb-answer-400
        // contract: lb-answer-403, lb-answer-401, lb-answer-redirect, lb-answer-form, lb-health-page
        assert_eq!(UNAVAILABLE.body.len(), 107);
        assert_eq!(READY.body.len(), 58);
        for (page, title, line) in [
            (
                UNAVAILABLE,
                "503 Service Unavailable",
                "No server is available to handle this request.",
            ),
            (
                BAD_GATEWAY,
                "502 Bad Gateway",
                "The server returned an invalid or incomplete response.",
            ),
            (
                GATEWAY_TIMEOUT,
                "504 Gateway Time-out",
                "The server didn't respond in time.",
            ),
            (
                REQUEST_TIMEOUT,
                "408 Request Time-out",
                "Your browser didn't send a complete request in time.",
            ),
            (
                BAD_REQUEST,
                "400 Bad request",
                "Your browser sent an invalid request.",
            ),
            (
                FORBIDDEN,
                "403 Forbidden",
                "Request forbidden by administrative rules.",
            ),
            (
                UNAUTHORIZED,
                "401 Unauthorized",
                "You need a valid user and password to access this content.",
            ),
        ] {
            let body = format!("<html><body><h1>{title}</h1>\n{line}\n</body></html>\n");
            let head = format!(
                "HTTP/1.1 {title}\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\nContent-Length: {}\r\nX: y\r\n\r\n",
                body.len()
            );
            assert_eq!(page.raw("X: y\r\n", false), format!("{head}{body}"));
            assert_eq!(page.raw("X: y\r\n", true), head);
        }
        assert_eq!(
            MOVED.raw("Location: /\r\n", false),
            "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: /\r\n\r\n"
        );
    }
}
