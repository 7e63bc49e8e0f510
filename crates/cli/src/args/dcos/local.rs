//! What the client keeps for itself: its settings, the clusters it knows, and who it is.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::examples;

/// The commands that work without any cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LocalVerb {
    /// Show or change the settings of the client
    #[command(subcommand, after_help = examples::CONFIG)]
    Config(ConfigVerb),
    /// The clusters that the client knows
    #[command(subcommand, after_help = examples::CLUSTER)]
    Cluster(ClusterVerb),
    /// Log in to a cluster that asks who you are
    #[command(subcommand, after_help = examples::AUTH)]
    Auth(AuthVerb),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Set a property
    Set {
        /// Its name, for instance core.dcos_url
        name: String,
        /// Its value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print a property, or all of them
    Show {
        /// Its name
        name: Option<String>,
    },
    /// Forget a property
    Unset {
        /// Its name
        name: String,
    },
    /// Say whether the settings make sense
    Validate,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Remember a cluster, and speak to it from now on
    Setup {
        #[command(flatten)]
        login: LoginArgs,
        /// Accepted as by the original client; there is no TLS here
        #[arg(long, hide = true)]
        insecure: bool,
        /// Accepted as by the original client; there is no TLS here
        #[arg(long, hide = true)]
        no_check: bool,
        /// Accepted as by the original client; there is no TLS here
        #[arg(long, hide = true)]
        ca_certs: Option<PathBuf>,
        /// The cluster's URL
        dcos_url: String,
    },
    /// List the clusters
    List {
        /// Only the one that is spoken to
        #[arg(long)]
        attached: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Speak to that cluster from now on
    Attach {
        /// Its name, its id, or the begin of its id
        name: String,
    },
    /// Give a cluster another name
    Rename {
        /// Its name, its id, or the begin of its id
        name: String,
        /// Its new name
        new_name: String,
    },
    /// Forget a cluster
    Remove {
        /// All of them
        #[arg(long, conflicts_with = "name")]
        all: bool,
        /// Its name, its id, or the begin of its id
        #[arg(required_unless_present = "all")]
        name: Option<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuthVerb {
    /// Log in
    Login(LoginArgs),
    /// Forget who you are
    Logout,
    /// List the ways to log in
    ListProviders {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The cluster's URL
        dcos_url: Option<String>,
    },
}

/// Who logs in.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LoginArgs {
    /// Which of the cluster's ways to log in
    #[arg(long)]
    pub(crate) provider: Option<String>,
    /// Who you are
    #[arg(long)]
    pub(crate) username: Option<String>,
    /// Your password; everybody on this machine can see it
    #[arg(long, group = "secret")]
    pub(crate) password: Option<String>,
    /// A file that holds your password
    #[arg(long, group = "secret", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// A variable of the environment that holds your password
    #[arg(long, group = "secret", value_name = "NAME")]
    pub(crate) password_env: Option<String>,
}
