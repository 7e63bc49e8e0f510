//! The verbs for whoever sits at the machine: what is wrong with it, logs, commands in tasks, a shell, name resolution, pages.

use clap::Args;

use super::DataDirArgs;
use super::dcos::InTaskArgs;

/// The settings of `exec`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    #[command(flatten)]
    pub(crate) in_task: InTaskArgs,
}
