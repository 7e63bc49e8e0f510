use proptest::prelude::*;

use super::*;

/// What is read of the head of a request: `METHOD target host framing`, or why it is refused.
fn read(bytes: &[u8]) -> Result<Option<String>, Malformed> {
    request(bytes, |head| {
        let RequestHead {
            method,
            target,
            framing,
            ..
        } = head;
        let host = head.host().map(String::from_utf8_lossy).unwrap_or_default();
        format!("{method} {target} {host} {framing:?}")
    })
}

fn check(head: &str, expected: &str) {
    let read = read(format!("{head}\r\n\r\n").as_bytes());
    assert_eq!(read, Ok(Some(expected.to_owned())), "{head:?}");
}

fn refused(head: &str, expected: Malformed) {
    let read = read(format!("{head}\r\n\r\n").as_bytes());
    assert_eq!(read, Err(expected), "{head:?}");
}

#[test]
fn requests() {
    check("GET /a?b HTTP/1.1\r\nHost: h:80", "GET /a?b h:80 None");
    check("OPTIONS * HTTP/1.1\r\nHost: h", "OPTIONS * h None");
    check("GET / HTTP/1.0", "GET /  None");
    check("\r\nGET / HTTP/1.0\r\nhOsT:h  ", "GET / h None");
    check(
        "GET http://u@real:1/x?y HTTP/1.1\r\nHost: other",
        "GET /x?y real:1 None",
    );
    check("GET HTTPS://real HTTP/1.1\r\nHost: real", "GET / real None");
    check(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5",
        "POST / h Length(5)",
    );
    check(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\nContent-Length: 05",
        "POST / h Length(5)",
    );
    check(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED",
        "POST / h Chunked",
    );
    assert_eq!(
        read(b"GET / HTTP/1.0\nHost: h\n\nrest"),
        Ok(Some("GET / h None".to_owned()))
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use httparse::Error;
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}");
    for (fields, why) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Malformed::LengthAndCoding,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: gzip",
            Malformed::LengthAndCoding,
        ),
        ("Content-Length: 5\r\nContent-Length: 6", Malformed::Length),
        ("Content-Length: 5, 6", Malformed::Length),
        ("Content-Length: +5", Malformed::Length),
        ("Content-Length: -5", Malformed::Length),
        ("Content-Length: 0x5", Malformed::Length),
        ("Content-Length: 5 5", Malformed::Length),
        ("Content-Length:", Malformed::Length),
        ("Content-Length: 5,", Malformed::Length),
        ("Content-Length: 18446744073709551616", Malformed::Length),
        ("Transfer-Encoding: gzip, chunked", Malformed::Coding),
        ("Transfer-Encoding: chunked, chunked", Malformed::Coding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Malformed::Coding,
        ),
        ("Transfer-Encoding: identity", Malformed::Coding),
        ("Transfer-Encoding:", Malformed::Coding),
        ("Transfer-Encoding: \"chunked\"", Malformed::Coding),
        ("Host: h", Malformed::Hosts),
        ("Content-Length : 5", Malformed::Syntax(Error::HeaderName)),
        ("X: a\r\n b", Malformed::Syntax(Error::HeaderName)),
        ("X: a\0b", Malformed::Syntax(Error::HeaderValue)),
        ("X: a\rb", Malformed::Syntax(Error::HeaderValue)),
        ("X\u{1}: a", Malformed::Syntax(Error::HeaderName)),
        ("X: a\nY: b", Malformed::LineEnds),
    ] {
        refused(&post(fields), why);
    }
    refused(
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked",
        Malformed::Coding,
    );
    refused(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
        Malformed::Coding,
    );
    for target in [
        "foo",
        "h:80",
        "ftp://h/",
        "http:///",
        "http://",
        "/#x",
        "/\u{e4}",
        "http://h/\u{e4}",
        "http://h?x",
        "**",
    ] {
        refused(
            &format!("GET {target} HTTP/1.1\r\nHost: h"),
            Malformed::Target,
        );
    }
    refused("CONNECT h:80 HTTP/1.1\r\nHost: h", Malformed::Connect);
    refused(
        "GET / HTTP/2.0\r\nHost: h",
        Malformed::Syntax(Error::Version),
    );
    refused(
        "GET  / HTTP/1.1\r\nHost: h",
        Malformed::Syntax(Error::Token),
    );
    let many = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(MAX_HEADERS + 1));
    refused(&many, Malformed::Syntax(Error::TooManyHeaders));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(buffer::SIZE));
    assert_eq!(read(long.as_bytes()), Err(Malformed::TooLong));
}

#[test]
fn what_a_connection_says() {
    let options = |value: &str| {
        let head = format!("GET / HTTP/1.1\r\nConnection: {value}\r\n\r\n");
        request(head.as_bytes(), |head| {
            (head.fields.options, head.fields.are_named("x-secret"))
        })
    };
    let expected = Options {
        close: true,
        names_fields: true,
        ..Options::default()
    };
    assert_eq!(options(" Close , X-Secret"), Ok(Some((expected, true))));
    let expected = Options {
        keep_alive: true,
        upgrade: true,
        ..Options::default()
    };
    assert_eq!(options("keep-alive,upgrade"), Ok(Some((expected, false))));
}

/// How an answer's body is framed, and whether its server keeps the connection.
fn answer(head: &str, is_head: bool) -> Result<Option<(Framing, bool)>, Malformed> {
    response(format!("HTTP/1.{head}\r\n\r\n").as_bytes(), |head| {
        (head.framing(is_head), head.keeps())
    })
}

#[test]
fn answers() {
    for (head, expected) in [
        ("1 200 OK\r\nContent-Length: 5", (Framing::Length(5), true)),
        (
            "1 200\r\nContent-Length: 5\r\nConnection: close",
            (Framing::Length(5), false),
        ),
        ("0 200 OK\r\nContent-Length: 5", (Framing::Length(5), false)),
        (
            "0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive",
            (Framing::Length(5), true),
        ),
        (
            "1 200 OK\r\nTransfer-Encoding: chunked",
            (Framing::Chunked, true),
        ),
        (
            "1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            (Framing::Chunked, false),
        ),
        // In HTTP/1.0 there are no codings: what comes behind it is not to be trusted.
        (
            "0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
            (Framing::Chunked, false),
        ),
        ("1 200 OK", (Framing::UntilClose, true)),
        (
            "1 204 No Content\r\nContent-Length: 5",
            (Framing::None, true),
        ),
        (
            "1 304 Not Modified\r\nContent-Length: 5",
            (Framing::None, true),
        ),
    ] {
        assert_eq!(answer(head, false), Ok(Some(expected)), "{head:?}");
    }
    assert_eq!(
        answer("1 200 OK\r\nContent-Length: 5", true),
        Ok(Some((Framing::None, true)))
    );
    assert_eq!(
        answer("1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", false),
        Err(Malformed::Length)
    );
    // We asked for no other coding, and a client that was told of none would take its bytes for data.
    for coding in [
        "gzip",
        "gzip, chunked",
        "identity",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let head = format!("1 200 OK\r\nTransfer-Encoding: {coding}");
        assert_eq!(answer(&head, false), Err(Malformed::Coding), "{coding}");
    }
    assert_eq!(answer("1 099 X", false), Err(Malformed::Status));
}

/// Bytes that are often the head of a request, and sometimes nearly.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "(GET|POST) /[a-z?]{0,9} HTTP/1\\.[01]\r\n",
        4 => "(Host|X-Y|Content-Length|Transfer-Encoding|Connection): ?(h|5|chunked|close|)\r\n",
        2 => "\r\n",
        1 => "\n",
        1 => "[ -~\r\n\t]{0,12}",
    ];
    let text = prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat().into_bytes());
    prop_oneof![4 => text, 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

/// The same as a connection reads: in pieces, and only when it is due.
fn read_in_pieces(input: &[u8], cuts: &[usize]) -> Result<Option<String>, Malformed> {
    let mut scan = Scan::default();
    for end in cuts.iter().copied().chain([input.len()]) {
        if end > 0
            && scan.is_due(&input[..end])
            && let Some(head) = read(&input[..end])?
        {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_gives(input in input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = read(&input);
        match read_in_pieces(&input, &cuts) {
            // What is not all there may be refused later than at once.
            Ok(None) => prop_assert!(!matches!(whole, Ok(Some(_)))),
            pieces => prop_assert_eq!(pieces, whole),
        }
    }

    #[test]
    fn byte_by_byte_gives_what_the_whole_gives(input in input()) {
        let cuts: Vec<_> = (0..input.len()).collect();
        if let Ok(Some(head)) = read(&input) {
            prop_assert_eq!(read_in_pieces(&input, &cuts), Ok(Some(head)));
        }
    }

    #[test]
    fn answers_do_not_panic(input in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = response(&[b"HTTP/1.1 200 OK\r\n", &*input].concat(), |head| head.framing(false));
    }
}
