//! How fast names follow: from a task's `TASK_RUNNING` to its record in an answer, and from its `TASK_KILLING` to the record's absence.
//!
//! ```text
//! cargo run -p zddcluster-tests --example dns_latency [RESTARTS]
//! ```
//!
//! An app of eight tasks is restarted again and again (125 times); each restart is eight changes of either sort. Its SRV records are
//! asked for over one TCP connection, which carries all of them, a millisecond or two after each answer. The moments of changes are
//! the events' own, whole milliseconds; a record is there, or gone, when the first answer that says so has come. All on the clock of
//! this machine.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hickory_server::proto::op::{Message, Query};
use hickory_server::proto::rr::{Name, RData, RecordType};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use zddcluster_client::sse::EventStream;
use zddcluster_tests::Apart;

const INSTANCES: u64 = 8;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(1);
/// The master sends something more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How long after the last change names are looked at.
const AFTER: Duration = Duration::from_secs(1);
/// Later than all.
const NEVER: i64 = i64::MAX;
/// How much earlier than its event a change may be seen: both streams are told of it, one after the other. Microseconds.
const EARLIER: i64 = 20_000;
/// What is seen so much later is of another task, which has the port now. Microseconds.
const LONGEST: i64 = 5_000_000;

/// When a record was in the answers, microseconds.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    port: u16,
    first: i64,
    gone: i64,
}

/// What an event told of.
#[derive(Debug, Clone, Copy)]
struct Change {
    is_running: bool,
    port: u16,
    at: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let n_restarts = std::env::args()
        .nth(1)
        .map_or(Ok(125), |text| text.parse())?;
    let mut apart = Apart::new()?;
    for role in ["master", "first agent", "second agent", "dns"] {
        apart.start(role)?;
    }
    apart.agents_are(2).await;
    apart.dns_listens().await;
    let app = json!({
        "id": "/followed", "cmd": "exec sleep 1000000", "instances": INSTANCES, "cpus": 0.1, "mem": 32,
        "portDefinitions": [{"port": 0}],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5},
    });
    let events = EventStream::open(&apart.http, &apart.front("/v2/events")).await?;
    let stream = TcpStream::connect((apart.host(1), 8053)).await?;
    let is_over = CancellationToken::new();
    let restarts = async {
        let status = apart.send(Method::POST, "/v2/apps", &app).await?;
        ensure!(status.is_success(), "{status}");
        apart.has_no_deployment().await;
        for _ in 0..n_restarts {
            let path = "/v2/apps/followed/restart";
            let status = apart.send(Method::POST, path, &json!({})).await?;
            ensure!(status.is_success(), "{status}");
            apart.has_no_deployment().await;
        }
        tokio::time::sleep(AFTER).await;
        is_over.cancel();
        anyhow::Ok(())
    };
    let ((), changes, (sightings, n_answers)) = tokio::try_join!(
        restarts,
        listen(events, is_over.clone()),
        watch(stream, is_over.clone()),
    )?;
    println!("{n_answers} answers");
    for is_running in [true, false] {
        show(is_running, &changes, &sightings)?;
    }
    Ok(())
}

/// Gathers the changes until it is over.
async fn listen(
    mut events: EventStream,
    is_over: CancellationToken,
) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some(event) = is_over.run_until_cancelled(events.next(SILENCE)).await {
        let event = event?.context("no more events")?;
        changes.extend(change(&event.data));
    }
    Ok(changes)
}

fn change(event: &str) -> Option<Change> {
    let event: Value = serde_json::from_str(event).ok()?;
    let is_running = match event["taskStatus"].as_str()? {
        "TASK_RUNNING" => true,
        "TASK_KILLING" => false,
        _ => return None,
    };
    let at: Timestamp = event["timestamp"].as_str()?.parse().ok()?;
    Some(Change {
        is_running,
        port: event["ports"][0].as_u64()?.try_into().ok()?,
        at: at.as_microsecond(),
    })
}

/// Asks until it is over; when each record was in the answers, and how many answers there were.
async fn watch(
    mut stream: TcpStream,
    is_over: CancellationToken,
) -> anyhow::Result<(Vec<Sighting>, u64)> {
    let mut query = Message::query();
    let name = Name::from_ascii("_followed._tcp.marathon.mesos.")?;
    query.add_query(Query::query(name, RecordType::SRV));
    let query = query.to_vec()?;
    let framed = [&u16::try_from(query.len())?.to_be_bytes(), &query[..]].concat();
    stream.set_nodelay(true)?;
    let mut seen: BTreeMap<Name, Sighting> = BTreeMap::new();
    let mut current = BTreeSet::new();
    let mut answer = Vec::new();
    let mut n_answers = 0;
    while !is_over.is_cancelled() {
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        answer.resize(usize::from(length), 0);
        stream.read_exact(&mut answer).await?;
        let now = Timestamp::now().as_microsecond();
        let message = Message::from_vec(&answer)?;
        n_answers += 1;
        let mut named = BTreeSet::new();
        for record in &message.answers {
            let RData::SRV(srv) = &record.data else {
                bail!("{record}");
            };
            // The instance's own name, which has a hash of the task's id.
            seen.entry(srv.target.clone()).or_insert(Sighting {
                port: srv.port,
                first: now,
                gone: NEVER,
            });
            named.insert(srv.target.clone());
        }
        for target in current.difference(&named) {
            seen.get_mut(target).context("it was seen")?.gone = now;
        }
        current = named;
        tokio::time::sleep(PAUSE).await;
    }
    Ok((seen.into_values().collect(), n_answers))
}

/// Prints one line. A change that no answer followed is a fault, but for a task that was killed before an answer had it.
fn show(is_running: bool, changes: &[Change], sightings: &[Sighting]) -> anyhow::Result<()> {
    let (mut took, mut n_unseen) = (Vec::new(), 0);
    for change in changes.iter().filter(|it| it.is_running == is_running) {
        let about = (change.at - EARLIER)..(change.at + LONGEST);
        let of_port = sightings.iter().filter(|seen| seen.port == change.port);
        let moment = match is_running {
            true => of_port
                .map(|seen| seen.first)
                .filter(|it| about.contains(it))
                .min(),
            // Those of before are gone by then; the next one of this port comes later.
            false => of_port
                .filter(|seen| seen.first < about.end && seen.gone >= about.start)
                .map(|seen| seen.gone)
                .min(),
        };
        match moment {
            Some(moment) if about.contains(&moment) => took.push(moment - change.at),
            None if !is_running => n_unseen += 1,
            _ => bail!("no answer shows {change:?}"),
        }
    }
    ensure!(!took.is_empty(), "nothing was seen");
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100] as f64 / 1000.0;
    let name = match is_running {
        true => "TASK_RUNNING to answered",
        false => "TASK_KILLING to gone",
    };
    println!(
        "{name:25} {:6} changes, ms: least {:5.1}, p50 {:5.1}, p90 {:5.1}, p99 {:5.1}, most {:5.1}; {n_unseen} never answered",
        took.len(),
        at(0),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    Ok(())
}
