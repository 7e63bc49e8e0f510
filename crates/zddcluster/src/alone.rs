//! One role in a process of its own: the edge as the cluster's tasks run it, and master, agent and DNS beside others.
//!
//! Each is the same shell around a role's start: bind, start, then wait for a signal or for a part that failed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use tracing::{error, info, warn};
use zddcluster_cli::{AgentArgs, DnsArgs, EdgeArgs, ExitStatus, LogArgs, MasterArgs, MemberArgs};
use zddcluster_runtime::Tasks;
use zddcluster_store::SledStore;

use crate::cluster::{self, AgentParts, DnsParts, MasterParts};
use crate::fault::Fault;
use crate::lock::DataDirLock;
use crate::plan::{AgentPlan, DNS_HTTP_PORT};
use crate::signals::Signals;
use crate::{big_runtime, containerizer, listeners, logging, members, settings, token};

/// How long a role may take to end: requests in flight get 5 s, an edge's connections a little more.
const GRACE: Duration = Duration::from_secs(12);

/// Runs `zddcluster master`.
pub(crate) fn master(args: MasterArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let mut faults = log_faults(&args.log);
    let token = token::read(&args.token, &mut faults);
    token::demand(token.as_ref(), "--front", args.front, &mut faults);
    token::demand(token.as_ref(), "--mesos", args.mesos, &mut faults);
    let data_dir = zddcluster_cli::data_dir(args.data_dir())
        .map_err(|error| faults.push(format!("{error}; hint: {}", error.hint())))
        .unwrap_or_default();
    settings::refuse(&faults)?;
    if let Some(dump) = dump {
        return settings::print(dump);
    }
    logging::init(&args.log.filter)?;
    let _lock = DataDirLock::take(&data_dir).map_err(Fault::settings)?;
    let front = listeners::tcp(args.front).map_err(Fault::settings)?;
    let mesos = listeners::tcp(args.mesos).map_err(Fault::settings)?;
    let store = SledStore::open(data_dir.join("store")).map_err(Fault::settings)?;
    let parts = MasterParts {
        front,
        mesos,
        store: Box::new(store),
        artifacts: data_dir.join(cluster::ARTIFACTS),
        speed: args.speed,
        drains: !args.no_drain,
        clock_offset_seconds: 0,
        allowed_hosts: args.hosts.allowed,
        token,
        shown: (args.shown_front, args.shown_mesos),
        mesos_dns: Some(args.mesos_dns.unwrap_or_else(|| beside(args.mesos))),
    };
    run(|tasks| async move { cluster::master(parts, &tasks).await })
}

/// Where the HTTP API of DNS is if nobody says it: on the master's own machine, as in DC/OS.
fn beside(mesos: SocketAddr) -> SocketAddr {
    let ip = match mesos.ip() {
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, DNS_HTTP_PORT).into()
}

/// Runs `zddcluster agent`.
pub(crate) fn agent(args: AgentArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let mut faults = log_faults(&args.log);
    let token = token::read(&args.token, &mut faults);
    let plan = AgentPlan::alone(
        args.hostname,
        args.port,
        args.public,
        &args.resources,
        &args.attributes,
    );
    token::demand(token.as_ref(), "--hostname", plan.api(), &mut faults);
    settings::refuse(&faults)?;
    if let Some(dump) = dump {
        return settings::print(dump);
    }
    logging::init(&args.log.filter)?;
    let listener = listeners::tcp(plan.api()).map_err(Fault::settings)?;
    let _lock = DataDirLock::take(&args.work_dir).map_err(Fault::settings)?;
    run(|tasks| async move {
        let AgentArgs {
            master,
            work_dir,
            containerizer,
            speed,
            hosts,
            ..
        } = args;
        let choice = containerizer::choose(containerizer, std::slice::from_ref(&work_dir)).await?;
        info!("{}", choice.note);
        let executable = cluster::executable()?;
        let mut env = cluster::built_in_env(&master, speed, true, &hosts.allowed);
        if let Some(token) = &token {
            let path = token::leave_for_tasks(token, &work_dir)
                .context("cannot keep the token for built-in roles")?;
            env.insert(token::TOKEN_FILE.to_owned(), path.display().to_string());
        }
        let parts = AgentParts {
            plan,
            listener,
            master_url: master,
            work_dir,
            allowed_hosts: hosts.allowed,
            token,
            containerizer: choice.make(&executable, env, &tasks).await?,
            executable,
        };
        cluster::agent(parts, &tasks).await
    })
}

/// Runs `zddcluster dns`. It changes nothing and tells what it knows to whoever asks, so it may listen anywhere.
pub(crate) fn dns(args: DnsArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let mut faults = log_faults(&args.log);
    let token = token::read(&args.token, &mut faults);
    settings::refuse(&faults)?;
    if let Some(dump) = dump {
        return settings::print(dump);
    }
    logging::init(&args.log.filter)?;
    let (udp, tcp) = listeners::dns(args.listen).map_err(Fault::settings)?;
    let http = match args.http {
        Some(http) => listeners::tcp(http),
        None => listeners::dns_http((args.listen.ip(), DNS_HTTP_PORT).into()),
    };
    let http = http.map_err(Fault::settings)?;
    // Where it listens in truth: `--listen` may leave the port open.
    let at = tcp.local_addr()?;
    let _lock = members::join(&args.member, members::DNS, &at.to_string())?;
    let parts = DnsParts {
        udp,
        tcp,
        http,
        allowed_hosts: args.hosts.allowed,
        mesos_url: args.master,
        domain: args.domain,
        ttl: args.ttl,
        extras: args.dns_extras,
        gateways_url: args.gateways_url,
        token,
    };
    run(|tasks| async move { cluster::dns(parts, &tasks) })
}

/// Runs `zddcluster edge`, with marathon-lb's own arguments.
pub(crate) fn edge(args: EdgeArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let mut faults = log_faults(&args.log);
    let token = token::read(&args.token, &mut faults);
    let host = args.host.to_string();
    let env = |name: &str| match name {
        "HOST" => Some(host.clone()),
        name => std::env::var(name).ok(),
    };
    let log = args.log.filter.clone();
    let token_file = args.token.file().map(Path::to_owned);
    let member = args.member.clone();
    let config = zddcluster_edge::Config::from_args(edge_words(args), token, env)
        .map_err(|error| faults.push(error.to_string()))
        .ok();
    settings::refuse(&faults)?;
    let Some(config) = config else {
        return Err(Fault::failure(anyhow!("the settings cannot be used")));
    };
    if dump.is_some() {
        return settings::print(&edge_dump(&config, &log, token_file.as_deref(), &member));
    }
    logging::init(&log)?;
    let _lock = members::join(&member, members::EDGE, &config.bind.to_string())?;
    run(|tasks| async move {
        zddcluster_edge::start(config, &tasks)
            .await
            .map_err(Fault::failure)
    })
}

/// The words of marathon-lb's command line, with what flags of ours and the file add to it.
fn edge_words(args: EdgeArgs) -> Vec<String> {
    let mut words: Vec<String> = args
        .args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let has = |words: &[String], names: &[&str]| {
        let name = |word: &String| word.split('=').next().unwrap_or_default().to_owned();
        words.iter().any(|word| names.contains(&&*name(word)))
    };
    if !args.marathon.is_empty() && !has(&words, &["-m", "--marathon"]) {
        words.push("--marathon".to_owned());
        words.extend(args.marathon);
    }
    if !has(&words, &["--group"]) {
        words.extend(args.group.iter().map(|group| format!("--group={group}")));
    }
    let switches = [
        ("--health-check", args.health_check),
        ("--haproxy-map", args.haproxy_map),
        ("--strict-mode", args.strict_mode),
        ("--dont-bind-http-https", args.dont_bind_http_https),
    ];
    let set = switches.into_iter().filter(|(_, is_set)| *is_set);
    words.extend(set.map(|(switch, _)| switch.to_owned()));
    if !args.trust_forwarded.is_empty() && !has(&words, &["--trust-forwarded"]) {
        words.push(format!(
            "--trust-forwarded={}",
            args.trust_forwarded.join(",")
        ));
    }
    if let Some(path) = args.gateways.filter(|_| !has(&words, &["--gateways"])) {
        words.push(format!("--gateways={}", path.display()));
    }
    words
}

/// The settings of an edge as a file that says the same. They are read from marathon-lb's words too, so this is not clap's to do.
fn edge_dump(
    config: &zddcluster_edge::Config,
    log: &str,
    token_file: Option<&Path>,
    member: &MemberArgs,
) -> String {
    // JSON's texts and lists of texts are TOML's too.
    let mut lines = vec![
        format!("dont-bind-http-https = {}", !config.bind_http),
        format!("group = {}", json!(config.groups)),
        format!("haproxy-map = {}", config.haproxy_map),
        format!("health-check = {}", config.health_check),
        format!("host = {}", json!(config.bind.to_string())),
        format!("log = {}", json!(log)),
        format!("marathon = {}", json!(config.marathon)),
        format!("strict-mode = {}", config.strict_mode),
        format!(
            "trust-forwarded = {}",
            json!(
                config
                    .trusted
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            )
        ),
    ];
    let paths = [
        ("data-dir", member.data_dir()),
        ("gateways", config.gateways.as_deref()),
        ("token-file", token_file),
    ];
    let given = paths
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?.to_string_lossy())));
    lines.extend(given.map(|(key, path)| format!("{key} = {}", json!(path))));
    lines.sort();
    lines.join("\n") + "\n"
}

/// What is wrong with the log's filter.
fn log_faults(log: &LogArgs) -> Vec<String> {
    logging::check(&log.filter).err().into_iter().collect()
}

/// Starts a role and waits for its end.
fn run<H, F>(start: impl FnOnce(Tasks) -> F) -> Result<ExitCode, Fault>
where
    F: Future<Output = Result<H, Fault>>,
{
    let runtime = big_runtime()?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let tasks = Tasks::new();
        let handle = start(tasks.clone()).await?;
        let code = tokio::select! {
            // Cancel-safe: both only wait for a state or a signal.
            failure = tasks.failed() => {
                error!(part = %failure.name, cause = %failure.cause, "ended because a part failed");
                ExitStatus::Failure
            }
            signal = signals.next() => {
                info!(signal, "stopping");
                ExitStatus::Success
            }
        };
        tokio::select! {
            // Cancel-safe: given up as a whole, and the process ends.
            ended = tasks.shut_down(GRACE) => {
                if let Err(error) = ended {
                    warn!(%error, "some parts did not end in time");
                }
            }
            signal = signals.next() => {
                error!(signal, "ended at once");
                return Ok(ExitStatus::Failure.into());
            }
        }
        drop(handle);
        Ok::<ExitCode, Fault>(code.into())
    });
    runtime.shutdown_background();
    code
}

#[cfg(test)]
mod tests {
    use zddcluster_cli::{Invocation, parse};

    use super::*;

    #[test]
    fn the_command_line_goes_before_what_a_file_adds() {
        let check = |line: &str, expected: &str| {
            let words = format!("zddcluster edge {line}");
            let Invocation::Edge(args) = parse(words.split(' ')).unwrap().invocation else {
                panic!("{line}")
            };
            assert_eq!(edge_words(args).join(" "), expected);
        };
        check(
            "-m http://a:1 --group g --haproxy-map sse",
            "sse --marathon http://a:1 --group=g --haproxy-map",
        );
        check(
            "--group g -m http://a:1 -- sse --marathon=http://b:1 --group h",
            "sse --marathon=http://b:1 --group h",
        );
    }
}
