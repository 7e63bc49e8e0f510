//! What the package API refuses, and in which words.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ERROR, ask, ask_so, check_refusal, good, media_type};
use crate::tests::cluster::Cluster;

#[tokio::test]
async fn refusals_say_what_is_wrong_and_change_nothing() {
    let cluster = Cluster::start().await;
    let edge = |more: Value| {
        let mut body = json!({"packageName": "marathon-lb"});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let options = |options: Value| edge(json!({"options": {"marathon-lb": options}}));
    let not_found = (400, "PackageNotFound", "Package [nope] not found");
    let no_version = (
        400,
        "VersionNotFound",
        "Version [9] of package [marathon-lb] not found",
    );
    let no_name = (400, "not_parsed", "The field 'packageName' is missing");
    let mismatch = (400, "JsonSchemaMismatch", "Options JSON failed validation");
    let built_in = (
        501,
        "RepositoryIsBuiltIn",
        "The package repository is built in: there is no other, and it stays",
    );
    let not_text = (
        400,
        "not_parsed",
        "The field 'packageName' must be text, got 3",
    );
    for (verb, body, expected) in [
        ("describe", json!({"packageName": "nope"}), not_found),
        ("render", json!({"packageName": "nope"}), not_found),
        ("install", json!({"packageName": "nope"}), not_found),
        ("list-versions", json!({"packageName": "nope"}), not_found),
        ("describe", edge(json!({"packageVersion": "9"})), no_version),
        ("install", edge(json!({"packageVersion": "9"})), no_version),
        ("describe", json!({}), no_name),
        ("install", json!({"packageName": null}), no_name),
        ("uninstall", json!({"all": true}), no_name),
        ("describe", json!({"packageName": 3}), not_text),
        ("list", json!({"packageName": 3}), not_text),
        (
            "search",
            json!({"query": ["x"]}),
            (
                400,
                "not_parsed",
                "The field 'query' must be text, got [\"x\"]",
            ),
        ),
        (
            "uninstall",
            edge(json!({"all": "yes"})),
            (
                400,
                "not_parsed",
                "The field 'all' must be true or false, got \"yes\"",
            ),
        ),
        (
            "install",
            edge(json!({"appId": {}})),
            (400, "not_parsed", "The field 'appId' must be text, got {}"),
        ),
        ("install", options(json!({"cpus": 0})), mismatch),
        ("render", options(json!({"cpus": "2"})), mismatch),
        ("render", options(json!({"cpu": 2})), mismatch),
        ("render", edge(json!({"options": []})), mismatch),
        (
            "install",
            options(json!({"template-url": "http://a/b.tgz"})),
            (
                400,
                "OptionNotSupported",
                "option 'marathon-lb.template-url' is not supported here: the built-in edge has no HAProxy templates",
            ),
        ),
        (
            "install",
            options(json!({"name": "Not An Id"})),
            (400, "MarathonBadResponse", "Object is not valid"),
        ),
        (
            "install",
            options(json!({"name": "", "cpus": 3})),
            (400, "MarathonBadResponse", "Object is not valid"),
        ),
        (
            "repository/add",
            json!({"name": "a", "uri": "http://b"}),
            built_in,
        ),
        ("repository/delete", json!({"name": "Universe"}), built_in),
        (
            "repository/add",
            json!({"name": "a"}),
            (400, "not_parsed", "The field 'uri' is missing"),
        ),
        (
            "repository/add",
            json!({"name": "a", "uri": "b", "index": -1}),
            (
                400,
                "not_parsed",
                "The field 'index' must be a whole number, got -1",
            ),
        ),
        (
            "repository/delete",
            json!({}),
            (
                400,
                "not_parsed",
                "The fields 'name' and 'uri' are missing; one of them is wanted",
            ),
        ),
    ] {
        let answer = ask(&cluster, verb, "v1", &body).await;
        check_refusal(&format!("{verb} {body}"), &answer, expected);
    }
    let data = ask(&cluster, "describe", "v3", &json!({"packageName": "nope"})).await;
    assert_eq!(data.body["data"], json!({"packageName": "nope"}));
    let schema = ask(
        &cluster,
        "render",
        "v1",
        &options(json!({"cpus": "2", "x": 1})),
    )
    .await;
    let errors = &schema.body["data"]["errors"];
    assert_eq!(errors.as_array().map(Vec::len), Some(2), "{errors}");
    assert_eq!(errors[0]["unwanted"], json!(["x"]));
    assert_eq!(errors[1]["instance"]["pointer"], "/marathon-lb/cpus");
    assert_eq!(
        (&errors[1]["found"], &errors[1]["expected"]),
        (&json!("string"), &json!(["integer", "number"]))
    );
    let marathon = ask(
        &cluster,
        "install",
        "v2",
        &options(json!({"name": "Not An Id"})),
    )
    .await;
    let errors = marathon.body["data"]["errors"].as_array().unwrap();
    assert!(
        errors[0]["error"].as_str().unwrap().starts_with("/id: "),
        "{errors:?}"
    );
    assert!(cluster.handle.state().root.transitive_apps().is_empty());
    assert!(cluster.handle.state().deployments.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn headers_and_bodies_that_are_none_of_cosmos_are_refused() {
    let cluster = Cluster::start().await;
    let accept = media_type("search-response", "v1");
    let content_type = media_type("search-request", "v1");
    for (verb, version, is_served) in [
        ("describe", "v1", true),
        ("describe", "v3", true),
        ("describe", "v4", false),
        ("install", "v3", false),
        ("search", "v2", false),
        ("render", "v2", false),
    ] {
        let answer = ask(
            &cluster,
            verb,
            version,
            &json!({"packageName": "marathon-lb", "query": "lb", "options": 3}),
        )
        .await;
        let is_type = |name: &str| answer.body["type"] == name;
        assert_eq!(
            !is_type("not_valid"),
            is_served,
            "{verb} {version}: {}",
            answer.text
        );
        assert!(
            answer.status == 400 || answer.status == 200,
            "{verb} {version}"
        );
    }
    let answer = ask_so(&cluster, "search", "application/json", &content_type, "{}").await;
    let words =
        format!("'application/json' is not answered here, as Accept has it; available: {accept}");
    check_refusal("Accept", &answer, (400, "not_valid", &words));
    for wrong in [
        "",
        "application/json",
        &media_type("search-request", "v2"),
        &accept,
    ] {
        let answer = ask_so(&cluster, "search", &accept, wrong, "{}").await;
        let words = format!("Unsupported Content-Type: '{wrong}' Accept: [{content_type}]");
        check_refusal(wrong, &answer, (400, "UnsupportedContentType", &words));
    }
    // Someone with curl, and a client that writes its types in another way.
    for accept in [
        "",
        "*/*",
        "application/vnd.dcos.package.search-response+json; version=v1",
    ] {
        let content_type =
            "application/vnd.dcos.package.search-request+json; charset=UTF-8; version=v1";
        let answer = ask_so(&cluster, "search", accept, content_type, "{}").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }

    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (body, start) in [
        ("", "The request has no body: a JSON object is wanted"),
        (" \n", "The request has no body: a JSON object is wanted"),
        ("[1]", "The request body must be a JSON object, got [1]"),
        (
            "\"\u{1F600}\"",
            "The request body must be a JSON object, got \"\u{1F600}\"",
        ),
        ("{\"query\"", "The request body is not JSON: EOF"),
        (
            "{\"query\": \"\u{0}\"}",
            "The request body is not JSON: control character",
        ),
        (
            &deep,
            "The request body is not JSON: recursion limit exceeded",
        ),
    ] {
        let answer = ask_so(&cluster, "search", &accept, &content_type, body.to_owned()).await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(start), "{message}");
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (400, &ERROR.parse().unwrap())
        );
    }
    let long = json!({"query": {"x": "ä".repeat(200)}}).to_string();
    let answer = ask_so(&cluster, "search", &accept, &content_type, long).await;
    let message = answer.body["message"].as_str().unwrap();
    assert!(
        message.ends_with("...") && message.chars().count() < 150,
        "{message}"
    );
    let not_text = ask_so(
        &cluster,
        "search",
        &accept,
        &content_type,
        b"{\"query\": \"\xff\"}".as_slice(),
    )
    .await;
    assert_eq!(
        (not_text.status.as_u16(), &not_text.body["type"]),
        (400, &json!("not_parsed"))
    );

    // As large as may be, and one more.
    let body = |length: usize| {
        let frame = json!({"query": ""}).to_string().len();
        json!({"query": "x".repeat(length - frame)}).to_string()
    };
    let largest = ask_so(
        &cluster,
        "search",
        &accept,
        &content_type,
        body(crate::cosmos::BODY_LIMIT),
    )
    .await;
    assert_eq!(largest.status, StatusCode::OK);
    let larger = ask_so(
        &cluster,
        "search",
        &accept,
        &content_type,
        body(crate::cosmos::BODY_LIMIT + 1),
    )
    .await;
    let words = "The request body is larger than 1048576 bytes";
    check_refusal("larger", &larger, (413, "ResourceTooLarge", words));

    // As the original, which knows these paths by POST alone.
    let got = cluster.get("/package/search").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    // Newer clients take a 404 without the error's type for a cluster that is too old.
    for path in [
        "/package/add",
        "/package",
        "/package/repository",
        "/package/search/x",
        "/capabilities/x",
    ] {
        let unknown = cluster.call(Method::POST, path, "{}").await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            unknown.headers["content-type"], "application/json",
            "{path}"
        );
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_is_said_as_such() {
    let cluster = Cluster::start().await;
    cluster.store.fill();
    let refused = ask(
        &cluster,
        "install",
        "v2",
        &json!({"packageName": "marathon-lb"}),
    )
    .await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.text
    );
    assert_eq!(refused.headers["content-type"], ERROR);
    assert_eq!(refused.body["type"], "ServiceUnavailable");
    assert_eq!(refused.body["data"], json!({"serviceName": "marathon"}));
    assert_eq!(
        good(&cluster, "list", "v1", &json!({})).await,
        json!({"packages": []})
    );
    cluster.stop().await;
}
