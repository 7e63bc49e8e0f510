//! How a container ended, from what the engine says of it.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use zddcluster_model::Timestamp;

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

/// The boot of the machine in which this process runs, as far as the system tells.
struct Boot {
    id: String,
    began: Option<Timestamp>,
}

impl Boot {
    fn now() -> Option<Self> {
        Some(Self {
            id: procfs::boot_id().ok()?,
            began: procfs::booted_at().ok(),
        })
    }
}

/// How a container ended; `None` while it runs.
pub(super) fn exit_of(order: &Order, container: &ContainerInspectResponse) -> Option<Exit> {
    exit_in(Boot::now, order, container)
}

fn exit_in(
    boot: impl Fn() -> Option<Boot>,
    order: &Order,
    container: &ContainerInspectResponse,
) -> Option<Exit> {
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
            if ended_with_the_machine(boot(), order, state) =>
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
fn ended_with_the_machine(
    boot: Option<Boot>,
    order: &Order,
    state: Option<&ContainerState>,
) -> bool {
    let (Some(ordered_in), Some(Boot { id, began })) = (&order.boot_id, boot) else {
        return false;
    };
    if *ordered_in == id {
        return false;
    }
    let finished_at = state.and_then(|state| state.finished_at.as_deref());
    match (finished_at, began) {
        // Dates as the engine writes them: to the second, texts compare.
        (Some(at), Some(began)) if !at.starts_with("0001-") => {
            at.get(..SECOND) >= began.to_string().get(..SECOND)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn order(boot: Option<&str>) -> Order {
        let order = serde_json::json!({
            "launch": {
                "taskId": "a.1",
                "appId": "/a",
                "appVersion": "2026-11-24T00:00:00.000Z",
                "frameworkId": "M-0000",
                "agentId": "M-S1",
                "containerId": "1",
                "env": {},
                "cpus": 0.1,
                "mem": 32.0,
                "disk": 0.0,
                "ports": [],
                "fetch": [],
                "graceMillis": 3000
            },
            "sandbox": "/sandbox",
            "taskDir": "/task",
            "containerName": "mesos-M-S1.1",
            "ip": "127.0.0.1",
            "bootId": boot
        });
        serde_json::from_value(order).unwrap()
    }

    #[test]
    fn what_ended_before_the_reboot_keeps_its_status() {
        let check = |ordered_in: Option<&str>, finished_at: &str, expected: Exit| {
            let container = serde_json::json!({
                "State": {"Status": "exited", "ExitCode": 3, "FinishedAt": finished_at}
            });
            let container = serde_json::from_value(container).unwrap();
            // 2026-11-24T22:20:23Z
            let boot = || {
                Some(Boot {
                    id: "second".to_owned(),
                    began: Some(Timestamp::from_millis(1_795_558_823_000)),
                })
            };
            assert_eq!(
                exit_in(boot, &order(ordered_in), &container),
                Some(expected),
                "{ordered_in:?} {finished_at}"
            );
        };
        let exited = || Exit::Exited { status: 3 };
        check(Some("first"), "2026-11-24T22:20:22.999999999Z", exited());
        // The engine dates the end of what went down with the machine to its own next start.
        check(Some("first"), "2026-11-24T22:20:31.5Z", Exit::Rebooted);
        check(Some("first"), "0001-01-01T00:00:00Z", Exit::Rebooted);
        check(Some("second"), "2026-11-24T22:20:31.5Z", exited());
        check(None, "2026-11-24T22:20:31.5Z", exited());
    }
}
