//! The pictures of the lab's updates, and what is said of words that cannot be understood. No cluster runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::args::{Format, Invocation, parse};
use crate::verbs::{ClientVerb, Hooks, run_client};

/// A directory with the lab's definitions: `base.json` as it is, `base-1.0.json` at its next version.
struct Lab(TempDir);

impl Lab {
    fn new() -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "default/base.json",
            "default/base-health.json",
            "default/base-ready.json",
            "default/base-min-over.json",
            "blue-green/blue.json",
            "blue-green/green.json",
        ] {
            let text = std::fs::read_to_string(examples.join(path)).unwrap();
            let name = Path::new(path).file_stem().unwrap().to_str().unwrap();
            let next = text.replace("\"0.9\"", "\"1.0\"");
            std::fs::write(dir.path().join(format!("{name}.json")), text).unwrap();
            std::fs::write(dir.path().join(format!("{name}-1.0.json")), next).unwrap();
        }
        Self(dir)
    }

    fn write(&self, name: &str, definition: &Value) {
        std::fs::write(self.path(name), definition.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `zddcluster plan` with these words, in which a file is one of this directory.
    async fn plan(&self, line: &str) -> (ExitStatus, String, String) {
        self.plan_as(line, Format::Table).await
    }

    async fn plan_as(&self, line: &str, format: Format) -> (ExitStatus, String, String) {
        let words = line.split_whitespace().map(|word| {
            let path = self.path(word);
            if path.is_file() {
                path.display().to_string()
            } else {
                word.to_owned()
            }
        });
        let argv = ["zddcluster", "plan"].map(str::to_owned).into_iter();
        let parsed = parse(argv.chain(words)).unwrap_or_else(|usage| panic!("{line}: {usage}"));
        let Invocation::Client(ClientVerb(verb)) = parsed.invocation else {
            panic!("{line}")
        };
        let (printer, captured) = Printer::captured(format);
        let status = run_client(ClientVerb(verb), &printer, &Hooks::NONE).await;
        let dir = self.0.path().display().to_string();
        let tidy = |text: String| text.replace(&dir, "DIR");
        (status, tidy(captured.out()), tidy(captured.err()))
    }

    /// The picture of an update that finishes.
    async fn picture(&self, line: &str) -> String {
        let (status, out, err) = self.plan(line).await;
        assert_eq!((status, err.as_str()), (ExitStatus::Success, ""), "{out}");
        out
    }

    /// The picture of an update that does not.
    async fn stuck(&self, line: &str) -> String {
        let (status, out, err) = self.plan(line).await;
        assert_eq!(status, ExitStatus::Failure, "{out}");
        assert!(err.starts_with("hint: "), "{err}");
        out + &err
    }
}

#[tokio::test]
async fn pictures_of_the_labs_updates() {
    let lab = Lab::new();
    for name in ["base", "base-health", "base-ready", "base-min-over"] {
        let line = format!("{name}-1.0.json --agents 2 --from {name}.json");
        insta::assert_snapshot!(name, lab.picture(&line).await);
    }
    // As the recorded session: the service ignores SIGTERM.
    let line = "base-min-over-1.0.json --agents 2 --from base-min-over.json --ignores-sigterm \
                --start-seconds 0.9 --answer-seconds 2.6";
    insta::assert_snapshot!("base-min-over_as_recorded", lab.picture(line).await);

    insta::assert_snapshot!(
        "green_beside_blue",
        lab.picture("green.json --agents 2 --from blue.json").await
    );
    lab.write(
        "cut-over.json",
        &json!([
            { "id": "/zdd/green", "labels": { "HAPROXY_GROUP": "external" } },
            { "id": "/zdd/blue", "instances": 0 },
        ]),
    );
    insta::assert_snapshot!(
        "blue_to_green",
        lab.picture("cut-over.json --agents 2 --from blue.json --from green.json")
            .await
    );
}

#[tokio::test]
async fn pictures_of_updates_that_cannot_finish() {
    let lab = Lab::new();
    let old = "--agents 2 --from base-health.json";
    insta::assert_snapshot!(
        "just_enough_room",
        lab.picture("base-health-1.0.json --cpus 0.3 --agents 2 --from base-health.json")
            .await
    );
    insta::assert_snapshot!(
        "too_little_room",
        lab.stuck("base-health-1.0.json --cpus 0.2 --agents 2 --from base-health.json")
            .await
    );
    insta::assert_snapshot!(
        "one_never_gets_healthy",
        lab.stuck(&format!("base-health-1.0.json {old} --fails 1"))
            .await
    );
    insta::assert_snapshot!(
        "two_end_by_themselves",
        lab.stuck(&format!("base-health-1.0.json {old} --crashes 2"))
            .await
    );
    insta::assert_snapshot!(
        "a_constraint",
        lab.stuck(r#"/zdd/base constraints=[["hostname","UNIQUE"]] --agents 2 --from base.json"#)
            .await
    );
    insta::assert_snapshot!(
        "never_ready",
        lab.stuck("base-ready-1.0.json --agents 2 --from base-ready.json --fails all")
            .await
    );
}

#[tokio::test]
async fn many_tasks_are_counted() {
    let lab = Lab::new();
    let line = "/zdd/base instances=30 --agents 3 --from base.json";
    insta::assert_snapshot!(lab.picture(line).await);
}

#[tokio::test]
async fn programs_get_the_timeline() {
    let lab = Lab::new();
    let line = "base-1.0.json --agents 2 --from base.json";
    let (status, out, _) = lab.plan_as(line, Format::Json).await;
    assert_eq!(status, ExitStatus::Success);
    let timeline: Timeline = serde_json::from_str(&out).unwrap();
    assert_eq!(timeline.total_millis, Some(1_200));
}

#[tokio::test]
async fn an_unchanged_app_is_said_to_be_one() {
    let lab = Lab::new();
    let out = lab.picture("base.json --agents 2 --from base.json").await;
    assert!(out.contains("nothing changes"), "{out}");
}

#[tokio::test]
async fn faults_say_what_to_do() {
    let lab = Lab::new();
    lab.write("no-id.json", &json!({ "instances": 2 }));
    lab.write("text.json", &json!("text"));
    lab.write("broken.json", &json!({ "id": "/a", "cpus": "1" }));
    lab.write("rules.json", &json!({ "id": "/a", "cmd": "x", "cpus": -1 }));
    lab.write("large.json", &json!({ "id": "/a", "cmd": "x", "cpus": 9 }));
    for (line, parts) in [
        (
            "/zdd/base",
            &["nothing is to change", "hint: add a file or KEY=VALUE"][..],
        ),
        (
            "instances=5",
            &["but of which app", "hint: put the app's id before it"],
        ),
        ("missing.json", &["cannot read missing.json"]),
        ("/a missing.json", &["cannot read missing.json"]),
        (
            "no-id.json",
            &["names no app", "hint: put the app's id before it"],
        ),
        ("text.json", &["neither an app"]),
        (
            "broken.json --agents 1",
            &["/apps(0)/cpus", "error.expected.jsnumber"],
        ),
        ("rules.json --agents 1", &["/cpus", "got -1"]),
        (
            "base.json --agents 1 --from large.json",
            &["does not come up", "9 wanted", "hint: give more"],
        ),
        (
            "base.json --cluster text.json",
            &["it is not a cluster", "hint: write one down"],
        ),
    ] {
        let (status, out, err) = lab.plan(line).await;
        assert_eq!(status, ExitStatus::Failure, "{line}: {out}");
        for part in parts {
            assert!(err.contains(part), "{line}: {part}: {err}");
        }
    }
}
