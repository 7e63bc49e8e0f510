//! The binary: chooses a role, wires the cluster, supervises it.
//!
//! ```text
//!   executor, simpleservice   branch off before anything heavy: a cluster runs dozens of each
//!   up, down                  a cluster in this process, and its end
//!   master, agent, dns, edge  one role in this process
//!   all else                  speaks to a cluster; the cli crate does it
//! ```
//!
//! No logic of its own: what a cluster does is in the roles' crates. Reading order: [`up`] tells the story, [`plan`] says who
//! lives where, [`listeners`] binds it all, [`cluster`] starts the roles.

mod alone;
mod cluster;
mod containerizer;
mod descriptors;
mod doctor;
mod down;
mod fault;
mod interfaces;
mod listeners;
mod lock;
mod logging;
mod members;
mod namespace;
mod plan;
mod settings;
mod signals;
mod sockets;
mod token;
mod up;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::time::Instant;
use zddcluster_cli::{ClientVerb, ExitStatus, Globals, Hooks, Invocation, Parsed, Printer};

use crate::fault::Fault;

/// Worker threads of a cluster or an edge. Two are enough to serve while one decides, and each costs memory.
const N_WORKERS: usize = 2;

/// Threads for what blocks: the store, files, process starts. Few, for each costs memory; the work is short.
const MAX_BLOCKING: usize = 8;

fn main() -> ExitCode {
    let started = Instant::now();
    let argv: Vec<OsString> = std::env::args_os().collect();
    match (argv.get(1).and_then(|verb| verb.to_str()), argv.len()) {
        (Some("executor"), _) => return zddcluster_agent::executor::main(argv.into_iter().skip(2)),
        (Some("simpleservice"), 2) => return zddcluster_simpleservice::run(),
        _ => {}
    }
    let Parsed {
        globals,
        invocation,
        dump,
    } = match zddcluster_cli::parse(argv) {
        Ok(parsed) => parsed,
        Err(usage) => return usage.report().into(),
    };
    run(started, &globals, invocation, dump.as_deref()).unwrap_or_else(|fault| {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(io::stderr(), "error: {}", fault.message());
        fault.status.into()
    })
}

fn run(
    started: Instant,
    globals: &Globals,
    invocation: Invocation,
    dump: Option<&str>,
) -> Result<ExitCode, Fault> {
    match invocation {
        Invocation::Up(args) => up::run(started, args, dump),
        Invocation::Down(args) => down::run(&args),
        Invocation::Master(args) => alone::master(args, dump),
        Invocation::Agent(args) => alone::agent(args, dump),
        Invocation::Dns(args) => alone::dns(args, dump),
        Invocation::Edge(args) => alone::edge(args, dump),
        Invocation::Simpleservice(_) => Ok(zddcluster_simpleservice::run()),
        Invocation::Client(verb) => Ok(client(globals, verb)?.into()),
    }
}

/// Carries out a verb that only speaks to a cluster.
fn client(globals: &Globals, verb: ClientVerb) -> io::Result<ExitStatus> {
    let printer = Printer::new(globals);
    let hooks = Hooks {
        leftovers: down::describe_leftovers,
        roles: members::describe,
        enter: namespace::enter_task,
        namespace: namespace::run,
        examine: |examined| Box::pin(doctor::examine(examined)),
    };
    Ok(small_runtime()?.block_on(zddcluster_cli::run_client(verb, &printer, &hooks)))
}

/// For a cluster or an edge, which have many callers.
fn big_runtime() -> io::Result<tokio::runtime::Runtime> {
    descriptors::raise_limit();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(N_WORKERS)
        .max_blocking_threads(MAX_BLOCKING)
        .thread_name("zddcluster")
        .enable_all()
        .build()
}

/// For one conversation.
fn small_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
