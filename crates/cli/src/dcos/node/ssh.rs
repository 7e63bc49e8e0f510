//! `dcos node ssh`: looks up where a node is and lets `ssh` take this process' place.
//!
//! The original hands a line to a shell; here the words go to ssh as they are, so that no shell of this machine reads them.
//! What a cluster calls the node's address must look like one, for a proxy's shell does read it.
//!
//! Source: dcoscli 0.4.17 `node/main.py`; `--private-ip` and `--proxy-ip` are its own, the rest 0.4.14's.

use std::ffi::OsString;
use std::net::IpAddr;

use serde_json::Value;

use super::{NoLongerSo as _, hosts, ip_of};
use crate::args::SshArgs;
use crate::dcos::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::text;
use crate::verbs::Namespace;

const NO_AGENT: &str = "There is no SSH_AUTH_SOCK env variable, which likely means you aren't running `ssh-agent`.  \
`dcos node ssh --master-proxy/--proxy-ip` depends on `ssh-agent` to safely use your private key to hop between nodes in \
your cluster.  Please run `ssh-agent`, then add your private key with `ssh-add`.";
const ELSEWHERE: &str = "If you are running this command from a separate network than DC/OS, consider using `--master-proxy` or \
`--proxy-ip`";

pub(super) async fn run(args: SshArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let SshArgs {
        leader,
        mesos_id,
        private_ip,
        option,
        config_file,
        user,
        master_proxy,
        proxy_ip,
        former,
        command,
    } = args;
    former.refuse()?;
    let host = match (mesos_id, private_ip) {
        _ if leader => address_of_leader(context).await?,
        (Some(id), _) => address_of(&id, context).await?,
        (_, Some(ip)) => ip,
        (None, None) => {
            return Err(Failure::stated(
                "You must choose one of --leader, --mesos-id or --private-ip.",
            ));
        }
    };
    let proxy = match proxy_ip {
        None if master_proxy => Some(public_address(context).await?),
        proxy => proxy,
    };
    if proxy.is_some() && std::env::var_os("SSH_AUTH_SOCK").is_none() {
        return Err(Failure::stated(NO_AGENT));
    }
    for address in [Some(&host), proxy.as_ref()].into_iter().flatten() {
        check(address)?;
    }
    let options: Vec<OsString> = option
        .iter()
        .flat_map(|option| ["-o".into(), option.into()])
        .chain(config_file.into_iter().flat_map(|file| ["-F".into(), file]))
        .collect();
    let hop = |flags: &[&str], host: &str| -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["ssh".into()];
        words.extend(flags.iter().map(OsString::from));
        words.extend(options.iter().cloned());
        words.push(format!("{user}@{host}").into());
        words
    };
    let mut argv = match &proxy {
        Some(proxy) => [hop(&["-A", "-t"], proxy), hop(&["-A", "-t"], &host)].concat(),
        None => hop(&["-t"], &host),
    };
    argv.extend(command.map(OsString::from));
    let line: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    let line = text::printable(&line.join(" "));
    context.printer.say(&format!("Running `{line}`"));
    if is_here(&host) {
        context.printer.hint(&format!(
            "{host} is an address of the machine that runs the cluster; `zddcluster exec` enters a task, \
             `zddcluster shell` opens a shell in which the cluster's names resolve"
        ));
    } else if proxy.is_none() {
        context.printer.talk(ELSEWHERE);
    }
    let ssh = Namespace {
        argv,
        ..Namespace::default()
    };
    Err(Failure::stated(text::chain(&(context.hooks.namespace)(
        &ssh,
    ))))
}

async fn address_of_leader(context: &Context<'_>) -> Result<String, Failure> {
    let leaders = hosts("leader.mesos.", context).await?;
    let leader = leaders.into_iter().next();
    let leader = leader.ok_or_else(|| {
        Failure::stated("The DNS server does not know leader.mesos: is there a leader?")
    })?;
    Ok(leader.ip)
}

async fn address_of(agent_id: &str, context: &Context<'_>) -> Result<String, Failure> {
    let summary: Value = context.front.mesos("/mesos/master/state-summary").await?;
    let mut slaves = summary["slaves"].as_array().into_iter().flatten();
    let slave = slaves.find(|slave| slave["id"] == agent_id);
    let pid = slave.and_then(|slave| slave["pid"].as_str());
    let ip = pid.and_then(ip_of);
    ip.map(str::to_owned)
        .ok_or_else(|| Failure::stated(format!("No slave found with ID [{agent_id}]")))
}

async fn public_address(context: &Context<'_>) -> Result<String, Failure> {
    let metadata: Value = context.front.mesos("/metadata").await?;
    let address = metadata["PUBLIC_IPV4"].as_str().map(str::to_owned);
    address.ok_or_else(|| {
        Failure::stated(format!(
            "Cannot use --master-proxy.  Failed to find 'PUBLIC_IPV4' at {}/metadata",
            context.front.origin()
        ))
    })
}

/// An address or a name, and nothing that a shell or ssh itself would read otherwise.
fn check(address: &str) -> Result<(), Failure> {
    let may_be = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
    match !address.is_empty() && !address.starts_with('-') && address.chars().all(may_be) {
        true => Ok(()),
        false => Err(Failure::stated(format!("[{address}] is no address"))),
    }
}

fn is_here(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
