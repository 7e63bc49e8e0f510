//! Programs that take this process' place: a command in a task.

use zddcluster_agent::Enter;
use zddcluster_cli::TaskCommand;
use zddcluster_model::TaskId;

/// Runs a command in a task; returns only if it cannot.
pub(crate) fn enter_task(command: &TaskCommand) -> Box<dyn std::error::Error> {
    let TaskCommand {
        work_dir,
        task_id,
        argv,
        interactive,
        tty,
    } = command;
    let enter = Enter {
        argv: argv.clone(),
        interactive: *interactive,
        tty: *tty,
    };
    zddcluster_agent::enter(work_dir, &TaskId::new(task_id), &enter).into()
}
