//! Commands against a small server that answers as a cluster does and writes down what it was asked.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extension;
use axum::http::{Method as Verb, StatusCode, Uri};
use serde_json::{Value, json};

use super::{Context, Input, carry_out};
use crate::args::{DcosVerb, Format, Invocation, RemoteVerb, parse};
use crate::front::Front;
use crate::printer::Printer;
use crate::verbs::{ClientVerb, Hooks, Verb as ClientVerbs, end_as_dcos};

const TASK: &str = "zdd_base.75443553-9070-11e6-aae4-3a4b79075094";
const AGENT: &str = "145f052d-8bcb-457f-b1e6-b1b4e2cdf787-S1";
/// The fake agent's answers are no longer than this, so that a file takes several.
const CHUNK: usize = 64;

mod app;
mod deployment;
mod group;
mod local;
mod log;
mod marathon;
mod node;
mod package;
mod queue;
mod sandboxes;
mod service;
mod task;

/// What the server knows and has seen.
#[derive(Default)]
struct Known {
    answers: BTreeMap<String, (u16, String)>,
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes at the begin of a file that are not kept.
    dropped: BTreeMap<String, usize>,
    requests: Vec<String>,
    /// This request is never answered.
    silent_at: Option<String>,
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

    fn is_silent_at(&self, request: &str) {
        self.known.lock().unwrap().silent_at = Some(request.to_owned());
    }

    /// Waits for a request; fails after 20 s.
    async fn is_asked(&self, request: &str) {
        let asked = async {
            while !self
                .known
                .lock()
                .unwrap()
                .requests
                .iter()
                .any(|seen| seen == request)
            {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, asked).await.expect(request);
    }

    /// What a process does with its own log.
    fn drop_begin(&self, path: &str, n_bytes: usize) {
        let mut known = self.known.lock().unwrap();
        known.dropped.insert(path.to_owned(), n_bytes);
    }

    /// What an agent does with a log that has become long.
    fn rotate(&self, path: &str, begin: &[u8]) {
        let mut known = self.known.lock().unwrap();
        known.files.insert(path.to_owned(), begin.to_vec());
    }

    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().unwrap().requests)
    }

    async fn dcos(&self, line: &str) -> Said {
        self.dcos_with(line, "").await
    }

    async fn dcos_with(&self, line: &str, stdin: &str) -> Said {
        self.dcos_hooked(line, stdin, &Hooks::NONE).await
    }

    async fn dcos_hooked(&self, line: &str, stdin: &str, hooks: &Hooks) -> Said {
        let (printer, captured) = Printer::captured(format_of(line));
        let input = Input {
            reader: Box::new(Cursor::new(stdin.to_owned().into_bytes())),
            is_terminal: false,
        };
        let context = Context {
            front: Front::at(self.origin.clone()),
            printer: &printer,
            hooks,
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

fn verb_of(line: &str) -> RemoteVerb {
    let argv = std::iter::once("dcos").chain(line.split_whitespace());
    let parsed = parse(argv).unwrap_or_else(|usage| panic!("{line}: {usage}"));
    match parsed.invocation {
        Invocation::Client(ClientVerb(ClientVerbs::Dcos(args))) => match args.verb {
            Some(DcosVerb::Remote(verb)) => verb,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn answer(
    Extension(known): Extension<Arc<Mutex<Known>>>,
    method: Verb,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, String) {
    let answer = known.lock().unwrap().answer(&method, &uri, &body);
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

impl Known {
    fn answer(&mut self, method: &Verb, uri: &Uri, body: &[u8]) -> Option<(StatusCode, String)> {
        let request = format!("{method} {uri}");
        if let Some(answer) = file_answer(self, uri) {
            return Some(answer);
        }
        let body = String::from_utf8_lossy(body);
        self.requests.push(
            format!("{request} {body}")
                .trim_end()
                .replace("/service/marathon/", ""),
        );
        if self.silent_at.as_ref() == Some(&request) {
            return None;
        }
        Some(match self.answers.get(&request) {
            Some((status, body)) => (StatusCode::from_u16(*status).unwrap(), body.clone()),
            None => (
                StatusCode::NOT_FOUND,
                json!({ "message": format!("no {request}") }).to_string(),
            ),
        })
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
    let n_dropped = known.dropped.get(&query["path"]).copied().unwrap_or(0);
    let size = n_dropped + file.len();
    let inside = usize::try_from(offset).ok();
    let Some(offset) = inside.filter(|offset| *offset < size) else {
        return Some((
            StatusCode::OK,
            json!({ "data": "", "offset": size }).to_string(),
        ));
    };
    let offset = offset.max(n_dropped);
    let rest = &file[offset - n_dropped..];
    let length = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(CHUNK)
        .min(rest.len());
    // As an agent does: a character that is cut at the end is left for the next answer, and the text is as long as its bytes.
    let whole = rest[..length]
        .utf8_chunks()
        .last()
        .filter(|last| last.invalid().len() < length);
    let cut = whole.map_or(0, |last| last.invalid().len());
    let mut data = String::new();
    for chunk in rest[..length - cut].utf8_chunks() {
        data.push_str(chunk.valid());
        data.extend(chunk.invalid().iter().map(|_| '?'));
    }
    Some((
        StatusCode::OK,
        json!({ "data": data, "offset": offset }).to_string(),
    ))
}

fn lab_task(id: &str, host: &str, started: &str) -> Value {
    json!({ "id": id, "appId": "/zdd/base", "host": host, "startedAt": started })
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
