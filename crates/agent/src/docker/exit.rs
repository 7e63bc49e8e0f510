//! How a container ended, from what the engine says of it.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};

use super::watcher::Watch;
use crate::containerizer::{Exit, Order};
use crate::executor::cgroup::Limits;
use crate::executor::procfs;

/// The status of a process that was ended by SIGKILL, as the out-of-memory killer does.
const KILLED_STATUS: i64 = 137;

/// The length of a date with its time, to the second: `2026-11-24T22:20:23`.
const SECOND: usize = 19;

/// Created and never started.
pub(super) fn is_untouched(container: &ContainerInspectResponse) -> bool {
    status_of(container.state.as_ref()) == Some(ContainerStateStatusEnum::CREATED)
}

fn status_of(state: Option<&ContainerState>) -> Option<ContainerStateStatusEnum> {
    state.and_then(|state| state.status)
}

/// How a container ended; `None` while it runs.
pub(super) fn exit_of(order: &Order, container: &ContainerInspectResponse) -> Option<Exit> {
    use ContainerStateStatusEnum as Status;
    let state = container.state.as_ref();
    match status_of(state) {
        Some(
            Status::RUNNING
            | Status::PAUSED
            | Status::RESTARTING
            | Status::STOPPING
            | Status::EMPTY,
        )
        | None => None,
        Some(Status::CREATED) => Some(Exit::Unknown {
            message: "the agent died while it started the container".to_owned(),
        }),
        Some(Status::EXITED | Status::DEAD | Status::REMOVING)
            if ended_with_the_machine(order, state) =>
        {
            Some(Exit::Rebooted)
        }
        Some(Status::EXITED | Status::DEAD | Status::REMOVING) => {
            let status = state
                .and_then(|state| state.exit_code)
                .unwrap_or(KILLED_STATUS);
            let was_out_of_memory = state.and_then(|state| state.oom_killed) == Some(true);
            // A child may have been killed before, and the task have gone on.
            if was_out_of_memory && status == KILLED_STATUS {
                let limit = Limits::new(order.launch.cpus, order.launch.mem).memory;
                // The engine does not say how much; the kernel kills at the limit.
                return Some(Exit::MemoryLimit { limit, used: limit });
            }
            Some(exited(status))
        }
    }
}

/// Whether it ran when the machine went down. The engine then dates its end to its own next start.
fn ended_with_the_machine(order: &Order, state: Option<&ContainerState>) -> bool {
    let (Some(ordered_in), Ok(now)) = (&order.boot_id, procfs::boot_id()) else {
        return false;
    };
    if *ordered_in == now {
        return false;
    }
    let finished_at = state.and_then(|state| state.finished_at.as_deref());
    match (finished_at, procfs::booted_at()) {
        // Dates as the engine writes them: to the second, texts compare.
        (Some(at), Ok(booted_at)) if !at.starts_with("0001-") => {
            at.get(..SECOND) >= booted_at.to_string().get(..SECOND)
        }
        _ => true,
    }
}

fn exited(status: i64) -> Exit {
    Exit::Exited {
        status: i32::try_from(status).unwrap_or(i32::MAX),
    }
}

/// A container that nobody but the agent should take away, and that is gone.
pub(super) fn removed(watch: &Watch<'_>) -> Exit {
    match watch.status() {
        Some(status) => exited(status),
        None => Exit::Unknown {
            message: "Container was removed by somebody else; its exit status is unknown"
                .to_owned(),
        },
    }
}
