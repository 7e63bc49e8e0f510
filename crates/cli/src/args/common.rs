//! Settings that several roles have in common.

use std::path::{Path, PathBuf};

use clap::Args;

/// Where settings come from beside flags and environment.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// A TOML file with settings; its keys are the long flags, and flags and environment go before it
    #[arg(
        long,
        env = "ZDD_CONFIG",
        value_name = "FILE",
        help_heading = "Settings"
    )]
    config: Option<PathBuf>,
    /// Print the settings in effect as such a file, and end
    #[arg(long, help_heading = "Settings")]
    dump_config: bool,
}

impl ConfigArgs {
    /// `--config`, if given.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Which cluster a role that keeps nothing belongs to.
#[derive(Clone, Debug, Args)]
pub struct MemberArgs {
    /// The cluster's directory, for a role that `zddcluster down` is to find and end there
    #[arg(long = "data-dir", env = "ZDD_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl MemberArgs {
    /// `--data-dir`, if given.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }
}

/// Where the token is.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// The file that holds the token of the cluster; ZDD_TOKEN may hold the token itself
    #[arg(long = "token-file", env = "ZDD_TOKEN_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TokenArgs {
    /// `--token-file`, if given.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// By which names the APIs may be asked.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// A name by which the APIs may be asked, beside loopback addresses, localhost, *.mesos and their own address; may be given more than once
    #[arg(
        long = "allow-host",
        env = "ZDD_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed: Vec<String>,
}
