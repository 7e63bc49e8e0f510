//! Everything the command line says goes through here: data to stdout, talk to stderr.
//!
//! The [`Printer`] knows what was asked for (quiet, JSON, colour) and what the streams are (terminals or not), so that
//! no verb has to. A reader that goes away (`dcos … | head`) ends the command quietly: [`Failure::BrokenPipe`].

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{ColorWhen, Format, Globals};
use crate::failure::Failure;
use crate::text;

/// The colour of `error:`.
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The colour of `hint:`.
const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// The weight of headings.
pub(crate) const HEADING: Style = Style::new().bold();

/// The two streams, and how to write to them.
pub struct Printer {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    format: Format,
    quiet: bool,
    out_is_terminal: bool,
    out_has_color: bool,
    err_has_color: bool,
}

/// What a printer for tests took down.
#[derive(Clone, Default)]
pub struct Captured {
    out: Buffer,
    err: Buffer,
}

impl Captured {
    /// What went to stdout so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// What went to stderr so far.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

impl Printer {
    /// A printer on the process's own streams.
    pub fn new(globals: &Globals) -> Self {
        let has_color = |found: ColorChoice| match globals.color {
            ColorWhen::Auto => found != ColorChoice::Never,
            ColorWhen::Always => true,
            ColorWhen::Never => false,
        };
        Self {
            out: Mutex::new(Box::new(io::stdout())),
            err: Mutex::new(Box::new(io::stderr())),
            format: globals.output,
            quiet: globals.quiet,
            out_is_terminal: io::stdout().is_terminal(),
            // These know of NO_COLOR and of terminals that have none.
            out_has_color: has_color(AutoStream::choice(&io::stdout())),
            err_has_color: has_color(AutoStream::choice(&io::stderr())),
        }
    }

    /// A printer into memory, as on a pipe.
    pub fn captured(format: Format) -> (Self, Captured) {
        let captured = Captured::default();
        let printer = Self {
            out: Mutex::new(Box::new(captured.out.clone())),
            err: Mutex::new(Box::new(captured.err.clone())),
            format,
            quiet: false,
            out_is_terminal: false,
            out_has_color: false,
            err_has_color: false,
        };
        (printer, captured)
    }

    /// Whether `--output json` was given.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether `--quiet` was given.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether stdout is to be coloured.
    pub(crate) fn has_color(&self) -> bool {
        self.out_has_color
    }

    /// Whether somebody watches stdout: then it may be drawn over.
    pub fn is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Prints a line, or several, of data.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match self.out_has_color {
            true => writeln!(out, "{text}"),
            false => writeln!(out, "{}", strip_str(text)),
        };
        written
            .and_then(|()| out.flush())
            .map_err(Failure::from_stdout)
    }

    /// Prints text without an end of line and without any change: the logs of tasks, and questions.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        write!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(Failure::from_stdout)
    }

    /// Prints a document as the original client does: keys sorted, indented by 2, ASCII only.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let value = serde_json::to_value(value).map_err(Failure::Encode)?;
        self.data(&text::sorted_json(&value))
    }

    /// Says something beside the data, unless it is to be quiet.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Says something that must be heard.
    pub fn say(&self, text: &str) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match self.err_has_color {
            true => writeln!(err, "{text}"),
            false => writeln!(err, "{}", strip_str(text)),
        };
        // Nobody is left to tell that stderr is closed.
        let _ = written.and_then(|()| err.flush());
    }

    /// Says what can be done.
    pub fn hint(&self, text: &str) {
        self.talk(&format!("{HINT}hint:{HINT:#} {text}"));
    }

    /// Says that a verb of zddcluster failed, with its causes and what can be done.
    pub fn error(&self, error: &(dyn std::error::Error + 'static), hint: Option<&str>) {
        let line = format!(
            "{ERROR}error:{ERROR:#} {}",
            text::printable(&text::chain(error))
        );
        self.say(&line);
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// A live line on stderr; none where nobody watches.
    pub(crate) fn live_line(&self) -> Option<indicatif::ProgressBar> {
        if self.quiet || !io::stderr().is_terminal() {
            return None;
        }
        let bar = indicatif::ProgressBar::new_spinner();
        let template = match self.err_has_color {
            true => "{spinner:.cyan} {msg}",
            false => "{spinner} {msg}",
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Some(bar)
    }
}

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault() {
        let (mut printer, captured) = Printer::captured(Format::Table);
        printer.out = Mutex::new(Box::new(Closed));
        assert!(matches!(printer.data("x"), Err(Failure::BrokenPipe)));
        assert!(matches!(printer.raw("x"), Err(Failure::BrokenPipe)));
        assert_eq!(captured.err(), "");
    }

    #[test]
    fn colours_are_for_those_who_want_them() {
        let (mut printer, captured) = Printer::captured(Format::Table);
        printer.hint("do it");
        assert_eq!(captured.err(), "hint: do it\n");
        printer.err_has_color = true;
        printer.hint("do it");
        assert!(
            captured.err().ends_with("hint:\u{1b}[0m do it\n"),
            "{:?}",
            captured.err()
        );
        printer.quiet = true;
        printer.hint("quiet");
        assert!(!captured.err().contains("quiet"));
        // The logs of tasks keep their colours wherever they go.
        printer.raw("\u{1b}[1mlog").unwrap();
        assert_eq!(captured.out(), "\u{1b}[1mlog");
    }
}
