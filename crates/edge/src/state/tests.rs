use std::cell::Cell;

use super::*;
use crate::fixture::{self, LOCALHOST};
use crate::gateways::condition::Asked;
use crate::labels::Mode;
use crate::proxy::fields::Fields;

/// An app of one task, on port 10080 with the vhost `h`.
fn app(name: &str, task_port: u16) -> App {
    let app = serde_json::json!({
        "id": format!("/{name}"),
        "version": "1",
        "labels": { "HAPROXY_GROUP": "g", "HAPROXY_0_VHOST": "h" },
        "ports": [10080],
        "tasks": [{
            "id": format!("{name}.1"), "host": "127.0.0.11", "ports": [task_port], "state": "TASK_RUNNING"
        }],
    });
    serde_json::from_value(app).unwrap()
}

fn shared() -> Shared {
    let shared = fixture::shared(Some(80));
    shared.put(app("blue", 1), BTreeMap::new());
    shared.put(app("green", 2), BTreeMap::new());
    shared
}

#[test]
fn who_meets_the_beginning_of_a_drain_is_sent_elsewhere() {
    let by_port: fn(&Routes) -> _ = |routes| {
        let backend = routes.by_port(10080, "blue_10080", Mode::Http, None, &[]);
        backend.cloned()
    };
    let by_host: fn(&Routes) -> _ = |routes| {
        let asked = Asked {
            method: "GET",
            host: b"h",
            path: "/",
            fields: Fields::new(&[]).unwrap(),
        };
        routes.by_host("h", &asked, &[]).cloned()
    };
    for choose in [by_port, by_host] {
        let shared = shared();
        let chosen = Cell::new(0);
        let lease = shared.lease(|routes| {
            let backend = choose(routes).unwrap();
            chosen.set(chosen.get() + 1);
            if chosen.get() == 1 {
                assert_eq!(backend.spec.app_id, "/blue");
                shared.drain(&TaskId::new("blue.1"));
            }
            backend.lease(&[], LOCALHOST, shared.now())
        });
        assert_eq!(lease.unwrap().server.spec.task_id.as_str(), "green.1");
        assert_eq!(chosen.get(), 2);
    }
}

#[test]
fn without_a_server_there_is_no_lease() {
    let shared = shared();
    let load = shared.drain(&TaskId::new("blue.1"));
    assert!(load.is_draining());
    shared.drain(&TaskId::new("green.1"));
    let lease = shared.lease(|routes| {
        let backend = routes.by_port(10080, "", Mode::Http, None, &[])?;
        backend.lease(&[], LOCALHOST, shared.now())
    });
    assert!(lease.is_none());
}

#[test]
fn what_changes_nothing_is_no_event() {
    // contract: lb-change-silent
    let shared = shared();
    let mut changes = shared.changes();
    let routes = shared.routes.load_full();
    changes.borrow_and_update();
    shared.put(app("blue", 1), BTreeMap::new());
    // Another version, and an app without a server: the same table.
    let mut version = app("green", 2);
    version.version = "2".to_owned();
    shared.put(version, BTreeMap::new());
    let mut idle = app("idle", 3);
    idle.tasks.clear();
    shared.put(idle, BTreeMap::new());
    shared.reapply();
    assert!(!changes.has_changed().unwrap());
    assert!(Arc::ptr_eq(&routes, &shared.routes.load_full()));
    shared.put(app("blue", 4), BTreeMap::new());
    assert!(changes.has_changed().unwrap());
}
