//! A network bridge for an engine of a test's own: the machine's engine has `docker0`, and two that give out its addresses get
//! in each other's way.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// Bridges and their nets: `zddbr0` has 10.213.0.1/24, and so on.
const N_BRIDGES: u8 = 100;

/// A bridge of this machine, taken away when dropped.
#[derive(Debug)]
pub(crate) struct Bridge {
    name: String,
    /// Locked as long as the bridge is in use; other test processes take the next one.
    _claim: File,
}

impl Bridge {
    /// Makes one that nobody else uses. Needs root, and `ip`.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join("zddcluster-test-bridges");
        fs::create_dir_all(&dir)?;
        for n in 0..N_BRIDGES {
            let claim = File::create(dir.join(n.to_string()))?;
            if claim.try_lock().is_err() {
                continue;
            }
            let bridge = Self {
                name: format!("zddbr{n}"),
                _claim: claim,
            };
            // One that a test left that was killed.
            let _ = ip(&["link", "delete", &bridge.name]);
            ip(&["link", "add", &bridge.name, "type", "bridge"])?;
            ip(&[
                "addr",
                "add",
                &format!("10.213.{n}.1/24"),
                "dev",
                &bridge.name,
            ])?;
            ip(&["link", "set", &bridge.name, "up"])?;
            return Ok(bridge);
        }
        anyhow::bail!("all {N_BRIDGES} test bridges are taken")
    }

    /// As `dockerd --bridge` takes it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = ip(&["link", "delete", &self.name]);
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot run `ip`")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {args:?}: {}", stderr.trim());
    Ok(())
}
