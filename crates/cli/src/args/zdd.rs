//! The settings of `zdd`: those of Marathon-LB's zdd.py, and a few more.

use std::path::PathBuf;

use clap::Args;

use super::DataDirArgs;

/// What `--json` without a value is.
pub(crate) const BARE_JSON: &str = "-";

#[derive(Clone, Debug, Args)]
pub(crate) struct ZddArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// The app's definition
    #[arg(value_name = "FILE", required_unless_present = "json")]
    pub(crate) file: Option<PathBuf>,
    /// The definition, as zdd.py has it; behind FILE and without a value: as --output json
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, default_missing_value = BARE_JSON)]
    pub(crate) json: Option<PathBuf>,
    /// Marathon [default: that of the local cluster]
    #[arg(short, long, value_name = "URL")]
    pub(crate) marathon: Option<String>,
    /// The edge's statistics [default: port 9090 of the local edge]
    #[arg(short = 'l', long, value_name = "URL")]
    pub(crate) marathon_lb: Option<String>,
    /// Print the final definition and leave it at that
    #[arg(short, long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub(crate) step_delay: f64,
    /// Instances of the new app to begin with
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) initial_instances: u64,
    /// Go on with a swap that was broken off
    #[arg(short, long)]
    pub(crate) resume: bool,
    /// Seconds that old tasks may take to be idle
    #[arg(short = 'w', long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
    pub(crate) max_wait: f64,
    /// Stop when so many instances are new
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) new_instances: u64,
    /// Stop when so many percent of the instances are new
    #[arg(long, value_name = "PERCENT", conflicts_with = "new_instances", value_parser = percent)]
    pub(crate) pause_at: Option<u64>,
    /// Go on after a stop until all instances are new
    #[arg(short = 'c', long)]
    pub(crate) complete_cur: bool,
    /// Go back to the app that was there before
    #[arg(short = 'p', long, visible_alias = "rollback")]
    pub(crate) complete_prev: bool,
    /// So many instances more a step; 0: half as many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) linear_increase: u64,
    /// A program to run before each kill, with the old app, ids of tasks and the new app
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) pre_kill_hook: Option<PathBuf>,
    /// The deployment group, if the definition names none
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// The service port, if the definition names none
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The service port of every second app, if the definition names none
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) alt_port: Option<u16>,
}

/// Reads a number of seconds that can be waited.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if seconds.is_finite() && (0.0..=1e6).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("not between 0 and 1000000".to_owned())
    }
}

/// Reads `25` or `25%`.
fn percent(text: &str) -> Result<u64, String> {
    let number = text
        .trim_end_matches('%')
        .parse()
        .map_err(|_| "not a number".to_owned())?;
    if (1..100).contains(&number) {
        Ok(number)
    } else {
        Err("not between 1 and 99".to_owned())
    }
}
