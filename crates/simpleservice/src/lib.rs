//! The lab's test service: says its version, and is healthy after a while.
//!
//! | path | answer |
//! |---|---|
//! | `/endpoint0` | `{"host": "10.0.3.193:1765", "version": "0.9", "result": "all is well"}`; host is the request's `Host` |
//! | `/health` | `{"healthy": true}` after a delay drawn for each request |
//! | `/info` | `{"host": "…", "version": "0.9", "from": "10.0.6.211"}`; from is the client's address |
//! | `/env` | `{"version": "0.9", "env": {"PORT0": "1765", …}}` |
//!
//! Stands in for `mhausenblas/simpleservice`, a Python program on Tornado, whose JSON spacing and log lines it keeps. Better
//! than there: a slow `/health` does not hold up other requests, and SIGTERM lets running requests finish.
//!
//! One thread and no heap to speak of: a lab runs dozens of it on a laptop.

mod config;
mod json;
mod log;
mod server;
mod service;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::log::Log;
use crate::service::Service;

/// Runs the service as the environment says, until SIGTERM or SIGINT.
///
/// Environment: `PORT0` (default 9876), `HOST` (the IP address to bind, default 127.0.0.1), `ZDD_BIND` (goes before it; an
/// agent sets it for a container in a network of its own), `SIMPLE_SERVICE_VERSION` (default `0.9`), `HEALTH_MIN` and `HEALTH_MAX` (ms, default 0), `ZDD_SPEED` (divides the health delay, default 1),
/// `SIMPLE_SERVICE_IGNORE_SIGTERM=1` (for trying out what happens to tasks that do not end when asked).
///
/// Returns success after SIGTERM, and 1 after an error, which is told on stderr.
pub fn run() -> ExitCode {
    let log = Log::to_stderr();
    match Config::from_env(&|name| std::env::var(name).ok()) {
        Err(fault) => fail(&log, &fault.to_string()),
        Ok(config) => match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Err(error) => fail(&log, &format!("cannot start the event loop: {error}")),
            Ok(runtime) => runtime.block_on(serve(config, log)),
        },
    }
}

async fn serve(config: Config, log: Log) -> ExitCode {
    let address = SocketAddr::new(config.address, config.port);
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return fail(&log, "cannot listen for signals");
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(&log, &format!("cannot listen on {address}: {error}")),
    };
    let ignores_sigterm = config.ignores_sigterm;
    let port = listener
        .local_addr()
        .map_or(config.port, |address| address.port());
    log.started(&config.version, port);
    let service = Arc::new(Service::new(config, log));
    let stop = async move {
        loop {
            tokio::select! {
                // Cancel-safe: both.
                _ = terminate.recv() => if !ignores_sigterm { break },
                _ = interrupt.recv() => break,
            }
        }
    };
    server::serve(listener, service, stop).await;
    ExitCode::SUCCESS
}

fn fail(log: &Log, message: &str) -> ExitCode {
    log.failed(message);
    ExitCode::FAILURE
}
