//! What users write and what goes over the wire.
//!
//! The types of the Marathon API (apps, groups, tasks, deployments, events) and of our own master/agent/edge
//! protocol, with their defaults, rules and JSON forms. No I/O. Every other crate stands on this one.
//!
//! Reading order: [`time`] and [`id`] are the alphabet; [`app`] is the large one: how a definition is read,
//! merged, validated and printed; [`group`] is the tree of apps; [`deployment`] and [`event`] are what the
//! engine makes of a change; [`agent`] and [`edge`] are the two protocols between our own roles;
//! [`gateway`] is what edges deal requests out by; [`package`] holds the built-in packages; [`secret`] says what may be shown.

pub mod agent;
pub mod app;
pub mod deployment;
pub mod edge;
pub mod event;
pub mod gateway;
pub mod group;
pub mod id;
pub mod number;
pub mod package;
pub mod secret;
pub mod task;
pub mod time;

pub use app::App;
pub use group::Group;
pub use id::{AgentId, AppId, DeploymentId, EdgeId, TaskId};
pub use task::TaskState;
pub use time::Timestamp;
