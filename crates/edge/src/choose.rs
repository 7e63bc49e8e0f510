//! Whose turn it is: round robin in strict order, or smooth weighted round robin.
//!
//! One [`Rotation`] belongs to a backend and is shared by all connections and worker threads, so that the shares are exact
//! over all of them, not only for each. With equal weights the turn goes round in server order; with
//! different ones nginx' smooth algorithm spreads the turns (5:1:1 gives `a a b a c a a`).
//!
//! Source: contract marathon-lb §2.4 (balance); nginx `ngx_http_upstream_get_peer`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A turn that goes round.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    next: AtomicUsize,
    /// The current weight of each server, only used while weights differ.
    smooth: Mutex<Vec<i64>>,
}

impl Rotation {
    /// Returns the position of the server whose turn it is among those that `usable` accepts, or `None` if it accepts none.
    /// `weights` holds one weight a server; weight 0 takes no turns.
    pub(crate) fn pick(&self, weights: &[u32], usable: impl Fn(usize) -> bool) -> Option<usize> {
        let first = weights.first()?;
        if weights.iter().all(|weight| weight == first) {
            (*first > 0).then(|| self.pick_equal(weights.len(), usable))?
        } else {
            let mut current = self.smooth.lock().unwrap_or_else(PoisonError::into_inner);
            pick_smooth(&mut current, weights, usable)
        }
    }

    /// The usable server with the least `load` for its weight; among equals the turn goes round.
    pub(crate) fn pick_least(
        &self,
        weights: &[u32],
        load: impl Fn(usize) -> u64,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let n = weights.len();
        // a/b < c/d without fractions.
        let share = |at: usize| (u128::from(load(at)), u128::from(weights[at]));
        self.advance(n, |start| {
            let candidates = (0..n)
                .map(|step| (start + step) % n)
                .filter(|at| weights[*at] > 0 && usable(*at));
            candidates
                .map(|at| (at, share(at)))
                .reduce(|best, next| {
                    let ((_, (load, weight)), (_, (least, of))) = (next, best);
                    if load * of < least * weight {
                        next
                    } else {
                        best
                    }
                })
                .map(|(at, _)| at)
        })
    }

    /// The turn among `n` equals, of whom those that are not usable are passed over: the others still have equally many.
    pub(crate) fn pick_equal(&self, n: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        self.advance(n, |start| {
            (0..n).map(|step| (start + step) % n).find(|&at| usable(at))
        })
    }

    /// Lets `choose` pick one of `n`, told where to begin, and has the next turn begin behind it. So nobody inherits the turns of
    /// those who are passed over.
    fn advance(&self, n: usize, choose: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let at = choose(next.checked_rem(n)?)?;
            let turn =
                self.next
                    .compare_exchange_weak(next, at + 1, Ordering::Relaxed, Ordering::Relaxed);
            match turn {
                Ok(_) => return Some(at),
                Err(newer) => next = newer,
            }
        }
    }
}

/// A number that a client's address always has.
pub(crate) fn hash_of(client: IpAddr) -> u64 {
    // FNV-1a: short inputs, no secrets.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    match client {
        IpAddr::V4(ip) => ip.octets().iter().fold(0xcbf2_9ce4_8422_2325, step),
        IpAddr::V6(ip) => ip.octets().iter().fold(0xcbf2_9ce4_8422_2325, step),
    }
}

/// The usable server that `hash` leads to: as many hashes lead to each as its weight says, and the same ones as long as
/// the usable servers stay the same.
pub(crate) fn pick_by_hash(
    weights: &[u32],
    hash: u64,
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let usable: Vec<usize> = (0..weights.len()).filter(|at| usable(*at)).collect();
    let total: u64 = usable.iter().map(|at| u64::from(weights[*at])).sum();
    let mut left = hash.checked_rem(total)?;
    usable.into_iter().find(|at| {
        let weight = u64::from(weights[*at]);
        let is_it = left < weight;
        left = left.saturating_sub(weight);
        is_it
    })
}

/// One step of smooth weighted round robin: everybody gains its weight, the richest has the turn and pays the total.
fn pick_smooth(
    current: &mut Vec<i64>,
    weights: &[u32],
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    if current.len() != weights.len() {
        *current = vec![0; weights.len()];
    }
    let mut total = 0;
    let mut best: Option<usize> = None;
    for (at, &weight) in weights.iter().enumerate() {
        if weight == 0 || !usable(at) {
            continue;
        }
        current[at] += i64::from(weight);
        total += i64::from(weight);
        if best.is_none_or(|best| current[at] > current[best]) {
            best = Some(at);
        }
    }
    let best = best?;
    current[best] -= total;
    Some(best)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn turns(weights: &[u32], n: usize) -> String {
        let rotation = Rotation::default();
        (0..n)
            .map(|_| {
                rotation
                    .pick(weights, |_| true)
                    .map_or('-', |at| char::from(b'a' + at as u8))
            })
            .collect()
    }

    #[test]
    fn equal_weights_go_round_in_order() {
        assert_eq!(turns(&[1, 1, 1], 7), "abcabca");
        assert_eq!(turns(&[7], 3), "aaa");
        assert_eq!(turns(&[], 2), "--");
        assert_eq!(turns(&[0, 0], 2), "--");
    }

    #[test]
    fn different_weights_are_spread() {
        assert_eq!(turns(&[5, 1, 1], 7), "aabacaa");
        assert_eq!(turns(&[80, 20], 10), "aabaaaabaa");
        assert_eq!(turns(&[0, 2], 3), "bbb");
    }

    #[test]
    fn the_unusable_are_passed_over_and_the_others_have_equal_shares() {
        let rotation = Rotation::default();
        let picked: Vec<_> = (0..4)
            .map(|_| rotation.pick(&[1, 1, 1], |at| at != 1))
            .collect();
        assert_eq!(picked, [Some(0), Some(2), Some(0), Some(2)]);
        // Half of them drain, side by side.
        let (rotation, mut counts) = (Rotation::default(), [0; 8]);
        for _ in 0..400 {
            counts[rotation.pick(&[1; 8], |at| at >= 4).unwrap()] += 1;
            counts[rotation.pick_least(&[1; 8], |_| 0, |at| at >= 4).unwrap()] += 1;
        }
        assert_eq!(counts, [0, 0, 0, 0, 200, 200, 200, 200]);
        // One that refuses costs the others nothing but its turns.
        let (rotation, mut counts) = (Rotation::default(), [0; 3]);
        for _ in 0..300 {
            let at = rotation.pick(&[1; 3], |_| true).unwrap();
            let at = if at == 1 {
                rotation.pick(&[1; 3], |at| at != 1).unwrap()
            } else {
                at
            };
            counts[at] += 1;
        }
        assert_eq!(counts, [150, 0, 150]);
        assert_eq!(rotation.pick(&[1, 2], |_| false), None);
    }

    #[test]
    fn the_least_loaded_has_the_turn() {
        let pick = |rotation: &Rotation, loads: [u64; 3], weights: &[u32]| {
            rotation.pick_least(weights, |at| loads[at], |at| at != 3)
        };
        let rotation = Rotation::default();
        assert_eq!(pick(&rotation, [2, 1, 2], &[1, 1, 1]), Some(1));
        assert_eq!(pick(&rotation, [2, 1, 0], &[1, 1, 0]), Some(1));
        assert_eq!(pick(&rotation, [2, 2, 9], &[4, 1, 1]), Some(0));
        let rotation = Rotation::default();
        let equal: Vec<_> = (0..4)
            .map(|_| pick(&rotation, [1, 1, 1], &[1, 1, 1]))
            .collect();
        assert_eq!(equal, [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(rotation.pick_least(&[], |_| 0, |_| true), None);
        assert_eq!(rotation.pick_least(&[1], |_| 0, |_| false), None);
    }

    #[test]
    fn a_hash_always_leads_to_the_same_server() {
        let count = |weights: &[u32], usable: fn(usize) -> bool| {
            let mut counts = [0; 3];
            for n in 0..=255u8 {
                let hash = hash_of(IpAddr::from([10, 0, 0, n]));
                let at = pick_by_hash(weights, hash, usable).unwrap();
                assert_eq!(pick_by_hash(weights, hash, usable), Some(at));
                counts[at] += 1;
            }
            counts
        };
        let counts = count(&[1, 1, 2], |_| true);
        assert!(
            counts[0] > 40 && counts[1] > 40 && counts[2] > 100,
            "{counts:?}"
        );
        assert_eq!(count(&[1, 1, 1], |at| at != 1)[1], 0);
        assert_eq!(pick_by_hash(&[0], 7, |_| true), None);
        assert_ne!(
            hash_of("::1".parse().unwrap()),
            hash_of("::2".parse().unwrap())
        );
    }

    #[test]
    fn shares_are_exact_over_threads() {
        for (weights, expected) in [(vec![1, 1], [4000, 4000]), (vec![3, 1], [6000, 2000])] {
            let rotation = Arc::new(Rotation::default());
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (rotation, weights) = (Arc::clone(&rotation), weights.clone());
                    std::thread::spawn(move || {
                        let mut counts = [0; 2];
                        for _ in 0..1000 {
                            counts[rotation.pick(&weights, |_| true).unwrap()] += 1;
                        }
                        counts
                    })
                })
                .collect();
            let mut counts = [0; 2];
            for thread in threads {
                let part = thread.join().unwrap();
                counts[0] += part[0];
                counts[1] += part[1];
            }
            assert_eq!(counts, expected);
        }
    }
}
