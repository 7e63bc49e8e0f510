//! The two text forms that Prometheus reads: its own 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in where a counter's `_total` stands and in the last line. Names follow Prometheus' conventions: base units (seconds,
//! bytes), `_total` for what only grows.

use std::fmt::{Display, Write as _};

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' own, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// What a caller with these headers reads: OpenMetrics only if it names it.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let names_it = |value: &HeaderValue| {
            let accept = value.to_str().unwrap_or_default();
            accept.contains("application/openmetrics-text")
        };
        if headers.get_all(ACCEPT).iter().any(names_it) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<'a> {
    /// Upper ends of the buckets.
    pub bounds: &'a [f64],
    /// Observations up to each bound, and one more number: all.
    pub up_to: &'a [u64],
    /// The sum of all that was observed.
    pub sum: f64,
}

/// Writes families one after the other, each followed by its samples.
#[derive(Debug)]
pub struct Exposition {
    form: Form,
    out: String,
    /// Name of the samples of the family that was begun last.
    sample_name: String,
}

impl Exposition {
    /// Begins with nothing.
    pub const fn new(form: Form) -> Self {
        Self {
            form,
            out: String::new(),
            sample_name: String::new(),
        }
    }

    /// Begins a family; a counter's name comes without `_total`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
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

    /// One sample of the family, with these labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let name = self.sample_name.clone();
        self.line(&name, labels, value);
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A whole histogram.
    pub fn histogram(&mut self, name: &str, help: &str, seen: Seen<'_>) {
        let Seen { bounds, up_to, sum } = seen;
        let all = up_to.last().copied().unwrap_or_default();
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, n) in bounds.iter().zip(up_to) {
            self.line(&bucket, &[("le", &format!("{bound:?}"))], n);
        }
        self.line(&bucket, &[("le", "+Inf")], all);
        self.line(&format!("{name}_sum"), &[], sum);
        self.line(&format!("{name}_count"), &[], all);
    }

    /// The answer.
    pub fn finish(mut self) -> Response {
        let content_type = match self.form {
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => {
                self.out.push_str("# EOF\n");
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        };
        let mut response = Response::new(Body::from(self.out));
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string takes everything");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        for (idx, (label, text)) in labels.iter().enumerate() {
            self.out.push(if idx == 0 { '{' } else { ',' });
            let _ = write!(self.out, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        writeln!(self.out, " {value}").expect("a string takes everything");
    }
}

/// A label's value as it stands between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(form: Form) -> String {
        let mut out = Exposition::new(form);
        out.family("a_requests", Kind::Counter, "Requests.");
        out.sample(&[("path", "/\"x\"\n\\"), ("code", "200")], 3);
        out.single("a_uptime_seconds", Kind::Gauge, "Age.", 1.5);
        let seen = Seen {
            bounds: &[0.5, 1.0],
            up_to: &[1, 1, 4],
            sum: 9.25,
        };
        out.histogram("a_time_seconds", "Time.", seen);
        out.out
    }

    #[test]
    fn both_forms() {
        let prometheus = r#"# HELP a_requests_total Requests.
# TYPE a_requests_total counter
a_requests_total{path="/\"x\"\n\\",code="200"} 3
# HELP a_uptime_seconds Age.
# TYPE a_uptime_seconds gauge
a_uptime_seconds 1.5
# HELP a_time_seconds Time.
# TYPE a_time_seconds histogram
a_time_seconds_bucket{le="0.5"} 1
a_time_seconds_bucket{le="1.0"} 1
a_time_seconds_bucket{le="+Inf"} 4
a_time_seconds_sum 9.25
a_time_seconds_count 4
"#;
        assert_eq!(text(Form::Prometheus), prometheus);
        let family = |line: &str| {
            line.starts_with('#')
                .then(|| line.replace("a_requests_total", "a_requests"))
        };
        let open: String = prometheus
            .lines()
            .map(|line| family(line).unwrap_or_else(|| line.to_owned()) + "\n")
            .collect();
        assert_eq!(text(Form::OpenMetrics), open);
    }
}
