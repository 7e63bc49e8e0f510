//! How the zone follows foreign masters, which are only asked for their state.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use serde_json::{Value, json};
use support::master::Master;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::{Instant, sleep, timeout};
use zddcluster_dns::{Handle, Source, Zone, start};
use zddcluster_runtime::Tasks;

mod support;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);
/// Sooner than anybody would wait for.
const OFTEN: Duration = Duration::from_millis(20);
/// Later than any test ends.
const NEVER: Duration = Duration::from_secs(3600);

async fn dns(masters: &[SocketAddr], refresh: Duration, tasks: &Tasks) -> Handle {
    let mut config = support::server("lab", "").await;
    config.source = Source::Poll {
        masters: masters
            .iter()
            .map(|master| master.to_string().parse().expect("an address"))
            .collect(),
        refresh,
        state_timeout: LIMIT,
    };
    start(config, tasks).expect("a good configuration")
}

/// An address of which nobody else takes a port while a master is away.
async fn own_address() -> SocketAddr {
    let own = SocketAddrV4::new(Ipv4Addr::new(127, 53, 0, 4), 0);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("set");
    socket.bind(own.into()).expect("a port");
    socket.local_addr().expect("bound")
}

async fn until(dns: &Handle, what: &str, is_so: impl Fn(&Zone) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !dns.zone().is_some_and(|zone| is_so(&zone)) {
        assert!(Instant::now() < deadline, "{what} has not come to be");
        sleep(Duration::from_millis(2)).await;
    }
}

fn has_web(zone: &Zone) -> bool {
    zone.records().a.contains_key("web.marathon.mesos.")
}

fn without_tasks() -> Value {
    let mut state = support::state_document();
    for framework in state["frameworks"].as_array_mut().expect("a list") {
        framework["tasks"] = json!([]);
    }
    state
}

/// What a master says that knows another one to lead.
fn led_by(leader: SocketAddr) -> Value {
    json!({"pid": "master@10.9.9.9:5050", "leader": format!("master@{leader}"), "slaves": [], "frameworks": []})
}

#[tokio::test]
async fn the_leader_is_found_and_read_again_and_again() {
    let leader = Master::start(support::state_document()).await;
    let other = Master::start(led_by(leader.address)).await;
    let away = own_address().await;
    let tasks = Tasks::new();
    let dns = dns(&[away, other.address], OFTEN, &tasks).await;
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    let first = dns.zone().expect("ready");
    assert!(has_web(&first));
    assert!(!leader.is_followed(), "it is only asked for its state");

    leader.change(|state| *state = without_tasks());
    until(&dns, "a state without tasks", |zone| !has_web(zone)).await;
    assert!(dns.zone().expect("ready").serial() > first.serial());
    tasks.shut_down(LIMIT).await.expect("all ends");
    leader.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_first_state_is_tried_for_soon_and_nothing_is_answered_before() {
    let address = own_address().await;
    let tasks = Tasks::new();
    let dns = dns(&[address], NEVER, &tasks).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let query = support::golden(&["lab"]).remove(0);
    let server = dns.udp_address().expect("bound");
    client
        .send_to(&query.packet(7), server)
        .await
        .expect("sent");
    assert!(dns.zone().is_none());

    let master = Master::start_on(address, support::state_document()).await;
    let mut buffer = [0; 512];
    let received = timeout(LIMIT, client.recv(&mut buffer)).await;
    let length = received.expect("an answer").expect("received");
    assert_eq!(query.compare(7, &buffer[..length]), Ok(()));
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn the_last_zone_is_kept_while_there_is_no_good_state() {
    let address = own_address().await;
    let master = Master::start_on(address, support::state_document()).await;
    let tasks = Tasks::new();
    let dns = dns(&[address], OFTEN, &tasks).await;
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    let before = dns.zone().expect("ready").serial();

    let nobody = own_address().await;
    for bad in [
        json!("words"),
        json!({"leader": ""}),
        json!({}),
        led_by(nobody),
        led_by(address),
    ] {
        let n_read = master.n_read();
        master.change(|state| *state = bad.clone());
        master.until_read(n_read + 2).await;
        let zone = dns.zone().expect("kept");
        assert!(has_web(&zone) && zone.serial() == before, "{bad}");
    }
    master.stop().await;
    let master = Master::start_on(address, without_tasks()).await;
    until(&dns, "the new state", |zone| !has_web(zone)).await;
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}
