use std::path::Path;

use super::*;

fn stdout(text: &str) -> LogOutput {
    LogOutput::StdOut {
        message: text.to_owned().into(),
    }
}

fn files(directory: &Path) -> Files {
    let log = |name| RotatingLog::resume(directory, name, LIMIT, u64::MAX).unwrap();
    let path = directory.join(POSITION);
    Files {
        stdout: log("stdout"),
        stderr: log("stderr"),
        position: durable::read_json(&path).unwrap().unwrap_or_default(),
        path,
        noted: Instant::now(),
    }
}

#[test]
fn each_message_once() {
    let directory = tempfile::tempdir().unwrap();
    let read = || std::fs::read_to_string(directory.path().join("stdout")).unwrap();
    let messages: Vec<LogOutput> = (1..=4)
        .map(|n| stdout(&format!("2026-11-24T22:20:23.00000000{n}Z line {n}\n")))
        .collect();
    let mut first = files(directory.path());
    first.take(&messages[0]);
    first.take(&messages[1]);
    first.note().unwrap();
    drop(first);

    // The next agent is told some of it again.
    let mut second = files(directory.path());
    for message in &messages {
        second.take(message);
    }
    assert_eq!(read(), "line 1\nline 2\nline 3\nline 4\n");
}

#[test]
fn messages_without_a_date_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = files(directory.path());
    files.take(&stdout("plain\n"));
    files.take(&stdout("2026-11-24T22:20:23.000000001Z \n"));
    let written = std::fs::read_to_string(directory.path().join("stdout")).unwrap();
    assert_eq!(written, "plain\n\n");
}
