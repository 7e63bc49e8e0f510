//! The command line: zddcluster's own verbs and the grammar of the `dcos` client.
//!
//! [`parse`] turns a command line into an [`Invocation`]; it knows two grammars and chooses by the name it is called
//! by: `zddcluster …` and, through the link that `zddcluster env` makes, `dcos …`. What an invocation means is told
//! apart here: the verbs that *are* a cluster (`up`, `down`, `master`, `agent`, `dns`, `edge`, `simpleservice`) are the
//! binary's to carry out; those that only *speak* to one are a [`ClientVerb`], which [`run_client`] carries out.
//!
//! ```text
//!   up ──writes──▶ <data dir>/cluster.json ──read by──▶ status, env, dcos, down
//!                        ([`ClusterFile`])                └──HTTP──▶ front door
//! ```
//!
//! stdout is data, stderr is talk, both through one [`Printer`]; every failure that can be mended ends with a
//! `hint:`. How a command ended is an [`ExitStatus`].

mod args;
mod cluster;
mod dcos;
mod exit;
mod failure;
mod front;
mod home;
mod printer;
mod sandbox;
mod table;
mod text;
mod verbs;

pub use args::{
    AgentArgs, AttributeSpec, ColorWhen, ConfigArgs, Containerizer, DnsArgs, DownArgs, EdgeArgs,
    Format, Globals, HostArgs, Invocation, LogArgs, LoopbackNet, MasterArgs, MemberArgs, Package,
    Parsed, ResourceSpec, Shell, SimpleserviceArgs, TokenArgs, UpArgs, UsageError, command,
    dcos_command, is_json, parse,
};
pub use cluster::{Addresses, AgentEntry, ClusterFile, ClusterFileError, data_dir};
pub use dcos::TaskCommand;
pub use exit::ExitStatus;
pub use printer::{Captured, Printer};
pub use verbs::{
    Check, ClientVerb, Examination, Examined, Hooks, Namespace, NamespaceError, Verdict, run_client,
};
