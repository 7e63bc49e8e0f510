//! How many answers a network gets over UDP, so that a forged source address is of little use.
//!
//! A query over UDP may carry anybody's address, and its answer is larger than itself. So each network, a /24 of IPv4 or a /56 of
//! IPv6, has a bucket of tokens, one for each answer:
//!
//! ```text
//!   a token is left   ─▶ Answer
//!   none is left      ─▶ Truncate, Drop, Truncate, Drop, …
//! ```
//!
//! A truncated answer is no larger than its query. A client that is really there asks again over TCP, whose addresses cannot be
//! forged and which is not limited; nor is the machine itself.
//!
//! A bucket is one number: the time at which it would be full again. There is a fixed number of them, and networks that meet in one
//! share it. Which ones do is drawn anew by each process, so that nobody can choose whom to spoil it for.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// 32 KiB; two busy networks seldom meet.
const BUCKETS: u64 = 4096;
/// The time one answer costs, in microseconds: 1,000 answers a second, far more than the hosts of a network ask for who keep
/// answers for their TTL.
const COST: u64 = 1_000;
/// The time all tokens of a bucket are worth: 2,000 answers at once, for clients that all start in the same second.
const DEPTH: u64 = 2_000 * COST;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Answer,
    /// A truncated one without records is sent in its place.
    Truncate,
    /// Nothing is sent.
    Drop,
}

/// All buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Of each bucket when it will be full, in microseconds since `start`, and as the lowest bit whether the next answer above the
    /// rate is dropped.
    buckets: Box<[AtomicU64]>,
    seed: u64,
    start: Instant,
}

impl Limiter {
    /// Full buckets. The seed is best drawn.
    pub(crate) fn new(seed: u64, start: Instant) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            seed,
            start,
        }
    }

    /// Takes a token of the client's network, if there is one. For UDP only.
    pub(crate) fn judge(&self, client: IpAddr, now: Instant) -> Verdict {
        let Some(network) = network(client) else {
            return Verdict::Answer;
        };
        let now = now.saturating_duration_since(self.start).as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX >> 2);
        let bucket = &self.buckets[self.slot(network)];
        let mut before = bucket.load(Relaxed);
        loop {
            let (after, verdict) = take(before, now);
            match bucket.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return verdict,
                Err(other) => before = other,
            }
        }
    }

    /// The bucket of a network: the last step of splitmix64 spreads numbers that differ by little.
    fn slot(&self, network: u64) -> usize {
        let mut hash = network ^ self.seed;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        usize::try_from(hash % BUCKETS).expect("a small number")
    }
}

/// A bucket after an answer is asked of it, and what becomes of the answer.
fn take(bucket: u64, now: u64) -> (u64, Verdict) {
    let (full_at, drops_next) = (bucket >> 1, bucket & 1 == 1);
    let full_at_then = full_at.max(now) + COST;
    if full_at_then - now <= DEPTH {
        return (full_at_then << 1, Verdict::Answer);
    }
    let verdict = match drops_next {
        true => Verdict::Drop,
        false => Verdict::Truncate,
    };
    (bucket ^ 1, verdict)
}

/// The number of a client's network; none for the machine itself.
fn network(client: IpAddr) -> Option<u64> {
    match client.to_canonical() {
        client if client.is_loopback() => None,
        IpAddr::V4(client) => Some(u64::from(client.to_bits() >> 8)),
        // The last bit keeps it apart from those above.
        IpAddr::V6(client) => {
            let high = u64::try_from(client.to_bits() >> 64).expect("64 bits");
            Some(high >> 8 | 1 << 63)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Asks `n` times at once and returns how many were answered, truncated and dropped.
    fn ask(limiter: &Limiter, client: &str, at: Instant, n: usize) -> [usize; 3] {
        let client = client.parse().expect("an address");
        let mut counts = [0; 3];
        for _ in 0..n {
            counts[limiter.judge(client, at) as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_network_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let limiter = Limiter::new(7, start);
        assert_eq!(ask(&limiter, "192.0.2.1", start, 2000), [2000, 0, 0]);
        assert_eq!(ask(&limiter, "192.0.2.1", start, 5), [0, 3, 2]);
        // All hosts of the network together, however the address is written; others are not concerned.
        assert_eq!(ask(&limiter, "192.0.2.200", start, 1), [0, 0, 1]);
        assert_eq!(ask(&limiter, "::ffff:192.0.2.3", start, 1), [0, 1, 0]);
        assert_eq!(ask(&limiter, "192.0.3.1", start, 1), [1, 0, 0]);

        let later = start + Duration::from_millis(100);
        assert_eq!(ask(&limiter, "192.0.2.1", later, 110), [100, 5, 5]);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(
            ask(&limiter, "192.0.2.1", much_later, 2002),
            [2000, 1, 1],
            "tokens are not saved up"
        );
        // A clock that another thread has read a little earlier.
        assert_eq!(ask(&limiter, "192.0.2.1", start, 2), [0, 1, 1]);
    }

    #[test]
    fn networks_of_ipv6_are_wider() {
        let start = Instant::now();
        let limiter = Limiter::new(7, start);
        assert_eq!(ask(&limiter, "2001:db8:0:1::1", start, 2001), [2000, 1, 0]);
        assert_eq!(ask(&limiter, "2001:db8:0:ff::9", start, 1), [0, 0, 1]);
        assert_eq!(ask(&limiter, "2001:db8:0:100::1", start, 1), [1, 0, 0]);
    }

    #[test]
    fn the_machine_itself_is_not_limited() {
        let start = Instant::now();
        let limiter = Limiter::new(7, start);
        for client in ["127.0.0.1", "127.9.0.11", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(&limiter, client, start, 5000), [5000, 0, 0], "{client}");
        }
    }

    proptest! {
        #[test]
        fn no_network_gets_more_than_its_share(
            seed in any::<u64>(),
            client in any::<[u8; 4]>(),
            pauses in prop::collection::vec(0..3000_u64, 1..6000),
        ) {
            let start = Instant::now();
            let limiter = Limiter::new(seed, start);
            let client = IpAddr::from(client);
            prop_assume!(!client.is_loopback());
            let (mut micros, mut n_answered) = (0, 0);
            for pause in pauses {
                micros += pause;
                let at = start + Duration::from_micros(micros);
                let is_answered = limiter.judge(client, at) == Verdict::Answer;
                n_answered += u64::from(is_answered);
                prop_assert!(n_answered <= 2000 + micros / 1000);
                // Whoever has waited for as long as an answer costs, gets one.
                prop_assert!(is_answered || pause < 1000);
            }
        }
    }
}
