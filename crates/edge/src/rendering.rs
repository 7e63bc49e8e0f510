//! `/_haproxy_getconfig`: the table as a configuration that HAProxy would take, with what is odd about apps above it.
//!
//! Nothing reads it back; it is for people, and for scripts that look for a backend's name. `haproxy -c` accepts it (HAProxy
//! 2.2 and later: the words for changing paths and headers were others before). Passwords are left out: anybody may ask for it.
//!
//! Source: contract marathon-lb §2.4-§2.7, §3.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::labels::{CheckPort, Mode, Probe, Warning};
use crate::start::Addresses;
use crate::table::{Backend, Rule, Table};
use crate::verdict::{HSTS, STICKY_COOKIE};

/// Writes the configuration.
pub(crate) fn render(
    table: &Table,
    addresses: Addresses,
    bind: IpAddr,
    warnings: &[Warning],
) -> String {
    let mut out = String::from("# The table of the zddcluster edge, in HAProxy's words.\n");
    for warning in warnings {
        let line = format!("{} {}: {}", warning.app_id, warning.subject, warning.text);
        let _ = writeln!(
            out,
            "# warning: {}",
            line.replace(|c: char| c.is_control(), " ")
        );
    }
    out.push_str(HEAD);
    let _ = write!(out, "\nlisten stats\n  bind {}\n{STATS}", addresses.stats);
    users(&mut out, table);
    let _ = writeln!(out, "\nfrontend marathon_http_in\n  mode http");
    if let Some(http) = addresses.http {
        let _ = writeln!(out, "  bind {http}");
        rules(&mut out, table);
    }
    let _ = writeln!(
        out,
        "\nfrontend marathon_http_appid_in\n  bind {}\n  mode http",
        addresses.app_id
    );
    for (app_id, at) in &table.by_app_id {
        let name = &table.backends[*at].name;
        let _ = writeln!(
            out,
            "  use_backend {name} if {{ req.hdr(x-marathon-app-id) -m str -i {app_id} }}"
        );
    }
    match addresses.https {
        Some(https) => {
            let _ = writeln!(
                out,
                "\n# frontend marathon_https_in: {https}, with TLS; the rules of marathon_http_in by ssl_fc_sni"
            );
        }
        None => out.push_str("\n# frontend marathon_https_in: not served\n"),
    }
    for (port, backends) in &table.ports {
        for &at in backends {
            let backend = &table.backends[at];
            let binding = table.bindings.get(port);
            let ip = binding.and_then(|binding| binding.ip).unwrap_or(bind);
            let tls = match binding.and_then(|binding| binding.certificates.as_ref()) {
                Some(paths) => format!(
                    "\n  # with TLS: {}",
                    paths.replace(|c: char| c.is_control(), " ")
                ),
                None => String::new(),
            };
            let _ = writeln!(
                out,
                "\nfrontend {}\n  bind {}{tls}\n  mode {}\n  use_backend {}",
                backend.name,
                SocketAddr::new(ip, *port),
                word(backend.mode),
                backend.name
            );
        }
    }
    for backend in &table.backends {
        write_backend(&mut out, backend);
    }
    out
}

const HEAD: &str = "\
global
  maxconn 50000

defaults
  balance roundrobin
  maxconn 10000
  backlog 10000
  retries 3
  option dontlognull
  option http-server-close
  option redispatch
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout tunnel 3600s
  timeout http-keep-alive 1s
  timeout http-request 15s
  timeout queue 30s
";

const STATS: &str = "  mode http
  monitor-uri /_haproxy_health_check
  stats enable
  stats uri /haproxy?stats
";

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Http => "http",
        Mode::Tcp => "tcp",
    }
}

/// The name of a backend's list of users.
fn users_of(backend: &Backend) -> String {
    format!("users_{}", backend.name)
}

fn users(out: &mut String, table: &Table) {
    let mut written: Vec<usize> = Vec::new();
    for rule in &table.rules {
        if let Some(auth) = &rule.auth
            && !written.contains(&rule.backend)
        {
            written.push(rule.backend);
            let name = users_of(&table.backends[rule.backend]);
            let _ = writeln!(
                out,
                "\nuserlist {name}\n  user {} password *",
                quoted(&auth.user)
            );
        }
    }
}

/// A word of the configuration, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn condition(rule: &Rule) -> String {
    let mut condition = format!("{{ hdr(host),field(1,:) -i {} }}", quoted(&rule.vhost));
    if !rule.paths.is_empty() {
        let flag = if rule.paths_ignore_case { "-i " } else { "" };
        let paths: Vec<_> = rule.paths.iter().map(|path| quoted(path)).collect();
        let _ = write!(condition, " {{ path_beg {flag}{} }}", paths.join(" "));
    }
    condition
}

fn rules(out: &mut String, table: &Table) {
    for rule in table.rules.iter().filter(|rule| rule.redirect_to_https) {
        let _ = writeln!(
            out,
            "  http-request redirect scheme https code 301 if !{{ ssl_fc }} {}",
            condition(rule)
        );
    }
    for rule in &table.rules {
        if let Some(auth) = &rule.auth {
            let users = users_of(&table.backends[rule.backend]);
            let _ = writeln!(
                out,
                "  http-request auth realm {} if {} !{{ http_auth({users}) }}",
                quoted(&auth.realm),
                condition(rule)
            );
        }
    }
    for rule in &table.rules {
        let _ = writeln!(
            out,
            "  use_backend {} if {}",
            table.backends[rule.backend].name,
            condition(rule)
        );
    }
}

fn write_backend(out: &mut String, backend: &Backend) {
    let Backend {
        name,
        app_id: _,
        port: _,
        mode,
        share: _,
        check,
        options,
        vhosts,
        vhost_texts: _,
        servers,
    } = backend;
    let _ = writeln!(
        out,
        "\nbackend {name}\n  balance {}\n  mode {}",
        options.balance.name(),
        word(*mode)
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
        out.push_str(
            "  option forwardfor\n  http-request set-header X-Forwarded-Port %[dst_port]\n",
        );
        out.push_str("  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n");
    }
    if let Some(place) = &options.root_redirect {
        let hosts: Vec<_> = vhosts.iter().map(|vhost| quoted(vhost)).collect();
        let _ = writeln!(
            out,
            "  http-request redirect location {} code 301 if {{ path / }} {{ hdr(host),field(1,:) -i {} }}",
            quoted(place),
            hosts.join(" ")
        );
    }
    if let Some(prefix) = &options.stripped_prefix {
        if let Some(vhost) = vhosts.first() {
            let _ = writeln!(out, "  http-request set-header Host {}", quoted(vhost));
        }
        let _ = writeln!(
            out,
            "  http-request replace-path {} {}",
            quoted(&format!("{prefix}/?(.*)")),
            quoted("/\\1")
        );
    }
    if let Some(root) = &options.location_root {
        let root = root.trim_end_matches('/');
        let _ = writeln!(
            out,
            "  http-response replace-header Location {} {}",
            quoted("(https?://[^/]*)?(/.*)"),
            quoted(&format!("{root}\\2"))
        );
    }
    if options.has_hsts {
        let _ = writeln!(
            out,
            "  http-response add-header Strict-Transport-Security {HSTS}"
        );
    }
    if options.is_sticky {
        let _ = writeln!(out, "  cookie {STICKY_COOKIE} insert indirect nocache");
    }
    let mut of_check = String::new();
    if let Some(check) = check {
        if let Probe::Get(path) = &check.probe {
            let _ = writeln!(out, "  option httpchk GET {}", quoted(path));
        }
        let _ = writeln!(out, "  timeout check {}s", check.timeout.as_secs());
        let _ = write!(
            of_check,
            " check inter {}s fall {}",
            check.interval.as_secs(),
            check.fall
        );
    }
    for server in servers {
        let mut words = of_check.clone();
        if check
            .as_ref()
            .is_some_and(|check| check.port != CheckPort::Own)
        {
            let _ = write!(words, " port {}", server.check_address.port());
        }
        if options.is_sticky {
            let _ = write!(words, " cookie {}", server.cookie);
        }
        if server.is_draining {
            words.push_str(" disabled");
        }
        let _ = writeln!(out, "  server {} {}{words}", server.name, server.address);
    }
}
