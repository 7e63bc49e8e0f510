//! The records of the recorded state, against those the original made of it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use zddcluster_client::mesos::State;
use zddcluster_dns::{Records, Zone};

mod support;

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/mesos-dns-records.json")).expect("JSON")
}

/// Whether every label of a name can be sent.
fn fits(name: &str) -> bool {
    name.trim_end_matches('.')
        .split('.')
        .all(|label| (1..=63).contains(&label.len()))
}

/// All records as `TYPE owner value`.
fn lines(records: &Records) -> BTreeSet<String> {
    let a = records
        .a
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| format!("A {name} {value}")));
    let aaaa = records.aaaa.iter().flat_map(|(name, values)| {
        values
            .iter()
            .map(move |value| format!("AAAA {name} {value}"))
    });
    let srv = records.srv.iter().flat_map(|(name, values)| {
        values
            .iter()
            .map(move |value| format!("SRV {name} {}:{}", value.target, value.port))
    });
    a.chain(aaaa).chain(srv).collect()
}

/// The recorded ones, without those that cannot be sent: the original keeps them and then fails to answer.
fn recorded_lines(axfr: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (kind, key) in [("A", "As"), ("AAAA", "AAAAs"), ("SRV", "SRVs")] {
        for (name, values) in axfr["Records"][key].as_object().expect("a map") {
            for value in values.as_array().expect("a list") {
                let value = value.as_str().expect("text");
                let is_sendable = fits(name) && (kind != "SRV" || fits(target(value)));
                if is_sendable {
                    lines.insert(format!("{kind} {name} {value}"));
                }
            }
        }
    }
    lines
}

fn target(service: &str) -> &str {
    service
        .rsplit_once(':')
        .map_or(service, |(target, _)| target)
}

/// The names that stand for those that cannot be sent: what was cut, and the number of such tasks' records.
fn is_cut(line: &str) -> bool {
    let starts = [
        format!("{}-88mej-s1.", "n".repeat(54)),
        format!("{}-8qqdp-s1.", "u".repeat(54)),
        format!("{}-e5mhq-s1.", "u".repeat(54)),
        "application-with-a-name-very-long-group-name-number-tw-1ahor-s2.".to_owned(),
    ];
    starts.iter().any(|start| line.contains(start))
}

#[test]
fn every_profile_has_the_originals_records() {
    let recorded = recorded();
    for (profile, n_cut) in [("lab", 20), ("defaults", 20), ("rfc952", 0)] {
        let axfr = &recorded[profile]["axfr"];
        let ours = lines(&support::records(profile));
        let theirs = recorded_lines(axfr);
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let added: Vec<_> = ours.difference(&theirs).collect();
        assert!(missing.is_empty(), "{profile} lacks {missing:#?}");
        assert!(
            added.iter().all(|line| is_cut(line)),
            "{profile} adds {added:#?}"
        );
        assert_eq!(added.len(), n_cut, "{profile} adds {added:#?}");
        let zone = support::zone(profile);
        assert_eq!(
            zone.records(),
            &support::records(profile),
            "the same each time"
        );
    }
}

#[test]
fn records_are_made_in_the_originals_order() {
    let recorded = recorded();
    let frameworks = recorded["lab"]["enumerate"]["frameworks"]
        .as_array()
        .expect("a list");
    let ours = support::records("lab").frameworks;
    assert_eq!(ours.len(), frameworks.len());
    for (ours, theirs) in ours.iter().zip(frameworks) {
        assert_eq!(theirs["name"], ours.name.as_str());
        let tasks = theirs["tasks"].as_array().expect("a list");
        assert_eq!(ours.tasks.len(), tasks.len(), "{}", ours.name);
        for (ours, theirs) in ours.tasks.iter().zip(tasks) {
            assert_eq!(theirs["name"], ours.name.as_str());
            assert_eq!(theirs["id"], ours.id.as_str());
            let theirs: Vec<String> = theirs["records"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .map(|r| [&r["rtype"], &r["name"], &r["host"]].map(|v| v.as_str().expect("text")))
                .filter(|[rtype, name, host]| fits(name) && (*rtype != "SRV" || fits(target(host))))
                .map(|fields| fields.join(" "))
                .collect();
            let ours: Vec<String> = ours
                .records
                .iter()
                .map(|record| format!("{} {} {}", record.rtype, record.name, record.host))
                .filter(|line| !is_cut(line))
                .collect();
            assert_eq!(ours, theirs);
        }
    }
}

/// Replaces the `n`-th value of a document, counted in depth-first order.
fn replace(value: &mut Value, n: &mut usize, with: &Value) {
    if *n == 0 {
        *value = with.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, n, with)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| replace(field, n, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_faulty_value_takes_away_no_more_than_its_own_records(
        at in 0..3000_usize,
        with in prop::sample::select(vec![
            json!(null), json!("x"), json!(""), json!(-1), json!(70000), json!(1e300), json!([]), json!({}),
            json!([3]), json!("master@nowhere:99999"), json!("[1-99999999999, 3-2, -, 7]"), json!("\u{e9}.\u{0}."),
        ]),
    ) {
        let mut document = support::state_document();
        replace(&mut document, &mut at.clone(), &with);
        let config = support::config("defaults");
        // Only the leader may make all of it useless.
        if let Ok(state) = State::from_v0(document) {
            let records = Records::of(&state, &config);
            prop_assert!(records.a.contains_key("ns1.mesos."));
            Zone::new(records, &config, 1);
        }
    }
}
