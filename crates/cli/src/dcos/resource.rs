//! Definitions: from a file, an `http://` address or stdin.

use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::sync::PoisonError;

use serde_json::Value;

use super::Context;
use crate::failure::Failure;

/// Larger than any definition; a stream that never ends is not one.
const LONGEST: u64 = 16 * 1024 * 1024;

impl Context<'_> {
    /// Reads the definition that `name` names, or stdin; `example` shows how it is given.
    pub(super) async fn resource(
        &self,
        name: Option<&str>,
        example: &str,
    ) -> Result<Value, Failure> {
        match name {
            None => self.definition_on_stdin(example),
            Some(name) if Path::new(name).is_file() => read_json_file(Path::new(name)),
            Some(url) if url.starts_with("https://") => Err(Failure::with_hint(
                format!(
                    "Can't read from resource: {url}.\nOnly files and http:// addresses can be read."
                ),
                "fetch it with curl and give the file",
            )),
            Some(url) if url.starts_with("http://") => match self.front.fetch(url).await {
                Some(text) => parse(&text),
                None => Err(unreadable(url)),
            },
            Some(name) => Err(unreadable(name)),
        }
    }

    /// Reads a JSON document from stdin, but not from a terminal.
    pub(super) fn definition_on_stdin(&self, example: &str) -> Result<Value, Failure> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        if input.is_terminal {
            return Err(Failure::stated(format!(
                "We currently don't support reading from the TTY. Please specify an application JSON.\n{example}"
            )));
        }
        let mut text = Vec::new();
        let read = input
            .reader
            .as_mut()
            .take(LONGEST + 1)
            .read_to_end(&mut text);
        read.map_err(|source| Failure::File {
            action: "read",
            path: "stdin".into(),
            source,
        })?;
        if text.len() as u64 > LONGEST {
            return Err(Failure::stated(format!(
                "The definition is longer than {LONGEST} bytes."
            )));
        }
        parse(&text)
    }

    /// Reads one line of stdin; `None` at its end.
    pub(super) fn answer(&self) -> Result<Option<String>, Failure> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = String::new();
        let read = input.reader.as_mut().take(LONGEST).read_line(&mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim().to_owned())),
            Err(source) => Err(Failure::File {
                action: "read",
                path: "stdin".into(),
                source,
            }),
        }
    }
}

/// Reads a JSON document from a file.
pub(super) fn read_json_file(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read(path).map_err(|source| Failure::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    parse(&text)
}

fn unreadable(name: &str) -> Failure {
    Failure::stated(format!(
        "Can't read from resource: {name}.\nPlease check that it exists."
    ))
}

fn parse(text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::stated(format!("Error loading JSON: {error}")))
}
