//! The settings in effect under Mesos-DNS' keys, in its order: what `/v1/config` answers and `--dump-config` prints.
//!
//! Keys of what is not done here have the value that says so; secrets are never among them. Source: contract mesos-dns §8.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{ForwardConfig, IpSource, Resolver, SoaConfig, ZoneConfig};
use crate::label::LabelRule;

/// What is to be told.
pub(crate) struct Told<'a> {
    pub(crate) masters: Vec<String>,
    pub(crate) refresh: Duration,
    pub(crate) state_timeout: Duration,
    /// Where DNS is answered, or would be if it were on; none if nobody knows.
    pub(crate) dns: Option<SocketAddr>,
    pub(crate) dns_on: bool,
    /// The same of the HTTP API.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) http_on: bool,
    pub(crate) enumeration_on: bool,
    pub(crate) zone: &'a ZoneConfig,
    pub(crate) forward: &'a ForwardConfig,
    pub(crate) file: Option<&'a str>,
}

impl Told<'_> {
    pub(crate) fn json(&self) -> Value {
        let Self {
            masters,
            refresh,
            state_timeout,
            dns,
            dns_on,
            http,
            http_on,
            enumeration_on,
            zone,
            forward,
            file,
        } = self;
        let ZoneConfig {
            domain,
            ttl,
            srv_weight,
            ip_sources,
            label_rule,
            set_truncate_bit,
            recurse_on,
            soa,
            name_server: _,
            masters: _,
            // The original knows neither.
            extras: _,
            gateways_url: _,
        } = zone;
        let SoaConfig {
            mname: _,
            rname: _,
            refresh: soa_refresh,
            retry,
            expire,
            minttl,
        } = soa;
        let ForwardConfig {
            external_on,
            resolvers,
            zone_resolvers,
            timeout,
        } = forward;
        let zones: Map<String, Value> = zone_resolvers
            .iter()
            .map(|(zone, resolvers)| (zone.clone(), shown(resolvers)))
            .collect();
        let sources: Vec<&str> = ip_sources.iter().map(IpSource::key).collect();
        let port = |at: &Option<SocketAddr>| at.map_or(0, |at| at.port());
        let listener =
            |at: &Option<SocketAddr>| at.map(|at| at.ip().to_string()).unwrap_or_default();
        json!({
            "RefreshSeconds": refresh.as_secs(),
            "Port": port(dns),
            "Timeout": timeout.as_secs(),
            "StateTimeoutSeconds": state_timeout.as_secs(),
            "ZkDetectionTimeout": 30,
            "HttpPort": port(http),
            "TTL": ttl,
            "SRVRecordDefaultWeight": srv_weight,
            "SOASerial": 0,
            "SOARefresh": soa_refresh,
            "SOARetry": retry,
            "SOAExpire": expire,
            "SOAMinttl": minttl,
            "SOAMname": soa.mname(),
            "SOARname": soa.rname(),
            "Masters": masters,
            "ZoneResolvers": zones,
            "Resolvers": shown(resolvers),
            "IPSources": sources,
            "Zk": "",
            "Domain": domain,
            "File": file.unwrap_or_default(),
            "Listener": listener(dns),
            "HTTPListener": listener(http),
            "RecurseOn": recurse_on,
            "DnsOn": dns_on,
            "HttpOn": http_on,
            "ExternalOn": external_on,
            "EnforceRFC952": *label_rule == LabelRule::Rfc952,
            "SetTruncateBit": set_truncate_bit,
            "EnumerationOn": enumeration_on,
            "MesosHTTPSOn": false,
            "CACertFile": "",
            "CertFile": "",
            "KeyFile": "",
            "MesosCredentials": { "Principal": "", "Secret": "" },
            "IAMConfigFile": "",
            "MesosAuthentication": "",
        })
    }
}

fn shown(resolvers: &[Resolver]) -> Value {
    let texts = resolvers
        .iter()
        .map(|resolver| Value::from(resolver.to_string()));
    texts.collect()
}
