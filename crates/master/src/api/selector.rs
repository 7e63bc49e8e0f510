//! Label selectors: `k`, `k==v`, `k!=v`, `k in (a, b)`, `k notin (a, b)`, comma-separated, all must hold.
//!
//! `!=` and `notin` do not match apps that lack the key (trap 14). Source: contract marathon §2.2.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A parsed selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
}

/// A text that is no selector.
#[derive(Debug, thiserror::Error)]
#[error("Can not parse label selector '{text}'. Reason: {reason}")]
pub(crate) struct SelectorError {
    text: String,
    reason: String,
}

impl Selector {
    /// Reads a selector; an empty one matches everything.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut parser = Parser {
            chars: text.chars().peekable(),
        };
        parser.selector().map_err(|reason| SelectorError {
            text: text.to_owned(),
            reason,
        })
    }

    /// True if all requirements hold.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0
            .iter()
            .all(|Requirement { key, test }| match (labels.get(key), test) {
                (None, _) => false,
                (Some(_), Test::Present) => true,
                (Some(value), Test::OneOf(values)) => values.contains(value),
                (Some(value), Test::NoneOf(values)) => !values.contains(value),
            })
    }
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, String> {
        let mut requirements = vec![self.requirement()?];
        loop {
            self.skip_spaces();
            match self.chars.next() {
                None => return Ok(Selector(requirements)),
                Some(',') => requirements.push(self.requirement()?),
                Some(other) => return Err(format!("unexpected '{other}'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let key = self.term()?;
        self.skip_spaces();
        let test = match self.chars.peek() {
            None | Some(',') => Test::Present,
            Some('=') => {
                self.expect("==")?;
                Test::OneOf(vec![self.term()?])
            }
            Some('!') => {
                self.expect("!=")?;
                Test::NoneOf(vec![self.term()?])
            }
            Some(_) => match self.term()?.as_str() {
                "in" => Test::OneOf(self.set()?),
                "notin" => Test::NoneOf(self.set()?),
                other => return Err(format!("expected an operator but found '{other}'")),
            },
        };
        Ok(Requirement { key, test })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        self.skip_spaces();
        self.expect("(")?;
        let mut values = vec![self.term()?];
        loop {
            self.skip_spaces();
            match self.chars.next() {
                Some(',') => values.push(self.term()?),
                Some(')') => return Ok(values),
                Some(other) => return Err(format!("expected ',' or ')' but found '{other}'")),
                None => return Err("expected ')' but the text ends".to_owned()),
            }
        }
    }

    /// Letters, digits, `-`, `_`, `.` and any character after a backslash.
    fn term(&mut self) -> Result<String, String> {
        self.skip_spaces();
        let mut term = String::new();
        while let Some(&c) = self.chars.peek() {
            if c == '\\' {
                self.chars.next();
                term.push(self.chars.next().ok_or("a backslash ends the text")?);
            } else if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                term.push(c);
                self.chars.next();
            } else {
                break;
            }
        }
        match (term.is_empty(), self.chars.peek()) {
            (false, _) => Ok(term),
            (true, Some(c)) => Err(format!("expected a label but found '{c}'")),
            (true, None) => Err("expected a label but the text ends".to_owned()),
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        for wanted in word.chars() {
            match self.chars.next() {
                Some(c) if c == wanted => {}
                Some(c) => return Err(format!("expected '{word}' but found '{c}'")),
                None => return Err(format!("expected '{word}' but the text ends")),
            }
        }
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_labels() {
        // contract: selector-present, selector-equal, selector-not-equal, selector-in
        // contract: selector-not-in, selector-and, selector-escape, trap-14
        let labels: BTreeMap<String, String> = [("a", "1"), ("b", "x y"), ("c.d", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("", true),
            ("a", true),
            ("z", false),
            ("a==1", true),
            ("a == 2", false),
            ("a!=2", true),
            ("z!=2", false),
            ("a in (1, 3)", true),
            ("a in(3)", false),
            ("a notin (3)", true),
            ("z notin (3)", false),
            (r"b==x\ y", true),
            ("a, c.d==2", true),
            ("a,z", false),
        ] {
            assert_eq!(
                Selector::parse(text).unwrap().matches(&labels),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_selector() {
        // contract: selector-error
        for text in ["k=v", "k in a", "k in (a", "k like (a)", "==v", "a,", "a b"] {
            let error = Selector::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with("Can not parse label selector"),
                "{text}: {error}"
            );
        }
    }
}
