//! Commands against a small server that answers as a cluster does and writes down what it was asked.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extension;
use axum::http::{Method as Verb, StatusCode, Uri};
use serde_json::{Value, json};

use super::{Context, Input, carry_out};
use crate::args::{Format, Invocation, parse};
use crate::front::Front;
use crate::printer::Printer;
use crate::verbs::{ClientVerb, Verb as ClientVerbs, end_as_dcos};

const TASK: &str = "zdd_base.75443553-9070-11e6-aae4-3a4b79075094";
const AGENT: &str = "145f052d-8bcb-457f-b1e6-b1b4e2cdf787-S1";
/// The fake agent's answers are no longer than this, so that a file takes several.
const CHUNK: usize = 64;

mod groups;

/// What the server knows and has seen.
#[derive(Default)]
struct Known {
    answers: BTreeMap<String, (u16, String)>,
    files: BTreeMap<String, Vec<u8>>,
    requests: Vec<String>,
}

/// A server that stands for a cluster.
struct Cluster {
    origin: String,
    known: Arc<Mutex<Known>>,
}

/// What a command printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
    code: u8,
}

fn said(out: &str, err: &str, code: u8) -> Said {
    Said {
        out: out.into(),
        err: err.into(),
        code,
    }
}

impl Cluster {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server ends with the test's runtime"
    )]
    async fn start() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&known));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, known }
    }

    /// From now on `request`, a method and a path below Marathon's, is answered so.
    fn marathon(&self, request: &str, status: u16, body: Value) -> &Self {
        let (method, path) = request.split_once(' ').unwrap();
        self.answer(&format!("{method} /service/marathon/{path}"), status, body)
    }

    fn answer(&self, request: &str, status: u16, body: Value) -> &Self {
        let mut known = self.known.lock().unwrap();
        known
            .answers
            .insert(request.to_owned(), (status, body.to_string()));
        self
    }

    fn append(&self, path: &str, text: &[u8]) {
        let mut known = self.known.lock().unwrap();
        known
            .files
            .entry(path.to_owned())
            .or_default()
            .extend_from_slice(text);
    }

    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().unwrap().requests)
    }

    async fn dcos(&self, line: &str) -> Said {
        self.dcos_with(line, "").await
    }

    async fn dcos_with(&self, line: &str, stdin: &str) -> Said {
        let (printer, captured) = Printer::captured(format_of(line));
        let input = Input {
            reader: Box::new(Cursor::new(stdin.to_owned().into_bytes())),
            is_terminal: false,
        };
        let context = Context {
            front: Front::at(self.origin.clone()),
            printer: &printer,
            input: Mutex::new(input),
        };
        let status = end_as_dcos(&printer, carry_out(verb_of(line), &context).await);
        Said {
            out: captured.out(),
            err: captured.err(),
            code: status.code(),
        }
    }

    /// A cluster with one task whose sandbox is `/box`.
    fn with_sandbox(&self) -> &Self {
        let task = json!({
            "id": TASK, "name": "base.zdd", "state": "TASK_RUNNING", "slave_id": AGENT,
        });
        let mut ended = task.clone();
        ended["id"] = "zdd_base.old".into();
        ended["state"] = "TASK_KILLED".into();
        let framework = json!({
            "id": "F", "user": "root", "active": true, "tasks": [task], "completed_tasks": [ended],
        });
        let slave =
            json!({ "id": AGENT, "hostname": "10.0.3.193", "pid": "slave(1)@10.0.3.193:5051" });
        let state =
            json!({ "frameworks": [framework], "completed_frameworks": [], "slaves": [slave] });
        self.answer("GET /mesos/master/state.json", 200, state);
        let executor = |id: &str, directory: &str| {
            json!({ "id": id, "directory": directory, "tasks": [{ "id": id }],
                    "completed_tasks": [], "queued_tasks": [] })
        };
        let agent = json!({ "completed_frameworks": [], "frameworks": [{
            "executors": [executor(TASK, "/box")],
            "completed_executors": [executor("zdd_base.old", "/old")],
        }]});
        self.answer(&format!("GET /slave/{AGENT}/state.json"), 200, agent)
    }
}

fn format_of(line: &str) -> Format {
    if line.contains("--output json") {
        Format::Json
    } else {
        Format::Table
    }
}

fn verb_of(line: &str) -> super::DcosVerb {
    let argv = std::iter::once("dcos").chain(line.split_whitespace());
    let parsed = parse(argv).unwrap_or_else(|usage| panic!("{line}: {usage}"));
    match parsed.invocation {
        Invocation::Client(ClientVerb(ClientVerbs::Dcos(args))) => args.verb.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn answer(
    Extension(known): Extension<Arc<Mutex<Known>>>,
    method: Verb,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, String) {
    let mut known = known.lock().unwrap();
    let request = format!("{method} {uri}");
    if let Some(answer) = file_answer(&known, &uri) {
        return answer;
    }
    let body = String::from_utf8_lossy(&body);
    known.requests.push(
        format!("{request} {body}")
            .trim_end()
            .replace("/service/marathon/", ""),
    );
    match known.answers.get(&request) {
        Some((status, body)) => (StatusCode::from_u16(*status).unwrap(), body.clone()),
        None => (
            StatusCode::NOT_FOUND,
            json!({ "message": format!("no {request}") }).to_string(),
        ),
    }
}

/// files/read.json as an agent answers it.
fn file_answer(known: &Known, uri: &Uri) -> Option<(StatusCode, String)> {
    let query = uri
        .query()
        .filter(|_| uri.path().ends_with("/files/read.json"))?;
    let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let Some(file) = known.files.get(&query["path"]) else {
        return Some((StatusCode::NOT_FOUND, String::new()));
    };
    let (offset, length): (i64, i64) = (
        query["offset"].parse().unwrap(),
        query["length"].parse().unwrap(),
    );
    let Ok(offset) = usize::try_from(offset) else {
        return Some((
            StatusCode::OK,
            json!({ "data": "", "offset": file.len() }).to_string(),
        ));
    };
    let rest = file.get(offset..).unwrap_or_default();
    let length = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(CHUNK)
        .min(rest.len());
    // As an agent does: a character that is cut at the end is left for the next answer.
    let whole = rest[..length]
        .utf8_chunks()
        .last()
        .filter(|last| last.invalid().len() < length);
    let cut = whole.map_or(0, |last| last.invalid().len());
    let data = String::from_utf8_lossy(&rest[..length - cut]);
    Some((
        StatusCode::OK,
        json!({ "data": data, "offset": offset }).to_string(),
    ))
}

fn lab_task(id: &str, host: &str, started: &str) -> Value {
    json!({ "id": id, "appId": "/zdd/base", "host": host, "startedAt": started })
}

#[tokio::test]
async fn tasks_are_listed_as_in_the_lab() {
    let cluster = Cluster::start().await;
    let mut sick = lab_task("zdd_other.1", "10.0.3.193", "2016-10-12T11:38:56.861Z");
    sick["appId"] = "/zdd/other".into();
    sick["healthCheckResults"] = json!([{ "alive": true }, { "alive": false }]);
    let tasks = json!({ "tasks": [
        lab_task(TASK, "10.0.3.193", "2016-10-12T11:38:56.861Z"), sick,
        lab_task("zdd_base.75440e42-9070-11e6-aae4-3a4b79075094", "10.0.3.192", "2016-10-12T11:38:56.845Z"),
    ]});
    cluster.marathon("GET v2/tasks", 200, tasks);
    let listing = "\
APP        HEALTHY          STARTED              HOST     ID
/zdd/base    True   2016-10-12T11:38:56.845Z  10.0.3.192  zdd_base.75440e42-9070-11e6-aae4-3a4b79075094
/zdd/base    True   2016-10-12T11:38:56.861Z  10.0.3.193  zdd_base.75443553-9070-11e6-aae4-3a4b79075094
";
    for id in ["/zdd/base", "zdd/base", "zdd//base/"] {
        assert_eq!(
            cluster.dcos(&format!("marathon task list {id}")).await,
            said(listing, "", 0)
        );
    }
    assert!(
        cluster
            .dcos("marathon task list /zdd/other")
            .await
            .out
            .contains("False")
    );
    assert_eq!(
        cluster.dcos("marathon task list /none").await,
        said("", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon task list /none --json").await,
        said("[]\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon task show zdd_other.2").await,
        said("", "Task 'zdd_other.2' does not exist\n", 1)
    );
    let shown = cluster.dcos(&format!("marathon task show {TASK}")).await;
    assert!(
        shown
            .out
            .starts_with("{\n  \"appId\": \"/zdd/base\",\n  \"host\""),
        "{shown:?}"
    );
}

#[tokio::test]
async fn an_app_is_added_once() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "id": "/zdd/base", "deployments": [{ "id": "D1" }] }),
    );
    let definition = r#"{"id": "/zdd/base", "instances": 4, "mem": 32}"#;
    assert_eq!(
        cluster.dcos_with("marathon app add", definition).await,
        said("Created deployment D1\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests(),
        [
            "GET v2/apps/zdd/base",
            r#"POST v2/apps {"id":"/zdd/base","instances":4,"mem":32}"#
        ]
    );
    assert_eq!(
        cluster
            .dcos_with("marathon app add --output json", definition)
            .await
            .out,
        "{\n  \"deploymentId\": \"D1\"\n}\n"
    );
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "id": "/zdd/base" } }),
    );
    let again = cluster.dcos_with("marathon app add", definition).await;
    assert_eq!(
        again,
        said(
            "",
            "Application '/zdd/base' already exists\n\
             hint: to change it: dcos marathon app update /zdd/base < FILE\n",
            1
        )
    );
}

#[tokio::test]
async fn definitions_come_from_files_and_addresses_too() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D1" }] }),
    );
    cluster.answer("GET /x.json", 200, json!({ "id": "/x" }));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.json");
    std::fs::write(&file, r#"{"id": "/y"}"#).unwrap();
    for resource in [
        format!("{}/x.json", cluster.origin),
        file.display().to_string(),
    ] {
        let added = cluster.dcos(&format!("marathon app add {resource}")).await;
        assert_eq!(added, said("Created deployment D1\n", "", 0), "{resource}");
    }
    for (resource, words) in [
        (
            "/gone.json".to_owned(),
            "Can't read from resource: /gone.json.\nPlease check that it exists.\n",
        ),
        (
            "https://example.com/a.json".to_owned(),
            "Only files and http:// addresses can be read.",
        ),
    ] {
        let refused = cluster.dcos(&format!("marathon app add {resource}")).await;
        assert!(
            refused.err.contains(words) && refused.code == 1,
            "{refused:?}"
        );
    }
    let broken = cluster.dcos_with("marathon app add", "{").await;
    assert!(
        broken.err.starts_with("Error loading JSON: ") && broken.code == 1,
        "{broken:?}"
    );
}

#[tokio::test]
async fn an_app_is_updated() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 4 } }),
    );
    cluster.marathon(
        "PUT v2/apps/zdd/base",
        200,
        json!({ "version": "V", "deploymentId": "D2" }),
    );
    cluster.marathon(
        "PUT v2/apps/zdd/base?force=true",
        200,
        json!({ "deploymentId": "D3" }),
    );
    let line = "marathon app update /zdd/base instances=5 env={\"A\":\"b\"} cmd=null";
    assert_eq!(
        cluster.dcos(line).await,
        said("Created deployment D2\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests()[1],
        r#"PUT v2/apps/zdd/base {"instances":5,"env":{"A":"b"},"cmd":null}"#
    );
    let updated = cluster
        .dcos_with("marathon app update --force zdd/base", r#"{"cpus": 0.5}"#)
        .await;
    assert_eq!(updated, said("Created deployment D3\n", "", 0));

    cluster.marathon(
        "PUT v2/apps/zdd/base",
        409,
        json!({ "message": "App is locked" }),
    );
    assert_eq!(
        cluster.dcos(line).await,
        said(
            "",
            "Changes blocked: deployment already in progress for app.\n\
             hint: wait for it (dcos marathon deployment list), or override it with --force\n",
            1
        )
    );
    let missing = json!({ "message": "App '/x' does not exist" });
    cluster.marathon("GET v2/apps/x", 404, missing);
    assert_eq!(
        cluster.dcos("marathon app update x instances=5").await,
        said("", "Error: App '/x' does not exist\n", 1)
    );
}

#[tokio::test]
async fn apps_are_started_stopped_and_restarted() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 4 } }),
    );
    cluster.marathon("PUT v2/apps/zdd/base", 200, json!({ "deploymentId": "D" }));
    cluster.marathon(
        "POST v2/apps/zdd/base/restart",
        200,
        json!({ "deploymentId": "R" }),
    );
    cluster.marathon(
        "DELETE v2/apps/zdd/base",
        200,
        json!({ "deploymentId": "X" }),
    );
    cluster.marathon(
        "DELETE v2/apps/zdd/base/tasks?host=h",
        200,
        json!({ "tasks": [{ "id": "t" }] }),
    );
    assert_eq!(
        cluster.dcos("marathon app start zdd/base").await,
        said(
            "Application 'zdd/base' already started: 4 instances.\n",
            "",
            1
        )
    );
    assert_eq!(
        cluster.dcos("marathon app stop zdd/base").await,
        said("Created deployment D\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app restart zdd/base").await,
        said("Created deployment R\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app remove zdd/base").await,
        said("", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app kill --host=h zdd/base").await,
        said("Killed tasks: [{'id': 't'}]\n", "", 0)
    );
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 0 } }),
    );
    cluster.take_requests();
    assert_eq!(
        cluster.dcos("marathon app stop zdd/base").await,
        said(
            "Application 'zdd/base' already stopped: 0 instances.\n",
            "",
            1
        )
    );
    assert_eq!(
        cluster.dcos("marathon app restart zdd/base").await,
        said(
            "Unable to perform rolling restart of application '/zdd/base' because it has no running tasks\n",
            "",
            1
        )
    );
    assert_eq!(cluster.dcos("marathon app start zdd/base -1").await.code, 1);
    assert_eq!(cluster.dcos("marathon app start zdd/base 3").await.code, 0);
    let requests = cluster.take_requests();
    assert_eq!(
        requests.last().unwrap(),
        r#"PUT v2/apps/zdd/base {"id":"zdd/base","instances":3}"#
    );
}

#[tokio::test]
async fn apps_are_listed_with_what_happens_to_them() {
    let cluster = Cluster::start().await;
    let app = |id: &str| {
        json!({ "id": id, "mem": 32, "cpus": 0.1, "instances": 4, "tasksRunning": 2, "tasksHealthy": 1,
                "healthChecks": [], "deployments": [], "container": null, "cmd": null, "args": null })
    };
    let mut base = app("/zdd/base");
    base["container"] = json!({ "type": "DOCKER" });
    base["healthChecks"] = json!([{}]);
    base["deployments"] = json!([{ "id": "D" }]);
    let mut sleeper = app("/sleep");
    sleeper["cmd"] = "while true; do echo hello world; sleep 10; done".into();
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [base, sleeper] }));
    let deployment = json!({ "id": "D", "affectedApps": ["/zdd/base"], "currentStep": 1, "totalSteps": 2,
        "currentActions": [{ "action": "RestartApplication", "app": "/zdd/base" }] });
    cluster.marathon("GET v2/deployments", 200, json!([deployment]));
    let queue = json!({ "queue": [{ "app": { "id": "/sleep" }, "delay": { "overdue": true } }] });
    cluster.marathon("GET v2/queue", 200, queue);
    insta::assert_snapshot!(cluster.dcos("marathon app list").await.out, @r"
    ID         MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER  CMD
    /sleep      32  0.1    2/4    ---       ---      True       mesos    while true; do echo hello world;...
    /zdd/base   32  0.1    2/4    1/2     restart    False      DOCKER   None
    ");
    insta::assert_snapshot!(cluster.dcos("marathon deployment list").await.out, @r"
    APP        POD  ACTION   PROGRESS  ID
    /zdd/base  -    restart    0/2     D
    ");
    assert_eq!(
        cluster.dcos("marathon deployment list /sleep").await,
        said("", "There are no deployments for '/sleep'\n", 1)
    );
    assert_eq!(
        cluster.dcos("marathon deployment list /sleep --json").await,
        said("[]\n", "", 0)
    );
}

#[tokio::test]
async fn versions_are_counted_from_the_current_one() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/a/versions",
        200,
        json!({ "versions": ["2016-10-12T11:38:56.861Z", "V1"] }),
    );
    cluster.marathon(
        "GET v2/apps/a/versions/V1",
        200,
        json!({ "id": "/a", "version": "V1" }),
    );
    let shown = cluster.dcos("marathon app show --app-version=-1 a").await;
    assert_eq!(
        shown.out,
        "{\n  \"id\": \"/a\",\n  \"version\": \"V1\"\n}\n"
    );
    assert_eq!(
        cluster.dcos("marathon app show --app-version V1 a").await,
        shown
    );
    assert_eq!(
        cluster.dcos("marathon app show --app-version=-2 a").await,
        said("", "Application 'a' only has 2 version(s).\n", 1)
    );
    assert_eq!(
        cluster
            .dcos("marathon app version list --max-count 1 a")
            .await
            .out,
        "[\n  \"2016-10-12T11:38:56.861Z\"\n]\n"
    );
}

#[tokio::test]
async fn a_deployment_is_watched_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.marathon("GET v2/deployments", 200, json!([]));
    assert_eq!(
        cluster.dcos("marathon deployment watch D").await,
        said(
            "",
            "No such deployment runs: it is done, or never was.\n",
            0
        )
    );
    cluster.marathon(
        "GET v2/deployments",
        200,
        json!([{ "id": "D", "currentStep": 1, "totalSteps": 1 }]),
    );
    let seen = cluster
        .dcos("marathon deployment watch --max-count 1 D")
        .await;
    assert!(
        seen.out.starts_with("Deployment update time: 20"),
        "{seen:?}"
    );
    assert!(
        seen.out.ends_with("\"totalSteps\": 1\n}\n") && seen.code == 0,
        "{seen:?}"
    );
}

#[tokio::test]
async fn mesos_tasks_and_nodes() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    let running = format!(
        "NAME      HOST        USER  STATE  ID\nbase.zdd  10.0.3.193  root    R    {TASK}\n"
    );
    assert_eq!(cluster.dcos("task").await, said(&running, "", 0));
    let all = cluster.dcos("task --completed zdd_*").await.out;
    assert!(
        all.contains("  K    zdd_base.old\n") && all.contains(TASK),
        "{all}"
    );
    assert_eq!(cluster.dcos("task nothing").await, said("", "", 0));
    let slaves = json!({ "slaves": [{ "id": AGENT, "hostname": "10.0.3.193", "pid": "slave(1)@10.0.3.193:5051" }] });
    cluster.answer("GET /mesos/master/state-summary", 200, slaves);
    insta::assert_snapshot!(cluster.dcos("node").await.out, @"
     HOSTNAME       IP                         ID
    10.0.3.193  10.0.3.193  145f052d-8bcb-457f-b1e6-b1b4e2cdf787-S1
    ");
}

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

#[tokio::test]
async fn a_package_is_installed_as_in_the_lab() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D" }] }),
    );
    let installed = cluster
        .dcos_with("package install marathon-lb", "maybe\nyes\n")
        .await;
    assert_eq!(
        installed,
        said(
            "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service.\n\
             Continue installing? [yes/no] 'maybe' is not a valid response.\n\
             Continue installing? [yes/no] Installing Marathon app for package [marathon-lb] version [1.4.1]\n\
             Marathon-lb DC/OS Service has been successfully installed!\n\
             See https://github.com/mesosphere/marathon-lb for documentation.\n",
            "",
            0
        )
    );
    let requests = cluster.take_requests();
    let app = requests[1].strip_prefix("POST v2/apps ").unwrap();
    let app: Value = serde_json::from_str(app).unwrap();
    assert_eq!(app["id"], "/marathon-lb");

    cluster.marathon("GET v2/apps/marathon-lb", 200, json!({ "app": app }));
    let again = cluster.dcos("package install marathon-lb --yes").await;
    assert!(
        again.err.starts_with("Package is already installed\n") && again.code == 1,
        "{again:?}"
    );
    let refused = cluster
        .dcos_with("package install marathon-lb", "no\n")
        .await;
    assert!(
        refused.out.ends_with("Exiting installation.\n") && refused.code == 0,
        "{refused:?}"
    );
    let silent = cluster.dcos("package install marathon-lb").await;
    assert!(
        silent.err.contains("--yes") && silent.code == 1,
        "{silent:?}"
    );
    assert_eq!(
        cluster.dcos("package install nope").await,
        said(
            "",
            "Package [nope] not found\nhint: built in: marathon-lb\n",
            1
        )
    );

    cluster.marathon("GET v2/apps", 200, json!({ "apps": [app] }));
    cluster.marathon(
        "DELETE v2/apps/marathon-lb",
        200,
        json!({ "deploymentId": "D" }),
    );
    insta::assert_snapshot!(cluster.dcos("package list").await.out, @r"
    NAME         VERSION  APP           COMMAND  DESCRIPTION
    marathon-lb  1.4.1    /marathon-lb  ---      HAProxy configured using Marathon state
    ");
    assert_eq!(
        cluster.dcos("package uninstall marathon-lb").await,
        said(
            "",
            "Uninstalled package [marathon-lb] version [1.4.1]\n\
             Marathon-lb DC/OS Service has been uninstalled and will no longer run.\n",
            0
        )
    );
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [] }));
    assert_eq!(
        cluster.dcos("package uninstall marathon-lb").await,
        said("", "Package [marathon-lb] is not installed\n", 1)
    );
}

#[tokio::test]
async fn an_app_for_the_edge_without_an_edge_gets_a_hint() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D" }] }),
    );
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [] }));
    let blue = r#"{"id": "/zdd/blue", "labels": {"HAPROXY_GROUP": "external"}}"#;
    let added = cluster.dcos_with("marathon app add", blue).await;
    assert!(
        added.err.starts_with("hint: ") && added.err.contains("package install marathon-lb"),
        "{added:?}"
    );
    let edge = json!({ "id": "/marathon-lb", "instances": 1, "labels": { "DCOS_PACKAGE_NAME": "marathon-lb" } });
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [edge] }));
    assert_eq!(cluster.dcos_with("marathon app add", blue).await.err, "");
}

#[tokio::test]
async fn nobody_at_the_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cluster = Cluster {
        origin: origin.clone(),
        known: Arc::default(),
    };
    let failed = cluster.dcos("marathon app list").await;
    let words = format!("URL [{origin}/service/marathon/v2/apps] is unreachable: ");
    assert!(failed.err.starts_with(&words), "{failed:?}");
    assert!(
        failed.err.ends_with("hint: start it with: zddcluster up\n"),
        "{failed:?}"
    );
    assert_eq!(failed.code, 1);
}

#[tokio::test]
async fn texts_of_others_do_not_steer_the_terminal() {
    let cluster = Cluster::start().await;
    let evil = "\u{1b}]0;pwned\u{7}";
    cluster.marathon(
        "GET v2/tasks",
        200,
        json!({ "tasks": [lab_task(evil, "h", "now")] }),
    );
    cluster.marathon("GET v2/apps/x", 404, json!({ "message": evil }));
    for line in [
        "marathon task list",
        "marathon task list --json",
        "marathon app show x",
    ] {
        let shown = cluster.dcos(line).await;
        assert!(!(shown.out + &shown.err).contains('\u{1b}'), "{line}");
    }
}

#[tokio::test]
async fn deployments_are_undone_and_stopped() {
    let cluster = Cluster::start().await;
    let answer = json!({ "version": "2016-10-13T13:31:39.055Z", "deploymentId": "D2" });
    cluster.marathon("DELETE v2/deployments/D1", 200, answer);
    cluster.marathon("DELETE v2/deployments/D1?force=true", 202, json!(null));
    let undone = cluster.dcos("marathon deployment rollback D1").await;
    assert_eq!(
        undone,
        said(
            "{\n  \"deploymentId\": \"D2\",\n  \"version\": \"2016-10-13T13:31:39.055Z\"\n}\n",
            "",
            0
        )
    );
    let stopped = cluster.dcos("marathon deployment stop D1").await;
    assert_eq!(stopped, said("", "", 0));
    let message = json!({ "message": "DeploymentPlan D9 does not exist" });
    cluster.marathon("DELETE v2/deployments/D9", 404, message);
    let unknown = cluster.dcos("marathon deployment rollback D9").await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("DeploymentPlan D9 does not exist"),
        "{unknown:?}"
    );
}
