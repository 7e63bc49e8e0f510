//! The token: one secret word that agents and edges join with, and that everybody needs where the cluster listens on an
//! address that others can reach.
//!
//! It comes as `Authorization: Bearer <token>`, or as the dcos client writes it, `Authorization: token=<token>`. It is compared in a
//! time that does not depend on where it differs, and never printed: its `Debug` says only that there is one.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

/// Fewer characters can be tried out.
const SHORTEST: usize = 16;
/// More than any generator makes; a longer one is some other file.
const LONGEST: usize = 1024;

/// A secret that callers must know.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Too short to be a secret, or too long to be a token.
    #[error("a token has {SHORTEST} to {LONGEST} characters")]
    Length,
    /// It could not be sent in a header.
    #[error("a token has no spaces or special characters: letters, digits and -._~+/=")]
    Character,
}

/// Why a request is not let in. The texts go to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// The request brings none.
    #[error("a token is needed: Authorization: Bearer <token>; hint: --token-file or ZDD_TOKEN")]
    Missing,
    /// The request brings another one.
    #[error("the token is not this cluster's; hint: check --token-file and ZDD_TOKEN")]
    Wrong,
}

impl Token {
    /// Reads a token; white space around it does not count.
    ///
    /// # Errors
    /// When it is too short, too long or not sendable.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return Err(InvalidToken::Length);
        }
        // RFC 6750 §2.1.
        let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !text.bytes().all(is_sendable) {
            return Err(InvalidToken::Character);
        }
        Ok(Self(text.into()))
    }

    /// The secret itself, to hand it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The header's value with which this token is shown; marked as sensitive, so that it is not logged.
    pub fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .expect("a token has only characters that a header may have");
        value.set_sensitive(true);
        value
    }

    /// Says why a request with these headers is not let in.
    ///
    /// # Errors
    /// When it does not bring this token, just once.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let given = values.next().ok_or(Unauthorized::Missing)?.as_bytes();
        if values.next().is_some() {
            return Err(Unauthorized::Wrong);
        }
        let given = match given.split_at_checked(b"bearer ".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest,
            _ => given.strip_prefix(b"token=").ok_or(Unauthorized::Missing)?,
        };
        match is_same(self.0.as_bytes(), given.trim_ascii()) {
            true => Ok(()),
            false => Err(Unauthorized::Wrong),
        }
    }

    /// Whether a text is this token; white space around it does not count.
    pub fn is(&self, text: &str) -> bool {
        is_same(self.0.as_bytes(), text.trim().as_bytes())
    }

    /// Lets only requests with this token through to `router` and its fallback; others get 401 and `{"message": "…"}`.
    pub fn wrap(self, router: axum::Router) -> axum::Router {
        self.wrap_but(router, |_| false)
    }

    /// The same, but requests that `is_open` need none.
    pub fn wrap_but(self, router: axum::Router, is_open: fn(&Request) -> bool) -> axum::Router {
        router.layer(middleware::from_fn_with_state((self, is_open), admit))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        is_same(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl Unauthorized {
    /// The answer that tells it.
    pub fn response(self) -> Response {
        let body = Json(serde_json::json!({ "message": self.to_string() }));
        let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
        challenge(response.headers_mut());
        response
    }
}

/// Says in a 401 how a token is shown. The dcos client reads the first challenge only, and knows but those of DC/OS: at `oauthjwt` it
/// asks its user for a token.
pub fn challenge(headers: &mut HeaderMap) {
    let challenges = HeaderValue::from_static("oauthjwt, Bearer realm=\"zddcluster\"");
    headers.insert(WWW_AUTHENTICATE, challenges);
}

/// Requests that need no token.
type Open = fn(&Request) -> bool;

async fn admit(
    State((token, is_open)): State<(Token, Open)>,
    request: Request,
    next: Next,
) -> Response {
    if is_open(&request) {
        return next.run(request).await;
    }
    match token.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let path = request.uri().path();
            tracing::debug!(method = %request.method(), path, reason = %refusal, "request refused");
            refusal.response()
        }
    }
}

/// Compares in a time that depends on the length of `given` only.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let mut differences = u8::from(secret.len() != given.len());
    for (idx, byte) in given.iter().enumerate() {
        differences |= black_box(byte ^ secret[idx % secret.len()]);
    }
    black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;
    use tower::ServiceExt as _;

    use super::*;

    const SECRET: &str = "0123456789abcdef-._~+/=";

    fn token() -> Token {
        Token::parse(&format!("\n {SECRET}\n")).unwrap()
    }

    async fn status(values: &[&str]) -> u16 {
        let router = token().wrap(Router::new().route("/", any(async || "in")));
        let mut request = Request::builder().uri("/");
        for value in values {
            request = request.header(AUTHORIZATION, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("oauthjwt,"), "{challenge}");
        }
        response.status().as_u16()
    }

    #[tokio::test]
    async fn who_knows_it_is_let_in() {
        for value in [
            format!("Bearer {SECRET}"),
            format!("bearer  {SECRET}"),
            format!("token={SECRET}"),
        ] {
            assert_eq!(status(&[&value]).await, 200, "{value}");
        }
    }

    #[tokio::test]
    async fn who_does_not_is_not() {
        let right = format!("Bearer {SECRET}");
        for values in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["token="],
            &[SECRET],
            &["Basic MDEyMzQ1Njc4OWFiY2RlZg=="],
            &["Bearer 0123456789abcdef-._~+/"],
            &["Bearer 0123456789abcdef-._~+/=="],
            &["Bearer 0123456789abcdef-._~+/=0123456789abcdef-._~+/="],
            &["Bearer x123456789abcdef-._~+/="],
            &[&right, &right],
        ] {
            assert_eq!(status(values).await, 401, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert_eq!(Token::parse("0123456789abcde"), Err(InvalidToken::Length));
        assert_eq!(Token::parse(&"x".repeat(1025)), Err(InvalidToken::Length));
        assert_eq!(
            Token::parse("0123456789 abcdef"),
            Err(InvalidToken::Character)
        );
    }

    #[test]
    fn it_is_not_printed() {
        let token = token();
        assert_eq!(format!("{token:?}"), "Token(secret)");
        assert_eq!(format!("{:?}", token.authorization()), "Sensitive");
    }
}
