//! `dcos task log`.

use std::io::Cursor;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Cluster, TASK, said, verb_of};
use crate::args::Format;
use crate::dcos::{Context, Input, carry_out};
use crate::front::Front;
use crate::printer::Printer;
use crate::verbs::Hooks;

#[tokio::test]
async fn logs_end_with_the_wanted_lines() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    let lines: Vec<String> = (0..40).map(|n| format!("zeile {n} grüße")).collect();
    cluster.append("/box/stdout", format!("{}\n", lines.join("\n")).as_bytes());
    cluster.append("/box/stderr", b"");
    cluster.append("/old/stdout", b"gone\n");
    let last = |n: usize| format!("{}\n", lines[40 - n..].join("\n"));
    assert_eq!(
        cluster.dcos("task log zdd_base").await,
        said(&last(10), "", 0)
    );
    assert_eq!(
        cluster.dcos("task log --lines=3 zdd_base").await,
        said(&last(3), "", 0)
    );
    assert_eq!(
        cluster.dcos("task log --lines=100 zdd_base").await,
        said(&last(40), "", 0)
    );
    assert_eq!(
        cluster.dcos("task log zdd_base stderr").await,
        said("\n", "No logs for this task\n", 0)
    );
    let both = cluster
        .dcos("task log --completed --lines=1 zdd_base")
        .await;
    assert_eq!(
        both.out,
        format!(
            "===> task:{TASK}:stdout <===\n{}===> task:zdd_base.old:stdout <===\ngone\n",
            last(1)
        )
    );
    for (line, words) in [
        ("task log nothing", "No matching tasks. Exiting.\n"),
        ("task log zdd_base none", "No files exist. Exiting.\n"),
        (
            "task log zdd_base.old",
            "No running tasks match ID [zdd_base.old]; however, there is 1 matching completed task. \
             Run with --completed to see these logs.\n",
        ),
    ] {
        assert_eq!(cluster.dcos(line).await, said("", words, 1), "{line}");
    }
}

#[tokio::test]
async fn of_a_log_without_its_begin_all_is_printed_once() {
    let cluster = Cluster::start().await;
    let lines: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
    let log = format!("{}\n", lines.join("\n"));
    cluster.append("/master/log", log.as_bytes());
    cluster.drop_begin("/master/log", 5_000);
    assert_eq!(
        cluster.dcos("node log --leader --lines=1000").await,
        said(&log, "", 0)
    );
}

#[tokio::test]
async fn logs_are_followed() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox().append("/box/stderr", b"one\n");
    let (printer, captured) = Printer::captured(Format::Table);
    let input = Input {
        reader: Box::new(Cursor::new(Vec::new())),
        is_terminal: false,
    };
    let front = Front::at(cluster.origin.clone());
    let context = Context {
        front,
        printer: &printer,
        hooks: &Hooks::NONE,
        input: Mutex::new(input),
    };
    let following = carry_out(verb_of("task log --follow zdd_base stderr"), &context);
    let watching = async {
        until(|| captured.out() == "one\n", || captured.out()).await;
        cluster.append("/box/stderr", "two grüße\nthr".as_bytes());
        until(|| captured.out() == "one\ntwo grüße\n", || captured.out()).await;
        cluster.append("/box/stderr", b"ee\n");
        until(
            || captured.out() == "one\ntwo grüße\nthree\n",
            || captured.out(),
        )
        .await;
        cluster.rotate("/box/stderr", b"four\n");
        until(
            || captured.out().ends_with("three\nfour\n"),
            || captured.out(),
        )
        .await;
        cluster.append("/box/stderr", b"five\n");
        until(
            || captured.out().ends_with("three\nfour\nfive\n"),
            || captured.out(),
        )
        .await;
        // What a task itself writes for what it could not read is a character as any other.
        cluster.append("/box/stderr", "s\u{fffd}x\n".as_bytes());
        until(|| captured.out().ends_with("x\n"), || captured.out()).await;
        cluster.append("/box/stderr", b"seven\n");
        until(|| captured.out().ends_with("seven\n"), || captured.out()).await;
        assert!(
            captured.out().ends_with("five\ns\u{fffd}x\nseven\n"),
            "{}",
            captured.out()
        );
    };
    tokio::select! {
        ended = following => panic!("{ended:?}"),
        () = watching => {}
    }
}

/// Waits for a fact; fails with the last state after 20 s.
async fn until(is_so: impl Fn() -> bool, state: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "last seen: {:?}", state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
