//! The grammar of `dcos package`.
//!
//! Source: the usage texts of dcoscli 0.4.14; of 0.6.1 `uninstall --yes`, `install --global` and several names for `repo remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::examples;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PackageVerb {
    /// Search the packages
    Search {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Part of a name, a description or a tag; `*` stands for anything
        query: Option<String>,
    },
    /// Print what there is to know of a package
    #[command(after_help = examples::PACKAGE_DESCRIBE)]
    Describe(DescribeArgs),
    /// Install a package
    #[command(after_help = examples::PACKAGE_INSTALL)]
    Install(InstallArgs),
    /// List the installed packages
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Only this application's
        #[arg(long)]
        app_id: Option<String>,
        /// Only packages with commands on this machine; there are none
        #[arg(long)]
        cli: bool,
        /// Only this package
        package_name: Option<String>,
    },
    /// Remove a package and its application
    Uninstall(UninstallArgs),
    /// The repositories, of which one is built in
    #[command(subcommand)]
    Repo(RepoVerb),
    /// Of the first versions; repositories keep themselves up to date
    #[command(hide = true)]
    Update,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Print the application's template
    #[arg(long)]
    pub(crate) app: bool,
    /// Print the part for the command line; there is none
    #[arg(long)]
    pub(crate) cli: bool,
    /// Print the options with their defaults
    #[arg(long)]
    pub(crate) config: bool,
    /// With --app: the application as the template makes it of the options
    #[arg(long)]
    pub(crate) render: bool,
    /// Print all versions
    #[arg(long)]
    pub(crate) package_versions: bool,
    /// With --app: file with options for the template, JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) options: Option<PathBuf>,
    /// Which version
    #[arg(long, value_name = "VERSION")]
    pub(crate) package_version: Option<String>,
    /// The package's name
    pub(crate) package_name: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InstallArgs {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only the part for the command line; there is none
    #[arg(long, conflicts_with_all = ["app", "app_id"])]
    pub(crate) cli: bool,
    /// Accepted as by the original client
    #[arg(long, requires = "cli", hide = true)]
    pub(crate) global: bool,
    /// Only the application
    #[arg(long)]
    pub(crate) app: bool,
    /// Id of the application, instead of the package's own
    #[arg(long)]
    pub(crate) app_id: Option<String>,
    /// File with the package's options, JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) options: Option<PathBuf>,
    /// Which version
    #[arg(long, value_name = "VERSION")]
    pub(crate) package_version: Option<String>,
    /// The package's name
    pub(crate) package_name: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Only the part for the command line; there is none
    #[arg(long, conflicts_with_all = ["app", "app_id", "all"])]
    pub(crate) cli: bool,
    /// Only the application
    #[arg(long)]
    pub(crate) app: bool,
    /// All applications of the package
    #[arg(long)]
    pub(crate) all: bool,
    /// Which application, if there are several
    #[arg(long)]
    pub(crate) app_id: Option<String>,
    /// Do not ask; nothing is asked here, newer clients do
    #[arg(long)]
    pub(crate) yes: bool,
    /// The package's name
    pub(crate) package_name: String,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RepoVerb {
    /// Print the repositories
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a repository, which a cluster with a built-in one refuses
    Add {
        /// Its place among the repositories
        #[arg(long)]
        index: Option<u32>,
        /// Its name
        repo_name: String,
        /// Its address
        repo_url: String,
    },
    /// Remove repositories, which a cluster with a built-in one refuses
    Remove {
        /// Their names
        #[arg(required = true)]
        repo_names: Vec<String>,
    },
}
