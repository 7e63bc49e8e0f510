//! What `up` prints when the cluster is ready: where everything is, and how long it took. The last line is `ready in N ms`.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use zddcluster_cli::{ClusterFile, UpArgs};

use super::package::Installed;

/// Prints it to stdout.
pub(crate) fn cluster(
    file: &ClusterFile,
    args: &UpArgs,
    data_dir: &Path,
    dns_note: Option<&str>,
    installed: &[Installed],
    took: Duration,
) -> io::Result<()> {
    let text = render(file, args, data_dir, dns_note, installed, took);
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Nobody reads; the cluster runs all the same.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn render(
    file: &ClusterFile,
    args: &UpArgs,
    data_dir: &Path,
    dns_note: Option<&str>,
    installed: &[Installed],
    took: Duration,
) -> String {
    let mut lines = Vec::new();
    let mut line = |what: &str, text: String| lines.push(format!("{what:<16}{text}"));
    line("Marathon API", format!("{}/v2", file.front_url()));
    line("Mesos API", format!("http://{}", file.addresses.mesos));
    let note = dns_note.map_or_else(String::new, |note| format!(" ({note})"));
    line("DNS", format!("{}{note}", file.addresses.dns));
    for (role, what) in [("*", "private agents"), ("slave_public", "public agents")] {
        let hosts: Vec<&str> = file
            .agents
            .iter()
            .filter(|agent| agent.role == role)
            .map(|agent| agent.hostname.as_str())
            .collect();
        line(what, shorten(&hosts));
    }
    if let Some(edge) = file.addresses.edge {
        let edge_note = match installed {
            [] => "none yet: dcos package install marathon-lb",
            [Installed::Now(_), ..] => "marathon-lb is being installed",
            [Installed::Before(_), ..] => "marathon-lb was installed before",
            [Installed::Failed(_), ..] => "marathon-lb could not be installed, see the log",
        };
        line("edge", format!("{edge} ({edge_note})"));
    }
    line("data", data_dir.display().to_string());
    if args.speed != 1.0 {
        line(
            "speed",
            format!(
                "{}: intervals and back-off are divided by it, and so is your apps' kill grace",
                args.speed
            ),
        );
    }
    if args.no_drain {
        line(
            "drain",
            "off: SIGTERM does not wait for the edges".to_owned(),
        );
    }
    line("for your shell", "eval \"$(zddcluster env)\"".to_owned());
    lines.push(format!("ready in {} ms", took.as_millis()));
    lines.join("\n") + "\n"
}

/// At most six names.
fn shorten(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [first, .., last] if names.len() > 6 => format!("{} from {first} to {last}", names.len()),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_agents_are_a_range() {
        assert_eq!(shorten(&[]), "none");
        assert_eq!(shorten(&["a", "b"]), "a, b");
        assert_eq!(
            shorten(&["a", "b", "c", "d", "e", "f", "g"]),
            "7 from a to g"
        );
    }
}
