//! Containers whose agent is gone, for short commands without a runtime. Blocking.
//!
//! The claim in a task's books names the engine's socket, so that nothing else need be known.

use std::io;
use std::sync::Arc;

use super::CLAIM;
use super::engine::Engine;
use super::exit::{exit_of, is_untouched};
use super::logs::Follower;
use crate::containerizer::{KillSignal, Order};

/// The engine of a task that was given to one.
fn engine_of(order: &Order) -> io::Result<Option<Engine>> {
    match std::fs::read_to_string(order.task_dir.join(CLAIM)) {
        Ok(socket) => Ok(Some(Engine::new(socket))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an order was given to an engine.
pub(crate) fn is_container(order: &Order) -> bool {
    order.task_dir.join(CLAIM).exists()
}

/// Whether its container runs now. `Err` if the engine cannot tell.
pub(crate) fn is_running(order: &Order) -> io::Result<bool> {
    let Some(engine) = engine_of(order)? else {
        return Ok(false);
    };
    on_a_runtime(async {
        match engine.inspect(&order.container_name).await {
            Ok(container) => Ok(exit_of(order, &container).is_none()),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(io::Error::other(error)),
        }
    })
}

/// Signals its container; one that is gone is fine.
pub(crate) fn signal(order: &Order, signal: KillSignal) -> io::Result<()> {
    let Some(engine) = engine_of(order)? else {
        return Ok(());
    };
    on_a_runtime(async {
        match super::signal_container(&engine, order, signal).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other.map_err(io::Error::other),
        }
    })
}

/// Takes down what an ended container still has to say, and takes it away.
pub(crate) fn finish(order: &Order) -> io::Result<()> {
    let Some(engine) = engine_of(order)? else {
        return Ok(());
    };
    let engine = Arc::new(engine);
    on_a_runtime(async {
        match engine.inspect(&order.container_name).await {
            Ok(container) if !is_untouched(&container) => {
                if let Ok(follower) = Follower::resume(Arc::clone(&engine), order).await {
                    follower.drain().await;
                }
                if let Some(exit) = exit_of(order, &container) {
                    order.record_exit(&exit)?;
                }
            }
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
        engine
            .remove(&order.container_name)
            .await
            .map_err(io::Error::other)
    })
}

/// On a thread of its own, since the caller may be part of a runtime.
fn on_a_runtime<T: Send>(work: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(work)
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("asking the Docker engine was interrupted")))
    })
}
