//! How the process ends when it does not end well: a message printed once, and a number.

use anyhow::Error;
use zddcluster_cli::ExitStatus;

/// An error with the exit status it means.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: ExitStatus,
    pub(crate) error: Error,
}

impl Fault {
    /// Wrong settings: nothing was started, another command line would do (exit 64).
    pub(crate) fn settings(error: impl Into<Error>) -> Self {
        Self {
            status: ExitStatus::Config,
            error: error.into(),
        }
    }

    /// A failure while at work.
    pub(crate) fn failure(error: impl Into<Error>) -> Self {
        Self {
            status: ExitStatus::Failure,
            error: error.into(),
        }
    }

    /// Several failures as one, each said and each hint given once; one alone stays what it is.
    pub(crate) fn together(mut faults: Vec<Self>) -> Result<(), Self> {
        if faults.len() <= 1 {
            return faults.pop().map_or(Ok(()), Err);
        }
        let (mut whats, mut hints) = (Vec::new(), Vec::new());
        for fault in &faults {
            let message = fault.message();
            let (what, hint) = match message.split_once("; hint: ") {
                Some((what, hint)) => (what, Some(hint.to_owned())),
                None => (message.as_str(), None),
            };
            whats.push(what.to_owned());
            if let Some(hint) = hint.filter(|hint| !hints.contains(hint)) {
                hints.push(hint);
            }
        }
        let mut message = whats.join("; ");
        if !hints.is_empty() {
            message.push_str("; hint: ");
            message.push_str(&hints.join("; "));
        }
        Err(Self::failure(anyhow::anyhow!(message)))
    }

    /// The error and its causes in one line; a hint at its end stays there.
    pub(crate) fn message(&self) -> String {
        let top = self.error.to_string();
        let causes: Vec<String> = self
            .error
            .chain()
            .skip(1)
            .map(ToString::to_string)
            .collect();
        if causes.is_empty() {
            return top;
        }
        match top.split_once("; hint: ") {
            Some((what, hint)) => format!("{what}: {}; hint: {hint}", causes.join(": ")),
            None => format!("{top}: {}", causes.join(": ")),
        }
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::failure(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_comes_last() {
        let cause = std::io::Error::other("read-only");
        let fault = Fault::settings(Error::new(cause).context("cannot write x; hint: choose y"));
        assert_eq!(fault.message(), "cannot write x: read-only; hint: choose y");
        assert_eq!(Fault::failure(anyhow::anyhow!("alone")).message(), "alone");
    }

    #[test]
    fn all_are_said_at_once() {
        let fault = |text: &'static str| Fault::failure(anyhow::anyhow!(text));
        assert!(Fault::together(Vec::new()).is_ok());
        let faults = vec![fault("a; hint: again"), fault("b"), fault("c; hint: again")];
        let error = Fault::together(faults).unwrap_err();
        assert_eq!(error.message(), "a; b; c; hint: again");
    }
}
