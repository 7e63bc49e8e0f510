//! `down`: ends the `up` of a data directory, or what a crashed one left behind.
//!
//! A living `up` is asked by SIGTERM and does the rest itself. Tasks of an `up` that was killed live on by design; without an
//! `up` to ask, this command ends them through the agents' own books. So with roles on their own: a master is a holder as `up` is,
//! agents below its directory are ended, then their tasks, and last the DNS servers and edges that were given the directory.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use zddcluster_cli::{ClusterFile, DownArgs};

use crate::fault::Fault;
use crate::lock::DataDirLock;
use crate::members::{self, Member};
use crate::plan::AGENT_DIR_PREFIX;

/// Over and above the time the tasks get: `up` still flushes its store and closes connections.
const UP_GRACE: Duration = Duration::from_secs(10);

/// How long an agent, a DNS server or an edge may take to end: requests in flight get 5 s, an edge's connections a little more.
const ROLE_GRACE: Duration = Duration::from_secs(15);

/// Where an agent keeps its books, in its work directory.
const AGENT_BOOKS: &str = "meta/tasks";

/// What to do about a directory that cannot be read.
const WHOSE: &str = "let the user who started the cluster end it";

/// Runs `zddcluster down`.
pub(crate) fn run(args: &DownArgs) -> Result<ExitCode, Fault> {
    let data_dir = zddcluster_cli::data_dir(args.data_dir()).map_err(Fault::settings)?;
    let patience = Duration::from_secs(args.timeout);
    let holder = DataDirLock::holder(&data_dir).with_context(|| cannot_look(&data_dir))?;
    // What does not end does not keep the rest from it.
    let mut faults = Vec::new();
    if let Some(pid) = holder {
        end_process(&data_dir, pid, patience + UP_GRACE)?;
        // It may have been killed just now, or given its tasks up. Those of a new `up` are not ours.
        let n_ended = match DataDirLock::holder(&data_dir)? {
            Some(_) => 0,
            None => end_leftovers(&data_dir, patience, &mut faults)?,
        };
        let left = match n_ended {
            0 => String::new(),
            1 => ", and 1 task that it left behind".to_owned(),
            n => format!(", and {n} tasks that it left behind"),
        };
        let servers = end_servers(&data_dir, &mut faults);
        say(&format!(
            "the cluster (pid {pid}) has ended{left}{servers}; `zddcluster up` brings its apps back"
        ))?;
        Fault::together(faults)?;
        return Ok(ExitCode::SUCCESS);
    }
    let n_ended = end_leftovers(&data_dir, patience, &mut faults)?;
    let servers = end_servers(&data_dir, &mut faults);
    if let Some(file) = ClusterFile::read(&data_dir).map_err(Fault::failure)? {
        file.remove(&data_dir).map_err(Fault::failure)?;
    }
    let dir = data_dir.display();
    if n_ended == 0 && servers.is_empty() {
        // Not before it is known that nothing runs.
        Fault::together(std::mem::take(&mut faults))?;
    }
    say(&match n_ended {
        0 if servers.is_empty() => format!("no cluster runs in {dir}"),
        0 => format!("no `up` runs in {dir}{servers}"),
        1 => format!("no `up` runs in {dir}; ended 1 task that one left behind{servers}"),
        n => format!("no `up` runs in {dir}; ended {n} tasks that one left behind{servers}"),
    })?;
    Fault::together(faults)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the DNS servers and edges on their own, which serve until everything else has ended; what to say of them.
fn end_servers(data_dir: &Path, faults: &mut Vec<Fault>) -> String {
    let mut said = String::new();
    for server in members::servers(data_dir) {
        match end_member(server) {
            Ok(Member { name, pid, dir: _ }) => {
                said.push_str(&format!("; ended {name} (pid {pid})"))
            }
            Err((_, fault)) => faults.push(fault),
        }
    }
    said
}

/// Ends a role on its own; one that did not end, too, if it is known.
fn end_member(found: io::Result<Member>) -> Result<Member, (Option<Member>, Fault)> {
    let member = found.map_err(|error| {
        let error = anyhow!("{error}; hint: {WHOSE}");
        (None, Fault::failure(error))
    })?;
    match end_process(&member.dir, member.pid, ROLE_GRACE) {
        Ok(()) => Ok(member),
        Err(Fault { status, error }) => {
            // Its own hint stays the last.
            let error = anyhow!("{}: {}", member.name, Fault { status, error }.message());
            Err((Some(member), Fault { status, error }))
        }
    }
}

/// Sends SIGTERM to the holder of a directory's lock and waits for its end.
fn end_process(dir: &Path, pid: i32, patience: Duration) -> Result<(), Fault> {
    let raw = Pid::from_raw(pid).ok_or_else(|| anyhow!("the lock names no process"))?;
    // By descriptor, so that a number given away since cannot be hit.
    let process = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(Fault::failure(io::Error::from(errno))),
    };
    // The number may have been given away between the look into the lock and now.
    let holder = DataDirLock::holder(dir);
    if holder.with_context(|| cannot_look(dir))? != Some(pid) {
        return Ok(());
    }
    pidfd_send_signal(&process, Signal::TERM)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot end pid {pid}; hint: is it another user's?"))?;
    let patience_spec = Timespec::try_from(patience).context("a shorter --timeout")?;
    // A pidfd becomes readable when its process has ended.
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let n_ended = rustix::io::retry_on_intr(|| poll(&mut ended, Some(&patience_spec)))
        .map_err(io::Error::from)?;
    if n_ended == 0 {
        return Err(Fault::failure(anyhow!(
            "pid {pid} has not ended after {} s; hint: a second `zddcluster down` makes it end at once",
            patience.as_secs()
        )));
    }
    Ok(())
}

/// Ends what runs under the agents' directories, all agents at once; how many tasks that were.
fn end_leftovers(
    data_dir: &Path,
    grace: Duration,
    faults: &mut Vec<Fault>,
) -> Result<usize, Fault> {
    let exists = data_dir.try_exists();
    if !exists.with_context(|| cannot_look(data_dir))? {
        return Ok(0);
    }
    // Nobody may start a cluster meanwhile.
    let _lock = DataDirLock::take(data_dir).map_err(Fault::settings)?;
    // In processes of their own; those of `up` are in its. One that lives on keeps its tasks.
    let mut living = Vec::new();
    for agent in members::agents(data_dir) {
        if let Err((member, fault)) = end_member(agent) {
            living.extend(member.map(|member| member.dir));
            faults.push(fault);
        }
    }
    let mut dirs = agent_dirs(data_dir).map_err(|error| anyhow!("{error}; hint: {WHOSE}"))?;
    dirs.retain(|dir| !living.contains(dir));
    let ended: Vec<io::Result<usize>> = std::thread::scope(|scope| {
        let agents: Vec<_> = dirs
            .into_iter()
            .map(|dir| {
                scope.spawn(move || {
                    zddcluster_agent::stop_leftovers(&dir, grace).map(|tasks| tasks.len())
                })
            })
            .collect();
        let interrupted = |_| Err(io::Error::other("ending an agent's tasks was interrupted"));
        agents
            .into_iter()
            .map(|agent| agent.join().unwrap_or_else(interrupted))
            .collect()
    });
    let mut n_ended = 0;
    for ended in ended {
        match ended.context("some tasks that were left behind cannot be ended") {
            Ok(n) => n_ended += n,
            Err(error) => faults.push(Fault::failure(error)),
        }
    }
    Ok(n_ended)
}

/// The work directories of the agents that ever ran with this data directory, itself among them if it is one.
fn agent_dirs(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    // `--data-dir` may name the work directory of an agent on its own.
    let itself = Some(data_dir.to_owned()).filter(|dir| dir.join(AGENT_BOOKS).is_dir());
    let below = members::dirs(data_dir, AGENT_DIR_PREFIX)?;
    Ok(below.into_iter().chain(itself).collect())
}

/// Whether tasks run under this agent's directory; yes if its books cannot be read.
pub(crate) fn has_leftovers(work_dir: &Path) -> bool {
    zddcluster_agent::leftovers(work_dir).map_or(true, |tasks| !tasks.is_empty())
}

/// The tasks that run without a cluster, one line each, for `status`; those of an agent on its own are not left.
pub(crate) fn describe_leftovers(data_dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let is_alone = |dir: &PathBuf| matches!(DataDirLock::holder(dir), Ok(Some(_)));
    let dirs = match agent_dirs(data_dir) {
        Ok(dirs) => dirs,
        Err(error) => return vec![error.to_string()],
    };
    for dir in dirs.into_iter().filter(|dir| !is_alone(dir)) {
        match zddcluster_agent::leftovers(&dir) {
            Ok(tasks) => lines.extend(tasks.into_iter().map(|task| {
                let ports = describe_ports(&task.ports);
                format!("{} of {} (ports {ports})", task.task_id, task.app_id)
            })),
            Err(error) => lines.push(format!("{}: {error}", dir.display())),
        }
    }
    lines
}

/// Three or more in a row as a range: `80, 443, 10000-10100`.
fn describe_ports(ports: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => runs.push((port, port)),
        }
    }
    let run = |(first, last): (u16, u16)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(", ")
}

fn cannot_look(dir: &Path) -> String {
    format!("cannot look into {}; hint: {WHOSE}", dir.display())
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn one_that_cannot_be_ended_does_not_keep_the_rest_from_it() {
        let dir = tempfile::tempdir().unwrap();
        // An agent of which nothing can be told, and the edge that serves its tasks.
        let (agent, edge) = (
            dir.path().join("agent-11/lock"),
            dir.path().join("edge-127.0.0.2/lock"),
        );
        for lock in [&agent, &edge] {
            std::fs::create_dir(lock.parent().unwrap()).unwrap();
        }
        std::os::unix::fs::symlink(&agent, &agent).unwrap();
        let script = r#"exec 9>>"$1"; flock 9; echo $$ >&9; echo up; exec sleep 1000"#;
        let mut server = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&edge)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = String::new();
        io::BufRead::read_line(
            &mut io::BufReader::new(server.stdout.take().unwrap()),
            &mut up,
        )
        .unwrap();

        let mut faults = Vec::new();
        let n_ended = end_leftovers(dir.path(), Duration::from_secs(1), &mut faults).unwrap();
        let said = end_servers(dir.path(), &mut faults);
        let _ = server.kill();
        assert_eq!(server.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert_eq!(
            (n_ended, said),
            (
                0,
                format!("; ended edge at 127.0.0.2 (pid {})", server.id())
            )
        );
        let fault = Fault::together(faults).unwrap_err();
        assert!(fault.message().contains("agent-11: "), "{fault:?}");
    }

    #[test]
    fn ports_in_a_row_are_a_range() {
        assert_eq!(describe_ports(&[]), "");
        assert_eq!(
            describe_ports(&[80, 443, 9090, 9091, 10000, 10001, 10002, 65535]),
            "80, 443, 9090, 9091, 10000-10002, 65535"
        );
        assert_eq!(describe_ports(&[31000, 30000]), "31000, 30000");
    }
}
