//! The contract's golden and response tables, row by row.

use super::*;

fn strategy(min: f64, over: f64) -> UpgradeStrategy {
    UpgradeStrategy {
        minimum_health_capacity: min,
        maximum_over_capacity: over,
    }
}

/// `(n, min, over, |L|) -> minHealthy, maxCapacity, killed at once, started at once`.
fn golden(
    is_resident: bool,
    (n, min, over, old): (u32, f64, f64, usize),
    expected: (i64, i64, i64, i64),
) {
    let bounds = Bounds::new(n, strategy(min, over), old, 0, is_resident);
    let moves = Rollout::new(n, bounds, old, 0).look(&View {
        old_launched: old as i64,
        old_kept: old as i64 - bounds.kill_now,
        ..View::default()
    });
    let got = (
        bounds.min_healthy,
        bounds.max_capacity,
        bounds.kill_now,
        moves.queue,
    );
    assert_eq!(
        got, expected,
        "n {n}, min {min}, over {over}, launched {old}"
    );
}

#[test]
fn golden_table() {
    // contract: trap-22, trap-24, restart-kill-now
    let plain = |input, expected| golden(false, input, expected);
    plain((4, 1.0, 1.0, 4), (4, 8, 0, 4)); // contract: golden-4-1-1-4
    plain((4, 0.25, 0.25, 4), (1, 5, 3, 1)); // contract: golden-4-0.25-0.25-4
    plain((4, 1.0, 0.0, 4), (4, 5, 0, 1)); // contract: golden-4-1-0-4
    plain((4, 0.5, 0.1, 4), (2, 4, 2, 0)); // contract: golden-4-0.5-0.1-4
    plain((4, 0.5, 0.5, 4), (2, 6, 2, 2)); // contract: golden-4-0.5-0.5-4
    plain((4, 0.0, 0.0, 4), (0, 4, 4, 0)); // contract: golden-4-0-0-4
    plain((4, 0.0, 1.0, 4), (0, 8, 4, 4)); // contract: golden-4-0-1-4
    plain((1, 1.0, 0.0, 1), (1, 2, 0, 1)); // contract: golden-1-1-0-1
    plain((1, 0.5, 0.0, 1), (1, 2, 0, 1)); // contract: golden-1-0.5-0-1
    plain((2, 0.5, 0.0, 2), (1, 2, 1, 0)); // contract: golden-2-0.5-0-2
    plain((3, 0.5, 0.0, 3), (2, 3, 1, 0)); // contract: golden-3-0.5-0-3
    plain((10, 0.1, 1.0, 10), (1, 20, 9, 10)); // contract: golden-10-0.1-1-10
    plain((10, 0.9, 0.0, 10), (9, 10, 1, 0)); // contract: golden-10-0.9-0-10
    plain((10, 1.0, 0.1, 10), (10, 11, 0, 1)); // contract: golden-10-1-0.1-10
    plain((100, 0.07, 0.15, 100), (8, 114, 92, 14)); // contract: golden-100-0.07-0.15-100
    plain((8, 1.0, 1.0, 4), (8, 16, 0, 8)); // contract: golden-8-1-1-4
    plain((2, 1.0, 1.0, 4), (2, 4, 2, 0)); // contract: golden-2-1-1-4
    plain((4, 1.0, 0.0, 2), (4, 4, 0, 2)); // contract: golden-4-1-0-2
    plain((4, 1.0, 0.1, 4), (4, 5, 0, 1)); // contract: golden-4-1-0.1-4
    plain((5, 0.5, 0.2, 5), (3, 6, 2, 1)); // contract: golden-5-0.5-0.2-5
    plain((3, 1.0, 0.3, 4), (3, 4, 1, 0)); // contract: golden-3-1-0.3-4
    plain((3, 1.0, 0.7, 3), (3, 5, 0, 2)); // contract: golden-3-1-0.7-3
    let resident = |input, expected| golden(true, input, expected);
    resident((1, 0.5, 0.0, 1), (1, 1, 1, 0)); // contract: golden-resident-1-0.5-0-1
    resident((5, 0.5, 0.0, 5), (3, 5, 2, 0)); // contract: golden-resident-5-0.5-0-5
    resident((5, 1.0, 0.0, 5), (5, 5, 1, 0)); // contract: golden-resident-5-1-0-5
    resident((5, 1.0, 0.0, 7), (5, 5, 3, 0)); // contract: golden-resident-5-1-0-7
}

#[test]
fn an_absurd_number_of_instances_is_only_arithmetic() {
    golden(
        false,
        (2_147_483_647, 1.0, 1.0, 0),
        (2_147_483_647, 4_294_967_294, 0, 2_147_483_647),
    );
}

/// A little world: old tasks that run or die, new ones that are launched or good.
struct World {
    rollout: Rollout,
    running: i64,
    dying: i64,
    launched: i64,
    good: i64,
}

impl World {
    fn new(n: u32, min: f64, over: f64, old: usize) -> (Self, String) {
        let bounds = Bounds::new(n, strategy(min, over), old, 0, false);
        let mut world = Self {
            rollout: Rollout::new(n, bounds, old, 0),
            running: old as i64 - bounds.kill_now,
            dying: bounds.kill_now,
            launched: 0,
            good: 0,
        };
        let word = world.look(bounds.kill_now);
        (world, word)
    }

    fn look(&mut self, killed: i64) -> String {
        let good = (0..self.good)
            .map(|k| TaskId::new(&format!("t.{k}")))
            .collect();
        let moves = self.rollout.look(&View {
            old_launched: self.running + self.dying,
            old_kept: self.running,
            new_launched: self.launched,
            queued: 0,
            good,
        });
        self.running -= moves.kill;
        self.dying += moves.kill;
        self.launched += moves.queue;
        let mut words = Vec::new();
        if killed + moves.kill > 0 {
            words.push(format!("kill {}", killed + moves.kill));
        }
        if moves.queue > 0 {
            words.push(format!("start {}", moves.queue));
        }
        if moves.is_done {
            words.push("done".to_owned());
        }
        if words.is_empty() {
            "-".to_owned()
        } else {
            words.join(", ")
        }
    }

    fn stimulate(&mut self, stimulus: &str) -> String {
        match stimulus {
            "E" => self.dying -= 1,
            "H" => self.good += 1,
            other => panic!("{other}"),
        }
        self.look(0)
    }
}

fn response((n, min, over, old): (u32, f64, f64, usize), script: &str) {
    let (mut world, first) = World::new(n, min, over, old);
    let mut lines = script.split(';').map(str::trim);
    assert_eq!(first, lines.next().unwrap(), "at once, of {script}");
    for line in lines {
        let (stimulus, expected) = line.split_once(' ').unwrap();
        assert_eq!(world.stimulate(stimulus), expected, "{line} of {script}");
    }
}

#[test]
fn response_table() {
    // contract: trap-22, trap-23, restart-kill-now, restart-start, restart-done
    response(
        // contract: response-3-1-0-3
        (3, 1.0, 0.0, 3),
        "start 1; H kill 1; E start 1; H kill 1; E start 1; H kill 1; E done",
    );
    response(
        // contract: response-3-1-0.7-3
        (3, 1.0, 0.7, 3),
        "start 2; H kill 1; E start 1; H kill 1; E -; H kill 1; E done",
    );
    response(
        // contract: response-3-1-0.3-4
        (3, 1.0, 0.3, 4),
        "kill 1; E start 1; H kill 1; E start 1; H kill 1; E start 1; H kill 1; E done",
    );
    response(
        // contract: response-4-0.5-0.1-4
        (4, 0.5, 0.1, 4),
        "kill 2; E start 1; E start 1; H kill 1; E start 1; H kill 1; E start 1; H -; H done",
    );
    response(
        // contract: response-4-0.25-0.25-4
        (4, 0.25, 0.25, 4),
        "kill 3, start 1; E start 1; E start 1; E start 1; H kill 1; E -; H -; H -; H done",
    );
    response(
        // contract: response-2-1-1-4
        (2, 1.0, 1.0, 4),
        "kill 2; E start 1; E start 1; H kill 1; E -; H kill 1; E done",
    );
    response(
        // contract: response-8-1-1-4
        (8, 1.0, 1.0, 4),
        "start 8; H kill 1; E -; H kill 1; E -; H kill 1; E -; H kill 1; E -; H -; H -; H -; H done",
    );
}

#[test]
fn a_dead_new_task_is_replaced_and_earns_no_second_kill_too_early() {
    // contract: restart-dead-new, restart-one-for-one
    // Four old, four new, one good: one old is killed. The good one dies; its replacement gets good.
    let bounds = Bounds::new(4, strategy(1.0, 1.0), 4, 0, false);
    let mut rollout = Rollout::new(4, bounds, 4, 0);
    let good = |names: &[&str]| names.iter().map(|name| TaskId::new(name)).collect();
    let view = |kept, new_launched, names: &[&str]| View {
        old_launched: kept,
        old_kept: kept,
        new_launched,
        queued: 0,
        good: good(names),
    };
    assert_eq!(rollout.look(&view(4, 0, &[])).queue, 4);
    assert_eq!(rollout.look(&view(4, 4, &["a.1"])).kill, 1);
    assert_eq!(
        rollout.look(&view(3, 3, &[])),
        Moves {
            kill: 0,
            queue: 1,
            is_done: false
        }
    );
    assert_eq!(
        rollout.look(&view(3, 4, &["a.2"])).kill,
        0,
        "three old and one new are needed"
    );
    assert_eq!(rollout.look(&view(3, 4, &["a.2", "a.3"])).kill, 1);
}

#[test]
fn old_tasks_that_come_back_do_not_block() {
    // Five old ones at the start, at most six of all. Two that were lost come back when one new one is good.
    let bounds = Bounds::new(5, strategy(1.0, 0.1), 5, 0, false);
    let mut rollout = Rollout::new(5, bounds, 5, 0);
    let view = |old_launched, old_kept, new_launched: i64, n_good: i64| View {
        old_launched,
        old_kept,
        new_launched,
        queued: 0,
        good: (0..n_good)
            .map(|n| TaskId::new(&format!("a.{n}")))
            .collect(),
    };
    let mut look = |view: &View| {
        let Moves { kill, queue, .. } = rollout.look(view);
        (kill, queue)
    };
    assert_eq!(look(&view(5, 5, 0, 0)), (0, 1));
    assert_eq!(look(&view(5, 5, 1, 1)), (1, 0));
    assert_eq!(look(&view(6, 5, 1, 1)), (0, 0), "one is on its way out");
    // All that may be started is good, and there is no room for more: the surplus goes, one at a time.
    assert_eq!(look(&view(6, 6, 1, 1)), (1, 0));
    assert_eq!(look(&view(6, 5, 1, 1)), (0, 0));
    assert_eq!(look(&view(5, 5, 1, 1)), (1, 0));
    assert_eq!(look(&view(4, 4, 1, 1)), (0, 1));
}
