//! `dcos COMMAND --info` and `dcos COMMAND --version`, which the original answers itself, without a subcommand and without a
//! cluster. Source: the usage texts of dcoscli 0.6.1.

use std::ffi::OsString;

/// What each command says of itself.
const COMMANDS: [(&str, &str); 9] = [
    ("auth", "Authenticate to DC/OS cluster"),
    ("cluster", "Manage your DC/OS clusters"),
    ("config", "Manage the DC/OS configuration file"),
    ("help", "Display help information about DC/OS"),
    ("marathon", "Deploy and manage applications to DC/OS"),
    ("node", "View DC/OS node information"),
    ("package", "Install and manage DC/OS software packages"),
    ("service", "Manage DC/OS services"),
    ("task", "Manage DC/OS tasks"),
];

/// The answer, if that is what these words, those behind `dcos`, ask for.
pub(crate) fn about(words: &[OsString]) -> Option<String> {
    let [command, asked] = words else {
        return None;
    };
    let (name, info) = COMMANDS.iter().find(|(name, _)| command == name)?;
    match asked.to_str()? {
        "--info" => Some((*info).to_owned()),
        "--version" => Some(format!("dcos-{name} version {}", env!("CARGO_PKG_VERSION"))),
        _ => None,
    }
}
