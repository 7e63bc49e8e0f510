//! `zddcluster dns install` and `uninstall`: has the machine's resolver ask the cluster for names below `mesos`, and for no others.
//!
//! What is to be done is a list of steps, made without touching anything, shown, and only then carried out.
//!
//! | resolver | how it is told |
//! |---|---|
//! | systemd-resolved | `/etc/systemd/resolved.conf.d/zddcluster.conf` with the routing domain `~mesos` |
//! | NetworkManager's dnsmasq | `/etc/NetworkManager/dnsmasq.d/zddcluster.conf` |
//! | dnsmasq | `/etc/dnsmasq.d/zddcluster.conf` |
//!
//! Source: resolved.conf(5), dnsmasq(8).

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::args::{DnsVerb, Resolver, ResolverArgs};
use crate::cluster::{ClusterFile, data_dir};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::text::printable;

/// The names that the cluster knows.
const DOMAIN: &str = "mesos";

const FILE_NAME: &str = "zddcluster.conf";

/// A resolver that can be told of another server for some names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SystemdResolved,
    NetworkManager,
    Dnsmasq,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Put a file there, or put it in another's place.
    Write { path: PathBuf, text: String },
    /// Take a file away.
    Remove { path: PathBuf },
    /// Run a program.
    Run { argv: Vec<&'static str> },
}

/// The machine's files, from its root.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// What resolves names here, if it is one that we know how to tell.
    fn resolver(&self) -> Option<Kind> {
        let asks_stub = self.text("/etc/resolv.conf").lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("nameserver")
                && matches!(words.next(), Some("127.0.0.53" | "127.0.0.54"))
        });
        if asks_stub && self.has("/run/systemd/resolve") {
            return Some(Kind::SystemdResolved);
        }
        if self.has("/run/NetworkManager") && self.networkmanager_has_dnsmasq() {
            return Some(Kind::NetworkManager);
        }
        let pids = ["/run/dnsmasq/dnsmasq.pid", "/run/dnsmasq.pid"];
        pids.iter()
            .any(|path| self.has(path))
            .then_some(Kind::Dnsmasq)
    }

    fn networkmanager_has_dnsmasq(&self) -> bool {
        let dir = self.path("/etc/NetworkManager/conf.d");
        let others = fs::read_dir(dir).into_iter().flatten().flatten();
        let others = others.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let main = self.text("/etc/NetworkManager/NetworkManager.conf");
        std::iter::once(main).chain(others).any(|text| {
            let mut lines = text.lines().map(|line| line.replace(' ', ""));
            lines.any(|line| line == "dns=dnsmasq")
        })
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::SystemdResolved => "systemd-resolved",
            Self::NetworkManager => "the dnsmasq of NetworkManager",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    const fn dir(self) -> &'static str {
        match self {
            Self::SystemdResolved => "/etc/systemd/resolved.conf.d",
            Self::NetworkManager => "/etc/NetworkManager/dnsmasq.d",
            Self::Dnsmasq => "/etc/dnsmasq.d",
        }
    }

    fn text(self, dns: SocketAddr) -> String {
        let (ip, port) = (dns.ip(), dns.port());
        let note = "# Made by `zddcluster dns install`; `zddcluster dns uninstall` takes it away.";
        match self {
            Self::SystemdResolved => {
                // Systems before version 246 know no port, and 53 needs none.
                let server = match port {
                    53 => ip.to_string(),
                    _ => dns.to_string(),
                };
                format!("{note}\n[Resolve]\nDNS={server}\nDomains=~{DOMAIN}\n")
            }
            Self::NetworkManager | Self::Dnsmasq => {
                format!("{note}\nserver=/{DOMAIN}/{ip}#{port}\n")
            }
        }
    }

    /// Has it read its files anew.
    fn reload(self) -> Step {
        let argv = match self {
            Self::SystemdResolved => vec!["systemctl", "restart", "systemd-resolved"],
            Self::NetworkManager => vec!["systemctl", "reload", "NetworkManager"],
            Self::Dnsmasq => vec!["systemctl", "restart", "dnsmasq"],
        };
        Step::Run { argv }
    }

    fn file(self, machine: &Machine) -> PathBuf {
        machine.path(self.dir()).join(FILE_NAME)
    }

    fn install(self, dns: SocketAddr, machine: &Machine) -> Vec<Step> {
        let (path, text) = (self.file(machine), self.text(dns));
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Vec::new();
        }
        vec![Step::Write { path, text }, self.reload()]
    }

    fn uninstall(self, machine: &Machine) -> Vec<Step> {
        let path = self.file(machine);
        match path.exists() {
            true => vec![Step::Remove { path }, self.reload()],
            false => Vec::new(),
        }
    }
}

const ALL: [Kind; 3] = [Kind::SystemdResolved, Kind::NetworkManager, Kind::Dnsmasq];

pub(super) fn run(verb: &DnsVerb, printer: &Printer) -> Result<ExitStatus, Failure> {
    let machine = Machine { root: "/".into() };
    let (steps, args, what) = match verb {
        DnsVerb::Install(args) => {
            let data_dir = data_dir(args.data_dir.get())?;
            let Some(cluster) = ClusterFile::read_running(&data_dir)? else {
                return Err(Failure::NotRunning { data_dir });
            };
            let dns = cluster.addresses.dns;
            let Some(kind) = chosen(args.resolver, &machine) else {
                return Err(unknown_resolver(dns));
            };
            let what = format!(
                "names below {DOMAIN} are asked of the cluster at {dns} by {}",
                kind.name()
            );
            (kind.install(dns, &machine), args, what)
        }
        DnsVerb::Uninstall(args) => {
            let kinds: Vec<Kind> = match args.resolver {
                Resolver::Auto => ALL.to_vec(),
                other => chosen(other, &machine).into_iter().collect(),
            };
            let steps = kinds.iter().flat_map(|kind| kind.uninstall(&machine));
            let what = "names below mesos are asked of no cluster".to_owned();
            (steps.collect(), args, what)
        }
    };
    carry_out(&steps, args, &what, printer)
}

fn chosen(wanted: Resolver, machine: &Machine) -> Option<Kind> {
    match wanted {
        Resolver::Auto => machine.resolver(),
        Resolver::SystemdResolved => Some(Kind::SystemdResolved),
        Resolver::NetworkManager => Some(Kind::NetworkManager),
        Resolver::Dnsmasq => Some(Kind::Dnsmasq),
    }
}

/// What else can be done where no resolver is found that could be told.
fn unknown_resolver(dns: SocketAddr) -> Failure {
    let (ip, port) = (dns.ip(), dns.port());
    let others = match port {
        53 => format!(
            "`zddcluster shell` opens a shell in which they resolve; or put `nameserver {ip}` first into /etc/resolv.conf, by \
             hand or by resolvconf"
        ),
        _ => format!(
            "resolv.conf cannot name port {port}: start the cluster as root, so that its DNS server has port 53, and \
             `zddcluster shell` opens a shell in which they resolve"
        ),
    };
    Failure::with_hint(
        "no resolver is found here that can ask one server for some names and another for the rest \
         (systemd-resolved, NetworkManager's dnsmasq, dnsmasq)",
        format!(
            "{others}; or write the addresses that you need into /etc/hosts; --resolver names one that was not found"
        ),
    )
}

/// Shows the steps and, when that is wanted, does them.
fn carry_out(
    steps: &[Step],
    args: &ResolverArgs,
    what: &str,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    if steps.is_empty() {
        if printer.is_json() {
            printer.json(&json!({ "steps": [], "done": true }))?;
        } else {
            printer.data(&format!("nothing to do: {what}"))?;
        }
        return Ok(ExitStatus::Success);
    }
    if !printer.is_json() {
        for step in steps {
            printer.data(&printable(&describe(step)))?;
        }
    }
    let is_done = !args.dry_run && (args.yes || ask(printer)?);
    if is_done {
        for step in steps {
            perform(step)?;
        }
    }
    if printer.is_json() {
        let steps: Vec<Value> = steps.iter().map(document).collect();
        printer.json(&json!({ "steps": steps, "done": is_done }))?;
    } else if is_done {
        printer.data(&format!("done: {what}"))?;
    } else if args.dry_run {
        printer.talk("nothing was done (--dry-run)");
    } else {
        printer.say("nothing was done");
    }
    Ok(match is_done || args.dry_run {
        true => ExitStatus::Success,
        false => ExitStatus::Failure,
    })
}

fn ask(printer: &Printer) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::with_hint(
            "nobody is there to ask whether to do it",
            "--yes does it, --dry-run only shows it",
        ));
    }
    printer.raw("Do it? [yes/no] ")?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| Failure::File {
        action: "read",
        path: "stdin".into(),
        source,
    })?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn describe(step: &Step) -> String {
    match step {
        Step::Write { path, text } => {
            let verb = if path.exists() { "replace" } else { "write" };
            let mut shown = format!("{verb} {}:", path.display());
            for line in text.lines() {
                shown.push_str("\n    ");
                shown.push_str(line);
            }
            shown
        }
        Step::Remove { path } => format!("remove {}", path.display()),
        Step::Run { argv } => format!("run {}", argv.join(" ")),
    }
}

fn document(step: &Step) -> Value {
    match step {
        Step::Write { path, text } => json!({ "write": path, "text": text }),
        Step::Remove { path } => json!({ "remove": path }),
        Step::Run { argv } => json!({ "run": argv }),
    }
}

fn perform(step: &Step) -> Result<(), Failure> {
    match step {
        Step::Write { path, text } => {
            write(path, text).map_err(|error| denied("write", path, error))
        }
        Step::Remove { path } => {
            fs::remove_file(path).map_err(|error| denied("remove", path, error))
        }
        Step::Run { argv } => {
            let [program, args @ ..] = argv.as_slice() else {
                return Ok(());
            };
            let command = argv.join(" ");
            let output = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .output()
                .map_err(|source| Failure::File {
                    action: "run",
                    path: command.clone().into(),
                    source,
                })?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Failure::with_hint(
                format!("`{command}` failed: {}", printable(said.trim())),
                "the file is in place; have the resolver read it anew",
            ))
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("conf.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn denied(action: &'static str, path: &Path, source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return Failure::with_hint(
            format!("cannot {action} {}: {source}", path.display()),
            "it needs root: sudo zddcluster dns ... --data-dir DIR --yes",
        );
    }
    Failure::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
