use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use zddcluster_model::deployment::Plan;
use zddcluster_model::{AppId, DeploymentId, Group, Timestamp};

use super::*;

fn event(app_id: &str) -> Event {
    let app_id = AppId::absolute(app_id);
    Event {
        timestamp: "2116-10-13T13:31:39.085Z".parse().unwrap(),
        kind: EventKind::AppTerminated { app_id },
    }
}

/// A deployment's end; its plan's trees are named by an id of so many bytes.
fn success(length: usize) -> Event {
    let id = AppId::absolute(&"a".repeat(length.max(1)));
    let root = Arc::new(Group::empty(id, Timestamp::ZERO));
    let plan = Arc::new(Plan {
        id: DeploymentId::new("d"),
        original: Arc::clone(&root),
        target: root,
        steps: Vec::new(),
        version: Timestamp::ZERO,
    });
    let id = plan.id.clone();
    Event {
        timestamp: Timestamp::ZERO,
        kind: EventKind::DeploymentSuccess { id, plan },
    }
}

fn bus() -> Bus {
    Bus::new(Clock::start(0))
}

fn publish(bus: &Bus, events: impl IntoIterator<Item = Event>) {
    bus.publish(events);
    bus.settle();
}

fn attach(bus: &Bus, wanted: Wanted) -> Feed {
    let feed = bus.attach(wanted, None).unwrap();
    bus.settle();
    feed
}

fn with_ids(begin: Begin) -> Wanted {
    Wanted {
        ids: Some(begin),
        ..Wanted::default()
    }
}

/// What waits in a feed.
async fn waiting(feed: &mut Feed) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Ok(Some(bytes)) = tokio::time::timeout(Duration::ZERO, feed.next()).await {
        all.push(bytes);
    }
    all
}

/// The events that wait in a feed with ids: the id and, in short, what.
async fn told(feed: &mut Feed) -> Vec<(u64, String)> {
    let events = waiting(feed).await;
    let events = events.iter().map(|bytes| {
        let text = std::str::from_utf8(bytes).unwrap();
        let mut lines = text.split("\r\n");
        let id = lines.next().unwrap().strip_prefix("id: ").unwrap();
        let name = lines.next().unwrap().strip_prefix("event: ").unwrap();
        let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["eventType"], name);
        let what = data["appId"].as_str().unwrap_or(name).to_owned();
        (id.parse().unwrap(), what)
    });
    events.collect()
}

#[tokio::test]
async fn an_event_is_two_lines_with_crlf() {
    // contract: stream-frames, trap-36
    let bus = bus();
    let mut feed = attach(
        &bus,
        Wanted {
            event_types: vec!["app_terminated_event".to_owned()],
            ..Wanted::default()
        },
    );
    publish(&bus, [success(1), event("/a")]);
    let expected = "event: app_terminated_event\r\n\
        data: {\"appId\":\"/a\",\"eventType\":\"app_terminated_event\",\
        \"timestamp\":\"2116-10-13T13:31:39.085Z\"}\r\n\r\n";
    assert_eq!(waiting(&mut feed).await, [expected]);
}

#[tokio::test]
async fn an_event_is_rendered_once_and_only_for_a_reader() {
    let bus = bus();
    publish(&bus, [event("/a"), success(1)]);
    assert_eq!(bus.counts().rendered, 0);
    let mut feeds: Vec<Feed> = (0..3).map(|_| attach(&bus, Wanted::default())).collect();
    let before = bus.counts().rendered;
    publish(&bus, [event("/a")]);
    assert_eq!(bus.counts().rendered, before + 1);
    let mut pointers = Vec::new();
    for feed in &mut feeds {
        pointers.push(waiting(feed).await.last().unwrap().as_ptr());
    }
    assert!(pointers.iter().all(|pointer| *pointer == pointers[0]));
    // A light reader has no trees made for him, and no others.
    drop(feeds);
    bus.detach(1);
    bus.detach(2);
    bus.detach(3);
    let light = Wanted {
        form: Form::Light,
        ..Wanted::default()
    };
    let mut feed = attach(&bus, light);
    let before = bus.counts().rendered;
    publish(&bus, [success(1)]);
    assert_eq!(bus.counts().rendered, before + 1);
    let text = waiting(&mut feed).await.pop().unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(
        text.contains(r#""plan":{"id":"d","steps":[],"version":"#),
        "{text}"
    );
}

#[tokio::test]
async fn time_never_runs_backwards_on_a_stream() {
    // contract: invariant-3.10-10
    let bus = bus();
    let mut feed = attach(&bus, Wanted::default());
    // The engine's time is that of the step, which may lie before the stream was attached.
    publish(&bus, [success(1), event("/a"), success(1)]);
    let times: Vec<String> = waiting(&mut feed)
        .await
        .iter()
        .map(|bytes| {
            let text = std::str::from_utf8(bytes).unwrap();
            let at = text.find("\"timestamp\":\"").unwrap();
            text[at + 13..at + 37].to_owned()
        })
        .collect();
    assert_eq!(times.len(), 4);
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_others_go_on() {
    // contract: stream-slow-reader
    let bus = bus();
    let hangup = Hangup::default();
    let slow = Wanted {
        remote_address: "slow".to_owned(),
        ..Wanted::default()
    };
    let _stuck = bus.attach(slow, Some(hangup)).unwrap();
    let mut fresh = attach(&bus, Wanted::default());
    for _ in 0..feed::EVENTS {
        publish(&bus, [event("/a")]);
        waiting(&mut fresh).await;
    }
    // The slow one has not even read that the other came.
    assert_eq!((bus.counts().streams, bus.counts().cut_off), (1, 1));
    publish(&bus, [event("/a")]);
    let rest = waiting(&mut fresh).await;
    let rest: Vec<&str> = rest
        .iter()
        .map(|bytes| std::str::from_utf8(bytes).unwrap())
        .collect();
    assert!(rest.last().unwrap().contains("app_terminated_event"));
}

#[tokio::test]
async fn what_waits_for_a_reader_is_bounded_in_bytes_too() {
    let bus = bus();
    let _stuck = attach(&bus, Wanted::default());
    // Two trees of 1 MiB each, of which eight at most may wait.
    publish(&bus, (0..7).map(|_| success(1 << 20)));
    assert_eq!(bus.counts().cut_off, 0);
    publish(&bus, (0..2).map(|_| success(1 << 20)));
    assert_eq!(bus.counts().cut_off, 1);
}

#[tokio::test]
async fn a_reader_with_ids_goes_on_where_it_was() {
    let bus = bus();
    let mut feed = attach(&bus, with_ids(Begin::Now));
    publish(&bus, [event("/a"), event("/b")]);
    let first = told(&mut feed).await;
    let (names, ids): (Vec<&str>, Vec<u64>) = first.iter().map(|(id, what)| (&**what, *id)).unzip();
    assert_eq!(names, ["event_stream_attached", "/a", "/b"]);
    // Its own attachment is an event for others, with an id of its own.
    assert_eq!([ids[1] - ids[0], ids[2] - ids[1]], [2, 1]);
    bus.detach(feed.id);
    publish(&bus, [event("/c")]);

    let mut feed = attach(&bus, with_ids(Begin::After(ids[1].to_string())));
    publish(&bus, [event("/d")]);
    let second = told(&mut feed).await;
    let names: Vec<&str> = second.iter().map(|(_, what)| &**what).collect();
    assert_eq!(
        names,
        [
            "event_stream_attached",
            "/b",
            "event_stream_detached",
            "/c",
            "/d"
        ]
    );
    assert_eq!(second[0].0, ids[1]);
    assert!(second.is_sorted_by_key(|(id, _)| *id));
}

#[tokio::test]
async fn a_reader_whose_id_is_too_old_is_told_first() {
    let bus = bus();
    let mut feed = attach(&bus, with_ids(Begin::Now));
    let first = told(&mut feed).await[0].0;
    publish(&bus, (0..=ring::EVENTS).map(|_| event("/a")));
    let known = told(&mut feed).await.last().unwrap().0;
    assert_eq!(bus.counts().kept, ring::EVENTS);
    for (asked, is_known) in [
        (known.to_string(), true),
        (first.to_string(), false),
        ((known + 1000).to_string(), false),
        ("x".to_owned(), false),
        (String::new(), false),
    ] {
        // Also one that does not ask for our event's type.
        let wanted = Wanted {
            event_types: vec!["deployment_success".to_owned()],
            ..with_ids(Begin::After(asked.clone()))
        };
        let mut feed = attach(&bus, wanted);
        let told = told(&mut feed).await;
        assert_eq!(told.is_empty(), is_known, "{asked}: {told:?}");
        if !is_known {
            // With the id that it goes on after: the next attempt is not in vain.
            assert_eq!(told[0].1, LOST, "{asked}");
            assert!(told[0].0 >= known, "{asked}");
        }
    }
}

#[tokio::test]
async fn large_events_shorten_the_ring() {
    let bus = bus();
    let _feed = attach(&bus, with_ids(Begin::Now));
    let light = Wanted {
        form: Form::Light,
        ..with_ids(Begin::Now)
    };
    let _light = attach(&bus, light);
    publish(&bus, (0..9).map(|_| success(1 << 19)));
    let counts = bus.counts();
    // The light ring keeps all: the attachments, too.
    assert!(counts.kept_bytes <= ring::BYTES, "{counts:?}");
    assert!((7 + 10..=8 + 10).contains(&counts.kept), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_when_nobody_is_expected() {
    let bus = bus();
    let feed = attach(&bus, with_ids(Begin::Now));
    let _other = attach(&bus, with_ids(Begin::Now));
    bus.detach(feed.id);
    // Streams that end with the leadership are not expected for ever, either.
    bus.abdicate("127.0.0.1");
    publish(&bus, [event("/a")]);
    assert_eq!(bus.counts().kept, 6);
    tokio::time::advance(Duration::from_mins(11)).await;
    let before = bus.counts().rendered;
    publish(&bus, [event("/a")]);
    assert_eq!((bus.counts().kept, bus.counts().rendered), (0, before));
}

#[tokio::test]
async fn an_overrun_bus_ends_every_stream() {
    let bus = bus();
    let mut feed = attach(&bus, with_ids(Begin::Now));
    publish(&bus, [event("/a")]);
    let known = told(&mut feed).await.last().unwrap().0;
    bus.publish((0..=INBOX).map(|_| event("/a")));
    bus.settle();
    assert_eq!(bus.counts().streams, 0);
    assert!(waiting(&mut feed).await.is_empty());
    let mut feed = attach(&bus, with_ids(Begin::After(known.to_string())));
    assert_eq!(told(&mut feed).await[0].1, LOST);
}

#[tokio::test]
async fn ids_grow_over_lives() {
    let first = Bus::new(Clock::start(0));
    let second = Bus::new(Clock::start(1));
    let id = |bus: &Bus| bus.lock().last_id;
    // A busier life than any there will be.
    publish(&first, (0..4000).map(|_| event("/a")));
    assert!(id(&second) > id(&first));
    assert!(id(&second) < 1 << 53);
}

#[tokio::test]
async fn abdication_ends_streams_and_goes_on() {
    // contract: stream-abdication
    let bus = bus();
    let mut feed = attach(&bus, with_ids(Begin::Now));
    let mut observer = bus.observe();
    told(&mut feed).await;
    bus.abdicate("127.0.0.1");
    bus.settle();
    let last = told(&mut feed).await;
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].1, "scheduler_disconnected_event");
    assert!(feed.next().await.is_none());
    let names: Vec<&str> = std::iter::from_fn(|| observer.try_recv().ok())
        .map(|event| event.name())
        .collect();
    let expected = [
        "scheduler_disconnected_event",
        "scheduler_reregistered_event",
    ];
    assert_eq!(names, expected);
    // Who comes back misses nothing.
    let mut feed = attach(&bus, with_ids(Begin::After(last[0].0.to_string())));
    assert_eq!(told(&mut feed).await[1].1, "scheduler_reregistered_event");
}
