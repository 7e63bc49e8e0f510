//! Mesos-DNS' `config.json`: keys in any case, defaults and checks of the original.
//!
//! What the file leaves out has the original's default, but for the listeners: without one, only this machine is answered. Keys that
//! nobody knows are ignored, as there, and noted. What would need another way to the master than plain HTTP is refused rather than
//! left out. Source: contract mesos-dns §9.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{IpSource, Resolver, Settings};
use crate::label::LabelRule;

/// How long a resolver is waited for if the file says 0 seconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most of a wrong value that is shown, in characters.
const SHOWN: usize = 60;
/// Keys that mean nothing here, whatever they say; the first two are in what `/v1/config` tells.
const WITHOUT_MEANING: [&str; 3] = ["SOASerial", "File", "zkDetectionTimeout"];

/// A file's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// They are yet to be checked as a whole: [`Settings::faults`].
    pub settings: Settings,
    /// What whoever wrote the file may want to know, one line each.
    pub notes: Vec<String>,
}

/// Reads the text of the `config.json` called `name`.
///
/// # Errors
/// All that is wrong with single keys, one line each.
pub fn read_file(name: &str, text: &str) -> Result<Noted, Vec<String>> {
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(vec!["it is not a JSON object".to_owned()]),
        Err(error) => return Err(vec![format!("it is not JSON: {error}")]),
    };
    let mut keys = Keys::default();
    for (key, value) in object {
        keys.values.insert(key.to_lowercase(), (key, value));
    }
    let mut settings = Settings {
        file: Some(name.to_owned()),
        ..Settings::original()
    };
    keys.read_source(&mut settings);
    keys.read_listeners(&mut settings);
    keys.read_zone(&mut settings);
    keys.read_forward(&mut settings);
    for key in WITHOUT_MEANING {
        keys.values.remove(&key.to_lowercase());
    }
    for (key, _) in keys.values.values() {
        keys.notes.push(format!(
            "nothing is known of the key `{key}`; it is ignored"
        ));
    }
    match keys.faults.is_empty() {
        true => Ok(Noted {
            settings,
            notes: keys.notes,
        }),
        false => Err(keys.faults),
    }
}

/// Reads the entries of a list; what is wrong with them joins `faults`.
pub(super) fn list<T>(key: &str, texts: &[String], faults: &mut Vec<String>) -> Vec<T>
where
    T: FromStr<Err: fmt::Display>,
{
    let entries = texts.iter().map(|text| text.trim().parse());
    let mut read = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => read.push(entry),
            Err(fault) => faults.push(format!("{key}: {fault}")),
        }
    }
    read
}

/// How long a resolver is waited for, by the number of seconds that was set.
pub(super) fn timeout(seconds: u64) -> Duration {
    match seconds {
        0 => TIMEOUT,
        seconds => Duration::from_secs(seconds),
    }
}

/// What is left of the file, and what was found of what was read.
#[derive(Default)]
struct Keys {
    /// By the key in lower case: the key as written, and its value.
    values: BTreeMap<String, (String, Value)>,
    faults: Vec<String>,
    notes: Vec<String>,
}

impl Keys {
    fn read_source(&mut self, settings: &mut Settings) {
        if let Some(masters) = self.take::<Vec<String>>("masters", "a list of HOST:PORT") {
            settings.masters = list("masters", &masters, &mut self.faults);
        }
        let zk: String = self.take("zk", "a text").unwrap_or_default();
        if !zk.is_empty() {
            self.note("zk is ignored: only masters that are listed are asked");
        }
        self.put_seconds("refreshSeconds", &mut settings.refresh);
        self.put_seconds("stateTimeoutSeconds", &mut settings.state_timeout);
        self.refuse_secured_masters();
    }

    /// Only plain HTTP without a name and a password is spoken to a master.
    fn refuse_secured_masters(&mut self) {
        if self.take("mesosHTTPSOn", "true or false") == Some(true) {
            self.fault("mesosHTTPSOn: masters are spoken to over plain HTTP only");
        }
        for key in ["caCertFile", "certFile", "keyFile"] {
            let path: String = self.take(key, "a text").unwrap_or_default();
            if !path.is_empty() {
                self.note(&format!(
                    "{key} is ignored; masters are spoken to over plain HTTP"
                ));
            }
        }
        // Never with their values: they are secrets, or lead to them.
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Object(parts) => parts.values().all(|part| part.is_null() || part == ""),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
        };
        for key in ["mesosCredentials", "mesosAuthentication", "iamConfigFile"] {
            let given = self.values.remove(&key.to_lowercase());
            if given.is_some_and(|(_, value)| !is_empty(&value)) {
                self.fault(&format!(
                    "{key}: masters that ask for credentials are not supported"
                ));
            }
        }
    }

    fn read_listeners(&mut self, settings: &mut Settings) {
        self.put("dnson", "true or false", &mut settings.dns_on);
        self.put("httpon", "true or false", &mut settings.http_on);
        self.put("port", "a port", &mut settings.port);
        self.put("httpport", "a port", &mut settings.http_port);
        self.put(
            "EnumerationOn",
            "true or false",
            &mut settings.enumeration_on,
        );
        settings.listener = self.take_listener("listener", settings.dns_on);
        settings.http_listener = self.take_listener("httplistener", settings.http_on);
    }

    fn take_listener(&mut self, key: &str, is_on: bool) -> Option<IpAddr> {
        let listener = self.take(key, "an IP address");
        // A file in which it is wrong is refused for that.
        if listener.is_none() && is_on && self.faults.is_empty() {
            self.note(&format!(
                "without `{key}`, only this machine can ask; hint: \"{key}\": \"0.0.0.0\" is Mesos-DNS' default"
            ));
        }
        listener
    }

    fn read_zone(&mut self, settings: &mut Settings) {
        const SECONDS: &str = "a number of seconds";
        let zone = &mut settings.zone;
        if let Some(domain) = self.take::<String>("domain", "a text") {
            zone.domain = domain.trim_end_matches('.').to_lowercase();
        }
        self.put("ttl", SECONDS, &mut zone.ttl);
        self.put(
            "srvRecordDefaultWeight",
            "a number up to 65535",
            &mut zone.srv_weight,
        );
        self.put("recurseon", "true or false", &mut zone.recurse_on);
        self.put(
            "SetTruncateBit",
            "true or false",
            &mut zone.set_truncate_bit,
        );
        if let Some(enforced) = self.take("EnforceRFC952", "true or false") {
            zone.label_rule = match enforced {
                true => LabelRule::Rfc952,
                false => LabelRule::Rfc1123,
            };
        }
        let soa = &mut zone.soa;
        for (key, name) in [("SOAMname", &mut soa.mname), ("SOARname", &mut soa.rname)] {
            if let Some(text) = self.take::<String>(key, "a text") {
                text.trim_end_matches('.').clone_into(name);
            }
        }
        self.put("SOARefresh", SECONDS, &mut soa.refresh);
        self.put("SOARetry", SECONDS, &mut soa.retry);
        self.put("SOAExpire", SECONDS, &mut soa.expire);
        self.put("SOAMinttl", SECONDS, &mut soa.minttl);
        if let Some(sources) = self.take::<Vec<String>>("IPSources", "a list of texts") {
            zone.ip_sources = list("IPSources", &sources, &mut self.faults);
        }
    }

    fn read_forward(&mut self, settings: &mut Settings) {
        let forward = &mut settings.forward;
        self.put("externalon", "true or false", &mut forward.external_on);
        if let Some(seconds) = self.take("timeout", "a number of seconds") {
            forward.timeout = timeout(seconds);
        }
        if let Some(resolvers) = self.take::<Vec<String>>("resolvers", "a list of IP or IP:PORT") {
            forward.resolvers = list("resolvers", &resolvers, &mut self.faults);
        }
        let zones: Option<BTreeMap<String, Vec<String>>> =
            self.take("zoneResolvers", "an object of lists of IP or IP:PORT");
        for (zone, resolvers) in zones.unwrap_or_default() {
            let key = format!("zoneResolvers: {zone:?}");
            let resolvers: Vec<Resolver> = list(&key, &resolvers, &mut self.faults);
            let zones = &mut forward.zone_resolvers;
            if zones.insert(zone.to_lowercase(), resolvers).is_some() {
                self.fault(&format!("{key}: this zone is listed twice"));
            }
        }
    }

    fn put_seconds(&mut self, key: &str, target: &mut Duration) {
        if let Some(seconds) = self.take(key, "a number of seconds") {
            *target = Duration::from_secs(seconds);
        }
    }

    fn put<T: DeserializeOwned>(&mut self, key: &str, wanted: &str, target: &mut T) {
        if let Some(value) = self.take(key, wanted) {
            *target = value;
        }
    }

    /// Takes a key's value; `null` counts as left out, as in Go.
    fn take<T: DeserializeOwned>(&mut self, key: &str, wanted: &str) -> Option<T> {
        let (_, value) = self.values.remove(&key.to_lowercase())?;
        if value.is_null() {
            return None;
        }
        let read = T::deserialize(&value);
        if read.is_err() {
            let shown: String = value.to_string().chars().take(SHOWN).collect();
            self.fault(&format!("{key}: {wanted} is needed, not {shown}"));
        }
        read.ok()
    }

    fn fault(&mut self, fault: &str) {
        self.faults.push(fault.to_owned());
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

impl IpSource {
    /// As `IPSources` has it.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::NetInfo => "netinfo",
            Self::Mesos => "mesos",
            Self::Docker => "docker",
        }
    }
}

impl FromStr for IpSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Host, Self::NetInfo, Self::Mesos, Self::Docker];
        all.into_iter()
            .find(|source| source.key() == text)
            .ok_or_else(|| format!("`{text}` is none of host, netinfo, mesos, docker"))
    }
}

#[cfg(test)]
mod tests;
