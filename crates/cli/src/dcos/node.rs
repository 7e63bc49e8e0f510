//! `dcos node`: the agents.

use serde::Deserialize;
use serde_json::Value;

use super::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};

pub(super) async fn run(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let mut summary: Value = context.front.mesos("/mesos/master/state-summary").await?;
    let slaves = summary["slaves"].take();
    if context.wants_json(json) {
        context.printer.json(&slaves)?;
        return Ok(ExitStatus::Success);
    }
    #[derive(Deserialize)]
    struct Slave {
        hostname: String,
        pid: String,
        id: String,
    }
    let slaves: Vec<Slave> = serde_json::from_value(slaves)
        .map_err(|error| Failure::stated(format!("The list of nodes cannot be read: {error}")))?;
    let mut table = Table::new([
        ("HOSTNAME", Align::Center),
        ("IP", Align::Center),
        ("ID", Align::Center),
    ]);
    for slave in slaves {
        let ip = ip_of(&slave.pid).unwrap_or("N/A").to_owned();
        table.row([slave.hostname, ip, slave.id]);
    }
    context.table(table.sorted())
}

/// The address in `slave(1)@10.0.3.193:5051`.
fn ip_of(pid: &str) -> Option<&str> {
    let (_, address) = pid.split_once('@')?;
    let (ip, _) = address.rsplit_once(':')?;
    Some(ip)
}
