//! `zddcluster probe`: a steady load, a live line while it runs, the account at the end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zddcluster_probe::{Config, Live, Mode, run_watched};

use crate::args::ProbeArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;

/// How often the live line changes.
const REFRESH: Duration = Duration::from_millis(200);

pub(super) async fn run(args: ProbeArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let ProbeArgs {
        url,
        rate,
        duration,
        concurrency,
        fresh,
        keep_alive,
        both: _,
    } = args;
    let mut config = Config::new(&url, rate).map_err(Failure::Probe)?;
    config.duration = duration.map(Duration::from_secs_f64);
    config.concurrency = usize::from(concurrency);
    config.mode = match (fresh, keep_alive) {
        (true, _) => Mode::Fresh,
        (_, true) => Mode::KeepAlive,
        (false, false) => Mode::Both,
    };
    if duration.is_none() {
        printer.talk("probing until Ctrl-C");
    }
    let stop = CancellationToken::new();
    let live = Live::default();
    let probing = run_watched(config, stop.clone(), live.clone());
    tokio::pin!(probing);
    let line = printer.live_line();
    let mut refresh = tokio::time::interval(REFRESH);
    let report = loop {
        tokio::select! {
            report = &mut probing => break report,
            // Cancel-safe: it waits for a signal. The first one ends the load; requests under way are let end.
            Ok(()) = tokio::signal::ctrl_c(), if !stop.is_cancelled() => stop.cancel(),
            // Cancel-safe: it waits for a moment.
            _ = refresh.tick() => {
                if let Some(line) = &line {
                    let (sent, ok, failed) = (live.sent(), live.ok(), live.failed());
                    line.set_message(format!("sent {sent}  ok {ok}  failed {failed}"));
                    line.tick();
                }
            }
        }
    };
    if let Some(line) = line {
        line.finish_and_clear();
    }
    if printer.is_json() {
        printer.json(&report)?;
    } else {
        printer.data(report.table().trim_end())?;
    }
    Ok(if report.is_clean() {
        ExitStatus::Success
    } else {
        ExitStatus::Failure
    })
}
