//! `dcos package …` against a small server that takes the media types of the package API, and no others; and what is said of apps
//! that want an edge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extension;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use zddcluster_model::package;

use super::{Cluster, Said, said};

const ERROR: &str = "application/vnd.dcos.package.error+json;charset=utf-8;version=v1";

/// What the server answers, and what it was asked: `verb version body`.
#[derive(Default)]
struct Known {
    answers: BTreeMap<&'static str, Value>,
    refusals: BTreeMap<&'static str, Value>,
    requests: Vec<String>,
}

struct Cosmos {
    cluster: Cluster,
    known: Arc<Mutex<Known>>,
}

impl Cosmos {
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
        let cluster = Cluster {
            origin,
            known: Arc::default(),
        };
        Self { cluster, known }
    }

    /// One that has the built-in universe, and the edge installed twice.
    async fn with_edge() -> Self {
        let cosmos = Self::start().await;
        let edge = package::find("marathon-lb").unwrap();
        let mut whole = edge.definition();
        whole["config"] = edge.config();
        whole["resource"] = edge.resource();
        whole["marathon"] = json!({ "v2AppMustacheTemplate": edge.template_base64() });
        cosmos.answers("describe", whole);
        let app = json!({ "id": "/marathon-lb", "cpus": 2 });
        cosmos.answers("render", json!({ "marathonJson": app }));
        cosmos.answers("install", json!({ "appId": "/marathon-lb" }));
        cosmos.answers(
            "list-versions",
            json!({ "results": { "1.4.1": "13", "1.10.0": "14", "1.4.0": "9" } }),
        );
        let entry = |app_id: &str| {
            json!({
                "appId": app_id,
                "packageInformation": { "packageDefinition": edge.definition(), "resourceDefinition": {} },
            })
        };
        let packages = [entry("/marathon-lb"), entry("/lb/two")];
        cosmos.answers("list", json!({ "packages": packages }));
        let result = json!({
            "packageName": "marathon-lb", "packageVersion": "1.4.1", "appId": "/marathon-lb",
            "postUninstallNotes": edge.post_uninstall_notes,
        });
        cosmos.answers("uninstall", json!({ "results": [result, result] }));
        cosmos
    }

    fn answers(&self, verb: &'static str, body: Value) {
        self.known.lock().unwrap().answers.insert(verb, body);
    }

    fn refuses(&self, verb: &'static str, name: &str, message: &str, data: Value) {
        let body = json!({ "type": name, "message": message, "data": data });
        self.known.lock().unwrap().refusals.insert(verb, body);
    }

    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().unwrap().requests)
    }

    async fn dcos(&self, line: &str) -> Said {
        self.cluster.dcos(&format!("package {line}")).await
    }
}

async fn answer(
    Extension(known): Extension<Arc<Mutex<Known>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut known = known.lock().unwrap();
    let header = |name: &str| headers[name].to_str().unwrap();
    let Some(verb) = uri.path().strip_prefix("/package/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let name = verb.replace('/', ".");
    let start = format!("application/vnd.dcos.package.{name}-response+json;charset=utf-8;version=");
    let content_type =
        format!("application/vnd.dcos.package.{name}-request+json;charset=utf-8;version=v1");
    let version = header("accept").strip_prefix(&start).unwrap_or("?");
    if method != Method::POST || version == "?" || header("content-type") != content_type {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let request = format!("{verb} {version} {}", String::from_utf8_lossy(&body));
    known.requests.push(request);
    if let Some(refusal) = known.refusals.get(verb) {
        let status = StatusCode::CONFLICT;
        return (status, [("content-type", ERROR)], refusal.to_string()).into_response();
    }
    match known.answers.get(verb) {
        Some(answer) => ([("content-type", header("accept"))], answer.to_string()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn a_package_is_installed_as_in_the_lab() {
    let cosmos = Cosmos::with_edge().await;
    let answer = async |line: &str, stdin: &str| cosmos.cluster.dcos_with(line, stdin).await;
    let installed = answer("package install marathon-lb", "maybe\nyes\n").await;
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
    assert_eq!(
        cosmos.take_requests(),
        [
            r#"describe v2 {"packageName":"marathon-lb"}"#,
            r#"render v1 {"packageName":"marathon-lb","packageVersion":"1.4.1"}"#,
            r#"install v2 {"packageName":"marathon-lb","packageVersion":"1.4.1","options":{}}"#,
        ]
    );

    let refused = answer("package install marathon-lb", "no\n").await;
    assert!(
        refused.out.ends_with("[yes/no] Exiting installation.\n") && refused.code == 0,
        "{refused:?}"
    );
    let silent = answer("package install marathon-lb", "").await;
    assert!(
        silent.err.contains("--yes") && silent.code == 1,
        "{silent:?}"
    );
    assert_eq!(cosmos.take_requests().len(), 2, "only described");

    let dir = tempfile::tempdir().unwrap();
    let options = dir.path().join("options.json");
    std::fs::write(&options, r#"{"marathon-lb": {"cpus": 1}}"#).unwrap();
    let line = format!(
        "install marathon-lb --app --yes --app-id lb/two --package-version 1.4.1 --options {}",
        options.display()
    );
    let second = cosmos.dcos(&line).await;
    assert!(
        second
            .out
            .contains("version [1.4.1] with app id [lb/two]\n"),
        "{second:?}"
    );
    let requests = cosmos.take_requests();
    assert!(requests[0].ends_with(r#"{"packageName":"marathon-lb","packageVersion":"1.4.1"}"#));
    assert!(
        requests[1].ends_with(r#""options":{"marathon-lb":{"cpus":1}}}"#),
        "{requests:?}"
    );
    assert!(requests[2].ends_with(r#""options":{"marathon-lb":{"cpus":1}},"appId":"lb/two"}"#));

    let nothing = cosmos.dcos("install --cli marathon-lb").await;
    assert_eq!(
        nothing,
        said(
            "",
            "hint: the package has no part for the command line\n",
            0
        )
    );
    std::fs::write(&options, "{").unwrap();
    cosmos.take_requests();
    let unreadable = cosmos.dcos(&line).await;
    assert_eq!((unreadable.code, unreadable.out.as_str()), (1, ""));
    assert!(cosmos.take_requests().is_empty());
}

#[tokio::test]
async fn refusals_are_printed_as_the_original_prints_them() {
    let cosmos = Cosmos::with_edge().await;
    cosmos.refuses(
        "install",
        "PackageAlreadyInstalled",
        "Package is already installed",
        Value::Null,
    );
    let again = cosmos.dcos("install marathon-lb --yes").await;
    assert!(
        again
            .err
            .starts_with("Package is already installed\nhint: "),
        "{again:?}"
    );
    assert!(
        again.out.ends_with("version [1.4.1]\n") && again.code == 1,
        "{again:?}"
    );

    let faults = json!({ "errors": [
        { "unwanted": ["cpu"], "instance": { "pointer": "/marathon-lb" } },
        { "found": "string", "expected": ["integer", "number"], "instance": { "pointer": "/marathon-lb/mem" } },
        { "missing": ["name"], "instance": { "pointer": "" } },
    ]});
    cosmos.refuses(
        "render",
        "JsonSchemaMismatch",
        "Options JSON failed validation",
        faults,
    );
    let mismatch = cosmos.dcos("install marathon-lb --yes").await;
    insta::assert_snapshot!(mismatch.err, @r"
    Error: Options JSON failed validation
    Unexpected properties: ['cpu']
    Path: marathon-lb
    Found: string
    Expected: integer,number
    Path: marathon-lb.mem
    Required parameter missing: name
    Path: 

    Please create a JSON file with the appropriate options, and pass the /path/to/file as an --options argument.
    ");
    assert!(!mismatch.out.contains("Installing"), "{mismatch:?}");

    for (name, message, data, expected) in [
        (
            "MarathonBadResponse",
            "Object is not valid",
            json!({ "errors": [{ "path": "/id", "error": "/id: no" }, { "errors": ["one", "two"] }] }),
            "Object is not valid\n/id: no\none\ntwo\n",
        ),
        (
            "PackageNotFound",
            "Package [nope] not found",
            json!({ "packageName": "nope" }),
            "Package [nope] not found\nhint: see what there is with: dcos package search\n",
        ),
        (
            "VersionNotFound",
            "Version [9] of package [x] not found",
            json!({ "packageName": "x" }),
            "Version [9] of package [x] not found\nhint: see them with: dcos package describe --package-versions x\n",
        ),
        ("Anything", "M", Value::Null, "M\n"),
    ] {
        cosmos.refuses("describe", name, message, data);
        assert_eq!(cosmos.dcos("describe x").await, said("", expected, 1));
    }
    let words = "Multiple apps named [x] are installed: [/a, /b]";
    cosmos.refuses("uninstall", "AmbiguousAppId", words, Value::Null);
    let expected = format!(
        "{words}.\nPlease use --app-id to specify the ID of the app to uninstall, or use --all to uninstall all apps.\n"
    );
    assert_eq!(
        cosmos.dcos("uninstall marathon-lb").await,
        said("", &expected, 1)
    );
    for line in [
        "repo add a http://b --index 0",
        "repo remove Universe Other",
    ] {
        let verb = if line.contains("add") {
            "repository/add"
        } else {
            "repository/delete"
        };
        cosmos.refuses(verb, "RepositoryIsBuiltIn", "It stays", Value::Null);
        assert_eq!(cosmos.dcos(line).await, said("", "It stays\n", 1));
    }
    assert_eq!(
        cosmos
            .take_requests()
            .into_iter()
            .rev()
            .take(2)
            .collect::<Vec<_>>(),
        [
            r#"repository/delete v1 {"name":"Universe"}"#,
            r#"repository/add v1 {"name":"a","uri":"http://b","index":0}"#,
        ]
    );

    // No package API at all.
    let bare = Cosmos::start().await;
    let none = bare.dcos("search").await;
    assert!(
        none.err
            .starts_with("This version of the DC/OS CLI is not supported"),
        "{none:?}"
    );
}

#[tokio::test]
async fn packages_are_searched_and_described() {
    let cosmos = Cosmos::with_edge().await;
    cosmos.answers("search", json!({ "packages": [
        { "name": "marathon-lb", "currentVersion": "1.4.1", "selected": true, "framework": false,
          "description": "HAProxy configured using Marathon state" },
        { "name": "long", "currentVersion": "0", "framework": true, "description": "ä".repeat(80) },
    ]}));
    insta::assert_snapshot!(cosmos.dcos("search lb").await.out, @r"
    NAME         VERSION  SELECTED  FRAMEWORK  DESCRIPTION
    marathon-lb  1.4.1    True      False      HAProxy configured using Marathon state
    long         0        False     True       äääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää...
    ");
    let found = cosmos.dcos("search --json").await.out;
    assert!(found.starts_with("{\n  \"packages\": ["), "{found}");
    assert_eq!(cosmos.take_requests()[1], r#"search v1 {"query":""}"#);
    cosmos.answers("search", json!({ "packages": [] }));
    assert_eq!(
        cosmos.dcos("search nope").await,
        said("", "No packages found.\n", 1)
    );

    let edge = package::find("marathon-lb").unwrap();
    let json_of = |said: Said| serde_json::from_str::<Value>(&said.out).unwrap();
    assert_eq!(
        json_of(cosmos.dcos("describe marathon-lb").await),
        edge.definition()
    );
    assert_eq!(
        json_of(cosmos.dcos("describe --config marathon-lb").await),
        edge.config()
    );
    let template = cosmos.dcos("describe --app marathon-lb").await;
    assert_eq!(template, said(edge.template, "", 0));
    cosmos.take_requests();
    let rendered = json_of(cosmos.dcos("describe --app --render marathon-lb").await);
    assert_eq!(rendered, json!({ "id": "/marathon-lb", "cpus": 2 }));
    assert!(cosmos.take_requests()[1].starts_with("render v1 "));
    assert_eq!(
        cosmos.dcos("describe --cli marathon-lb").await,
        said(
            "",
            "hint: the package has no part for the command line\n",
            0
        )
    );
    assert_eq!(
        json_of(cosmos.dcos("describe --package-versions marathon-lb").await),
        json!(["1.10.0", "1.4.1", "1.4.0"])
    );
    assert_eq!(
        cosmos
            .dcos("describe --package-versions --app marathon-lb")
            .await,
        said(
            "",
            "If --package-versions is provided, no other option can be provided\n",
            1
        )
    );
    cosmos.answers(
        "repository/list",
        json!({ "repositories": [{ "name": "Universe", "uri": "built-in" }] }),
    );
    assert_eq!(
        cosmos.dcos("repo list").await,
        said("Universe: built-in\n", "", 0)
    );
}

#[tokio::test]
async fn what_is_installed_is_listed_and_removed() {
    let cosmos = Cosmos::with_edge().await;
    insta::assert_snapshot!(cosmos.dcos("list").await.out, @r"
    NAME         VERSION  APP           COMMAND  DESCRIPTION
    marathon-lb  1.4.1    /lb/two       ---      HAProxy configured using Marathon state
                          /marathon-lb
    ");
    cosmos.dcos("list --app-id lb/two marathon-lb").await;
    assert_eq!(
        cosmos.take_requests(),
        [
            "list v1 {}",
            r#"list v1 {"packageName":"marathon-lb","appId":"/lb/two"}"#
        ]
    );
    let listed: Value = serde_json::from_str(&cosmos.dcos("list --json").await.out).unwrap();
    assert_eq!(listed[0]["apps"], json!(["/lb/two", "/marathon-lb"]));
    assert_eq!(listed[0]["version"], "1.4.1");
    assert_eq!(cosmos.dcos("list --cli --json").await, said("[]\n", "", 0));

    cosmos.take_requests();
    let removed = said(
        "",
        "Uninstalled package [marathon-lb] version [1.4.1]\n\
         Marathon-lb DC/OS Service has been uninstalled and will no longer run.\n",
        0,
    );
    assert_eq!(
        cosmos.dcos("uninstall --all --yes marathon-lb").await,
        removed
    );
    assert_eq!(
        cosmos.dcos("uninstall --app-id lb/two marathon-lb").await,
        removed
    );
    assert_eq!(
        cosmos.take_requests(),
        [
            r#"list v1 {"packageName":"marathon-lb"}"#,
            r#"uninstall v1 {"packageName":"marathon-lb","all":true}"#,
            r#"list v1 {"packageName":"marathon-lb","appId":"/lb/two"}"#,
            r#"uninstall v1 {"packageName":"marathon-lb","appId":"/lb/two"}"#,
        ]
    );
    cosmos.answers("list", json!({ "packages": [] }));
    for (line, words) in [
        (
            "uninstall marathon-lb",
            "Package [marathon-lb] is not installed\n",
        ),
        (
            "uninstall --cli marathon-lb",
            "Package [marathon-lb] is not installed\n",
        ),
        (
            "uninstall --app-id x marathon-lb",
            "Package [marathon-lb] with id [/x] is not installed\n",
        ),
        (
            "list",
            "There are currently no installed packages. Please use `dcos package install` to install a package.\n",
        ),
    ] {
        assert_eq!(cosmos.dcos(line).await, said("", words, 1));
    }
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
async fn repositories_are_not_updated_by_hand() {
    let cluster = Cluster::start().await;
    cluster.answer("GET /capabilities", 200, json!({ "capabilities": [] }));
    let refused = cluster.dcos("package update").await;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .starts_with("This command has been deprecated. Repositories will be"),
        "{refused:?}"
    );
}
