//! `dcos task exec` and `zddcluster exec`: a command in a task that runs.
//!
//! The original streams it through the agent; here the command is started where the task runs, which must be this machine. The
//! agent's books say how; who may read them is who runs the cluster. The command takes this process' place.
//!
//! `dcos` refuses tasks in Docker containers in the original's words, which enters containers of Mesos alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Context;
use super::task::State;
use crate::args::InTaskArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::sandbox::AgentState;
use crate::text;
use crate::verbs::Hooks;

/// A command to be run in a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCommand {
    /// The work directory of the task's agent.
    pub work_dir: PathBuf,
    /// The task.
    pub task_id: String,
    /// The command and its arguments.
    pub argv: Vec<OsString>,
    /// It reads our stdin; else it has none.
    pub interactive: bool,
    /// It gets our terminal.
    pub tty: bool,
}

pub(super) async fn run(args: InTaskArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let state = State::read(&context.front).await?;
    let found = state.one(&args.task)?;
    if found.container_type().is_some_and(|kind| kind != "MESOS") {
        return Err(Failure::with_hint(
            "This command is only supported for tasks launched by the Universal Container Runtime (UCR).",
            format!("zddcluster exec {} enters this one", found.id()),
        ));
    }
    let (task_id, agent_id) = (found.id().to_owned(), found.agent_id().to_owned());
    enter(&task_id, &agent_id, args, &context.front, context.hooks).await
}

/// Runs a command in the one task that matches, whatever it runs in.
pub(crate) async fn exec(
    args: InTaskArgs,
    front: &Front,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let state = State::read(front).await?;
    let found = state.one(&args.task)?;
    let (task_id, agent_id) = (found.id().to_owned(), found.agent_id().to_owned());
    enter(&task_id, &agent_id, args, front, hooks).await
}

async fn enter(
    task_id: &str,
    agent_id: &str,
    args: InTaskArgs,
    front: &Front,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let InTaskArgs {
        interactive,
        tty,
        task: _,
        command,
    } = args;
    if tty && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Failure::with_hint(
            "the input is no terminal",
            "leave --tty out",
        ));
    }
    let agent = AgentState::read(agent_id, front).await?;
    let sandbox = agent.sandbox_of(task_id).unwrap_or_default();
    let work_dir = work_dir_of(Path::new(sandbox))
        .filter(|work_dir| work_dir.is_dir())
        .ok_or_else(|| {
            Failure::with_hint(
                format!("task {task_id} does not run on this machine, or not of this user"),
                format!("its agent is {agent_id}: `dcos node` tells where that is"),
            )
        })?;
    let command = TaskCommand {
        work_dir: work_dir.to_owned(),
        task_id: task_id.to_owned(),
        argv: command,
        interactive,
        tty,
    };
    let error = (hooks.enter)(&command);
    Err(Failure::stated(text::chain(&*error)))
}

/// The agent's directory: a sandbox is `<work dir>/slaves/…`.
fn work_dir_of(sandbox: &Path) -> Option<&Path> {
    // The first one counts: an app may be called `slaves`, and whatever is above the work directory may be, too.
    let mut above = sandbox.ancestors().filter(|path| path.ends_with("slaves"));
    // <work>/slaves/<agent>/frameworks/<fw>/executors/<task>/runs/<container>
    let slaves = above.find(|path| {
        sandbox
            .strip_prefix(path)
            .is_ok_and(|below| below.components().count() == 7)
    })?;
    slaves.parent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_tells_its_agents_directory() {
        let check = |sandbox: &str| work_dir_of(Path::new(sandbox)).map(Path::to_owned);
        assert_eq!(
            check("/d/slaves/agent-11/slaves/M-S0/frameworks/M-0000/executors/slaves.1/runs/c"),
            Some("/d/slaves/agent-11".into())
        );
        assert_eq!(check("/box"), None);
        assert_eq!(check(""), None);
    }
}
