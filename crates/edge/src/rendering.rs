//! `/_haproxy_getconfig`: the table as a configuration that HAProxy would take, with what is odd about apps above it.
//!
//! Nothing reads it back; it is for people, and for scripts that look for a backend's name. `haproxy -c` accepts it (HAProxy
//! 2.2 and later: the words for changing paths and headers were others before), and an HAProxy that runs with it routes as the
//! edge does, with four differences. Passwords are left out: anybody may ask for it. The vhosts with TLS are a comment, as their
//! certificate need not be in a file. Shares by weight are drawn by lot. Who shares a port without weights has a listener of its own
//! there, and the kernel deals out connections.
//!
//! Source: contract marathon-lb §2.4-§2.7, §3.

mod backend;
mod gateway;
mod words;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use self::words::quoted;
use crate::labels::{Mode, Warning};
use crate::start::Addresses;
use crate::table::{Backend, Rule, Table};

/// The well-known port, which URLs leave out.
const HTTPS: u16 = 443;
/// What stands where a name of a file with a certificate would.
const CERTIFICATE: &str = "CERTIFICATE.pem";

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
        let _ = writeln!(out, "# warning: {}", words::line(&line));
    }
    out.push_str(HEAD);
    let _ = write!(out, "\nlisten stats\n  bind {}\n{STATS}", addresses.stats);
    users(&mut out, table);
    out.push_str("\nfrontend marathon_http_in\n  mode http\n");
    if let Some(http) = addresses.http {
        let _ = writeln!(out, "  bind {http}");
        redirects(&mut out, table, addresses.https);
        rules(&mut out, table, HOST);
        // Services that share the port get what is left.
        let sharers = table.ports.get(&http.port()).map_or(&[][..], |all| all);
        choice(&mut out, "", &shares(table, sharers, Mode::Http));
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
            "  use_backend {name} if {{ req.hdr(x-marathon-app-id) -m str -i -- {} }}",
            quoted(app_id)
        );
    }
    out.push_str(&https(table, addresses.https));
    for gateway in table.gateways.values() {
        gateway::write(&mut out, gateway, table);
    }
    for (port, backends) in &table.ports {
        let is_vhosts = addresses.http.is_some_and(|http| http.port() == *port);
        if is_vhosts || table.gateway_ports.contains_key(port) {
            continue;
        }
        for &at in backends {
            service(&mut out, table, bind, *port, at);
        }
    }
    for backend in &table.backends {
        backend::write(&mut out, backend);
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

/// What a request is for on the vhost port, without the port.
const HOST: &str = "hdr(host),field(1,:)";
/// The same where TLS is.
const TLS_NAME: &str = "ssl_fc_sni";

/// When a rule takes a request, whose host is in `host`.
fn condition(rule: &Rule, host: &str) -> String {
    // The dashes: whatever follows is no option.
    let mut condition = format!("{{ {host} -i -- {} }}", quoted(&rule.vhost));
    if !rule.paths.is_empty() {
        let flag = if rule.paths_ignore_case { "-i " } else { "" };
        let paths: Vec<_> = rule.paths.iter().map(|path| quoted(path)).collect();
        let _ = write!(condition, " {{ path_beg {flag}-- {} }}", paths.join(" "));
    }
    condition
}

fn redirects(out: &mut String, table: &Table, https: Option<SocketAddr>) {
    let port = https.map_or(HTTPS, |https| https.port());
    let port = match port {
        HTTPS => String::new(),
        port => format!(":{port}"),
    };
    for rule in table.rules.iter().filter(|rule| rule.redirect_to_https) {
        let _ = writeln!(
            out,
            "  http-request redirect prefix 'https://%[{HOST}]{port}' code 301 if {}",
            condition(rule, HOST)
        );
    }
}

fn rules(out: &mut String, table: &Table, host: &str) {
    for rule in &table.rules {
        if let Some(auth) = &rule.auth {
            let users = users_of(&table.backends[rule.backend]);
            let _ = writeln!(
                out,
                "  http-request auth realm {} if {} !{{ http_auth({users}) }}",
                quoted(&auth.realm),
                condition(rule, host)
            );
        }
    }
    let mut written: Vec<&str> = Vec::new();
    for rule in &table.rules {
        let condition = condition(rule, host);
        match &rule.split {
            None => choice(out, &condition, &shares(table, &[rule.backend], Mode::Http)),
            // The rules of the others are for the same requests.
            Some(split) if written.contains(&split.as_str()) => {}
            Some(split) => {
                written.push(split);
                let shares = shares(table, &table.splits[split], Mode::Http);
                choice(out, &condition, &shares);
            }
        }
    }
}

/// The names of those of the backends that have this mode, and their shares.
fn shares<'t>(table: &'t Table, backends: &[usize], mode: Mode) -> Vec<(&'t str, u64)> {
    let backends = backends.iter().map(|at| &table.backends[*at]);
    backends
        .filter(|backend| backend.mode == mode)
        .map(|backend| (&*backend.name, u64::from(backend.share.unwrap_or(1))))
        .collect()
}

/// One of these, each as often as its share says.
fn choice(out: &mut String, condition: &str, shares: &[(&str, u64)]) {
    let mut left: u64 = shares.iter().map(|(_, share)| share).sum();
    for (name, share) in shares.iter().filter(|(_, share)| *share > 0) {
        let lot = match left == *share {
            true => String::new(),
            false => format!("{{ rand({left}) lt {share} }}"),
        };
        left -= share;
        let conditions = [condition, &lot].map(str::trim).join(" ");
        let _ = match conditions.trim() {
            "" => writeln!(out, "  use_backend {name}"),
            conditions => writeln!(out, "  use_backend {name} if {conditions}"),
        };
    }
}

/// The vhosts with TLS, as a comment.
fn https(table: &Table, address: Option<SocketAddr>) -> String {
    let Some(address) = address else {
        return "\n# frontend marathon_https_in: not served\n".to_owned();
    };
    let mut frontend = format!(
        "frontend marathon_https_in\n  bind {address} ssl crt {CERTIFICATE}\n  mode http\n"
    );
    rules(&mut frontend, table, TLS_NAME);
    let lines: String = frontend.lines().map(|line| format!("# {line}\n")).collect();
    format!("\n{lines}")
}

/// The listener of the backend at this position on a service port.
fn service(out: &mut String, table: &Table, bind: IpAddr, port: u16, at: usize) {
    let backend = &table.backends[at];
    let binding = table.bindings.get(&port);
    let ip = binding.and_then(|binding| binding.ip).unwrap_or(bind);
    let certificates = binding.and_then(|binding| binding.certificates.as_ref());
    let tls = match certificates {
        None => String::new(),
        Some(paths) => {
            let files: Vec<_> = paths
                .split(',')
                .map(|path| format!(" crt {}", quoted(path.trim())))
                .collect();
            format!(" ssl{}", files.concat())
        }
    };
    let _ = writeln!(
        out,
        "\nfrontend {}\n  bind {}{tls}\n  mode {}",
        backend.name,
        SocketAddr::new(ip, port),
        words::of(backend.mode),
    );
    let sharers = &table.ports[&port];
    let is_weighted = sharers.iter().any(|at| table.backends[*at].share.is_some());
    // Whichever of them a connection comes to, its requests have their turns.
    let among = if is_weighted { sharers } else { &[at][..] };
    choice(out, "", &shares(table, among, backend.mode));
}

#[cfg(test)]
mod tests;
