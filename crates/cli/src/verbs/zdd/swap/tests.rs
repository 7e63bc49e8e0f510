use serde_json::json;

use super::*;

fn side(instances: u64, target: u64) -> Side {
    Side {
        id: "/x".to_owned(),
        instances,
        is_deploying: false,
        target,
        stop_at: 0,
        tasks: Vec::new(),
    }
}

const ALL: Plan = Plan {
    stop_at: 0,
    linear: 0,
};

#[test]
fn the_new_app_grows_as_zdd_pys_does() {
    // contract: lb-zdd-growth
    let grow = |plan: Plan, old: u64, target| {
        let mut sizes = vec![1];
        loop {
            let last = sizes[sizes.len() - 1];
            // As many old ones are left as the new ones do not stand for.
            let next = plan.next(&side(old.min(target - last), target), &side(last, target));
            if next == last {
                return sizes;
            }
            sizes.push(next);
        }
    };
    assert_eq!(ALL.next(&side(4, 4), &side(1, 4)), 2);
    assert_eq!(
        ALL.next(&side(3, 4), &side(2, 4)),
        4,
        "as many as are old: all"
    );
    assert_eq!(ALL.next(&side(20, 20), &side(2, 20)), 3);
    assert_eq!(ALL.next(&side(20, 20), &side(3, 20)), 5);
    assert_eq!(grow(ALL, 4, 4), [1, 2, 4]);
    assert_eq!(grow(ALL, 1, 1), [1]);
    assert_eq!(grow(Plan { linear: 3, ..ALL }, 10, 10), [1, 4, 7, 10]);
    let linear = u64::MAX;
    assert_eq!(grow(Plan { linear, ..ALL }, 10, 10), [1, 10]);
    assert_eq!(grow(Plan { stop_at: 5, ..ALL }, 10, 10), [1, 2, 3, 5]);
    assert_eq!(
        grow(
            Plan {
                stop_at: 2,
                linear: 4
            },
            10,
            10
        ),
        [1, 2]
    );
}

#[test]
fn swaps_stop_where_they_are_to() {
    // contract: lb-zdd-hybrid
    let half = Plan { stop_at: 2, ..ALL };
    for (old, new, expected) in [(4, 1, false), (4, 2, false), (3, 2, false), (2, 2, true)] {
        assert_eq!(
            half.is_stopped(&side(old, 4), &side(new, 4)),
            expected,
            "{old} {new}"
        );
    }
    assert!(!ALL.is_stopped(&side(0, 4), &side(4, 4)));
    assert_eq!(ALL.n_drainable(&side(4, 4), &side(1, 4)), 1);
    assert_eq!(ALL.n_drainable(&side(2, 4), &side(2, 4)), 0);
    assert_eq!(ALL.n_drainable(&side(2, 4), &side(4, 4)), 2);
}

fn seen(n_edges: usize, n_pids: usize, servers: &[(&str, &str, bool)]) -> Seen {
    let server = |(name, status, is_idle): &(&str, &str, bool)| Server {
        name: (*name).to_owned(),
        status: (*status).to_owned(),
        is_idle: *is_idle,
    };
    Seen {
        n_edges,
        servers: servers.iter().map(server).collect(),
        n_pids,
    }
}

fn old_app() -> Side {
    Side::read(&json!({
        "id": "/old", "instances": 2, "deployments": [],
        "labels": {"HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2"},
        "tasks": [
            {"id": "old.1", "host": "10.0.0.1", "ports": [31000]},
            {"id": "old.2", "host": "node-2", "ports": [1000]},
        ],
    }))
}

#[test]
fn what_is_waited_for() {
    // contract: lb-zdd-wait
    let (old, new) = (old_app(), side(1, 2));
    let rest = [
        ("node-2_10_0_0_2_1000", "UP", true),
        ("10_0_0_1_2", "no check", true),
    ];
    let with = |first: (&'static str, &'static str, bool)| [&[first][..], &rest].concat();
    let drained = with(("10_0_0_1_31000", "MAINT", true));
    assert_eq!(seen(1, 1, &drained).awaited(&old, &new), None);
    assert_eq!(seen(1, 1, &drained).drained(&old, true), ["old.1"]);
    let is_waiting = |seen: Seen, word: &str| {
        let awaited = seen.awaited(&old, &new).unwrap();
        assert!(awaited.contains(word), "{awaited}");
    };
    is_waiting(seen(1, 3, &drained), "connections");
    is_waiting(seen(1, 1, &drained[..2]), "list 3 servers");
    is_waiting(
        seen(1, 1, &with(("10_0_0_1_31000", "MAINT", false))),
        "in flight",
    );
    is_waiting(
        seen(1, 1, &with(("10_0_0_1_31000", "UP", true))),
        "in flight",
    );
    let mut starting = drained.clone();
    starting[2].1 = "UP 1/4";
    is_waiting(seen(1, 1, &starting), "2 servers to be up (1 are)");
    // Two edges have to agree.
    let both = [&drained[..], &drained].concat();
    assert_eq!(seen(2, 1, &both).drained(&old, true), ["old.1"]);
    let one = [&drained[..], &with(("10_0_0_1_31000", "MAINT", false))].concat();
    assert_eq!(seen(2, 1, &one).drained(&old, true), [""; 0]);
    assert_eq!(
        seen(2, 1, &one).drained(&old, false),
        ["old.1"],
        "when the time is over"
    );
}

/// A kill makes the old app the one that was scaled last, which edges take for the new one: only a growth may follow it, or the end.
#[test]
fn the_last_old_ones_go_together() {
    let new = Side::read(&json!({
        "id": "/new", "instances": 2, "labels": {"HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2"},
        "tasks": [{"id": "new.1", "host": "h", "ports": [1]}, {"id": "new.2", "host": "h", "ports": [2]}],
    }));
    let forward = |new: &Side, second: (&'static str, bool), first_new: &'static str| {
        let servers = [
            ("10_0_0_1_31000", "MAINT", true),
            ("node-2_1000", second.0, second.1),
            ("h_1", first_new, true),
            ("h_2", "UP", true),
        ];
        seen(1, 1, &servers).forward(&old_app(), new, ALL)
    };
    assert_eq!(forward(&new, ("MAINT", true), "UP"), Move::Delete);
    for second in [("MAINT", false), ("UP", true)] {
        let found = forward(&new, second, "UP");
        assert!(matches!(found, Move::Wait(_)), "{second:?}: {found:?}");
    }
    // Broken off between the two, it goes on with the growth.
    let new = Side {
        instances: 1,
        ..new
    };
    assert_eq!(forward(&new, ("UP", true), "MAINT"), Move::Go(Vec::new()));
}

#[test]
fn the_way_back_does_not_depend_on_the_younger_app() {
    // contract: lb-native-rollback
    let app = |id: &str, instances: u64, ports: std::ops::Range<u16>| {
        let tasks =
            ports.map(|port| json!({"id": format!("{id}.{port}"), "host": "h", "ports": [port]}));
        Side::read(&json!({
            "id": id, "instances": instances, "tasks": tasks.collect::<Vec<_>>(),
            "labels": {"HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "2"},
        }))
    };
    // `cur` is the younger one, with tasks on 20 and 21; `prev` has 10 and 11.
    let (cur, prev, half) = (
        app("cur", 1, 20..21),
        app("prev", 2, 10..12),
        app("prev", 1, 10..11),
    );
    let up = |name: &'static str| (name, "UP", true);
    let maint = |name: &'static str| (name, "MAINT", true);
    let go = |ids: &[&str]| Move::Go(ids.iter().map(|id| (*id).to_owned()).collect());
    let check = |new: &Side, has_scaled, servers: &[(&str, &str, bool)], expected: Move| {
        assert_eq!(
            seen(1, 1, servers).back(&cur, new, has_scaled),
            expected,
            "{servers:?}"
        );
    };
    let waits = |new: &Side, has_scaled, servers: &[(&str, &str, bool)]| {
        let found = seen(1, 1, servers).back(&cur, new, has_scaled);
        assert!(matches!(found, Move::Wait(_)), "{servers:?}: {found:?}");
    };
    // Nothing was killed yet; the younger one is well, or not.
    check(
        &prev,
        false,
        &[maint("h_10"), up("h_11"), up("h_20")],
        Move::Delete,
    );
    check(&prev, false, &[up("h_10"), up("h_11")], Move::Delete);
    waits(&prev, false, &[up("h_10"), up("h_20")]);
    // Half of it is gone: it grows at once.
    check(&half, false, &[up("h_10"), up("h_20")], go(&[]));
    check(&half, false, &[up("h_10")], go(&[]));
    // It has grown; the younger one drains.
    check(
        &prev,
        true,
        &[up("h_10"), up("h_11"), maint("h_20")],
        Move::Delete,
    );
    check(
        &prev,
        false,
        &[up("h_10"), up("h_11"), maint("h_20")],
        Move::Delete,
    );
    check(&prev, true, &[up("h_10"), up("h_11")], Move::Delete);
    waits(
        &prev,
        true,
        &[up("h_10"), up("h_11"), ("h_20", "MAINT", false)],
    );
    waits(
        &prev,
        true,
        &[up("h_10"), ("h_11", "UP 1/4", true), maint("h_20")],
    );
    waits(&prev, true, &[up("h_10"), up("h_11"), up("h_20")]);
    check(&half, true, &[up("h_10"), maint("h_20")], go(&["cur.20"]));
    check(&half, true, &[up("h_10")], go(&[]));
    waits(&half, true, &[up("h_10"), up("h_20")]);
}

#[test]
fn servers_are_told_by_name() {
    let old = old_app();
    for (name, expected) in [
        ("10_0_0_1_31000", [true, false]),
        ("10_0_0_11_31000", [false, false]),
        ("10_0_0_1_1000", [false, false]),
        ("node-2_10_0_0_2_1000", [false, true]),
        ("node-22_10_0_0_2_1000", [false, false]),
        ("node-2_10_0_0_2_11000", [false, false]),
    ] {
        assert_eq!(
            [old.tasks[0].is_server(name), old.tasks[1].is_server(name)],
            expected,
            "{name}"
        );
    }
}
