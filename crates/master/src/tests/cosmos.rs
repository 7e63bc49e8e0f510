//! The package API over HTTP: a table for each verb and for what it refuses (contract dcos-cli §8).

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use zddcluster_model::package;

use super::cluster::{Answer, Cluster, keys};

mod refusals;

const ERROR: &str = "application/vnd.dcos.package.error+json;charset=utf-8;version=v1";

fn media_type(name: &str, version: &str) -> String {
    format!("application/vnd.dcos.package.{name}+json;charset=utf-8;version={version}")
}

/// Asks as the clients do.
async fn ask(cluster: &Cluster, verb: &str, version: &str, body: &Value) -> Answer {
    let name = verb.replace('/', ".");
    let accept = media_type(&format!("{name}-response"), version);
    let content_type = media_type(&format!("{name}-request"), "v1");
    ask_so(cluster, verb, &accept, &content_type, body.to_string()).await
}

async fn ask_so(
    cluster: &Cluster,
    verb: &str,
    accept: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::post(cluster.url(&format!("/package/{verb}")));
    for (key, value) in [("accept", accept), ("content-type", content_type)] {
        if !value.is_empty() {
            request = request.header(key, value);
        }
    }
    cluster.request(request.body(body.into()).unwrap()).await
}

/// The body of a good answer, whose type is the one that was asked for.
async fn good(cluster: &Cluster, verb: &str, version: &str, body: &Value) -> Value {
    let answer = ask(cluster, verb, version, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{verb}: {}", answer.text);
    let name = format!("{}-response", verb.replace('/', "."));
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert_eq!(content_type, media_type(&name, version));
    answer.body
}

/// Checks a refusal whole: status, type and message, and that clients can read it.
fn check_refusal(what: &str, answer: &Answer, expected: (u16, &str, &str)) {
    let field = |key: &str| answer.body[key].as_str().unwrap_or_default();
    let got = (answer.status.as_u16(), field("type"), field("message"));
    assert_eq!(got, expected, "{what}");
    assert_eq!(answer.headers["content-type"], ERROR, "{what}");
}

#[tokio::test]
async fn capabilities_keep_clients_off_what_is_not_there() {
    let cluster = Cluster::start().await;
    let media_type = "application/vnd.dcos.capabilities+json;charset=utf-8;version=v1";
    for accept in [media_type, "*/*"] {
        let request = Request::get(cluster.url("/capabilities"))
            .header("accept", accept)
            .header("content-type", media_type);
        let answer = cluster.request(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.headers["content-type"], media_type);
        assert_eq!(
            answer.body,
            json!({"capabilities": [{"name": "PACKAGE_MANAGEMENT"}]})
        );
    }
    let head = cluster.call(Method::HEAD, "/capabilities", "").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    let posted = cluster.call(Method::POST, "/capabilities", "{}").await;
    assert_eq!(posted.status, StatusCode::NOT_FOUND);
    let request = Request::get(cluster.url("/capabilities")).header("accept", "application/json");
    let refused = cluster.request(request.body(Bytes::new()).unwrap()).await;
    assert_eq!(
        (&refused.status, &refused.body["type"]),
        (&StatusCode::BAD_REQUEST, &json!("not_valid"))
    );
    assert_eq!(refused.body["data"]["available"], json!([media_type]));
    cluster.stop().await;
}

#[tokio::test]
async fn the_universe_is_searched() {
    let cluster = Cluster::start().await;
    let edge = json!({
        "name": "marathon-lb",
        "currentVersion": "1.4.1",
        "versions": {"1.4.1": "13"},
        "description": "HAProxy configured using Marathon state",
        "framework": false,
        "tags": ["loadbalancer", "service-discovery", "reverse-proxy", "proxy", "haproxy"],
        "selected": true,
    });
    for (body, found) in [
        (json!({"query": ""}), true),
        (json!({}), true),
        (json!({"query": null}), true),
        (json!({"query": "marathon"}), true),
        (json!({"query": "HAPROXY"}), true),
        (json!({"query": "mara*lb"}), true),
        (json!({"query": "balancer", "from a newer client": 1}), true),
        (json!({"query": "vamp"}), false),
        (json!({"query": "elasticsearch"}), false),
    ] {
        let packages: &[&Value] = if found { &[&edge] } else { &[] };
        let expected = json!({ "packages": packages });
        assert_eq!(
            good(&cluster, "search", "v1", &body).await,
            expected,
            "{body}"
        );
    }
    let versions = json!({"packageName": "marathon-lb", "includePackageVersions": true});
    assert_eq!(
        good(&cluster, "list-versions", "v1", &versions).await,
        json!({"results": {"1.4.1": "13"}})
    );
    assert_eq!(
        good(&cluster, "repository/list", "v1", &json!({})).await,
        json!({"repositories": [{"name": "Universe", "uri": "built-in"}]})
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_package_is_described_in_each_version() {
    let cluster = Cluster::start().await;
    let package = package::find("marathon-lb").unwrap();
    let body = json!({"packageName": "marathon-lb", "packageVersion": "1.4.1"});
    let v1 = good(&cluster, "describe", "v1", &body).await;
    assert_eq!(
        v1,
        json!({
            "package": package.definition(),
            "marathonMustache": package.template,
            "config": package.config(),
            "resource": package.resource(),
        })
    );
    let v2 = good(&cluster, "describe", "v2", &body).await;
    let template = v2["marathon"]["v2AppMustacheTemplate"].as_str().unwrap();
    let template = BASE64.decode(template.as_bytes()).unwrap();
    assert_eq!(template, package.template.as_bytes());
    for (key, value) in v1["package"].as_object().unwrap() {
        assert_eq!(v2[key], *value);
    }
    assert_eq!(
        (&v2["config"], &v2["resource"]),
        (&v1["config"], &v1["resource"])
    );
    // What the lab shows.
    assert_eq!(v2["version"], "1.4.1");
    assert_eq!(
        v2["preInstallNotes"],
        "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service."
    );
    // With one of these a client would look for a program to download.
    assert!(v2.get("command").is_none() && v2["resource"].get("cli").is_none());
    let v3 = good(
        &cluster,
        "describe",
        "v3",
        &json!({"packageName": "marathon-lb"}),
    )
    .await;
    assert_eq!(v3, json!({ "package": v2 }));
    cluster.stop().await;
}

/// The defaults as the lab prints them.
#[tokio::test]
async fn the_lab_s_options_are_the_defaults() {
    let cluster = Cluster::start().await;
    let in_the_lab = json!({"marathon-lb": {
        "auto-assign-service-ports": false,
        "bind-http-https": true,
        "cpus": 2,
        "haproxy-group": "external",
        "haproxy-map": true,
        "instances": 1,
        "mem": 1024,
        "minimumHealthCapacity": 0.5,
        "maximumOverCapacity": 0.2,
        "name": "marathon-lb",
        "role": "slave_public",
        "sysctl-params": "net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_fin_timeout=30 net.ipv4.tcp_max_syn_backlog=10240 net.ipv4.tcp_max_tw_buckets=400000 net.ipv4.tcp_max_orphans=60000 net.core.somaxconn=10000",
        "marathon-uri": "http://master.mesos:8080"
    }});
    let render = async |options: Value| {
        let body = json!({"packageName": "marathon-lb", "options": options});
        let mut app = good(&cluster, "render", "v1", &body).await;
        assert_eq!(keys(&app), ["marathonJson"]);
        app["marathonJson"].take()
    };
    let app = render(in_the_lab).await;
    assert_eq!(app, render(json!({})).await);
    assert_eq!(app, render(Value::Null).await);
    assert_eq!((&app["cpus"], &app["mem"]), (&json!(2), &json!(1024)));
    assert_eq!(app["labels"]["DCOS_PACKAGE_SOURCE"], "built-in");
    let metadata = app["labels"]["DCOS_PACKAGE_METADATA"].as_str().unwrap();
    let metadata: Value =
        serde_json::from_slice(&BASE64.decode(metadata.as_bytes()).unwrap()).unwrap();
    assert_eq!(metadata["name"], "marathon-lb");

    // Each option that the edge understands reaches it.
    for (key, value, pointer, expected) in [
        (
            "haproxy-group",
            json!("internal"),
            "/args/6",
            json!("internal"),
        ),
        ("haproxy-map", json!(false), "/args/4", json!("--group")),
        (
            "bind-http-https",
            json!(false),
            "/args/5",
            json!("--dont-bind-http-https"),
        ),
        ("bind-http-https", json!(false), "/ports/0", json!(9090)),
        (
            "bind-http-https",
            json!(false),
            "/healthChecks/0/portIndex",
            json!(0),
        ),
        (
            "marathon-uri",
            json!("http://a:1"),
            "/args/2",
            json!("http://a:1"),
        ),
        (
            "sysctl-params",
            json!("a=\"1\""),
            "/env/HAPROXY_SYSCTL_PARAMS",
            json!("a=\"1\""),
        ),
        (
            "ssl-cert",
            json!("-----BEGIN\n-----END"),
            "/env/HAPROXY_SSL_CERT",
            json!("-----BEGIN\n-----END"),
        ),
        ("cpus", json!(1.5), "/cpus", json!(1.5)),
        ("mem", json!(256), "/mem", json!(256)),
        ("instances", json!(3), "/instances", json!(3)),
        ("name", json!("/lb//two/"), "/id", json!("/lb/two")),
        (
            "role",
            json!("edge"),
            "/acceptedResourceRoles/0",
            json!("edge"),
        ),
        (
            "minimumHealthCapacity",
            json!(1),
            "/upgradeStrategy/minimumHealthCapacity",
            json!(1),
        ),
        (
            "maximumOverCapacity",
            json!(0),
            "/upgradeStrategy/maximumOverCapacity",
            json!(0),
        ),
    ] {
        let app = render(json!({"marathon-lb": {(key): value}})).await;
        assert_eq!(app.pointer(pointer), Some(&expected), "{key}");
    }
    assert!(
        render(json!({"marathon-lb": {"role": ""}}))
            .await
            .get("acceptedResourceRoles")
            .is_none()
    );
    let elsewhere = json!({"packageName": "marathon-lb", "appId": "lb/x"});
    let elsewhere = good(&cluster, "render", "v1", &elsewhere).await;
    assert_eq!(elsewhere["marathonJson"]["id"], "/lb/x");
    cluster.stop().await;
}

#[tokio::test]
async fn a_package_is_installed_listed_and_removed() {
    let cluster = Cluster::with_agent().await;
    let edge = json!({"packageName": "marathon-lb"});
    let nothing = json!({"packages": []});
    assert_eq!(good(&cluster, "list", "v1", &json!({})).await, nothing);

    // The app is the one that is rendered, and made as any other.
    let rendered = good(&cluster, "render", "v1", &edge).await;
    let installed = good(&cluster, "install", "v2", &edge).await;
    assert_eq!(
        installed,
        json!({
            "packageName": "marathon-lb",
            "packageVersion": "1.4.1",
            "appId": "/marathon-lb",
            "postInstallNotes": "Marathon-lb DC/OS Service has been successfully installed!\nSee https://github.com/mesosphere/marathon-lb for documentation.",
        })
    );
    let app = cluster.get("/v2/apps/marathon-lb").await.body["app"].take();
    for (key, value) in rendered["marathonJson"].as_object().unwrap() {
        match key.as_str() {
            // Marathon's answers have more keys.
            "container" | "healthChecks" => assert!(!app[key].is_null(), "{key}"),
            _ => assert_eq!(app[key], *value, "{key}"),
        }
    }
    let as_marathon = cluster
        .call(
            Method::POST,
            "/v2/apps",
            &rendered["marathonJson"].to_string(),
        )
        .await;
    assert_eq!(as_marathon.status, StatusCode::CONFLICT);
    let again = ask(&cluster, "install", "v2", &edge).await;
    let already = (
        409,
        "PackageAlreadyInstalled",
        "Package is already installed",
    );
    check_refusal("again", &again, already);

    let definition = package::find("marathon-lb").unwrap().definition();
    let entry = |app_id: &str| {
        json!({
            "appId": app_id,
            "packageInformation": {
                "resourceDefinition": {"assets": {"container": {"docker": {"marathon-lb-docker": "mesosphere/marathon-lb:v1.4.1"}}}},
                "packageDefinition": definition,
            },
        })
    };
    let second = json!({
        "packageName": "marathon-lb", "packageVersion": "1.4.1", "appId": "lb/two",
        "options": {"marathon-lb": {"haproxy-group": "internal"}},
    });
    let second = good(&cluster, "install", "v1", &second).await;
    assert_eq!(
        second,
        json!({"packageName": "marathon-lb", "packageVersion": "1.4.1", "appId": "/lb/two"})
    );
    for (body, found) in [
        (json!({}), vec!["/lb/two", "/marathon-lb"]),
        (
            json!({"packageName": "marathon-lb"}),
            vec!["/lb/two", "/marathon-lb"],
        ),
        (json!({"appId": "marathon-lb/"}), vec!["/marathon-lb"]),
        (
            json!({"packageName": "marathon-lb", "appId": "/lb/two"}),
            vec!["/lb/two"],
        ),
        (json!({"packageName": "marathon"}), vec![]),
        (json!({"appId": "/lb"}), vec![]),
    ] {
        let expected: Vec<Value> = found.iter().map(|app_id| entry(app_id)).collect();
        assert_eq!(
            good(&cluster, "list", "v1", &body).await,
            json!({ "packages": expected }),
            "{body}"
        );
    }

    let ambiguous = ask(&cluster, "uninstall", "v1", &edge).await;
    let words = "Multiple apps named [marathon-lb] are installed: [/lb/two, /marathon-lb]";
    check_refusal("ambiguous", &ambiguous, (400, "AmbiguousAppId", words));
    assert_eq!(
        ambiguous.body["data"],
        json!({"packageName": "marathon-lb", "appIds": ["/lb/two", "/marathon-lb"]})
    );
    let result = |app_id: &str| {
        json!({
            "packageName": "marathon-lb",
            "appId": app_id,
            "packageVersion": "1.4.1",
            "postUninstallNotes": "Marathon-lb DC/OS Service has been uninstalled and will no longer run.",
        })
    };
    let one = json!({"packageName": "marathon-lb", "appId": "lb/two"});
    assert_eq!(
        good(&cluster, "uninstall", "v1", &one).await,
        json!({"results": [result("/lb/two")]})
    );
    let gone = ask(&cluster, "uninstall", "v1", &one).await;
    let words = "Package [marathon-lb] with id [/lb/two] is not installed";
    check_refusal(
        "gone",
        &gone,
        (400, "UninstallNonExistentAppForPackage", words),
    );
    good(
        &cluster,
        "install",
        "v2",
        &json!({"packageName": "marathon-lb", "appId": "/b"}),
    )
    .await;
    let all = json!({"packageName": "marathon-lb", "all": true});
    assert_eq!(
        good(&cluster, "uninstall", "v1", &all).await,
        json!({"results": [result("/b"), result("/marathon-lb")]})
    );
    let none = ask(&cluster, "uninstall", "v1", &all).await;
    let words = "Package [marathon-lb] is not installed";
    check_refusal("none", &none, (400, "PackageNotInstalled", words));
    cluster
        .until("no app is left", |state| {
            state.root.transitive_apps().is_empty()
        })
        .await;
    assert_eq!(good(&cluster, "list", "v1", &json!({})).await, nothing);

    // What was removed as an app is not installed either; what was made as one is.
    good(&cluster, "install", "v2", &edge).await;
    cluster
        .call(Method::DELETE, "/v2/apps/marathon-lb", "")
        .await;
    assert_eq!(good(&cluster, "list", "v1", &json!({})).await, nothing);
    let by_hand =
        r#"{"id": "/by/hand", "cmd": "sleep 1", "labels": {"DCOS_PACKAGE_NAME": "kafka"}}"#;
    assert_eq!(
        cluster.call(Method::POST, "/v2/apps", by_hand).await.status,
        201
    );
    let kafka = json!({"name": "kafka", "version": "", "description": ""});
    let expected = json!({"packages": [{
        "appId": "/by/hand",
        "packageInformation": {"resourceDefinition": {}, "packageDefinition": kafka},
    }]});
    assert_eq!(good(&cluster, "list", "v1", &json!({})).await, expected);
    assert_eq!(
        good(
            &cluster,
            "uninstall",
            "v1",
            &json!({"packageName": "kafka"})
        )
        .await,
        json!({"results": [{"packageName": "kafka", "appId": "/by/hand", "packageVersion": ""}]})
    );
    cluster.stop().await;
}
