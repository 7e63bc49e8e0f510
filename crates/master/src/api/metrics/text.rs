//! The two text forms that Prometheus reads: its own 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in where a counter's `_total` stands and in the last line.

use std::fmt::{Display, Write as _};

use axum::response::Response;
use http::StatusCode;

use crate::http::with_type;
use crate::metrics::Observed;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Prometheus,
    OpenMetrics,
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Writes families one after the other, each followed by its samples.
pub(super) struct Writer {
    form: Form,
    out: String,
    /// Name of the samples of the family that was begun last.
    sample_name: String,
}

impl Writer {
    pub(super) const fn new(form: Form) -> Self {
        Self {
            form,
            out: String::new(),
            sample_name: String::new(),
        }
    }

    /// Begins a family; a counter's name comes without `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.sample_name = match kind {
            Kind::Counter => format!("{name}_total"),
            Kind::Gauge => name.to_owned(),
        };
        let family_name = match self.form {
            Form::Prometheus => self.sample_name.clone(),
            Form::OpenMetrics => name.to_owned(),
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(&family_name, kind, help);
    }

    /// One sample of the family; `labels` as `state="x"`, or empty.
    pub(super) fn sample(&mut self, labels: &str, value: impl Display) {
        let name = self.sample_name.clone();
        self.line(&name, labels, value);
    }

    /// A whole histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], seen: &Observed) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, n) in bounds.iter().zip(seen.up_to) {
            self.line(&bucket, &format!("le=\"{bound:?}\""), n);
        }
        self.line(&bucket, "le=\"+Inf\"", seen.count());
        self.line(&format!("{name}_sum"), "", seen.total_seconds);
        self.line(&format!("{name}_count"), "", seen.count());
    }

    /// The answer.
    pub(super) fn finish(mut self) -> Response {
        let content_type = match self.form {
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => {
                self.out.push_str("# EOF\n");
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        };
        with_type(StatusCode::OK, content_type, self.out)
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string takes everything");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let written = if labels.is_empty() {
            writeln!(self.out, "{name} {value}")
        } else {
            writeln!(self.out, "{name}{{{labels}}} {value}")
        };
        written.expect("a string takes everything");
    }
}
