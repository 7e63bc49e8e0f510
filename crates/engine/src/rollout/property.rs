//! The arithmetic against the contract's rules, followed one by one as an actor would.

use std::collections::BTreeSet;

use proptest::prelude::*;
use zddcluster_model::TaskId;
use zddcluster_model::app::UpgradeStrategy;

use super::{Bounds, Rollout, View};

/// Contract §3.3, rules 1, 2, 4 and 6, for a restart in which nothing breaks.
struct Actor {
    n: i64,
    max: i64,
    kept: i64,
    dying: i64,
    started: i64,
    good: i64,
}

/// What an actor does at one moment: kills, starts, and whether it is done.
type Did = (i64, i64, bool);

impl Actor {
    fn begin(n: u32, min: f64, over: f64, old: i64, is_resident: bool) -> (Self, Did) {
        let instances = f64::from(n);
        // The smallest count that is not below the product, and the largest that is not above.
        let min = (0..)
            .find(|count| f64::from(*count) >= instances * min)
            .expect("counts have no end");
        let most = instances * (1.0 + over);
        let mut max = (0..=2 * n)
            .rev()
            .find(|count| f64::from(*count) <= most)
            .expect("0 is below");
        let (min, launched) = (i64::from(min), old);
        let mut kill = (launched - min).max(0);
        if min == i64::from(max) && i64::from(max) <= launched {
            if is_resident {
                kill = launched - min + 1;
            } else {
                max += 1;
            }
        }
        let mut actor = Self {
            n: i64::from(n),
            max: i64::from(max),
            kept: old - kill,
            dying: kill,
            started: 0,
            good: 0,
        };
        let started = actor.start();
        let did = (kill, started, actor.is_done());
        (actor, did)
    }

    fn start(&mut self) -> i64 {
        let old = self.kept + self.dying;
        let room = (self.max - old - self.started).max(0);
        let started = room.min(self.n - self.started);
        self.started += started;
        started
    }

    fn old_ended(&mut self) -> Did {
        self.dying -= 1;
        let started = self.start();
        (0, started, self.is_done())
    }

    fn new_is_good(&mut self) -> Did {
        self.good += 1;
        let kill = self.kept.min(1);
        self.kept -= kill;
        self.dying += kill;
        (kill, 0, self.is_done())
    }

    const fn is_done(&self) -> bool {
        self.good == self.n && self.kept + self.dying == 0
    }
}

/// The engine's rollout, fed with what the actor sees.
struct Fed {
    rollout: Rollout,
    launched: i64,
    good: BTreeSet<TaskId>,
}

impl Fed {
    fn look(&mut self, kept: i64, dying: i64) -> Did {
        let moves = self.rollout.look(&View {
            old_launched: kept + dying,
            old_kept: kept,
            new_launched: self.launched,
            queued: 0,
            good: self.good.clone(),
        });
        self.launched += moves.queue;
        (moves.kill, moves.queue, moves.is_done)
    }
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(1.0),
        (0..=100_u32).prop_map(|n| f64::from(n) / 100.0),
        0.0..=1.0_f64,
    ]
}

proptest! {
    /// Whatever ends or gets good in whatever order, both do the same, and both get to the end.
    #[test]
    fn the_rollout_does_what_the_rules_say(
        n in 1..60_u32,
        min in share(),
        over in share(),
        old in 0..90_usize,
        is_resident in any::<bool>(),
        order in proptest::collection::vec(any::<bool>(), 160),
    ) {
        let over = if is_resident { 0.0 } else { over };
        let strategy = UpgradeStrategy {
            minimum_health_capacity: min,
            maximum_over_capacity: over,
        };
        let bounds = Bounds::new(n, strategy, old, 0, is_resident);
        let mut fed = Fed {
            rollout: Rollout::new(n, bounds, old, 0),
            launched: 0,
            good: BTreeSet::new(),
        };
        let (mut actor, expected) = Actor::begin(n, min, over, old as i64, is_resident);
        prop_assert_eq!(bounds.max_capacity, actor.max);
        let (kill, started, is_done) = fed.look(old as i64 - bounds.kill_now, bounds.kill_now);
        prop_assert_eq!((bounds.kill_now + kill, started, is_done), expected);
        let mut order = order.into_iter().chain(std::iter::repeat(false));
        let mut is_done = false;
        for moment in 0.. {
            prop_assert!(moment <= 3 * 160, "it goes on for ever");
            if is_done {
                break;
            }
            let may_end = actor.dying > 0;
            let may_get_good = actor.good < actor.started;
            prop_assert!(may_end || may_get_good, "nothing can happen any more");
            let ends = may_end && (!may_get_good || order.next() == Some(true));
            let (kept, dying) = (actor.kept, actor.dying);
            let (expected, got) = if ends {
                let expected = actor.old_ended();
                (expected, fed.look(kept, dying - 1))
            } else {
                let expected = actor.new_is_good();
                fed.good.insert(TaskId::new(&format!("t.{}", actor.good)));
                (expected, fed.look(kept, dying))
            };
            prop_assert_eq!(got, expected);
            let launched = actor.kept + actor.dying + actor.started;
            prop_assert!(launched <= actor.max.max(old as i64), "{} launched", launched);
            is_done = got.2;
        }
    }
}
