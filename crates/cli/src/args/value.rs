//! Values on the command line that are more than a word or a number.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use clap::builder::{Resettable, StyledStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zddcluster_model::agent::Resources;

/// Values whose names say it have no help of their own: clap then lists them in one line.
pub(super) const BARE: Resettable<StyledStr> = Resettable::Reset;

/// The slowest and fastest cluster: below, nothing ends; above, timers come closer than processes start.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;
/// A /24 of the loopback range in which a whole cluster lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackNet([u8; 3]);

impl LoopbackNet {
    /// 127.0.0.0/24.
    pub const DEFAULT: Self = Self([127, 0, 0]);

    /// The address with the last byte `host`.
    pub const fn host(self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, host)
    }

    /// The master: .1.
    pub const fn master(self) -> Ipv4Addr {
        self.host(1)
    }

    /// The public agent number `index` from 0: .2 to .10.
    ///
    /// # Panics
    /// When there is no such agent; `up` takes at most 9.
    pub fn public_agent(self, index: u16) -> Ipv4Addr {
        assert!(index < 9, "a /24 holds 9 public agents");
        self.host(index as u8 + 2)
    }

    /// The private agent number `index` from 0: .11 to .254.
    ///
    /// # Panics
    /// When there is no such agent; `up` takes at most 244.
    pub fn private_agent(self, index: u16) -> Ipv4Addr {
        assert!(index < 244, "a /24 holds 244 private agents");
        self.host(index as u8 + 11)
    }
}

impl fmt::Display for LoopbackNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/24", self.host(0))
    }
}

/// A text that is not a /24 of the loopback range.
#[derive(Debug, thiserror::Error)]
#[error("must be a /24 of the loopback range, for instance 127.0.5.0/24")]
pub struct InvalidNet;

impl FromStr for LoopbackNet {
    type Err = InvalidNet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_suffix("/24").ok_or(InvalidNet)?;
        let address: Ipv4Addr = address.parse().map_err(|_| InvalidNet)?;
        match address.octets() {
            [127, b, c, 0] => Ok(Self([127, b, c])),
            _ => Err(InvalidNet),
        }
    }
}

impl Serialize for LoopbackNet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LoopbackNet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Resources as Mesos writes them: `cpus:4;mem:14861;disk:35577;gpus:1;ports:[1025-2180,2182-3887]`.
///
/// What is not named keeps its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSpec {
    /// Cores.
    pub cpus: Option<f64>,
    /// MiB.
    pub mem: Option<f64>,
    /// MiB.
    pub disk: Option<f64>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Port ranges, inclusive at both ends.
    pub ports: Option<Vec<(u16, u16)>>,
}

impl ResourceSpec {
    /// Puts what is named here over `resources`.
    pub fn apply_to(&self, resources: &mut Resources) {
        let Self {
            cpus,
            mem,
            disk,
            gpus,
            ports,
        } = self.clone();
        resources.cpus = cpus.unwrap_or(resources.cpus);
        resources.mem = mem.unwrap_or(resources.mem);
        resources.disk = disk.unwrap_or(resources.disk);
        resources.gpus = gpus.unwrap_or(resources.gpus);
        if let Some(ports) = ports {
            resources.ports = ports;
        }
    }
}

impl fmt::Display for ResourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, value) in [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk)] {
            parts.extend(value.map(|value| format!("{name}:{value}")));
        }
        parts.extend(self.gpus.map(|gpus| format!("gpus:{gpus}")));
        parts.extend(self.ports.as_ref().map(|ports| {
            let ranges: Vec<_> = ports
                .iter()
                .map(|(from, to)| format!("{from}-{to}"))
                .collect();
            format!("ports:[{}]", ranges.join(","))
        }));
        f.write_str(&parts.join(";"))
    }
}

/// Why a text is not a list of resources.
#[derive(Debug, thiserror::Error)]
pub enum InvalidResources {
    /// A part without a colon, or with an unknown name.
    #[error("`{0}` is not one of cpus:N, mem:MiB, disk:MiB, gpus:N, ports:[A-B,C-D]")]
    Part(String),
    /// A number that is none, or negative, or endless.
    #[error("`{value}` is not a usable number for {name}")]
    Number {
        /// Which resource.
        name: String,
        /// What was given.
        value: String,
    },
    /// Ranges that are none.
    #[error("`{0}` is not a list of port ranges, for instance [1025-2180,3000-3000]")]
    Ports(String),
}

impl FromStr for ResourceSpec {
    type Err = InvalidResources;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut spec = Self::default();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let unknown = || InvalidResources::Part(part.to_owned());
            let (name, value) = part.split_once(':').ok_or_else(unknown)?;
            let number = || InvalidResources::Number {
                name: name.into(),
                value: value.into(),
            };
            let amount = || {
                let amount = value.trim().parse::<f64>().ok();
                amount
                    .filter(|n| n.is_finite() && *n >= 0.0)
                    .ok_or_else(number)
            };
            match name.trim() {
                "cpus" => spec.cpus = Some(amount()?),
                "mem" => spec.mem = Some(amount()?),
                "disk" => spec.disk = Some(amount()?),
                "gpus" => spec.gpus = Some(value.trim().parse().map_err(|_| number())?),
                "ports" => spec.ports = Some(port_ranges(value)?),
                _ => return Err(unknown()),
            }
        }
        Ok(spec)
    }
}

/// Attributes as Mesos writes them: `rack:a;zone:north`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSpec(pub BTreeMap<String, String>);

/// Why a text is not a list of attributes.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an attribute such as rack:a")]
pub struct InvalidAttributes(String);

impl FromStr for AttributeSpec {
    type Err = InvalidAttributes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut attributes = BTreeMap::new();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let fault = || InvalidAttributes(part.to_owned());
            let (name, value) = part.split_once(':').ok_or_else(fault)?;
            let (name, value) = (name.trim(), value.trim());
            // The agent's own host name is what constraints call `hostname`.
            if name.is_empty() || value.is_empty() || name == "hostname" {
                return Err(fault());
            }
            attributes.insert(name.to_owned(), as_text(value));
        }
        Ok(Self(attributes))
    }
}

impl fmt::Display for AttributeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        f.write_str(&parts.join(";"))
    }
}

/// A scalar as constraints compare it: with up to three decimals, without zeros at the end. Contract marathon §1.7.
fn as_text(value: &str) -> String {
    let is_scalar = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    match value.parse::<f64>() {
        Ok(number) if is_scalar && value.contains('.') => {
            let text = format!("{number:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Ok(_) | Err(_) => value.to_owned(),
    }
}

/// Reads `[A-B,C-D]`.
fn port_ranges(text: &str) -> Result<Vec<(u16, u16)>, InvalidResources> {
    let fault = || InvalidResources::Ports(text.to_owned());
    let inner = text
        .trim()
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let mut ranges = Vec::new();
    for range in inner.ok_or_else(fault)?.split(',') {
        let (from, to) = range.split_once('-').ok_or_else(fault)?;
        let from: u16 = from.trim().parse().map_err(|_| fault())?;
        let to: u16 = to.trim().parse().map_err(|_| fault())?;
        if from == 0 || from > to {
            return Err(fault());
        }
        ranges.push((from, to));
    }
    Ok(ranges)
}

/// Reads `--speed`.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = text
        .parse::<f64>()
        .ok()
        .filter(|speed| SPEEDS.contains(speed));
    speed.ok_or_else(|| {
        format!(
            "must be a number from {} to {}",
            SPEEDS.start(),
            SPEEDS.end()
        )
    })
}

/// Reads a length of time in seconds that may be none, with or without an `s` behind it.
pub(super) fn seconds_or_none(text: &str) -> Result<f64, String> {
    if text.strip_suffix('s').unwrap_or(text).parse() == Ok(0.0) {
        return Ok(0.0);
    }
    seconds(text).map_err(|_| "must be a number of seconds, 0 or more".to_owned())
}

/// Reads an amount of a resource.
pub(super) fn amount(text: &str) -> Result<f64, String> {
    let amount = text.parse::<f64>().ok();
    let amount = amount.filter(|amount| amount.is_finite() && *amount >= 0.0);
    amount.ok_or_else(|| "must be a number, 0 or more".to_owned())
}

/// Reads what a check answers.
pub(super) fn answer(text: &str) -> Result<bool, String> {
    match text {
        "good" => Ok(true),
        "bad" => Ok(false),
        _ => Err("must be good or bad".to_owned()),
    }
}

/// Reads a length of time in seconds, with or without an `s` behind it.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    /// A year: anything longer is a mistake.
    const LONGEST: f64 = 366.0 * 86_400.0;
    let number = text.strip_suffix('s').unwrap_or(text);
    let seconds = number
        .parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0 && *s <= LONGEST);
    seconds.ok_or_else(|| "must be a number of seconds above 0".to_owned())
}
