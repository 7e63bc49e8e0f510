//! How the zone follows a master: its first state, its events, its absence and return.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Reply, master::Master};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::{Instant, sleep, timeout};
use zddcluster_dns::{Handle, Zone, start};
use zddcluster_runtime::Tasks;

mod support;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

async fn dns(master: &str, tasks: &Tasks) -> Handle {
    let config = support::server("lab", master).await;
    start(config, tasks).expect("a good configuration")
}

/// An address of which nobody else takes a port while a master is away.
const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 53, 0, 2), 0);

/// Waits until the zone is as wished.
async fn until(dns: &Handle, what: &str, is_so: impl Fn(&Zone) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        if dns.zone().is_some_and(|zone| is_so(&zone)) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what} has not come to be; {:#?}",
            dns.zone()
        );
        sleep(Duration::from_millis(2)).await;
    }
}

fn has(zone: &Zone, name: &str) -> bool {
    zone.records().a.contains_key(name)
}

/// The first task of the recorded state, and what identifies it.
fn blue(state: &Value) -> (Value, Value) {
    let framework = &state["frameworks"][0];
    (framework["id"].clone(), framework["tasks"][0].clone())
}

fn updated(framework_id: &Value, task_id: &Value, to: &str, timestamp: f64) -> Value {
    json!({"type": "TASK_UPDATED", "task_updated": {
        "framework_id": {"value": framework_id}, "state": to,
        "status": {"task_id": {"value": task_id}, "state": to, "timestamp": timestamp},
    }})
}

#[tokio::test]
async fn changes_are_published_as_they_are_told() {
    let state = support::state_document();
    let (framework_id, task) = blue(&state);
    let task_id = task["id"].clone();
    let master = Master::start(state).await;
    let tasks = Tasks::new();
    let dns = dns(&master.url(), &tasks).await;
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    let first = dns.zone().expect("ready");
    assert!(master.is_followed());
    let name = "blue-zdd-rrf4y-s2.marathon.mesos.";
    assert!(has(&first, name));

    master.tell(&updated(
        &framework_id,
        &task_id,
        "TASK_KILLING",
        1_500_000_000.0,
    ));
    until(&dns, "a task being killed", |zone| !has(zone, name)).await;
    master.tell(&updated(
        &framework_id,
        &task_id,
        "TASK_RUNNING",
        1_500_000_001.0,
    ));
    until(&dns, "a task running again", |zone| has(zone, name)).await;
    master.tell(&updated(
        &framework_id,
        &task_id,
        "TASK_KILLED",
        1_500_000_002.0,
    ));
    until(&dns, "a killed task", |zone| !has(zone, name)).await;

    master.tell(&json!({"type": "TASK_ADDED", "task_added": {"task": {
        "task_id": {"value": "new.1"}, "name": "new", "framework_id": {"value": framework_id},
        "agent_id": {"value": task["slave_id"]}, "state": "TASK_STAGING",
        "discovery": {"name": "new", "ports": {"ports": [{"number": 31999, "protocol": "tcp"}]}},
    }}}));
    master.tell(&updated(
        &framework_id,
        &json!("new.1"),
        "TASK_RUNNING",
        1_500_000_003.0,
    ));
    until(&dns, "a new task", |zone| {
        let records = zone.records();
        records
            .srv
            .get("_new._tcp.marathon.mesos.")
            .is_some_and(|srv| srv[0].port == 31999)
    })
    .await;
    let last = dns.zone().expect("ready");
    assert!(last.serial() > first.serial(), "serials grow");

    // What events do not tell is read anew.
    master.change(|state| state["frameworks"][0]["name"] = json!("renamed"));
    master.tell(&json!({"type": "FRAMEWORK_UPDATED", "framework_updated": {}}));
    until(&dns, "a framework renamed", |zone| {
        has(zone, "blue-zdd.renamed.mesos.")
    })
    .await;

    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_before_the_first_state() {
    // An address at which no master listens yet.
    let reserved = TcpSocket::new_v4().expect("a socket");
    reserved.set_reuseaddr(true).expect("set");
    reserved.bind(OWN.into()).expect("a port");
    let address = reserved.local_addr().expect("bound");
    let tasks = Tasks::new();
    let dns = dns(&format!("http://{address}"), &tasks).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let [query, ..] = &support::golden(&["lab"])[..] else {
        panic!("no recorded queries");
    };
    client
        .send_to(&query.packet(7), dns.udp_address().expect("bound"))
        .await
        .expect("sent");
    assert!(dns.zone().is_none());

    // A master that is not elected yet has no state either.
    drop(reserved);
    let master = Master::start_on(address, json!({"leader": null})).await;
    let deadline = Instant::now() + LIMIT;
    while !master.is_followed() {
        assert!(Instant::now() < deadline, "the master was not found");
        sleep(Duration::from_millis(2)).await;
    }
    assert!(dns.zone().is_none());

    master.change(|state| *state = support::state_document());
    let mut buffer = [0; 512];
    let received = timeout(LIMIT, client.recv(&mut buffer))
        .await
        .expect("an answer");
    let length = received.expect("received");
    assert_eq!(query.compare(7, &buffer[..length]), Ok(()));
    timeout(LIMIT, dns.ready())
        .await
        .expect("ready, since it answers");

    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn the_last_zone_is_served_while_the_master_is_away() {
    let master = Master::start_on(OWN.into(), support::state_document()).await;
    let address = master.address;
    let tasks = Tasks::new();
    let dns = dns(&master.url(), &tasks).await;
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    let before = dns.zone().expect("ready");
    master.stop().await;

    let query = support::golden(&["lab"])
        .into_iter()
        .find(|g| g.query == "web.marathon.mesos" && g.qtype == "A");
    let query = query.expect("recorded");
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    client
        .send_to(&query.packet(1), dns.udp_address().expect("bound"))
        .await
        .expect("sent");
    let mut buffer = [0; 512];
    let received = timeout(LIMIT, client.recv(&mut buffer))
        .await
        .expect("an answer");
    let reply = Reply::read(&buffer[..received.expect("received")]).expect("a message");
    assert_eq!(reply.answer, query.answer);

    // One that comes back with a bad state changes nothing, one with a good state all.
    let master = Master::start_on(address, json!("not a state")).await;
    let deadline = Instant::now() + LIMIT;
    while !master.is_followed() {
        assert!(Instant::now() < deadline, "the master was not found again");
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(dns.zone().expect("kept").serial(), before.serial());
    master.change(|state| {
        *state = support::state_document();
        state["frameworks"][0]["tasks"] = json!([]);
    });
    until(&dns, "the new state", |zone| {
        !has(zone, "web.marathon.mesos.")
    })
    .await;
    assert!(dns.zone().expect("kept").serial() > before.serial());

    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}
