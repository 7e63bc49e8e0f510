//! `zddcluster shell`: a shell in which the cluster's names resolve and `dcos` is on the PATH.
//!
//! ```text
//!   PATH, DCOS_URL, …            as `zddcluster env` has them
//!   /etc/resolv.conf             the cluster's DNS server first, then the machine's own
//!   /etc/nsswitch.conf           hosts: files dns; so that no resolver of the machine is asked instead
//! ```
//!
//! The two files are this shell's alone: they are mounted over the machine's in a mount namespace of its own, which a
//! user namespace lets anybody have where the system allows it. resolv.conf(5) knows port 53 only; where the cluster's server
//! listens at another one, as it does for users without root, the names stand in an /etc/hosts of the shell's own instead
//! ([`hosts`]). Where names cannot be made to resolve, a shell opens without, and a command is refused.

mod hosts;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Hooks;
use super::env::{link_dcos, variables};
use crate::args::ShellArgs;
use crate::cluster::{ClusterFile, data_dir};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::Printer;
use crate::text;

/// The only port that resolv.conf can mean.
const DNS_PORT: u16 = 53;
/// The most servers that glibc asks.
const MOST_SERVERS: usize = 3;

const RESOLV: &str = "/etc/resolv.conf";
const NSSWITCH: &str = "/etc/nsswitch.conf";

/// A program that sees other files than the rest of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// What is seen in place of what: (the file with the content, the path it is seen at). None: no namespace is needed.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Variables of the environment beside those that there are.
    pub env: Vec<(String, OsString)>,
}

/// Why a program was not run in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The system does not allow it; nothing has changed.
    #[error("this system gives no mount namespace")]
    Refused(#[source] io::Error),
    /// It stopped half-way; this process is of no more use.
    #[error("{what}")]
    Broken {
        /// What could not be done.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("cannot execute {program}")]
    Execute {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) async fn run(
    args: &ShellArgs,
    printer: &Printer,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let data_dir = data_dir(args.data_dir.get())?;
    if let (Some(path), Some(shell_pid)) = (&args.renew_hosts, args.of) {
        hosts::renew(path, shell_pid, &Front::of(&args.data_dir)?).await;
        return Ok(ExitStatus::Success);
    }
    let Some(cluster) = ClusterFile::read_running(&data_dir)? else {
        return Err(Failure::NotRunning { data_dir });
    };
    let bin = link_dcos(&data_dir)?;
    let is_command = !args.command.is_empty();
    let mut namespace = Namespace {
        files: Vec::new(),
        argv: match is_command {
            true => args.command.clone(),
            false => vec![shell_of_user(std::env::var_os("SHELL"))],
        },
        env: environment(&cluster, &data_dir, &bin, std::env::var_os("PATH")),
    };
    let dns = cluster.addresses.dns;
    let mut refusal = None;
    match files(dns, &data_dir)? {
        Ok(files) => namespace.files = files,
        Err(why) if dns.port() == DNS_PORT => refusal = Some(why),
        Err(why) => match hosts_files(&data_dir, &Front::of(&args.data_dir)?).await {
            Ok(files) => namespace.files = files,
            Err(failure) => refusal = Some(format!("{why}; {}", text::chain(&failure))),
        },
    }
    if refusal.is_none() {
        announce(&cluster, is_command, printer);
        if !is_command && dns.port() != DNS_PORT {
            let (ip, port) = (dns.ip(), dns.port());
            printer.talk(&format!(
                "addresses below mesos are in the /etc/hosts of this shell, renewed each second; \
                 for other records: dig @{ip} -p {port}"
            ));
        }
        match (hooks.namespace)(&namespace) {
            NamespaceError::Refused(source) => {
                refusal = Some(format!("this system gives no mount namespace: {source}"));
            }
            error => return Err(Failure::stated(text::chain(&error))),
        }
    }
    // Nobody sees it: what renews it ends.
    let _ = fs::remove_file(hosts::path(&data_dir));
    let why = refusal.unwrap_or_default();
    let hint = "`zddcluster dns install` has the whole machine resolve them";
    if is_command {
        return Err(Failure::with_hint(
            format!("names below mesos would not resolve: {why}"),
            format!("{hint}; eval \"$(zddcluster env)\" sets up the rest for a command"),
        ));
    }
    printer.say(&format!("names below mesos do not resolve here: {why}"));
    printer.hint(hint);
    namespace.files.clear();
    announce(&cluster, is_command, printer);
    Err(Failure::stated(text::chain(&(hooks.namespace)(&namespace))))
}

fn announce(cluster: &ClusterFile, is_command: bool, printer: &Printer) {
    if !is_command {
        let url = cluster.front_url();
        printer.talk(&format!(
            "a shell in the cluster at {url}; `exit` leaves it, and the cluster runs on"
        ));
    }
}

fn shell_of_user(shell: Option<OsString>) -> OsString {
    shell
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".into())
}

fn environment(
    cluster: &ClusterFile,
    data_dir: &Path,
    bin: &Path,
    path: Option<OsString>,
) -> Vec<(String, OsString)> {
    let mut joined = bin.as_os_str().to_owned();
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        joined.push(":");
        joined.push(path);
    }
    let mut env = vec![("PATH".to_owned(), joined)];
    let variables = variables(cluster, data_dir).into_iter();
    env.extend(variables.map(|(name, value)| (name.to_owned(), value.into())));
    env
}

/// Writes what the shell is to see, below the data directory. The inner `Err` says why that would be of no use.
fn files(
    dns: SocketAddr,
    data_dir: &Path,
) -> Result<Result<Vec<(PathBuf, PathBuf)>, String>, Failure> {
    if dns.port() != DNS_PORT {
        return Ok(Err(format!(
            "the cluster's DNS server listens at {dns}, and resolv.conf knows port {DNS_PORT} only"
        )));
    }
    let Ok(own) = fs::read_to_string(RESOLV) else {
        return Ok(Err(format!("there is no {RESOLV} here")));
    };
    let mut shown = vec![(RESOLV, "resolv.conf", resolv_conf(dns, &own))];
    // Without the file the C library does as the line would say.
    if let Ok(own) = fs::read_to_string(NSSWITCH) {
        shown.push((NSSWITCH, "nsswitch.conf", nsswitch_conf(&own)));
    }
    write_files(data_dir, shown).map(Ok)
}

/// Writes files below the data directory: what each is seen as, its name there, its content.
fn write_files(
    data_dir: &Path,
    shown: Vec<(&str, &str, String)>,
) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let dir = data_dir.join("shell");
    let mut files = Vec::new();
    for (target, name, text) in shown {
        let path = dir.join(name);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            // Another shell may see the old file: it is replaced, not changed.
            let new = dir.join(format!("{name}.{}", std::process::id()));
            fs::write(&new, text)?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| Failure::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
        files.push((path, PathBuf::from(target)));
    }
    Ok(files)
}

/// Has the shell find the cluster's names without asking a server.
async fn hosts_files(data_dir: &Path, front: &Front) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    if !Path::new(hosts::HOSTS).exists() {
        return Err(Failure::stated(format!(
            "there is no {} here",
            hosts::HOSTS
        )));
    }
    let path = hosts::path(data_dir);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut shown = vec![(hosts::HOSTS, &*name, hosts::read(front).await?)];
    // Without the file the C library looks there first.
    if let Ok(own) = fs::read_to_string(NSSWITCH) {
        shown.push((NSSWITCH, "nsswitch-hosts.conf", files_first(&own)));
    }
    let files = write_files(data_dir, shown)?;
    hosts::start_renewer(&path, data_dir)
        .map_err(|error| Failure::stated(format!("nothing would renew the names: {error}")))?;
    Ok(files)
}

/// The cluster's server before the machine's: it refuses all names but the cluster's, and then the next one is asked.
fn resolv_conf(dns: SocketAddr, own: &str) -> String {
    let mut lines = vec![
        "# Seen by a shell of `zddcluster shell` only.".to_owned(),
        format!("nameserver {}", dns.ip()),
    ];
    let mut n_servers = 1;
    for line in own.lines() {
        match line.split_whitespace().next() {
            Some("nameserver") if n_servers >= MOST_SERVERS => {}
            Some("nameserver") => {
                n_servers += 1;
                lines.push(line.to_owned());
            }
            Some("search" | "domain" | "options") => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines.join("\n") + "\n"
}

/// The same, but hosts are looked up in /etc/hosts before anybody is asked who may say that there are none.
fn files_first(own: &str) -> String {
    let mut is_told = false;
    let mut lines: Vec<String> = Vec::new();
    for line in own.lines() {
        match line.trim_start().strip_prefix("hosts:") {
            Some(sources) => {
                let rest: Vec<&str> = sources
                    .split_whitespace()
                    .filter(|source| *source != "files")
                    .collect();
                lines.push(format!("hosts: files {}", rest.join(" ")));
                is_told = true;
            }
            None => lines.push(line.to_owned()),
        }
    }
    if !is_told {
        lines.push("hosts: files dns".to_owned());
    }
    lines.join("\n") + "\n"
}

/// The same, but hosts are looked up in /etc/hosts and by DNS alone.
fn nsswitch_conf(own: &str) -> String {
    let is_hosts = |line: &str| line.trim_start().starts_with("hosts:");
    let mut lines: Vec<&str> = own.lines().filter(|line| !is_hosts(line)).collect();
    lines.push("hosts: files dns");
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clusters_server_is_asked_first() {
        let dns = "127.0.0.1:53".parse().unwrap();
        let own = "# by hand\nsearch home\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions edns0\n";
        assert_eq!(
            resolv_conf(dns, own),
            "# Seen by a shell of `zddcluster shell` only.\nnameserver 127.0.0.1\nsearch home\n\
             nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions edns0\n"
        );
    }

    #[test]
    fn no_other_resolver_is_asked_for_hosts() {
        assert_eq!(
            nsswitch_conf(
                "passwd: files\nhosts: files resolve [!UNAVAIL=return] dns\nnetworks: files\n"
            ),
            "passwd: files\nnetworks: files\nhosts: files dns\n"
        );
        let own = "passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files dns\n";
        assert_eq!(
            files_first(own),
            "passwd: files\nhosts: files mymachines resolve [!UNAVAIL=return] dns\n"
        );
        assert_eq!(files_first(""), "hosts: files dns\n");
    }

    #[test]
    fn resolv_conf_is_of_no_use_with_another_port_than_53() {
        let dir = tempfile::tempdir().unwrap();
        let why = files("127.0.0.1:8053".parse().unwrap(), dir.path())
            .unwrap()
            .unwrap_err();
        assert!(why.contains("127.0.0.1:8053"), "{why}");
    }
}
