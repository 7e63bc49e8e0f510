//! A state kept up to date by the master's events.
//!
//! The stream is opened before the state is read, so that nothing is missed; events told before the reading then come
//! in late. Each is therefore applied so that one that is already contained changes nothing.

use zddcluster_client::mesos::{Event, State, Status, Task};

/// States a task does not leave: the master forgets it soon after.
const TERMINAL: [&str; 8] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
];

/// What an event has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing that records are made of.
    Unchanged,
    /// The records have to be made anew.
    Changed,
    /// It tells of something that is not known here: the state has to be read again.
    ReadAgain,
}

/// Applies an event.
pub(crate) fn apply(state: &mut State, event: Event) -> Applied {
    match event {
        Event::TaskAdded { framework_id, task } => add_task(state, &framework_id, *task),
        Event::TaskUpdated {
            framework_id,
            task_id,
            status,
            state: task_state,
        } => update_task(state, &framework_id, &task_id, *status, task_state),
        Event::AgentAdded(agent) => {
            match state.agents.iter_mut().find(|known| known.id == agent.id) {
                Some(known) if *known == agent => return Applied::Unchanged,
                // What the state said is more than an event without a pid.
                Some(_) if agent.pid.is_none() => return Applied::Unchanged,
                Some(known) => *known = agent,
                None if agent.pid.is_none() => return Applied::ReadAgain,
                None => state.agents.push(agent),
            }
            Applied::Changed
        }
        Event::AgentRemoved { agent_id } => {
            let n_known = state.agents.len();
            state.agents.retain(|agent| agent.id != agent_id);
            changed_if(state.agents.len() < n_known)
        }
        Event::FrameworksChanged => Applied::ReadAgain,
        Event::Subscribed { .. } | Event::Heartbeat | Event::Other => Applied::Unchanged,
    }
}

fn add_task(state: &mut State, framework_id: &str, task: Task) -> Applied {
    let Some(framework) = state.frameworks.iter_mut().find(|f| f.id == framework_id) else {
        return Applied::ReadAgain;
    };
    // One that is known was in the state read after it was launched, which says more.
    if framework.tasks.iter().any(|known| known.id == task.id) {
        return Applied::Unchanged;
    }
    framework.tasks.push(task);
    Applied::Changed
}

fn update_task(
    state: &mut State,
    framework_id: &str,
    task_id: &str,
    status: Status,
    task_state: String,
) -> Applied {
    let is_over = TERMINAL.contains(&task_state.as_str());
    let Some(framework) = state.frameworks.iter_mut().find(|f| f.id == framework_id) else {
        return if is_over {
            Applied::Unchanged
        } else {
            Applied::ReadAgain
        };
    };
    let Some(at) = framework.tasks.iter().position(|task| task.id == task_id) else {
        return if is_over {
            Applied::Unchanged
        } else {
            Applied::ReadAgain
        };
    };
    if is_over {
        framework.tasks.remove(at);
        return Applied::Changed;
    }
    let task = &mut framework.tasks[at];
    if task
        .statuses
        .iter()
        .any(|known| known.timestamp > status.timestamp)
        && status.timestamp > 0.0
    {
        return Applied::Unchanged;
    }
    // Of each state only the latest report is of use; a health check's reports would pile up otherwise.
    let known = task
        .statuses
        .iter()
        .position(|known| known.state == status.state);
    let same_addresses = known.is_some_and(|at| {
        task.statuses[at].networks == status.networks && task.statuses[at].labels == status.labels
    });
    let same_state = task.state == task_state;
    task.state = task_state;
    task.statuses.retain(|known| known.state != status.state);
    task.statuses.push(status);
    changed_if(!(same_addresses && same_state))
}

fn changed_if(is_changed: bool) -> Applied {
    if is_changed {
        Applied::Changed
    } else {
        Applied::Unchanged
    }
}

#[cfg(test)]
mod tests {
    use zddcluster_client::mesos::{Agent, Framework};

    use super::*;

    fn state() -> State {
        State {
            leader: "master@127.0.0.1:5050".to_owned(),
            agents: vec![agent("S1", Some("slave(1)@127.0.0.11:5051"))],
            frameworks: vec![Framework {
                id: "f".to_owned(),
                name: "marathon".to_owned(),
                tasks: vec![Task {
                    id: "t".to_owned(),
                    state: "TASK_STAGING".to_owned(),
                    ..Task::default()
                }],
                ..Framework::default()
            }],
        }
    }

    fn agent(id: &str, pid: Option<&str>) -> Agent {
        Agent {
            id: id.to_owned(),
            pid: pid.map(str::to_owned),
        }
    }

    fn added(framework_id: &str, id: &str) -> Event {
        Event::TaskAdded {
            framework_id: framework_id.to_owned(),
            task: Box::new(Task {
                id: id.to_owned(),
                state: "TASK_STAGING".to_owned(),
                ..Task::default()
            }),
        }
    }

    fn updated(id: &str, to: &str, timestamp: f64) -> Event {
        Event::TaskUpdated {
            framework_id: "f".to_owned(),
            task_id: id.to_owned(),
            status: Box::new(Status {
                state: to.to_owned(),
                timestamp,
                ..Status::default()
            }),
            state: to.to_owned(),
        }
    }

    /// Applies events and returns what the last one did, with all tasks and their states.
    fn after(events: impl IntoIterator<Item = Event>) -> (Applied, String) {
        let mut state = state();
        let mut last = Applied::Unchanged;
        for event in events {
            last = apply(&mut state, event);
        }
        let tasks = state.frameworks[0].tasks.iter();
        let tasks: Vec<String> = tasks.map(|t| format!("{} {}", t.id, t.state)).collect();
        (last, tasks.join(", "))
    }

    #[test]
    fn tasks_come_run_and_go() {
        let staging = "t TASK_STAGING".to_owned();
        assert_eq!(
            after([added("f", "u")]),
            (
                Applied::Changed,
                "t TASK_STAGING, u TASK_STAGING".to_owned()
            )
        );
        assert_eq!(
            after([added("g", "u")]),
            (Applied::ReadAgain, staging.clone())
        );
        assert_eq!(
            after([updated("u", "TASK_RUNNING", 1.0)]),
            (Applied::ReadAgain, staging.clone())
        );
        assert_eq!(
            after([updated("u", "TASK_KILLED", 1.0)]),
            (Applied::Unchanged, staging)
        );
        assert_eq!(
            after([updated("t", "TASK_KILLED", 1.0)]),
            (Applied::Changed, String::new())
        );
        let running = || updated("t", "TASK_RUNNING", 2.0);
        let is_running = |applied| (applied, "t TASK_RUNNING".to_owned());
        assert_eq!(after([running()]), is_running(Applied::Changed));
        assert_eq!(
            after([running(), updated("t", "TASK_RUNNING", 3.0)]),
            is_running(Applied::Unchanged)
        );
        assert_eq!(
            after([running(), updated("t", "TASK_STARTING", 1.0)]),
            is_running(Applied::Unchanged)
        );
        assert_eq!(
            after([running(), added("f", "t")]),
            is_running(Applied::Unchanged)
        );
    }

    #[test]
    fn agents_come_and_go() {
        let mut state = state();
        let gone = || Event::AgentRemoved {
            agent_id: "S2".to_owned(),
        };
        let come = |pid| Event::AgentAdded(agent("S2", pid));
        assert_eq!(apply(&mut state, gone()), Applied::Unchanged);
        assert_eq!(apply(&mut state, come(None)), Applied::ReadAgain);
        assert_eq!(
            apply(&mut state, come(Some("slave(1)@127.0.0.12:5051"))),
            Applied::Changed
        );
        assert_eq!(apply(&mut state, come(None)), Applied::Unchanged);
        assert_eq!(
            apply(&mut state, come(Some("slave(1)@127.0.0.12:5051"))),
            Applied::Unchanged
        );
        assert_eq!(apply(&mut state, gone()), Applied::Changed);
        assert_eq!(state.agents.len(), 1);
    }
}
