//! A backend and its servers.

use std::fmt::Write as _;

use super::words::{self, format, in_any_case, literally, quoted, replacement};
use crate::labels::{CheckPort, Mode, Options, Probe};
use crate::table::{Backend, Server};
use crate::verdict::{HSTS, STICKY_COOKIE};

/// Writes `backend`.
pub(super) fn write(out: &mut String, backend: &Backend) {
    let Backend {
        name,
        app_id: _,
        port: _,
        mode,
        is_of_gateway: _,
        // Of its port and vhosts.
        share: _,
        check: _,
        options,
        vhosts,
        vhost_texts: _,
        servers,
    } = backend;
    let _ = writeln!(
        out,
        "\nbackend {name}\n  balance {}\n  mode {}",
        options.balance.name(),
        words::of(*mode)
    );
    if let Some(allowed) = &options.allowed {
        let networks: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        let reject = match mode {
            Mode::Http => "http-request deny",
            Mode::Tcp => "tcp-request content reject",
        };
        let _ = writeln!(out, "  {reject} if !{{ src {} }}", networks.join(" "));
    }
    if *mode == Mode::Http {
        of_requests(out, options, vhosts);
        of_answers(out, options, vhosts);
    }
    write_check(out, backend);
    for server in servers {
        write_server(out, backend, server);
    }
}

/// What happens to requests.
fn of_requests(out: &mut String, options: &Options, vhosts: &[String]) {
    if let Some(place) = options.root_redirect.as_ref().filter(|place| *place != "/") {
        let hosts: Vec<_> = vhosts.iter().map(|vhost| quoted(vhost)).collect();
        let _ = writeln!(
            out,
            "  http-request redirect location {} code 301 if {{ path / }} {{ {} -i -- {} }}",
            format(place),
            super::HOST,
            hosts.join(" ")
        );
    }
    out.push_str("  option forwardfor\n  http-request set-header X-Forwarded-Port %[dst_port]\n");
    out.push_str("  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n");
    if let Some(prefix) = &options.stripped_prefix {
        if let Some(vhost) = vhosts.first() {
            let _ = writeln!(out, "  http-request set-header Host {}", format(vhost));
        }
        let _ = writeln!(
            out,
            "  http-request replace-path {} {}",
            quoted(&format!("^{}/?(.*)$", in_any_case(prefix))),
            quoted("/\\1")
        );
    }
}

/// What happens to answers.
fn of_answers(out: &mut String, options: &Options, vhosts: &[String]) {
    let root = options.location_root.as_deref().unwrap_or_default();
    let root = root.trim_end_matches('/');
    if !root.is_empty() {
        let hosts: Vec<_> = vhosts.iter().map(|vhost| in_any_case(vhost)).collect();
        let ours = format!("(https?://({})(:[0-9]*)?)?", hosts.join("|"));
        let below = format!("^(https?://[^/]*)?{}([/?#].*)?$", literally(root));
        let _ = writeln!(
            out,
            "  http-response replace-header Location {} {} unless {{ res.fhdr(location) -m reg -- {} }}",
            quoted(&format!("^{ours}(/([^/].*)?)$")),
            quoted(&format!("{}\\4", replacement(root))),
            quoted(&below)
        );
    }
    if options.has_hsts {
        let _ = writeln!(
            out,
            "  http-response set-header Strict-Transport-Security {HSTS}"
        );
    }
    if options.is_sticky {
        let _ = writeln!(out, "  cookie {STICKY_COOKIE} insert indirect nocache");
    }
}

fn write_check(out: &mut String, backend: &Backend) {
    let Some(check) = &backend.check else { return };
    if let Probe::Get(path) = &check.probe {
        let _ = writeln!(out, "  option httpchk GET {}", quoted(path));
    }
    let _ = writeln!(out, "  timeout check {}s", check.timeout.as_secs());
}

fn write_server(out: &mut String, backend: &Backend, server: &Server) {
    let _ = write!(out, "  server {} {}", server.name, server.address);
    if let Some(check) = &backend.check {
        let _ = write!(
            out,
            " check inter {}s fall {}",
            check.interval.as_secs(),
            check.fall
        );
        if check.port != CheckPort::Own {
            let _ = write!(out, " port {}", server.check_address.port());
        }
    }
    if backend.options.is_sticky {
        let _ = write!(out, " cookie {}", server.cookie);
    }
    if server.is_draining {
        out.push_str(" disabled");
    }
    out.push('\n');
}
