//! Conditions on requests, ready to be asked.
//!
//! Every comparison becomes a regular expression on bytes: those of the `regex` crate take time in proportion to the text, whatever
//! they say, and plain texts are searched for as fast as by hand. Their size is limited.
//!
//! Source: contract vamp §1.5.

use regex::bytes::{Regex, RegexBuilder};
use zddcluster_model::gateway::{self, Text};

use crate::proxy::fields::Fields;

/// What an expression may take in memory, once compiled.
const LARGEST: usize = 256 * 1024;

/// A request, as far as conditions look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The whole `Host`, or nothing.
    pub(crate) host: &'a [u8],
    /// The path, without query.
    pub(crate) path: &'a str,
    /// All header fields.
    pub(crate) fields: Fields<'a>,
}

/// What a request is to be like.
#[derive(Debug)]
pub(crate) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Header(String, Option<Regex>),
    Cookie(String, Option<Regex>),
    Host(Regex),
    Path(Regex),
    Method(Regex),
}

impl Condition {
    /// Makes a condition ready.
    ///
    /// # Errors
    /// When it has an expression that cannot be read, or would be too large.
    pub(crate) fn new(spec: &gateway::Condition) -> Result<Self, regex::Error> {
        use gateway::Condition as Spec;
        let list = |all: &[Spec]| all.iter().map(Self::new).collect::<Result<Vec<_>, _>>();
        let field = |field: &gateway::Field| {
            let is = field.is.as_ref();
            is.map(|text| compile(text, field.ignore_case)).transpose()
        };
        let wanted = |wanted: &gateway::Wanted| compile(&wanted.is, wanted.ignore_case);
        Ok(match spec {
            Spec::All(all) => Self::All(list(all)?),
            Spec::Any(any) => Self::Any(list(any)?),
            Spec::Not(condition) => Self::Not(Box::new(Self::new(condition)?)),
            Spec::Header(header) => Self::Header(header.name.clone(), field(header)?),
            Spec::Cookie(cookie) => Self::Cookie(cookie.name.clone(), field(cookie)?),
            Spec::Host(host) => Self::Host(wanted(host)?),
            Spec::Path(path) => Self::Path(wanted(path)?),
            Spec::Method(method) => Self::Method(wanted(method)?),
        })
    }

    /// Whether a request meets it.
    pub(crate) fn is_met(&self, asked: &Asked<'_>) -> bool {
        let is = |wanted: &Option<Regex>, value: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.is_match(value))
        };
        match self {
            Self::All(all) => all.iter().all(|condition| condition.is_met(asked)),
            Self::Any(any) => any.iter().any(|condition| condition.is_met(asked)),
            Self::Not(condition) => !condition.is_met(asked),
            Self::Header(name, wanted) => asked
                .fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name))
                .any(|field| is(wanted, field.value)),
            Self::Cookie(name, wanted) => asked
                .fields
                .cookies()
                .flat_map(|cookies| cookies.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
                .any(|(found, value)| found == name && is(wanted, value.as_bytes())),
            Self::Host(wanted) => wanted.is_match(asked.host),
            Self::Path(wanted) => wanted.is_match(asked.path.as_bytes()),
            Self::Method(wanted) => wanted.is_match(asked.method.as_bytes()),
        }
    }
}

fn compile(text: &Text, ignore_case: bool) -> Result<Regex, regex::Error> {
    let expression = match text {
        Text::Equals(text) => format!(r"\A{}\z", regex::escape(text)),
        Text::Contains(text) => regex::escape(text),
        Text::StartsWith(text) => format!(r"\A{}", regex::escape(text)),
        Text::EndsWith(text) => format!(r"{}\z", regex::escape(text)),
        Text::Matches(expression) => expression.clone(),
    };
    RegexBuilder::new(&expression)
        .case_insensitive(ignore_case)
        .size_limit(LARGEST)
        .dfa_size_limit(LARGEST)
        .build()
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::{Value, json};

    use super::*;

    const HEADERS: &[(&str, &str)] = &[
        ("Host", "Shop.example:8080"),
        ("User-Agent", "Mozilla/5.0 Firefox/130"),
        ("X-Team", "red"),
        ("x-team", "Blue"),
        ("Cookie", "old=1; beta=a=b"),
        ("Cookie", "c="),
    ];

    fn is_met(condition: Value) -> bool {
        let spec: gateway::Condition = serde_json::from_value(condition).unwrap();
        let headers: Vec<Header<'_>> = HEADERS
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let fields = Fields::new(&headers).unwrap();
        let asked = Asked {
            method: "GET",
            host: fields.host.unwrap(),
            path: "/a/b",
            fields,
        };
        Condition::new(&spec).unwrap().is_met(&asked)
    }

    fn header(name: &str, is: Value) -> Value {
        json!({"header": {"name": name, "is": is}})
    }

    #[test]
    fn headers_and_cookies_are_compared() {
        // contract: lb-gateway-condition
        for (condition, expected) in [
            (json!({"header": {"name": "user-agent"}}), true),
            (json!({"header": {"name": "X-None"}}), false),
            (header("User-Agent", json!({"contains": "Firefox"})), true),
            (header("User-Agent", json!({"contains": "firefox"})), false),
            (
                json!({"header": {"name": "User-Agent", "is": {"contains": "firefox"}, "ignoreCase": true}}),
                true,
            ),
            // Any of several lines.
            (header("X-Team", json!({"equals": "Blue"})), true),
            (header("X-Team", json!({"equals": "Blu"})), false),
            (header("X-Team", json!({"startsWith": "re"})), true),
            (header("X-Team", json!({"startsWith": "ed"})), false),
            (header("X-Team", json!({"endsWith": "ed"})), true),
            (header("X-Team", json!({"endsWith": "re"})), false),
            (header("X-Team", json!({"matches": "^[a-r]+e.$"})), true),
            (header("X-Team", json!({"matches": "^b"})), false),
            // Nothing but an expression is one.
            (header("User-Agent", json!({"contains": "Fire.ox"})), false),
            (json!({"cookie": {"name": "old"}}), true),
            (json!({"cookie": {"name": "Old"}}), false),
            (
                json!({"cookie": {"name": "beta", "is": {"equals": "a=b"}}}),
                true,
            ),
            (json!({"cookie": {"name": "c", "is": {"equals": ""}}}), true),
        ] {
            assert_eq!(is_met(condition.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn the_request_line_and_the_host_are_compared() {
        for (condition, expected) in [
            (json!({"method": {"is": {"equals": "GET"}}}), true),
            (json!({"path": {"is": {"startsWith": "/a/"}}}), true),
            (json!({"path": {"is": {"equals": "/a"}}}), false),
            (json!({"host": {"is": {"equals": "shop.example"}}}), false),
            (
                json!({"host": {"is": {"equals": "shop.example:8080"}, "ignoreCase": true}}),
                true,
            ),
        ] {
            assert_eq!(is_met(condition.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn conditions_are_joined() {
        let yes = json!({"cookie": {"name": "old"}});
        let no = json!({"not": yes});
        for (condition, expected) in [
            (no.clone(), false),
            (json!({"all": [yes, yes]}), true),
            (json!({"all": [yes, no]}), false),
            (json!({"any": [no, yes]}), true),
            (json!({"any": [no, no]}), false),
            (json!({"not": {"all": [yes, no]}}), true),
        ] {
            assert_eq!(is_met(condition.clone()), expected, "{condition}");
        }
    }

    #[test]
    fn an_expression_has_its_limits() {
        let broken = Text::Matches("(".to_owned());
        assert!(compile(&broken, false).is_err());
        let huge = Text::Matches(r"(\w{500}){500}".to_owned());
        assert!(compile(&huge, false).is_err());
    }
}
