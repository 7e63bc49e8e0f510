//! `up --detach`: the cluster as a process of its own, and a parent that stays until it is ready.
//!
//! ```text
//!   parent ── spawns `up` again, ZDD_DETACHED=1, stderr to up.log ──▶ child: setsid, starts the cluster
//!   parent ◀───────────── announcement through the child's stdout ── child: ready, closes stdout
//!   parent prints it, ends with 0                                     child goes on
//! ```
//!
//! A child that ends before it said anything failed; the parent shows its log and passes on its exit status.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

use crate::fault::Fault;

/// Set for the child only.
const DETACHED: &str = "ZDD_DETACHED";

/// Whether this process is the child.
pub(crate) fn is_child() -> bool {
    std::env::var_os(DETACHED).is_some()
}

/// Where the child's log goes.
pub(crate) fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("up.log")
}

/// In the child: leaves the parent's terminal and process group, so that its Ctrl-C and its end do not reach us.
pub(crate) fn leave_parent() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// In the child: tells the parent that all has been said. Its stdout is `/dev/null` from then on.
pub(crate) fn release_parent() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// In the parent: starts the child, passes on what it says, and returns when it is ready or has failed.
pub(crate) fn run_parent(data_dir: &Path) -> Result<ExitCode, Fault> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| {
            format!(
                "cannot use {} as data directory; hint: choose one that you may write, with --data-dir",
                data_dir.display()
            )
        })
        .map_err(Fault::settings)?;
    let log_path = log_path(data_dir);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))
        .map_err(Fault::settings)?;
    let log_start = log.metadata()?.len();

    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the cluster's process")?;
    let mut announcement = String::new();
    child
        .stdout
        .take()
        .context("the pipe was just asked for")?
        .read_to_string(&mut announcement)?;
    if announcement.is_empty() {
        let status = child.wait()?;
        let mut log = File::open(&log_path)?;
        io::Seek::seek(&mut log, io::SeekFrom::Start(log_start))?;
        io::copy(&mut log, &mut io::stderr())?;
        let code = status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1);
        return Ok(ExitCode::from(code.max(1)));
    }
    let mut out = io::stdout();
    out.write_all(announcement.as_bytes())?;
    writeln!(
        out,
        "runs in the background (pid {}), log {}; `zddcluster down` ends it",
        child.id(),
        log_path.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
