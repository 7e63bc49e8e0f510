//! Why an agent does not take an instance, as data.
//!
//! Kept by the launch queue for the last attempt, and shown as Marathon shows unused offers since 1.4: each reason belongs to
//! one of [`OfferReason`]'s eight, which are asked in a fixed order, so that each agent counts once.
//! Source: Marathon 1.5 `NoOfferMatchReason`, `QueueInfoConversion`.

use std::fmt;
use std::sync::Arc;

use zddcluster_model::app::{Constraint, Operator};
use zddcluster_model::{AgentId, Timestamp};

/// Agents whose reasons an app keeps; beyond, they only count. A cluster of more that all refuse is not read agent by agent.
pub const AGENTS_KEPT: usize = 100;

/// Why an agent does not take an instance.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are what the sentence of each variant needs"
)]
pub enum Reason {
    /// Its stream is not open: it offers nothing.
    Away,
    /// Its resources belong to a role that the app does not accept.
    Role {
        offered: String,
        accepted: Vec<String>,
    },
    /// A constraint does not hold for one more task there; `value` is the agent's own, if it has the field.
    Constraint {
        constraint: Constraint,
        value: Option<String>,
    },
    /// It has too little left.
    Resource {
        resource: Resource,
        wanted: f64,
        free: f64,
        total: f64,
    },
    /// It never offers this port.
    PortNotOffered { port: u16 },
    /// Another task has this port.
    PortTaken { port: u16 },
    /// It has too few ports left to choose from.
    Ports { wanted: usize, free: usize },
    /// It runs as many tasks as it may.
    Tasks { most: usize },
    /// It has no free volume of the app, which has as many as instances; those that are waited for are on these `hosts`, and on
    /// hosts whose agents are `away`.
    Volume {
        hosts: Arc<[String]>,
        away: Arc<[String]>,
    },
    /// The app wants a volume of a driver, and no agent has one.
    ExternalVolume { name: String },
}

/// A resource that comes in amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Cores.
    Cpus,
    /// Memory, MiB.
    Mem,
    /// Disk, MiB.
    Disk,
    /// GPUs.
    Gpus,
}

/// One agent's refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The agent.
    pub agent_id: AgentId,
    /// All that speaks against it, in the order of [`OfferReason`]; never empty.
    pub reasons: Vec<Reason>,
}

/// Marathon's names for reasons, in the order in which it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferReason {
    /// The offer's role is not accepted.
    UnfulfilledRole,
    /// A constraint does not hold.
    UnfulfilledConstraint,
    /// A resident task's reservation is elsewhere.
    NoCorrespondingReservationFound,
    /// Too few cores.
    InsufficientCpus,
    /// Too little memory.
    InsufficientMemory,
    /// Too little disk.
    InsufficientDisk,
    /// Too few GPUs.
    InsufficientGpus,
    /// A port is missing.
    InsufficientPorts,
}

/// How many offers were declined for which reason, the first of each counting.
pub type Declined = [u64; OfferReason::ALL.len()];

/// What became of the agents' offers since the first of an app's instances began to wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferCounts {
    /// Offers looked at: one for each connected agent and attempt; of an attempt that succeeds only the one used.
    pub processed: u64,
    /// Those of them not used.
    pub unused: u64,
    /// When the last attempt failed.
    pub last_unused_at: Option<Timestamp>,
    /// When the last instance was launched.
    pub last_used_at: Option<Timestamp>,
    /// Why they were not used, in all.
    pub declined: Declined,
    /// Why the last failed attempt found no agent.
    pub last_declined: Declined,
}

/// A failed attempt: what each agent said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unplaced {
    /// At most [`AGENTS_KEPT`].
    pub(crate) refusals: Arc<[Refused]>,
    pub(crate) declined: Declined,
}

impl OfferReason {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 8] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
        }
    }
}

impl Resource {
    /// Its name in definitions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "MiB of memory",
            Self::Disk => "MiB of disk",
            Self::Gpus => "gpus",
        }
    }
}

impl Reason {
    /// What Marathon calls it; `None` for an agent that makes no offer.
    pub const fn of_offer(&self) -> Option<OfferReason> {
        Some(match self {
            // It offers nothing, or nothing of the kind.
            Self::Away | Self::ExternalVolume { .. } => return None,
            Self::Volume { .. } => OfferReason::NoCorrespondingReservationFound,
            Self::Role { .. } => OfferReason::UnfulfilledRole,
            Self::Constraint { .. } => OfferReason::UnfulfilledConstraint,
            Self::Resource { resource, .. } => match resource {
                Resource::Cpus => OfferReason::InsufficientCpus,
                Resource::Mem => OfferReason::InsufficientMemory,
                Resource::Disk => OfferReason::InsufficientDisk,
                Resource::Gpus => OfferReason::InsufficientGpus,
            },
            // An agent runs as many tasks as it has ports to choose from.
            Self::PortNotOffered { .. }
            | Self::PortTaken { .. }
            | Self::Ports { .. }
            | Self::Tasks { .. } => OfferReason::InsufficientPorts,
        })
    }
}

/// The rest of a sentence that begins with the agent: "has 0.1 cpus free, 0.5 wanted".
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => write!(f, "is away"),
            Self::Role { offered, accepted } => {
                write!(f, "has role {offered}, accepted is {}", accepted.join(", "))
            }
            Self::Constraint { constraint, value } => {
                write_constraint(f, constraint, value.as_deref())
            }
            Self::Resource {
                resource,
                wanted,
                free,
                total,
            } => {
                let unit = resource.unit();
                write!(f, "has {free} {unit} free, {wanted} wanted")?;
                if wanted > total {
                    write!(f, " ({total} in all)")?;
                }
                Ok(())
            }
            Self::PortNotOffered { port } => write!(f, "does not offer port {port}"),
            Self::PortTaken { port } => write!(f, "has port {port} taken by another task"),
            Self::Ports { wanted, free } => write!(f, "has {free} ports free, {wanted} wanted"),
            Self::Volume { hosts, away } if hosts.is_empty() && away.is_empty() => {
                write!(f, "has no free volume of the app, and tasks have them all")
            }
            Self::Volume { hosts, away } => {
                let away = away.iter().map(|host| format!("{host} (away)"));
                let all: Vec<String> = hosts.iter().cloned().chain(away).collect();
                write!(
                    f,
                    "has no free volume of the app; that is on agent {}",
                    all.join(", ")
                )
            }
            Self::ExternalVolume { name } => {
                write!(
                    f,
                    "cannot attach the external volume {name}: no volume driver (dvdi) is here"
                )
            }
            Self::Tasks { most } => write!(f, "runs {most} tasks, which is the most"),
        }
    }
}

/// What a constraint has against an agent with this value of its field.
fn write_constraint(
    f: &mut fmt::Formatter<'_>,
    constraint: &Constraint,
    value: Option<&str>,
) -> fmt::Result {
    let Constraint {
        field,
        operator,
        value: wanted,
    } = constraint;
    let mut words = format!("{field} {}", operator.as_str());
    if let Some(wanted) = wanted {
        words = format!("{words} {wanted}");
    }
    let Some(value) = value else {
        return write!(f, "has no attribute {field}, which {words} asks for");
    };
    // An agent is known by its host name, so that it need not be told again.
    let is_host = field == "hostname";
    match operator {
        Operator::Unique if is_host => {
            write!(f, "has a task of it already, and {words} allows one")
        }
        Operator::Unique => write!(
            f,
            "has {field} {value}, where a task of it is already, and {words} allows one"
        ),
        Operator::MaxPer if is_host => write!(f, "has as many tasks of it as {words} allows"),
        Operator::MaxPer => write!(
            f,
            "has {field} {value}, where as many tasks of it are as {words} allows"
        ),
        Operator::GroupBy if is_host => {
            write!(
                f,
                "has a task of it, and {words} asks for another agent next"
            )
        }
        Operator::GroupBy => write!(
            f,
            "has {field} {value}, and {words} asks for another {field} next"
        ),
        Operator::Cluster if wanted.is_none() => write!(
            f,
            "has {field} {value}, and {words} wants all tasks where the first one is"
        ),
        Operator::Cluster | Operator::Like | Operator::Unlike => {
            write!(f, "has {field} {value}, which {words} does not allow")
        }
    }
}

impl OfferCounts {
    /// An attempt found no agent.
    pub(crate) fn unused(&mut self, now: Timestamp, declined: &Declined) {
        let n: u64 = declined.iter().sum();
        self.processed += n;
        self.unused += n;
        self.last_unused_at = Some(now);
        for (sum, n) in self.declined.iter_mut().zip(declined) {
            *sum += n;
        }
        self.last_declined = *declined;
    }

    /// An instance was launched.
    pub(crate) const fn used(&mut self, now: Timestamp) {
        self.processed += 1;
        self.last_used_at = Some(now);
    }
}
