//! The recorded data of the original, and queries and replies as its text form shows them.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use hickory_server::proto::op::Message;
use hickory_server::proto::rr::{RData, Record};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::{TcpListener, UdpSocket};
use zddcluster_client::mesos::State;
use zddcluster_dns::{
    Config, ForwardConfig, Records, Settings, Source, Zone, ZoneConfig, read_file,
};

pub(crate) mod ask;
pub(crate) mod master;
pub(crate) mod upstream;

/// The state the data was recorded with.
pub(crate) fn state_document() -> Value {
    serde_json::from_str(include_str!("../data/mesos-dns-state.json")).expect("JSON")
}

pub(crate) fn state() -> State {
    State::from_v0(state_document()).expect("a state")
}

/// A recorded profile, read as the `config.json` it is.
fn settings(profile: &str) -> Settings {
    let document: Value =
        serde_json::from_str(include_str!("../data/mesos-dns-profiles.json")).expect("JSON");
    let text = document["profiles"][profile].to_string();
    read_file("PATH", &text)
        .expect("the original's keys")
        .settings
}

pub(crate) fn config(profile: &str) -> ZoneConfig {
    let settings = settings(profile);
    settings.zone_at(vec![settings.dns_address().ip()])
}

pub(crate) fn forward(profile: &str) -> ForwardConfig {
    settings(profile).forward
}

/// A server of a profile that follows `master`. Sockets are at ports of their own; nothing is forwarded, and there is no
/// HTTP API.
pub(crate) async fn server(profile: &str, master: &str) -> Config {
    Config {
        source: Source::Follow {
            master: master.to_owned(),
        },
        token: None,
        udp: Some(UdpSocket::bind("127.0.0.1:0").await.expect("a port")),
        tcp: Some(TcpListener::bind("127.0.0.1:0").await.expect("a port")),
        http: None,
        zone: config(profile),
        forward: ForwardConfig::default(),
        file: None,
    }
}

pub(crate) fn records(profile: &str) -> Records {
    Records::of(&state(), &config(profile))
}

pub(crate) fn zone(profile: &str) -> Zone {
    Zone::new(records(profile), &config(profile), 1_476_519_000)
}

/// A recorded query with its reply.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Golden {
    pub(crate) profile: String,
    pub(crate) query: String,
    #[serde(rename = "type")]
    pub(crate) qtype: String,
    #[serde(default = "class_in")]
    pub(crate) class: String,
    #[serde(default)]
    pub(crate) transport: Option<String>,
    #[serde(default = "yes")]
    pub(crate) rd: bool,
    #[serde(default)]
    pub(crate) cd: bool,
    #[serde(default)]
    pub(crate) ad: bool,
    #[serde(default)]
    pub(crate) opcode: Option<String>,
    #[serde(default)]
    pub(crate) edns: Option<Edns>,
    #[serde(default)]
    pub(crate) rcode: String,
    #[serde(default)]
    pub(crate) flags: Vec<String>,
    #[serde(default)]
    pub(crate) answer: Vec<String>,
    #[serde(default)]
    pub(crate) authority: Vec<String>,
    #[serde(default)]
    pub(crate) additional: Vec<String>,
    #[serde(default, rename = "match")]
    pub(crate) rule: Option<String>,
    #[serde(default)]
    pub(crate) additional_any_of: Vec<Vec<String>>,
    #[serde(default)]
    pub(crate) answer_count: Option<usize>,
    /// The size that the reply's OPT record tells.
    #[serde(default)]
    pub(crate) opt_size: Option<u16>,
    /// Of the original's message; none where it sent none.
    pub(crate) size: Option<usize>,
    #[serde(default)]
    pub(crate) level: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Edns {
    #[serde(default)]
    pub(crate) size: u16,
    #[serde(default, rename = "do")]
    pub(crate) dnssec_ok: bool,
    #[serde(default)]
    pub(crate) version: u8,
}

fn class_in() -> String {
    "IN".to_owned()
}

fn yes() -> bool {
    true
}

/// All recorded queries of some profiles.
pub(crate) fn golden(profiles: &[&str]) -> Vec<Golden> {
    let all: Vec<Golden> =
        serde_json::from_str(include_str!("../data/mesos-dns-golden.json")).expect("JSON");
    all.into_iter()
        .filter(|golden| profiles.contains(&golden.profile.as_str()))
        .collect()
}

impl Golden {
    pub(crate) fn is_quirk(&self) -> bool {
        self.level.as_deref() == Some("quirk")
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.transport.as_deref() == Some("tcp")
    }

    pub(crate) fn shown(&self) -> String {
        let transport = if self.is_tcp() { " over tcp" } else { "" };
        format!("{} {} {}{transport}", self.profile, self.query, self.qtype)
    }

    /// The query as a packet.
    pub(crate) fn packet(&self, id: u16) -> Vec<u8> {
        let op_code: u8 = match self.opcode.as_deref() {
            None => 0,
            Some("STATUS") => 2,
            Some("NOTIFY") => 4,
            Some(other) => panic!("{other} is no operation"),
        };
        let mut packet = id.to_be_bytes().to_vec();
        packet.push(op_code << 3 | u8::from(self.rd));
        packet.push(u8::from(self.ad) << 5 | u8::from(self.cd) << 4);
        packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        packet.extend_from_slice(&wire_name(&self.query));
        packet.extend_from_slice(&type_number(&self.qtype).to_be_bytes());
        let class: u16 = match self.class.as_str() {
            "IN" => 1,
            "CH" => 3,
            "ANY" => 255,
            other => panic!("{other} is no class"),
        };
        packet.extend_from_slice(&class.to_be_bytes());
        if let Some(edns) = &self.edns {
            packet.extend_from_slice(&[0, 0, 41]);
            packet.extend_from_slice(&edns.size.to_be_bytes());
            packet.extend_from_slice(&[0, edns.version, u8::from(edns.dnssec_ok) << 7, 0, 0, 0]);
        }
        packet
    }

    /// Compares a reply with the recorded one; `Err` tells the first difference.
    pub(crate) fn compare(&self, id: u16, reply: &[u8]) -> Result<(), String> {
        let query = self.packet(id);
        let question = &query[12..12 + wire_name(&self.query).len() + 4];
        if reply.get(12..12 + question.len()) != Some(question) {
            return Err("the question is not echoed".to_owned());
        }
        let reply = Reply::read(reply)?;
        differ("id", reply.id, id)?;
        differ("rcode", &reply.rcode, &self.rcode)?;
        differ("flags", &reply.flags, &self.flags)?;
        differ("authority", &reply.authority, &self.authority)?;
        differ("size of OPT", reply.opt_size, self.opt_size)?;
        match self.rule.as_deref() {
            None | Some("exact") => {
                differ("answer", &reply.answer, &self.answer)?;
                self.compare_additional(&reply)
            }
            Some("any_of") => {
                differ("answer", &reply.answer, &self.answer)?;
                if !self.additional_any_of.contains(&reply.additional) {
                    return Err(format!("additional is {:?}", reply.additional));
                }
                Ok(())
            }
            Some("subset") => {
                if let Some(other) = reply.answer.iter().find(|r| !self.answer.contains(r)) {
                    return Err(format!("{other} is not among the answers"));
                }
                differ("additional", &reply.additional, &Vec::new())?;
                differ(
                    "number of answers",
                    Some(reply.answer.len()),
                    self.answer_count,
                )
            }
            Some(other) => panic!("{other} is no rule"),
        }
    }

    fn compare_additional(&self, reply: &Reply) -> Result<(), String> {
        let Some((_, drawn)) = DRAWN.iter().find(|(query, _)| *query == self.query) else {
            return differ("additional", &reply.additional, &self.additional);
        };
        match &reply.additional[..] {
            [one] if drawn.contains(&one.as_str()) => Ok(()),
            other => Err(format!("additional is {other:?}")),
        }
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should {
        return Ok(());
    }
    Err(format!("{what} is {is:?}, not {should:?}"))
}

/// A target of several addresses gives one of them, drawn anew each time; recorded was one draw.
const DRAWN: [(&str, [&str; 2]); 1] = [(
    "_slave._tcp.mesos",
    [
        "slave.mesos. 60 IN A 10.0.3.192",
        "slave.mesos. 60 IN A 10.0.4.63",
    ],
)];

/// A reply in the data's text form, read by a decoder that is not ours.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) id: u16,
    pub(crate) rcode: String,
    pub(crate) flags: Vec<String>,
    pub(crate) answer: Vec<String>,
    pub(crate) authority: Vec<String>,
    pub(crate) additional: Vec<String>,
    pub(crate) opt_size: Option<u16>,
}

impl Reply {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let message = Message::from_vec(bytes).map_err(|error| error.to_string())?;
        let metadata = message.metadata;
        // The bits themselves, for the decoder does not tell of all.
        let bits = u16::from_be_bytes([bytes[2], bytes[3]]);
        let names = [
            (0x8000, "qr"),
            (0x0400, "aa"),
            (0x0200, "tc"),
            (0x0100, "rd"),
            (0x0080, "ra"),
            (0x0040, "z"),
            (0x0020, "ad"),
            (0x0010, "cd"),
        ];
        let flags = names.iter().filter(|(bit, _)| bits & bit != 0);
        let rcode = match bits & 0xf {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            other => panic!("{other} is no rcode"),
        };
        Ok(Self {
            id: metadata.id,
            rcode: rcode.to_owned(),
            flags: flags.map(|(_, name)| (*name).to_owned()).collect(),
            answer: shown(&message.answers),
            authority: shown(&message.authorities),
            additional: shown(&message.additionals),
            opt_size: message.edns.map(|edns| edns.max_payload()),
        })
    }
}

/// Records as the data writes them, sorted.
fn shown(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records
        .iter()
        .map(|record| {
            let data = match &record.data {
                RData::A(a) => a.0.to_string(),
                RData::AAAA(aaaa) => aaaa.0.to_string(),
                RData::SRV(srv) => format!(
                    "{} {} {} {}",
                    srv.priority, srv.weight, srv.port, srv.target
                ),
                RData::NS(ns) => ns.0.to_string(),
                RData::CNAME(cname) => cname.0.to_string(),
                RData::TXT(txt) => format!("\"{txt}\""),
                RData::SOA(soa) => format!(
                    "{} {} SERIAL {} {} {} {}",
                    soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
                ),
                other => panic!("{other} is never sent"),
            };
            format!(
                "{} {} {} {} {data}",
                record.name,
                record.ttl,
                record.dns_class,
                record.record_type()
            )
        })
        .collect();
    lines.sort();
    lines
}

pub(crate) fn type_number(name: &str) -> u16 {
    match name {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        "NAPTR" => 35,
        "DS" => 43,
        "DNSKEY" => 48,
        "SVCB" => 64,
        "HTTPS" => 65,
        "IXFR" => 251,
        "AXFR" => 252,
        "ANY" => 255,
        "CAA" => 257,
        other => other
            .strip_prefix("TYPE")
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{other} is no type")),
    }
}

/// A name as bytes; `\.` is a dot inside a label.
pub(crate) fn wire_name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut bytes = text.trim_end_matches('.').bytes();
    let mut flush = |label: &mut Vec<u8>| {
        if !label.is_empty() {
            wire.push(u8::try_from(label.len()).expect("a short label"));
            wire.append(label);
        }
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' => flush(&mut label),
            b'\\' => label.extend(bytes.next()),
            _ => label.push(byte),
        }
    }
    flush(&mut label);
    wire.push(0);
    wire
}
