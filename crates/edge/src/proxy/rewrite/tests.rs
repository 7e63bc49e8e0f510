use super::*;
use crate::proxy::head;

/// How a request goes out, with its kind before it.
fn outgoing(lines: &[&str]) -> Vec<String> {
    let came = format!("{}\r\n\r\n", lines.join("\r\n"));
    let mut out = Vec::new();
    let kind = head::request(came.as_bytes(), |head| {
        let kind = Kind::of(head);
        request(
            head,
            kind,
            &Changes::default(),
            Forwarded {
                lines: b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Port: 10080\r\n",
                keeps_port: false,
            },
            &mut out,
        );
        kind
    });
    let kind = kind.unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_suffix("\r\n\r\n").unwrap();
    std::iter::once(format!("{kind:?}"))
        .chain(text.split("\r\n").map(str::to_owned))
        .collect()
}

fn check(lines: &[&str], expected: &[&str]) {
    let own = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Port: 10080"];
    assert_eq!(outgoing(lines), [expected, &own].concat(), "{lines:?}");
}

#[test]
fn requests() {
    check(
        &[
            "GET /a?b HTTP/1.1",
            "hOsT: h:10080",
            "Connection: keep-alive, X-Secret, Host",
            "X-SECRET: 1",
            "Keep-Alive: 5",
            "Cookie: a",
            "cookie: b",
        ],
        &[
            "Repeatable",
            "GET /a?b HTTP/1.1",
            "hOsT: h:10080",
            "Cookie: a",
            "cookie: b",
        ],
    );
    check(
        &[
            "POST / HTTP/1.1",
            "Host: h",
            "X-Forwarded-For: 9.9.9.9",
            "X-Forwarded-Port: 1",
            "TE: trailers",
            "content-length: 5, 5",
            "Content-Length: 5",
            "Expect: 100-continue",
        ],
        &[
            "Once",
            "POST / HTTP/1.1",
            "Host: h",
            "X-Forwarded-For: 9.9.9.9",
            "content-length: 5",
            "Expect: 100-continue",
            "Connection: close",
        ],
    );
    check(
        &["POST / HTTP/1.1", "Host: h", "transfer-encoding: chunked"],
        &[
            "Once",
            "POST / HTTP/1.1",
            "Host: h",
            "transfer-encoding: chunked",
            "Connection: close",
        ],
    );
    check(
        &["GET http://user@real:1/?x HTTP/1.1", "A: b", "Host: other"],
        &["Repeatable", "GET /?x HTTP/1.1", "Host: real:1", "A: b"],
    );
    check(
        &["GET / HTTP/1.0"],
        &["Once", "GET / HTTP/1.0", "Connection: close"],
    );
    check(
        &[
            "GET / HTTP/1.1",
            "Host: h",
            "Connection: Upgrade",
            "Upgrade: websocket",
        ],
        &[
            "Upgrade",
            "GET / HTTP/1.1",
            "Host: h",
            "Connection: upgrade",
            "Upgrade: websocket",
        ],
    );
    // A tunnel to HTTP/2 would go past all rules.
    check(
        &[
            "GET / HTTP/1.1",
            "Host: h",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: x",
        ],
        &["Repeatable", "GET / HTTP/1.1", "Host: h"],
    );
}

#[test]
fn a_tunnel_to_http2_is_not_asked_for_among_others_either() {
    for upgrade in ["H2C", "websocket, h2c", "x,h2", " , h2c/1"] {
        let upgrade = format!("Upgrade: {upgrade}");
        let lines = ["GET / HTTP/1.1", "Host: h", "Connection: upgrade", &upgrade];
        check(&lines, &["Repeatable", "GET / HTTP/1.1", "Host: h"]);
    }
}

#[test]
fn kinds() {
    let kind = |start: &str, fields: &str| {
        outgoing(&[&format!("{start} / HTTP/1.1"), "Host: h", fields]).swap_remove(0)
    };
    assert_eq!(kind("PUT", "A: b"), "Repeatable");
    assert_eq!(kind("PUT", "Content-Length: 0"), "Repeatable");
    assert_eq!(kind("PUT", "Content-Length: 1"), "Once");
    assert_eq!(kind("POST", "A: b"), "Once");
    assert_eq!(kind("PATCH", "A: b"), "Once");
}

/// How an answer to a request with this method goes out to a client of HTTP/1.1.
fn incoming(lines: &[&str], is_head: bool, farewell: Farewell) -> Vec<String> {
    let came = format!("{}\r\n\r\n", lines.join("\r\n"));
    let mut out = Vec::new();
    let read = head::response(came.as_bytes(), |head| {
        let framing = head.framing(is_head);
        let is_chunked = matches!(framing, Framing::Chunked | Framing::UntilClose);
        response(
            head,
            framing,
            is_chunked,
            farewell,
            &Additions::default(),
            &mut out,
        );
    });
    assert_eq!(read, Ok(Some(())));
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_suffix("\r\n\r\n").unwrap();
    text.split("\r\n").map(str::to_owned).collect()
}

#[test]
fn answers() {
    let nothing = Farewell::Nothing;
    assert_eq!(
        incoming(
            &[
                "HTTP/1.0 200 Fine",
                "x-A: b",
                "Keep-Alive: 5",
                "Connection: close, x-b",
                "X-B: c",
                "content-length: 5"
            ],
            false,
            nothing
        ),
        ["HTTP/1.1 200 Fine", "x-A: b", "content-length: 5"]
    );
    assert_eq!(
        incoming(
            &[
                "HTTP/1.1 200 OK",
                "transfer-encoding: chunked",
                "Content-Length: 5"
            ],
            false,
            Farewell::Close
        ),
        [
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked",
            "Connection: close"
        ]
    );
    assert_eq!(
        incoming(&["HTTP/1.1 200 OK"], false, Farewell::KeepAlive),
        [
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked",
            "Connection: keep-alive"
        ]
    );
    let head_only = ["HTTP/1.1 200 OK", "Content-Length: 5"];
    assert_eq!(incoming(&head_only, true, nothing), head_only);
    assert_eq!(
        incoming(
            &["HTTP/1.1 204 No Content", "Content-Length: 5"],
            false,
            nothing
        ),
        ["HTTP/1.1 204 No Content"]
    );
    assert_eq!(
        incoming(
            &[
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade"
            ],
            false,
            Farewell::Upgrade
        ),
        [
            "HTTP/1.1 101 Switching Protocols",
            "Connection: upgrade",
            "Upgrade: websocket"
        ]
    );
}
