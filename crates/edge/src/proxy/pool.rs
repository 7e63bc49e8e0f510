//! Idle connections to one server, apart for each worker: a connection is driven by the runtime it was opened in.
//!
//! An idle one is watched by nobody: whether the server has closed it is seen when it is taken, and by the sweep.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::workers;

/// How long a connection may be idle: less than servers' usual keep-alive times (5 s and more).
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// Idle connections kept to a server by a worker; more are only needed by more requests at once, and those open their own.
const MAX_IDLE: usize = 64;
/// How often idle connections are looked through while there are some.
const SWEEP: Duration = Duration::from_secs(2);

/// Idle connections, each worker's apart and the last used on top.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shards: [Mutex<Shard>; workers::MAX],
}

/// One worker's. Aligned to a cache line, so that workers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    idle: Vec<(Instant, TcpStream)>,
    is_closed: bool,
}

impl Pool {
    /// Takes a connection of this worker that looks alive.
    pub(crate) fn take(&self) -> Option<TcpStream> {
        loop {
            let (since, stream) = self.shard().idle.pop()?;
            if since.elapsed() < IDLE_LIMIT && is_silent(&stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection whose exchange is over, `now`.
    pub(crate) fn put(&self, stream: TcpStream, now: Instant) {
        let mut shard = self.shard();
        if !shard.is_closed && shard.idle.len() < MAX_IDLE {
            shard.idle.push((now, stream));
        }
    }

    /// Closes the idle connections and keeps none from now on.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            let idle = {
                let mut shard = lock(shard);
                shard.is_closed = true;
                std::mem::take(&mut shard.idle)
            };
            drop(idle);
        }
    }

    /// Closes connections that have been idle for too long; how many are left.
    fn sweep(&self) -> usize {
        let sweep = |shard: &Mutex<Shard>| {
            let mut shard = lock(shard);
            let n_old = shard
                .idle
                .partition_point(|(since, _)| since.elapsed() >= IDLE_LIMIT);
            let old: Vec<_> = shard.idle.drain(..n_old).collect();
            let n_left = shard.idle.len();
            drop(shard);
            drop(old);
            n_left
        };
        self.shards.iter().map(sweep).sum()
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        lock(&self.shards[workers::index()])
    }
}

/// Wakes the sweep while there is something to sweep, so that an edge without traffic does nothing at all.
#[derive(Debug, Default)]
pub(crate) struct Broom {
    is_in_use: AtomicBool,
    needed: Notify,
}

impl Broom {
    /// There is an idle connection somewhere.
    pub(crate) fn is_needed(&self) {
        if !self.is_in_use.load(Relaxed) && !self.is_in_use.swap(true, Relaxed) {
            self.needed.notify_one();
        }
    }

    /// Sweeps the pools that `pools` visits for as long as they hold something, and then when it is needed again.
    pub(crate) async fn sweep(&self, pools: impl Fn(&mut dyn FnMut(&Pool))) {
        loop {
            self.needed.notified().await;
            let mut n_left = usize::MAX;
            while n_left > 0 {
                tokio::time::sleep(SWEEP).await;
                // Before the look: who comes after it asks for the next one.
                self.is_in_use.store(false, Relaxed);
                n_left = 0;
                pools(&mut |pool| n_left += pool.sweep());
                if n_left > 0 {
                    self.is_in_use.store(true, Relaxed);
                }
            }
        }
    }
}

/// Whether a connection has nothing to say. An idle server that speaks has ended, or is not to be trusted. The kernel is asked:
/// the runtime hears of what has come only when it has nothing else to do, or every now and then.
fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    // The socket does not block.
    let peeked = SockRef::from(stream).peek(&mut byte);
    peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Shutdown;

    use tokio::net::TcpListener;

    use super::*;

    /// A worker with much to do hears late of what has come: nobody else is to get it as the beginning of an answer.
    #[tokio::test]
    async fn a_connection_that_has_just_spoken_or_ended_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let speak: fn(&mut std::net::TcpStream) = |server| server.write_all(b"HTTP").unwrap();
        let end: fn(&mut std::net::TcpStream) = |server| server.shutdown(Shutdown::Both).unwrap();
        for (act, is_usable) in [(speak, false), (end, false), (|_| {}, true)] {
            let pool = Pool::default();
            let stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let mut server = server.into_std().unwrap();
            assert!(is_silent(&stream));
            pool.put(stream, Instant::now());
            // The runtime is not asked between this and that.
            act(&mut server);
            assert_eq!(pool.take().is_some(), is_usable);
        }
    }
}
