//! A wall clock that can be set back under a running process, without touching the machine's.
//!
//! Every Rust program asks libc's `clock_gettime`. A library put before libc answers for it, and shows an hour less once a
//! file is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const SOURCE: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    const char *is_back = getenv("ZDD_TEST_CLOCK_IS_BACK");
    int kept = errno;
    if (result == 0 && clock == CLOCK_REALTIME && is_back && access(is_back, F_OK) == 0)
        now->tv_sec -= 3600;
    errno = kept;
    return result;
}
"#;

/// The clock of the processes started with its environment.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    /// There once the clock is set back.
    is_back: PathBuf,
}

impl WallClock {
    /// Makes one in this directory. Needs a C compiler.
    pub fn build(dir: &Path) -> anyhow::Result<Self> {
        let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
        fs::write(&source, SOURCE)?;
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .output()
            .context("there is no C compiler here")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the C compiler fails: {stderr}");
        Ok(Self {
            library,
            is_back: dir.join("is-back"),
        })
    }

    /// For the process that is to see this clock.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", &self.library),
            ("ZDD_TEST_CLOCK_IS_BACK", &self.is_back),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .into()
    }

    /// Sets it back by an hour.
    pub fn set_back(&self) -> anyhow::Result<()> {
        Ok(fs::write(&self.is_back, "")?)
    }
}
