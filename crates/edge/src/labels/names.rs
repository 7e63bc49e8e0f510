//! Which `HAPROXY_*` labels there are, and what a mistyped one may have meant.
//!
//! Source: contract marathon-lb §1.4, §1.5.

/// Labels of a service port, after `HAPROXY_{n}_`, that the edge acts on.
pub(super) const OF_PORT: [&str; 19] = [
    "AUTH",
    "BACKEND_HEALTHCHECK_PORT_INDEX",
    "BACKEND_NETWORK_ALLOWED_ACL",
    "BACKEND_WEIGHT",
    "BALANCE",
    "BIND_ADDR",
    "ENABLED",
    "GROUP",
    "HTTP_BACKEND_PROXYPASS_PATH",
    "HTTP_BACKEND_REDIR",
    "HTTP_BACKEND_REVPROXY_PATH",
    "MODE",
    "PATH",
    "PORT",
    "REDIRECT_TO_HTTPS",
    "SSL_CERT",
    "STICKY",
    "USE_HSTS",
    "VHOST",
];

/// Labels of an app, after `HAPROXY_`, that the edge or zdd.py acts on.
pub(super) const OF_APP: [&str; 8] = [
    "APP_ID",
    "DEPLOYMENT_ALT_PORT",
    "DEPLOYMENT_COLOUR",
    "DEPLOYMENT_GROUP",
    "DEPLOYMENT_NEW_INSTANCES",
    "DEPLOYMENT_STARTED_AT",
    "DEPLOYMENT_TARGET_INSTANCES",
    "GROUP",
];

/// Labels of a service port that hold configuration text of HAProxy, and what else only HAProxy can do.
const TEXTS: [&str; 43] = [
    "BACKEND_HEAD",
    "BACKEND_HSTS_OPTIONS",
    "BACKEND_HTTP_HEALTHCHECK_OPTIONS",
    "BACKEND_HTTP_OPTIONS",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH",
    "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS",
    "BACKEND_SERVER_OPTIONS",
    "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS",
    "BACKEND_STICKY_OPTIONS",
    "BACKEND_TCP_HEALTHCHECK_OPTIONS",
    "BIND_OPTIONS",
    "FRONTEND_BACKEND_GLUE",
    "FRONTEND_HEAD",
    "HTTPS_FRONTEND_ACL",
    "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH",
    "HTTPS_FRONTEND_ACL_WITH_AUTH",
    "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH",
    "HTTPS_FRONTEND_ACL_WITH_PATH",
    "HTTPS_FRONTEND_AUTH_ACL_ONLY",
    "HTTPS_FRONTEND_AUTH_REQUEST_ONLY",
    "HTTPS_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH",
    "HTTP_BACKEND_NETWORK_ALLOWED_ACL",
    "HTTP_BACKEND_PROXYPASS_GLUE",
    "HTTP_BACKEND_REVPROXY_GLUE",
    "HTTP_FRONTEND_ACL",
    "HTTP_FRONTEND_ACL_ONLY",
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH",
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH",
    "HTTP_FRONTEND_ACL_WITH_AUTH",
    "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH",
    "HTTP_FRONTEND_ACL_WITH_PATH",
    "HTTP_FRONTEND_APPID_ACL",
    "HTTP_FRONTEND_ROUTING_ONLY",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH",
    "MAP_HTTPS_FRONTEND_ACL",
    "MAP_HTTP_FRONTEND_ACL",
    "MAP_HTTP_FRONTEND_ACL_ONLY",
    "MAP_HTTP_FRONTEND_APPID_ACL",
    "TCP_BACKEND_NETWORK_ALLOWED_ACL",
    "USERLIST_HEAD",
];

/// Templates for all apps; as labels they mean nothing.
const GLOBAL_TEXTS: [&str; 10] = [
    "HEAD",
    "HTTPS_FRONTEND_HEAD",
    "HTTPS_GROUPED_FRONTEND_HEAD",
    "HTTPS_GROUPED_VHOST_BACKEND_HEAD",
    "HTTPS_GROUPED_VHOST_FRONTEND_ACL",
    "HTTPS_GROUPED_VHOST_FRONTEND_HEAD",
    "HTTP_BACKEND_ACL_ALLOW_DENY",
    "HTTP_FRONTEND_APPID_HEAD",
    "HTTP_FRONTEND_HEAD",
    "TCP_BACKEND_ACL_ALLOW_DENY",
];

/// What is done about `label`, whose name after `HAPROXY_` or `HAPROXY_{n}_` is `name` and which the edge does not act on.
/// `index` is n.
pub(super) fn not_acted_on(index: Option<usize>, name: &str) -> String {
    let is_text = match index {
        Some(_) => TEXTS.contains(&name) || GLOBAL_TEXTS.contains(&name),
        None => GLOBAL_TEXTS.contains(&name),
    };
    if is_text {
        return "not supported: the service runs without it".to_owned();
    }
    match nearest(index, name) {
        Some(meant) => {
            format!(
                "there is no such label (perhaps {meant} is meant): the service runs without it"
            )
        }
        None => "there is no such label: the service runs without it".to_owned(),
    }
}

/// The label that `name` is most likely a slip of.
fn nearest(index: Option<usize>, name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let of_port = OF_PORT
        .iter()
        .map(|known| (format!("HAPROXY_{}_{known}", index.unwrap_or(0)), *known));
    let of_app = OF_APP
        .iter()
        .map(|known| (format!("HAPROXY_{known}"), *known));
    // A third of the letters may be wrong, and the number may have been forgotten or be too much.
    let most = (upper.len() / 3).max(1);
    let is_expected = |label: &str| {
        label.starts_with(&format!("HAPROXY_{}_", index.unwrap_or(0))) == index.is_some()
    };
    of_port
        .chain(of_app)
        .map(|(label, known)| {
            let distance = strsim::osa_distance(&upper, known);
            (distance, !is_expected(&label), label)
        })
        .filter(|(distance, ..)| *distance <= most)
        .min()
        .map(|(.., label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_what_is_not_supported() {
        // contract: lb-unknown-labels
        let check = |index, name, expected: Option<&str>| {
            let text = not_acted_on(index, name);
            let meant = expected.map(|expected| format!("perhaps {expected} is meant"));
            assert_eq!(meant.is_some(), text.contains("perhaps"), "{text}");
            assert!(text.contains(&meant.unwrap_or_default()), "{name}: {text}");
        };
        check(Some(0), "VHOTS", Some("HAPROXY_0_VHOST"));
        check(Some(3), "vhost", Some("HAPROXY_3_VHOST"));
        check(
            Some(0),
            "REDIRECT_HTTPS",
            Some("HAPROXY_0_REDIRECT_TO_HTTPS"),
        );
        check(None, "VHOST", Some("HAPROXY_0_VHOST"));
        check(None, "GROUPS", Some("HAPROXY_GROUP"));
        check(Some(0), "GRUOP", Some("HAPROXY_0_GROUP"));
        check(None, "DEPLOYMENT_COLOR", Some("HAPROXY_DEPLOYMENT_COLOUR"));
        check(
            Some(1),
            "DEPLOYMENT_GROUP",
            Some("HAPROXY_DEPLOYMENT_GROUP"),
        );
        check(None, "NONSENSE", None);
        for name in TEXTS.iter().chain(&GLOBAL_TEXTS) {
            assert!(
                not_acted_on(Some(0), name).starts_with("not supported"),
                "{name}"
            );
        }
        assert!(not_acted_on(None, "HEAD").starts_with("not supported"));
    }
}
