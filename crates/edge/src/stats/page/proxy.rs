//! The table of one proxy.

use std::fmt::Write as _;
use std::time::Duration;

use super::{View, escape};
use crate::counters::Took;
use crate::health::Status;
use crate::stats::{Checks, Kind, Proxy, Row};

/// The two lines above the rows: groups of columns, and columns.
const GROUPS: [(&str, &[&str]); 8] = [
    ("Queue", &["Cur", "Max", "Limit"]),
    ("Session rate", &["Cur", "Max", "Limit"]),
    (
        "Sessions",
        &["Cur", "Max", "Limit", "Total", "LbTot", "Last"],
    ),
    ("Bytes", &["In", "Out"]),
    ("Denied", &["Req", "Resp"]),
    ("Errors", &["Req", "Conn", "Resp"]),
    ("Warnings", &["Retr", "Redis"]),
    (
        "Server",
        &[
            "Status", "LastChk", "Wght", "Act", "Bck", "Chk", "Dwn", "Dwntme", "Thrtle",
        ],
    ),
];

/// Writes the table of `proxy`.
pub(super) fn table(out: &mut String, proxy: &Proxy, view: &View) {
    let name = escape(&proxy.name);
    let _ = write!(
        out,
        "<table class=\"proxy\"><tr><th class=\"name\"><a id=\"{name}\" href=\"#{name}\">{name}</a></th>\
         <td class=\"bare\" colspan=\"30\"></td></tr>\n<tr class=\"titles\"><th rowspan=\"2\"></th>"
    );
    for (group, columns) in GROUPS {
        let _ = write!(out, "<th colspan=\"{}\">{group}</th>", columns.len());
    }
    out.push_str("</tr>\n<tr class=\"titles\">");
    for (_, columns) in GROUPS {
        for column in columns {
            let _ = write!(out, "<th>{column}</th>");
        }
    }
    out.push_str("</tr>\n");
    for row in &proxy.rows {
        let is_hidden =
            row.kind == Kind::Server && matches!(row.status, Status::Down | Status::GoingUp(..));
        if !(view.hides_down && is_hidden) {
            write_row(out, &name, row);
        }
    }
    out.push_str("</table>\n");
}

fn write_row(out: &mut String, proxy: &str, row: &Row) {
    let title = match row.kind {
        Kind::Frontend => "Frontend".to_owned(),
        Kind::Backend => "Backend".to_owned(),
        Kind::Server => escape(&row.name),
    };
    let class = match row.kind {
        Kind::Frontend | Kind::Backend => "whole",
        Kind::Server => class_of(row.status),
    };
    let (anchor, sessions) = (escape(&row.name), &row.sessions);
    let _ = write!(
        out,
        "<tr class=\"{class}\"><td class=\"title\"><a id=\"{proxy}/{anchor}\">{title}</a></td>"
    );
    let limit = row.limit().map_or_else(|| "-".to_owned(), number);
    let is_frontend = row.kind == Kind::Frontend;
    if is_frontend {
        out.push_str("<td colspan=\"3\"></td>");
    } else {
        let queue_limit = if row.kind == Kind::Server { "-" } else { "" };
        cells(out, &["0", "0", queue_limit]);
    }
    let mut rate = format!("Sessions a second; the most in any: {}", sessions.rate.1);
    if row.is_http && is_frontend {
        let (requests, most) = row.request_rate;
        let _ = write!(rate, "; requests: {requests}, the most: {most}");
    }
    hover(out, &number(sessions.rate.0), &rate);
    cells(
        out,
        &[&number(sessions.rate.1), if is_frontend { "-" } else { "" }],
    );
    cells(out, &[&number(sessions.now), &number(sessions.max), &limit]);
    hover(out, &number(sessions.total), &totals(row));
    if is_frontend {
        cells(out, &["", ""]);
    } else {
        let last = sessions.last.map_or_else(
            || "?".to_owned(),
            |seconds| span(Duration::from_secs(seconds)),
        );
        cells(out, &[&number(sessions.total), &last]);
    }
    cells(out, &[&number(row.bytes.0), &number(row.bytes.1)]);
    let denied = match row.kind {
        Kind::Server => String::new(),
        Kind::Frontend | Kind::Backend => number(row.denied_requests),
    };
    cells(out, &[&denied, "0"]);
    if is_frontend {
        cells(out, &[&number(row.request_errors), "", "", "", ""]);
        out.push_str("<td class=\"mid\">OPEN</td><td colspan=\"8\"></td></tr>\n");
        return;
    }
    cells(out, &["", &number(row.connect_errors)]);
    let aborts = format!(
        "Broken off: by clients {}, by servers {}",
        row.client_aborts, row.server_aborts
    );
    hover(out, &number(row.response_errors), &aborts);
    cells(out, &[&number(row.retries), &number(row.redispatches)]);
    let _ = write!(out, "<td class=\"mid\">{}</td>", status(row));
    match (&row.checks, row.kind) {
        (Some(checks), _) => {
            write_checks(out, row, checks);
        }
        (None, Kind::Server) => {
            out.push_str("<td></td>");
            cells(out, &[&number(row.weight), "Y", "-", "", "", "", "-"]);
        }
        (None, Kind::Backend | Kind::Frontend) => {
            out.push_str("<td></td>");
            cells(
                out,
                &[
                    &number(row.weight),
                    &number(row.n_active),
                    "0",
                    "",
                    &number(row.outages.0),
                    &span(row.outages.1),
                    "",
                ],
            );
        }
    }
    out.push_str("</tr>\n");
}

fn write_checks(out: &mut String, row: &Row, checks: &Checks) {
    let shown = match &checks.last {
        _ if row.status == Status::Maintenance => String::new(),
        None => if checks.is_checking { "* INI" } else { "INI" }.to_owned(),
        Some(last) => {
            let code = last
                .status
                .map(|status| format!("/{status}"))
                .unwrap_or_default();
            let mark = if checks.is_checking { "* " } else { "" };
            format!("{mark}{}{code} in {}ms", last.code, last.took.as_millis())
        }
    };
    let text = checks
        .last
        .as_ref()
        .map(|last| last.text.as_str())
        .unwrap_or_default();
    let _ = write!(
        out,
        "<td class=\"mid\"><u title=\"{}\">{shown}</u></td>",
        escape(text)
    );
    cells(out, &[&number(row.weight), "Y", "-"]);
    hover(out, &number(checks.n_failed), "Failed checks");
    cells(out, &[&number(checks.n_down), &span(checks.downtime), "-"]);
}

fn status(row: &Row) -> String {
    let since = span(row.since);
    match (row.status, row.kind) {
        (Status::Open, _) => "OPEN".to_owned(),
        (Status::Unchecked, _) => "<i>no check</i>".to_owned(),
        (Status::Down, Kind::Backend) => format!("<b class=\"alarm\">{since} DOWN</b>"),
        (Status::GoingDown(k, n), _) => format!("{since} UP {k}/{n} &darr;"),
        (Status::GoingUp(k, n), _) => format!("{since} DN {k}/{n} &uarr;"),
        (Status::Up | Status::Down | Status::Maintenance, _) => format!("{since} {}", row.status),
    }
}

fn class_of(status: Status) -> &'static str {
    match status {
        Status::Open => "whole",
        Status::Up => "up",
        Status::GoingDown(..) => "going-down",
        Status::GoingUp(..) => "going-up",
        Status::Down => "down",
        Status::Maintenance => "maintenance",
        Status::Unchecked => "unchecked",
    }
}

/// What the total of sessions is made of.
fn totals(row: &Row) -> String {
    let mut text = format!("Sessions: {}", row.sessions.total);
    if row.is_http {
        if row.kind == Kind::Frontend {
            let _ = write!(text, "; requests: {}", row.requests);
        }
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx", "other"]
            .iter()
            .zip(row.responses)
        {
            let _ = write!(text, "; {class}: {count}");
        }
    }
    if row.kind != Kind::Frontend {
        let Took {
            connect,
            response,
            total,
        } = row.times;
        let _ = write!(
            text,
            "; on average over the last 1024: connect {connect:.1?}, response {response:.1?}, total {total:.1?}"
        );
    }
    text
}

fn cells(out: &mut String, values: &[&str]) {
    for value in values {
        let _ = write!(out, "<td>{value}</td>");
    }
}

fn hover(out: &mut String, value: &str, title: &str) {
    let _ = write!(out, "<td><u title=\"{title}\">{value}</u></td>");
}

/// Thousands apart: `97 346`.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{2009}');
        }
        shown.push(digit);
    }
    shown
}

/// The two largest units: `3m19s`, `1h5m`, `0s`.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans() {
        // contract: lb-stats-page
        for (value, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (97_346, "97 346"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(number(value).replace('\u{2009}', " "), shown);
        }
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (199, "3m19s"),
            (1345, "22m25s"),
            (3900, "1h5m"),
            (93_600, "1d2h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
    }
}
