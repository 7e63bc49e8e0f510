//! The processes of a cluster, as the kernel lists them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::ClusterSandbox;

impl ClusterSandbox {
    /// Command lines, by pid, of all processes that were given this cluster's directory or work in it: `up`, executors, tasks.
    pub fn processes(&self) -> BTreeMap<u32, String> {
        processes_of(&self.data_dir())
    }
}

/// The same for a cluster that keeps its books there.
pub fn processes_of(dir: &Path) -> BTreeMap<u32, String> {
    let own = std::process::id();
    pids()
        .filter(|pid| *pid != own)
        .filter_map(|pid| Some((pid, command_of(pid, dir)?)))
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process's command line, if it has to do with this directory. A zombie has none.
fn command_of(pid: u32, dir: &Path) -> Option<String> {
    let of = |name: &str| format!("/proc/{pid}/{name}");
    let command = fs::read(of("cmdline")).ok()?;
    let environment = fs::read(of("environ")).unwrap_or_default();
    let works_in = fs::read_link(of("cwd")).unwrap_or_default();
    let dir_text = dir.as_os_str().as_encoded_bytes();
    let names = |text: &[u8]| text.windows(dir_text.len()).any(|part| part == dir_text);
    let is_ours = !command.is_empty()
        && (works_in.starts_with(dir) || names(&command) || names(&environment));
    is_ours.then(|| String::from_utf8_lossy(&command).replace('\0', " "))
}

/// A variable of a living process's environment, as it was when its program began.
pub fn variable_of(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .find_map(|(found, value)| (found == name).then(|| value.to_owned()))
}
