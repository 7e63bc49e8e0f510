//! `zddcluster doctor`: what on this machine would hinder a cluster, and what to do about it.
//!
//! What is looked at, the binary knows, which binds the sockets and starts the tasks; here it is told.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use super::Hooks;
use crate::args::{Containerizer, DoctorArgs, LoopbackNet};
use crate::cluster::{ClusterFile, data_dir};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::text::printable;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const POOR: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What a cluster is looked for with.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Where it would live.
    pub net: LoopbackNet,
    /// What would run its tasks.
    pub containerizer: Containerizer,
    /// Where it would keep its data.
    pub data_dir: std::path::PathBuf,
    /// The cluster that runs there already.
    pub running: Option<ClusterFile>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in a word.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A cluster runs, but something will not be as it could.
    Warning,
    /// A cluster cannot start, or not as it was asked for.
    Fault,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            finding: finding.into(),
            hint: None,
        }
    }

    /// Something will not be as it could.
    pub fn warning(
        name: &'static str,
        finding: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            name,
            verdict: Verdict::Warning,
            finding: finding.into(),
            hint: Some(hint.into()),
        }
    }

    /// A cluster cannot start.
    pub fn fault(name: &'static str, finding: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fault,
            ..Self::warning(name, finding, hint)
        }
    }
}

pub(super) async fn run(
    args: &DoctorArgs,
    printer: &Printer,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let DoctorArgs {
        data_dir: dir,
        net,
        containerizer,
    } = args;
    let data_dir = data_dir(dir.get())?;
    // One that cannot be read is a finding, too, and not the end of all others.
    let (running, unreadable) = match ClusterFile::read_running(&data_dir) {
        Ok(running) => (running, None),
        Err(error) => {
            let check = Check::fault("cluster file", error.to_string(), error.hint());
            (None, Some(check))
        }
    };
    let examined = Examined {
        // What runs has its addresses already.
        net: running.as_ref().map_or(*net, |cluster| cluster.net),
        containerizer: *containerizer,
        data_dir,
        running,
    };
    let mut checks: Vec<Check> = unreadable.into_iter().collect();
    checks.extend((hooks.examine)(examined).await);
    tell(&checks, printer)
}

fn tell(checks: &[Check], printer: &Printer) -> Result<ExitStatus, Failure> {
    let count = |verdict| {
        let of_it = checks.iter().filter(|check| check.verdict == verdict);
        of_it.count()
    };
    let (n_faults, n_warnings) = (count(Verdict::Fault), count(Verdict::Warning));
    let status = match n_faults {
        0 => ExitStatus::Success,
        _ => ExitStatus::Failure,
    };
    if printer.is_json() {
        printer.json(&json!({
            "checks": checks,
            "faults": n_faults,
            "warnings": n_warnings,
        }))?;
        return Ok(status);
    }
    let width = checks.iter().map(|check| check.name.len()).max();
    let width = width.unwrap_or(0);
    for check in checks {
        let Check {
            name,
            verdict,
            finding,
            hint,
        } = check;
        let (style, word) = match verdict {
            Verdict::Ok => (GOOD, "ok     "),
            Verdict::Warning => (POOR, "warning"),
            Verdict::Fault => (BAD, "fault  "),
        };
        let finding = printable(finding);
        printer.data(&format!("{style}{word}{style:#}  {name:width$}  {finding}"))?;
        if let Some(hint) = hint {
            let hint = printable(hint);
            printer.data(&format!("{:9}{:width$}  -> {hint}", "", ""))?;
        }
    }
    let verdict = match (n_faults, n_warnings) {
        (0, 0) => "nothing hinders a cluster here".to_owned(),
        (0, n) => format!("a cluster runs here; {}", counted(n, "warning")),
        (n, 0) => format!(
            "a cluster does not run here as asked for: {}",
            counted(n, "fault")
        ),
        (f, w) => format!(
            "a cluster does not run here as asked for: {}, {}",
            counted(f, "fault"),
            counted(w, "warning")
        ),
    };
    printer.data(&verdict)?;
    Ok(status)
}

fn counted(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn checks() -> Vec<Check> {
        vec![
            Check::ok("disk", "12 GB are free"),
            Check::warning("DNS", "port 53 is taken", "end its holder"),
            Check::fault("ports", "8080 is taken\u{1b}", "use --net"),
        ]
    }

    #[test]
    fn each_finding_is_told_with_what_to_do() {
        let (printer, captured) = Printer::captured(Format::Table);
        assert_eq!(tell(&checks(), &printer).unwrap(), ExitStatus::Failure);
        let lines = [
            "ok       disk   12 GB are free",
            "warning  DNS    port 53 is taken",
            "                -> end its holder",
            "fault    ports  8080 is taken\\u{1b}",
            "                -> use --net",
            "a cluster does not run here as asked for: 1 fault, 1 warning",
        ];
        assert_eq!(captured.out().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn only_a_fault_is_a_failure() {
        let (printer, captured) = Printer::captured(Format::Table);
        let checks = &checks()[..2];
        assert_eq!(tell(checks, &printer).unwrap(), ExitStatus::Success);
        assert!(captured.out().ends_with("a cluster runs here; 1 warning\n"));
    }

    #[test]
    fn programs_get_all_of_it() {
        let (printer, captured) = Printer::captured(Format::Json);
        tell(&checks(), &printer).unwrap();
        let told: serde_json::Value = serde_json::from_str(&captured.out()).unwrap();
        assert_eq!(told["faults"], 1);
        assert_eq!(told["checks"][1]["verdict"], "warning");
        assert_eq!(told["checks"][1]["hint"], "end its holder");
        assert!(told["checks"][0].get("hint").is_none());
    }
}
