//! The rarer parts of `dcos marathon`: what waits, who leads, plugins, pods.

use std::ffi::OsString;

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DebugVerb {
    /// List the applications that wait for a place
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Count why offers were declined
    Summary {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The application's id
        app_id: String,
    },
    /// Say for each agent why its last offer was declined
    Details {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The application's id
        app_id: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LeaderVerb {
    /// Make the leader step down; another election follows
    Delete,
    /// Print who leads
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// List Marathon's plugins
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A command of a part that Marathon 1.3 or DC/OS 1.8 without Metronome has not: it is refused whatever it says.
#[derive(Clone, Debug, Args)]
pub(crate) struct AbsentArgs {
    /// Whatever the original takes
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS",
        hide = true
    )]
    pub(crate) args: Vec<OsString>,
}
