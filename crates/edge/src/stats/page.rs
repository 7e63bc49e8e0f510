//! `/haproxy?stats`: the statistics as a page, laid out as HAProxy's is. Markup and wording are our own.
//!
//! Source: contract marathon-lb §3, §3.2, §3.3; the lab's screenshots.

mod proxy;

use std::fmt::Write as _;
use std::time::Duration;

use super::{Kind, Proxy};

/// What the address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Servers that are down are left out.
    pub(crate) hides_down: bool,
    /// Only proxies with this in their name.
    pub(crate) scope: String,
}

/// The longest scope that is taken.
const MOST_SCOPE: usize = 20;

impl View {
    /// Reads what follows `stats` in the query: `;up`, `;norefresh`, `;scope=NAME`. A form says `&scope=NAME`.
    pub(crate) fn read(query: &str) -> Self {
        let mut view = Self::default();
        for option in query.split([';', '&']) {
            match option.split_once('=') {
                Some(("scope", scope)) => {
                    let is_kept = |c: &char| c.is_ascii_alphanumeric() || "_-.:".contains(*c);
                    view.scope = scope.chars().filter(is_kept).take(MOST_SCOPE).collect();
                }
                None if option == "up" => view.hides_down = true,
                // As a form says it.
                Some(("up", _)) => view.hides_down = true,
                // The page never refreshes itself.
                Some(_) | None => {}
            }
        }
        view
    }

    fn link(&self) -> String {
        let up = if self.hides_down { ";up" } else { "" };
        let scope = if self.scope.is_empty() {
            String::new()
        } else {
            format!(";scope={}", self.scope)
        };
        format!("/haproxy?stats{up}{scope}")
    }
}

/// What the page tells about the process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) uptime: Duration,
    /// The soft limit of open files.
    pub(crate) open_files: Option<u64>,
    /// Tasks of the runtime.
    pub(crate) n_tasks: usize,
    /// Of one processor, since the start, in percent.
    pub(crate) idle: u64,
    /// Warnings about apps that are in force.
    pub(crate) n_warnings: usize,
}

/// Writes the page.
pub(crate) fn render(proxies: &[Proxy], process: &Process, view: &View) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Statistics Report for HAProxy</title>\n\
         <style>\n{}</style></head><body>\n\
         <h1>zddcluster edge {}, HAProxy-compatible</h1>\n<h2>Statistics Report for pid {}</h2>\n<hr>\n\
         <h3>&gt; General process information</h3>\n",
        include_str!("page.css"),
        env!("CARGO_PKG_VERSION"),
        process.pid
    );
    general(&mut out, proxies, process, view);
    for proxy in proxies
        .iter()
        .filter(|proxy| proxy.name.contains(&view.scope))
    {
        proxy::table(&mut out, proxy, view);
    }
    out.push_str("</body></html>\n");
    out
}

fn general(out: &mut String, proxies: &[Proxy], process: &Process, view: &View) {
    let frontends = || {
        proxies
            .iter()
            .flat_map(|proxy| &proxy.rows)
            .filter(|row| row.kind == Kind::Frontend)
    };
    let connections: u64 = frontends().map(|row| row.sessions.now).sum();
    let rate: u64 = frontends().map(|row| row.sessions.rate.0).sum();
    let seconds = process.uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let files = process
        .open_files
        .map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let _ = write!(
        out,
        "<div class=\"general\"><div class=\"process\">\n\
         <b>pid = </b>{} (process #1, nbproc = 1)<br>\n\
         <b>uptime = </b>{days}d {hours}h{minutes:02}m{:02}s<br>\n\
         <b>system limits:</b> memmax = unlimited; ulimit-n = {files}<br>\n\
         <b>maxsock = </b>{files}; <b>maxconn = </b>50000; <b>maxpipes = </b>0<br>\n\
         current conns = {connections}; current pipes = 0/0; conn rate = {rate}/sec<br>\n\
         Running tasks: 1/{}; idle = {} %<br>\n",
        process.pid,
        seconds % 60,
        process.n_tasks,
        process.idle,
    );
    if process.n_warnings > 0 {
        let plural = if process.n_warnings == 1 { "" } else { "s" };
        let _ = writeln!(
            out,
            "<a href=\"/_haproxy_getconfig\">{} warning{plural} about apps</a><br>",
            process.n_warnings
        );
    }
    out.push_str("</div>\n<table class=\"legend\">\n");
    for (left, left_word, right, right_word) in [
        ("up", "active UP", "backup-up", "backup UP"),
        (
            "going-down",
            "active UP, going down",
            "backup-going-down",
            "backup UP, going down",
        ),
        (
            "going-up",
            "active DOWN, going up",
            "backup-going-up",
            "backup DOWN, going up",
        ),
        ("down", "active or backup DOWN", "unchecked", "not checked"),
    ] {
        let _ = writeln!(
            out,
            "<tr><td class=\"box {left}\"></td><td>{left_word}</td><td class=\"box {right}\"></td><td>{right_word}</td></tr>"
        );
    }
    for (class, word) in [
        (
            "maintenance",
            "active or backup DOWN for maintenance (MAINT)",
        ),
        ("drain", "active or backup SOFT STOPPED for maintenance"),
    ] {
        let _ = writeln!(
            out,
            "<tr><td class=\"box {class}\"></td><td colspan=\"3\">{word}</td></tr>"
        );
    }
    let (toggled, toggle) = if view.hides_down {
        (
            View {
                hides_down: false,
                ..view.clone()
            },
            "Show all servers",
        )
    } else {
        (
            View {
                hides_down: true,
                ..view.clone()
            },
            "Hide 'DOWN' servers",
        )
    };
    let hidden = if view.hides_down {
        "<input type=\"hidden\" name=\"up\">"
    } else {
        ""
    };
    let _ = write!(
        out,
        "<tr><td colspan=\"4\">Note: \"NOLB\"/\"DRAIN\" = UP with load-balancing disabled.</td></tr>\n</table>\n\
         <div class=\"options\"><b>Display option:</b><ul>\n\
         <li><form method=\"get\" action=\"/haproxy\"><input type=\"hidden\" name=\"stats\">{hidden}\
         <label>Scope : <input name=\"scope\" value=\"{}\" size=\"8\" maxlength=\"{MOST_SCOPE}\"></label></form></li>\n\
         <li><a href=\"{}\">{toggle}</a></li>\n<li><a href=\"{}\">Refresh now</a></li>\n\
         <li><a href=\"/haproxy?stats;csv\">CSV export</a></li></ul></div>\n\
         <div class=\"options\"><b>External resources:</b><ul>\n\
         <li><a href=\"/_haproxy_getconfig\">Configuration</a></li>\n\
         <li><a href=\"/_haproxy_getvhostmap\">Virtual hosts</a></li>\n\
         <li><a href=\"/metrics\">Metrics</a></li></ul></div></div>\n",
        escape(&view.scope),
        toggled.link(),
        view.link(),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ask_for_views() {
        let view = |hides_down, scope: &str| View {
            hides_down,
            scope: scope.to_owned(),
        };
        for (query, expected) in [
            ("stats", view(false, "")),
            ("stats;up;norefresh", view(true, "")),
            ("stats;up;scope=zdd_blue", view(true, "zdd_blue")),
            ("stats=&scope=zdd", view(false, "zdd")),
            ("stats=&up=&scope=", view(true, "")),
            ("stats;scope=<b>\"x", view(false, "bx")),
        ] {
            assert_eq!(View::read(query), expected, "{query}");
        }
        assert_eq!(view(true, "x").link(), "/haproxy?stats;up;scope=x");
        assert_eq!(
            View::read(&view(true, "x").link()["/haproxy?".len()..]),
            view(true, "x")
        );
    }
}
