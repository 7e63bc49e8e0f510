use super::*;

fn outcome(is_fresh: bool, sent_ms: u64, result: Result<Answer, Fault>) -> Outcome {
    Outcome {
        is_fresh,
        sent_at: Duration::from_millis(sent_ms),
        ended_at: Duration::from_millis(sent_ms + 10),
        latency: Duration::from_millis(10),
        was_retried: false,
        result,
    }
}

fn ok(version: &str) -> Result<Answer, Fault> {
    Ok(Answer {
        status: 200,
        version: Some(version.to_owned()),
    })
}

fn close(account: Account) -> Report {
    let config = Config::new("http://127.0.0.1:1/x", 10.0).unwrap();
    account.close(&config, 0, Duration::from_secs(2), 0)
}

#[test]
fn each_request_is_entered_once_in_every_view() {
    let live = Live::default();
    let mut account = Account::new(live.clone());
    let refused = || Fault::new(FailureKind::ConnectRefused, "refused".to_owned());
    let bad = Fault {
        kind: FailureKind::BadStatus,
        detail: "status 503".to_owned(),
        status: Some(503),
    };
    account.enter(outcome(true, 0, ok("0.9")));
    account.enter(outcome(true, 1300, Err(refused())));
    account.enter(outcome(false, 1200, ok("1.0")));
    // Ended later, but sent first.
    account.enter(outcome(false, 1100, Err(bad)));
    let report = close(account);
    assert_eq!((report.sent, report.ok, report.failed), (4, 2, 2));
    assert_eq!((live.ok(), live.failed()), (2, 2));
    assert_eq!(
        report.fresh,
        Tally {
            sent: 2,
            ok: 1,
            failed: 1
        }
    );
    assert_eq!(
        report.kept_alive,
        Tally {
            sent: 2,
            ok: 1,
            failed: 1
        }
    );
    assert_eq!(report.by_status, BTreeMap::from([(200, 2), (503, 1)]));
    assert_eq!(
        report.by_version,
        BTreeMap::from([("0.9".to_owned(), 1), ("1.0".to_owned(), 1)])
    );
    let kinds = [
        (FailureKind::ConnectRefused, 1),
        (FailureKind::BadStatus, 1),
    ];
    assert_eq!(report.failed_by, BTreeMap::from(kinds));
    assert!((9.9..=10.1).contains(&report.latency.p50_ms), "{report}");
    assert_eq!(report.first_failure.as_ref().unwrap().sent_ms, 1100.0);
    assert_eq!(report.last_failure.as_ref().unwrap().sent_ms, 1300.0);
    let seconds: Vec<_> = report
        .timeline
        .iter()
        .map(|s| (s.second, s.sent, s.ok, s.failed))
        .collect();
    assert_eq!(seconds, [(0, 1, 1, 0), (1, 3, 1, 2)]);
    assert!(!report.is_clean());
    let table = report.table();
    assert!(table.contains("failed        2\n"), "{table}");
    assert!(
        table.contains("first failure at 1.100 s: bad status: status 503\n"),
        "{table}"
    );
}

#[test]
fn a_report_survives_json() {
    let mut account = Account::new(Live::default());
    account.enter(outcome(
        true,
        0,
        Err(Fault::new(FailureKind::Closed, String::new())),
    ));
    let report = close(account);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["failed_by"]["closed"], 1);
    assert_eq!(json["mode"], "both");
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn a_server_that_makes_up_versions_does_not_fill_the_memory() {
    let mut account = Account::new(Live::default());
    for n in 0..1000 {
        account.enter(outcome(true, 0, ok(&n.to_string())));
    }
    let report = close(account);
    assert_eq!(report.by_version.len(), MAX_VERSIONS + 1);
    assert_eq!(report.by_version.values().sum::<u64>(), 1000);
}

#[test]
fn nothing_sent_is_not_clean() {
    let report = close(Account::new(Live::default()));
    assert!(!report.is_clean());
    assert_eq!(report.latency, Latency::default());
}
