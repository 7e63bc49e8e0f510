//! Names for a shell whose cluster has its DNS server on another port than 53: they stand in the shell's own /etc/hosts.
//!
//! ```text
//!   shell ── mounts ──▶ <data dir>/shell/hosts.<pid> ◀── writes ── renewer, one a shell
//! ```
//!
//! The renewer asks the front door for the zone each second and ends with the shell, or when its file is gone. It is nobody's
//! child: what runs in the shell's place may wait for children, and knows only its own. Only addresses stand in /etc/hosts, no
//! SRV records.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::front::Front;

/// Where the C library looks for names first.
pub(super) const HOSTS: &str = "/etc/hosts";

/// A task that starts has its name as soon as a DNS server would have told it, a second later.
const RENEWAL: Duration = Duration::from_secs(1);

/// The file that a shell of this process is to see.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir
        .join("shell")
        .join(format!("hosts.{}", std::process::id()))
}

/// The machine's own file with the cluster's names behind it.
pub(super) async fn read(front: &Front) -> Result<String, Failure> {
    let own = fs::read_to_string(HOSTS).unwrap_or_default();
    let zone: Value = front.mesos("/mesos_dns/v1/axfr").await?;
    Ok(with_names(own, &zone["Records"]))
}

/// Adds a line for each address of each name.
fn with_names(own: String, records: &Value) -> String {
    let mut text = own;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(
        "# Seen by a shell of `zddcluster shell` only, and renewed as the cluster changes.\n",
    );
    for kind in ["As", "AAAAs"] {
        for (name, addresses) in records[kind].as_object().into_iter().flatten() {
            let name = name.trim_end_matches('.');
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.is_empty() || !name.chars().all(is_name) {
                continue;
            }
            let addresses = addresses.as_array().into_iter().flatten();
            let addresses = addresses.filter_map(|address| address.as_str()?.parse().ok());
            for address in addresses.collect::<Vec<IpAddr>>() {
                writeln!(text, "{address} {name}").expect("a string takes everything");
            }
        }
    }
    text
}

/// Replaces the content but not the file, which is what is mounted.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Starts the renewer of this process' file.
pub(super) fn start_renewer(path: &Path, data_dir: &Path) -> io::Result<()> {
    // The shell between ends at once, so that the renewer is not our child.
    let status = Command::new("/bin/sh")
        .args(["-c", r#""$0" "$@" &"#])
        .arg(std::env::current_exe()?)
        .args(["--quiet", "shell", "--data-dir"])
        .arg(data_dir)
        .arg("--renew-hosts")
        .arg(path)
        .args(["--of", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What is sent to all of the shell's group ends the shell; the renewer sees that, and has the file to take away.
        .process_group(0)
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("/bin/sh ended with {status}"))),
    }
}

/// Renews a file until the shell has ended or the file is gone.
pub(super) async fn renew(path: &Path, shell_pid: u32, front: &Front) {
    let began = began_at(shell_pid);
    let mut shown = String::new();
    while began.is_some() && began_at(shell_pid) == began {
        // While nobody answers the names stay as they are.
        if let Ok(text) = read(front).await
            && text != shown
        {
            if write(path, &text).is_err() {
                return;
            }
            shown = text;
        }
        if !path.exists() {
            return;
        }
        tokio::time::sleep(RENEWAL).await;
    }
    // Gone already is as good.
    let _ = fs::remove_file(path);
}

/// When a process began, in the kernel's words; `None` if there is none or it has ended.
fn began_at(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything: what follows counts from the last bracket. proc(5): state is field 3, start 22.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_cluster_s_names_follow_the_machine_s_own() {
        let records = json!({
            "As": {
                "base-zdd.marathon.mesos.": ["127.0.0.11", "127.0.0.12"],
                "evil\n1.1.1.1 bank.example": ["127.0.0.13"],
                "odd.mesos.": ["nowhere"],
            },
            "AAAAs": { "leader.mesos.": ["::1"] },
            "SRVs": { "_base-zdd._tcp.marathon.mesos.": ["x:1"] },
        });
        let text = with_names("127.0.0.1 localhost".to_owned(), &records);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "127.0.0.1 localhost",
                "127.0.0.11 base-zdd.marathon.mesos",
                "127.0.0.12 base-zdd.marathon.mesos",
                "::1 leader.mesos",
            ]
        );
    }

    #[test]
    fn the_file_stays_the_same_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        fs::write(&path, "a longer text than the next\n").unwrap();
        let mounted = OpenOptions::new().read(true).open(&path).unwrap();
        write(&path, "short\n").unwrap();
        assert_eq!(io::read_to_string(mounted).unwrap(), "short\n");
        fs::remove_file(&path).unwrap();
        write(&path, "x").unwrap_err();
    }

    #[test]
    fn a_process_is_known_by_its_begin() {
        assert!(began_at(std::process::id()).is_some());
        assert_eq!(began_at(std::process::id()), began_at(std::process::id()));
        assert_eq!(began_at(u32::MAX), None);
        let mut child = Command::new("true").spawn().unwrap();
        // Ended and not waited for is ended.
        while began_at(child.id()).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
