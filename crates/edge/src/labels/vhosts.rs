//! The vhosts of a service and what restricts them: paths, order, TLS, passwords.
//!
//! Source: contract marathon-lb §0 rules 4 and 10, §1.4, §2.3.

use super::reading::Reading;
use super::{Auth, Mode, Service, Warnings};

/// Labels that mean nothing without a vhost.
const OF_VHOSTS: [&str; 4] = ["AUTH", "BACKEND_WEIGHT", "PATH", "REDIRECT_TO_HTTPS"];

impl Reading<'_> {
    pub(super) fn read_vhosts(&self, service: &mut Service, warnings: &mut Warnings<'_>) {
        let Some(vhosts) = self.labels.get("VHOST") else {
            for name in OF_VHOSTS.into_iter().filter(|name| self.acts(name)) {
                let text = if name == "AUTH" {
                    "without VHOST it has no effect: the service port asks for no password"
                } else {
                    "without VHOST it has no effect"
                };
                warnings.add(&self.label(name), text);
            }
            return;
        };
        if service.mode == Mode::Tcp {
            warnings.add(&self.label("VHOST"), "the mode is tcp: no vhost is served");
            return;
        }
        match self.labels.get("AUTH").map(Auth::read) {
            None => {}
            Some(Ok(auth)) => service.auth = Some(auth),
            Some(Err(reason)) => {
                let text = format!("the value {reason}: the vhosts of this port are not served");
                warnings.add(&self.label("AUTH"), &text);
                return;
            }
        }
        self.read_names(vhosts, service, warnings);
        self.read_paths(service);
        service.redirect_to_https = self.labels.is_true("REDIRECT_TO_HTTPS");
        if let Some(weight) = self.labels.get("BACKEND_WEIGHT") {
            match weight.trim().parse() {
                Ok(weight) => service.weight = weight,
                Err(_) => {
                    let text = format!("{weight:?} is no number: 0 is used");
                    warnings.add(&self.label("BACKEND_WEIGHT"), &text);
                }
            }
        }
        if service.weight == 0 && !service.paths.is_empty() {
            service.weight = 1;
        }
    }

    /// Whether a label of vhosts asks for anything.
    fn acts(&self, name: &str) -> bool {
        if name == "REDIRECT_TO_HTTPS" {
            self.labels.is_true(name)
        } else {
            self.labels.get(name).is_some()
        }
    }

    fn read_names(&self, vhosts: &str, service: &mut Service, warnings: &mut Warnings<'_>) {
        let mut is_odd = false;
        for text in vhosts
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            service.vhost_texts.push(text.to_owned());
            match bare_host(text) {
                Some(host) => {
                    is_odd |= !host.eq_ignore_ascii_case(text);
                    service.vhosts.push(host);
                }
                None => is_odd = true,
            }
        }
        if is_odd || service.vhosts.is_empty() {
            let text = format!(
                "{vhosts:?} is no plain list of host names, which the original never matches: {:?} is served",
                service.vhosts.join(",")
            );
            warnings.add(&self.label("VHOST"), &text);
        }
    }

    fn read_paths(&self, service: &mut Service) {
        let mut words = self
            .labels
            .get("PATH")
            .unwrap_or_default()
            .split_whitespace()
            .peekable();
        service.paths_ignore_case = words.next_if_eq(&"-i").is_some();
        service.paths = words.map(str::to_owned).collect();
        if service.paths_ignore_case {
            service
                .paths
                .iter_mut()
                .for_each(|path| path.make_ascii_lowercase());
        }
    }
}

/// The host name in `text`, in lower case, without scheme, port and path; `None` if there is none.
pub(super) fn bare_host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = crate::table::without_port(authority);
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| host.to_ascii_lowercase())
}
