//! Texts that apps bring along: labels and passwords.

use zddcluster_client::marathon::App;

use crate::crypt::Crypted;
use crate::fixture::{self, LOCALHOST};
use crate::rendering;
use crate::table::build;

/// Names of labels; the first byte of a line chooses one, and another letter is a part of the name.
const NAMES: [&str; 26] = [
    "GROUP",
    "ENABLED",
    "PORT",
    "MODE",
    "VHOST",
    "PATH",
    "BACKEND_WEIGHT",
    "AUTH",
    "REDIRECT_TO_HTTPS",
    "BACKEND_NETWORK_ALLOWED_ACL",
    "BALANCE",
    "STICKY",
    "USE_HSTS",
    "HTTP_BACKEND_REDIR",
    "HTTP_BACKEND_PROXYPASS_PATH",
    "HTTP_BACKEND_REVPROXY_PATH",
    "BIND_ADDR",
    "SSL_CERT",
    "BACKEND_HEALTHCHECK_PORT_INDEX",
    "BIND_OPTIONS",
    "BACKEND_HEAD",
    "FRONTEND_HEAD",
    "X",
    "",
    "ZDD_0_WEIGHT",
    "HAPROXY_DEPLOYMENT_GROUP",
];

/// What a line of the configuration begins with.
const DIRECTIVES: &str = "# global maxconn defaults balance backlog retries option timeout listen bind mode monitor-uri stats \
    userlist user frontend use_backend http-request http-response tcp-request backend cookie server";

/// Labels of an app with two ports: a line each, whose first letter says which.
///
/// # Panics
/// When a label is more than a label.
pub fn labels(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut labels = serde_json::Map::new();
    labels.insert("HAPROXY_GROUP".to_owned(), "g".into());
    labels.insert("HAPROXY_0_MODE".to_owned(), "http".into());
    // A line feed is a letter of the value.
    for line in text.split('\x1e') {
        let mut letters = line.chars();
        let Some(first) = letters.next() else {
            continue;
        };
        let at = u32::from(first) as usize;
        let name = match (NAMES[at % NAMES.len()], at / NAMES.len() % 2) {
            (name, _) if name.starts_with("ZDD") || name.starts_with("HAPROXY") => name.to_owned(),
            (name, port) => format!("HAPROXY_{port}_{name}"),
        };
        labels.insert(name, letters.as_str().into());
    }
    let app = |id: &str, labels: &serde_json::Map<_, _>| {
        serde_json::json!({
            "id": id, "version": "1", "ports": [10000, 10001], "labels": labels,
            "tasks": [{ "id": id, "host": "10.0.0.1", "ports": [1, 2], "state": "TASK_RUNNING" }],
            "healthChecks": [{ "protocol": "HTTP", "path": text }],
        })
    };
    // Twice, so that what is shared is shared.
    let apps = [app("/a", &labels), app("/b", &labels)].map(serde_json::from_value::<App>);
    let apps = apps.map(|app| app.expect("labels are texts"));
    let policy = fixture::policy(Some(8000));
    let (table, warnings) = build(&apps, &fixture::rules(&policy));
    let addresses = fixture::addresses(Some(8000), Some(8443));
    let config = rendering::render(&table, addresses, LOCALHOST, &warnings);
    for line in config.lines() {
        let word = line.split_whitespace().next().unwrap_or("#");
        assert!(
            DIRECTIVES.split_whitespace().any(|known| known == word),
            "a line of its own: {line:?}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// A password as an app keeps it, a line feed, and one as a client gives it.
///
/// # Panics
/// When they cannot be told apart.
pub fn crypt(input: &[u8]) {
    let at = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (kept, given) = input.split_at(at);
    let kept = String::from_utf8_lossy(kept);
    // As many rounds as are allowed are too many for millions of inputs.
    let is_quick = kept.split_once("rounds=").is_none_or(|(_, rest)| {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        n_digits < 5
    });
    if let Some(crypted) = Crypted::new(&kept).filter(|_| is_quick) {
        crypted.is_of(given.get(1..).unwrap_or_default());
    }
}
