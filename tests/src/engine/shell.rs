//! An image with a shell, made of this machine's own programs: no registry is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::Engine;

/// What the shell may call.
const PROGRAMS: [&str; 12] = [
    "sh", "cat", "dd", "env", "head", "id", "ls", "seq", "setsid", "sleep", "tail", "yes",
];

/// An image with a shell; dropped, it is taken away.
#[derive(Debug)]
pub struct ShellImage<'a> {
    engine: &'a Engine,
    name: String,
}

impl ShellImage<'_> {
    /// As an app names it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Engine {
    /// Makes an image with a shell, under a name that no other test uses.
    pub fn shell_image(&self) -> anyhow::Result<ShellImage<'_>> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("zddtest-shell-{}-{number}:1", std::process::id());
        let root = TempDir::with_prefix("zdd-image-")?;
        for program in PROGRAMS {
            copy_program(program, root.path())?;
        }
        for directory in ["tmp", "etc"] {
            fs::create_dir(root.path().join(directory))?;
        }
        fs::copy("/etc/passwd", root.path().join("etc/passwd"))?;
        let mut packing = Command::new("tar")
            .arg("-C")
            .arg(root.path())
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `tar`")?;
        let packed = packing
            .stdout
            .take()
            .context("the pipe was just asked for")?;
        let output = Command::new("docker")
            .args(["import", "-", &name])
            .env("DOCKER_HOST", self.host())
            .stdin(packed)
            .output()
            .context("cannot run `docker`")?;
        ensure!(packing.wait()?.success(), "`tar` failed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker import: {stderr}");
        Ok(ShellImage { engine: self, name })
    }
}

impl Drop for ShellImage<'_> {
    fn drop(&mut self) {
        // Containers of a cluster that a failed test left may still use it; then the name goes, at least.
        let _ = self.engine.docker(&["rmi", "--force", &self.name]);
    }
}

/// A program, and the libraries it is linked with, at the places where they are here.
fn copy_program(program: &str, root: &Path) -> anyhow::Result<()> {
    let path = ["/bin", "/usr/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists())
        .with_context(|| format!("there is no {program} here"))?;
    let linked = Command::new("ldd").arg(&path).output()?;
    let said = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = said
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    let inside = Path::new("/bin").join(program);
    for (from, to) in libraries
        .map(|library| (library.clone(), library))
        .chain([(path, inside)])
    {
        let to = root.join(to.strip_prefix("/")?);
        if to.exists() {
            continue;
        }
        fs::create_dir_all(to.parent().context("it is below the root")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}
