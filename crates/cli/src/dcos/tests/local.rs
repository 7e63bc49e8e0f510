//! `dcos config …`, `cluster …` and `auth …`, in a home of their own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Cluster, Said, said};
use crate::args::{DcosVerb, Format, Invocation, LocalVerb, parse};
use crate::dcos::{auth, clusters, config};
use crate::front::Front;
use crate::home::Home;
use crate::printer::Printer;
use crate::verbs::{ClientVerb, Verb as ClientVerbs, end_as_dcos};

const ID: &str = "c5b8a2e0-4a1f-4a6f-9a43-2d3c0f6b7a10";
const OTHER_ID: &str = "d5b8a2e0-4a1f-4a6f-9a43-2d3c0f6b7a10";

/// Somebody's home.
struct User {
    dir: TempDir,
    env: Vec<(&'static str, String)>,
}

impl User {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    fn home(&self) -> Home {
        let mut env = self.env.clone();
        env.push(("HOME", self.dir.path().display().to_string()));
        Home::with_env(move |name| {
            let found = env.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| OsString::from(value))
        })
        .unwrap()
    }

    async fn dcos(&self, line: &str) -> Said {
        let argv = std::iter::once("dcos").chain(line.split_whitespace());
        let parsed = parse(argv).unwrap_or_else(|usage| panic!("{line}: {usage}"));
        let Invocation::Client(ClientVerb(ClientVerbs::Dcos(args))) = parsed.invocation else {
            panic!("{line}");
        };
        let (printer, captured) = Printer::captured(Format::Table);
        let home = self.home();
        let front = || Front::at_url(&home.dcos_url()?.unwrap_or_default());
        let result = match args.verb {
            Some(DcosVerb::Local(LocalVerb::Config(verb))) => config::run(verb, &home, &printer),
            Some(DcosVerb::Local(LocalVerb::Cluster(verb))) => {
                clusters::run(verb, &home, &printer).await
            }
            Some(DcosVerb::Local(LocalVerb::Auth(verb))) => {
                auth::run(verb, front, &home, &printer).await
            }
            other => panic!("{other:?}"),
        };
        let status = end_as_dcos(&printer, result);
        Said {
            out: captured.out(),
            err: captured.err(),
            code: status.code(),
        }
    }
}

#[tokio::test]
async fn settings_are_set_shown_and_forgotten() {
    let user = User::new();
    assert_eq!(user.dcos("config show").await, said("", "", 0));
    for (line, told) in [
        (
            "config set core.dcos_url http://127.0.0.1:8080",
            "[core.dcos_url]: set to 'http://127.0.0.1:8080'\n",
        ),
        (
            "config set core.dcos_url http://127.0.0.1:8080",
            "[core.dcos_url]: already set to 'http://127.0.0.1:8080'\n",
        ),
        (
            "config set core.dcos_acs_token secret",
            "[core.dcos_acs_token]: set\n",
        ),
        ("config set core.timeout 7", "[core.timeout]: set to '7'\n"),
        (
            "config set core.reporting false",
            "[core.reporting]: set to 'False'\n",
        ),
    ] {
        assert_eq!(user.dcos(line).await, said("", told, 0), "{line}");
    }
    assert_eq!(
        user.dcos("config show").await.out,
        "core.dcos_acs_token ********\ncore.dcos_url http://127.0.0.1:8080\ncore.reporting False\ncore.timeout 7\n"
    );
    assert_eq!(
        user.dcos("config show core.timeout").await,
        said("7\n", "", 0)
    );
    let file = user.dir.path().join(".dcos/dcos.toml");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains("timeout = 7\n"));

    // The token is the old cluster's.
    assert_eq!(
        user.dcos("config set core.dcos_url http://127.0.5.1:8080")
            .await,
        said(
            "",
            "[core.dcos_url]: changed from 'http://127.0.0.1:8080' to 'http://127.0.5.1:8080'\n\
             [core.dcos_acs_token]: removed\n",
            0
        )
    );
    assert_eq!(
        user.dcos("config unset core.timeout").await,
        said("", "Removed [core.timeout]\n", 0)
    );
    assert_eq!(
        user.dcos("config show core.timeout").await,
        said("", "Property 'core.timeout' doesn't exist\n", 1)
    );
    assert_eq!(
        user.dcos("config show core").await,
        said(
            "",
            "Property 'core' doesn't fully specify a value - possible properties are:\n\
             core.dcos_url\ncore.reporting\n",
            1
        )
    );
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let user = User::new();
    for (line, told) in [
        (
            "config set core.dcos_url 127.0.0.1:8080",
            "core.dcos_url: '127.0.0.1:8080' is not a URL\nhint: for instance http://127.0.0.1:8080\n",
        ),
        (
            "config set core.timeout 0",
            "core.timeout: '0' is not a whole number of at least 1\n",
        ),
        (
            "config set core.bogus x",
            "Error: Additional properties are not allowed ('bogus' was unexpected)\n",
        ),
        (
            "config set bogus.x x",
            "Config section 'bogus' is invalid: 'bogus' is not a dcos command.\n",
        ),
        (
            "config set core x",
            "Property name must have both a section and key: <section>.<key> - E.g. marathon.url\n",
        ),
        (
            "config unset core.timeout",
            "Property 'core.timeout' doesn't exist\n",
        ),
    ] {
        assert_eq!(user.dcos(line).await, said("", told, 1), "{line}");
    }
    let dir = user.dir.path().join(".dcos");
    let file = dir.join("dcos.toml");
    fs::create_dir_all(&dir).unwrap();
    fs::write(&file, "[core]\ntimeout = 0\nbogus = 1\n").unwrap();
    let refused = user.dcos("config validate").await;
    assert!(
        refused.code == 1
            && refused.err.contains("are too open")
            && refused.err.contains("chmod 600"),
        "{refused:?}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = user.dcos("config validate").await;
    assert_eq!(refused.code, 1);
    for part in ["Path: core.timeout", "Path: core.bogus"] {
        assert!(refused.out.contains(part), "{refused:?}");
    }
    fs::write(&file, "[core]\ntimeout = 5\n").unwrap();
    let valid = user.dcos("config validate").await;
    assert!(
        valid
            .out
            .ends_with("Congratulations, your configuration is valid!\n"),
        "{valid:?}"
    );
    fs::write(&file, "[core\n").unwrap();
    let refused = user.dcos("config show").await;
    assert!(
        refused.err.starts_with("Error parsing config file at ["),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_environment_goes_before_the_file() {
    let mut user = User::new();
    user.dcos("config set core.dcos_url http://127.0.0.1:8080")
        .await;
    user.env.push(("DCOS_DCOS_URL", "http://third".into()));
    let shown = user.dcos("config show core.dcos_url").await;
    assert_eq!(shown, said("http://third\n", "", 0));
    // The property's own name begins with DCOS, so it is a variable, too, and the first one.
    user.env.push(("DCOS_URL", "http://other".into()));
    assert_eq!(
        user.dcos("config show").await.out,
        "core.dcos_url http://other          # overwritten by environment var DCOS_URL; \
         config file value: http://127.0.0.1:8080\n"
    );
}

/// A cluster that tells who it is.
async fn cluster(id: &str) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.answer("HEAD /pkgpanda/active.buildinfo.full.json", 200, json!({}));
    cluster.answer("GET /metadata", 200, json!({ "CLUSTER_ID": id }));
    cluster.answer("GET /mesos/state-summary", 200, json!({ "cluster": "zdd" }));
    let version = json!({ "version": "1.8.4" });
    cluster.answer("GET /dcos-metadata/dcos-version.json", 200, version);
    cluster
}

#[tokio::test]
async fn clusters_are_set_up_listed_and_forgotten() {
    let user = User::new();
    let (one, other) = (cluster(ID).await, cluster(OTHER_ID).await);
    assert_eq!(user.dcos("cluster list").await, said("", "", 0));
    let setup = format!("cluster setup {}", one.origin);
    assert_eq!(user.dcos(&setup).await, said("", "", 0));
    let again = user.dcos(&setup).await;
    assert!(
        again
            .err
            .starts_with(&format!("Cluster [{}] is already setup\n", one.origin)),
        "{again:?}"
    );
    assert_eq!(user.home().dcos_url().unwrap(), Some(one.origin.clone()));
    let setup = format!("cluster setup {}", other.origin);
    assert_eq!(user.dcos(&setup).await, said("", "", 0));
    // The last one is spoken to, until another is chosen.
    assert_eq!(user.home().dcos_url().unwrap(), Some(other.origin.clone()));
    assert_eq!(
        user.dcos(&format!("cluster rename {OTHER_ID} lab")).await,
        said("", "", 0)
    );
    assert_eq!(
        user.dcos("cluster rename lab zdd").await,
        said("", "A cluster with name [zdd] already exists\n", 1)
    );
    assert_eq!(user.dcos("cluster attach zdd").await, said("", "", 0));
    assert_eq!(user.home().dcos_url().unwrap(), Some(one.origin.clone()));

    let listed = user.dcos("cluster list").await.out;
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["NAME", "CLUSTER", "ID", "STATUS", "VERSION", "URL"]
    );
    assert_eq!(lines[1], ["zdd*", ID, "AVAILABLE", "1.8.4", &one.origin]);
    assert_eq!(
        lines[2],
        ["lab", OTHER_ID, "AVAILABLE", "1.8.4", &other.origin]
    );
    let listed = user.dcos("cluster list --attached --json").await.out;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["cluster_id"], ID);
    assert_eq!(listed[0]["attached"], true);
    assert_eq!(listed.as_array().unwrap().len(), 1);

    assert_eq!(user.dcos("cluster remove c5b8").await, said("", "", 0));
    assert_eq!(
        user.dcos("cluster remove zdd").await,
        said("", "Cluster [zdd] does not exist\n", 1)
    );
    // The only one left is the one that is meant.
    assert_eq!(user.home().dcos_url().unwrap(), Some(other.origin.clone()));
    assert_eq!(user.dcos("cluster remove --all").await, said("", "", 0));
    assert_eq!(user.home().clusters().unwrap(), []);
}

#[tokio::test]
async fn a_cluster_that_does_not_say_who_it_is_is_not_set_up() {
    let user = User::new();
    let cluster = cluster("not-a-uuid").await;
    let setup = format!("cluster setup {}", cluster.origin);
    let refused = user.dcos(&setup).await;
    assert!(
        refused.code == 1 && refused.err.starts_with("Error trying to find cluster id: "),
        "{refused:?}"
    );
    assert_eq!(user.home().clusters().unwrap(), []);
}

#[tokio::test]
async fn who_gives_up_a_setup_leaves_nothing_behind() {
    let user = User::new();
    let cluster = cluster(ID).await;
    cluster.is_silent_at("GET /mesos/state-summary");
    let setup = format!("cluster setup {}", cluster.origin);
    tokio::select! {
        ended = user.dcos(&setup) => panic!("{ended:?}"),
        () = cluster.is_asked("GET /mesos/state-summary") => {}
    }
    assert!(!user.dir.path().join(".dcos").exists());
}

#[tokio::test]
async fn whoever_is_asked_logs_in() {
    let mut user = User::new();
    let cluster = cluster(ID).await;
    user.dcos(&format!("config set core.dcos_url {}", cluster.origin))
        .await;
    assert_eq!(
        user.dcos("auth login").await,
        said("Login successful!\n", "", 0)
    );
    cluster.answer("GET /acs/api/v1/auth/providers", 200, json!({}));
    assert_eq!(
        user.dcos("auth list-providers").await,
        said("", "No providers configured for your cluster\n", 1)
    );

    cluster.answer("HEAD /pkgpanda/active.buildinfo.full.json", 401, json!({}));
    let refused = user.dcos("auth login").await;
    assert!(
        refused
            .err
            .starts_with("Authentication failed. Please run `dcos auth login`\nhint: "),
        "{refused:?}"
    );
    let setup = user
        .dcos(&format!("cluster setup {}", cluster.origin))
        .await;
    assert_eq!(
        setup,
        said(
            "",
            "Authentication failed. Please run `dcos cluster setup <dcos_url>`\n",
            1
        )
    );
    let login = "auth login --username ada --password secret";
    cluster.answer("POST /acs/api/v1/auth/login", 401, json!({}));
    assert_eq!(
        user.dcos(login).await,
        said("", "Authentication failed\n", 1)
    );
    cluster.answer("POST /acs/api/v1/auth/login", 200, json!({ "token": "T" }));
    cluster.take_requests();
    assert_eq!(user.dcos(login).await, said("Login successful!\n", "", 0));
    assert_eq!(
        cluster.take_requests(),
        [r#"POST /acs/api/v1/auth/login {"uid":"ada","password":"secret"}"#]
    );
    assert_eq!(user.home().token().unwrap().as_deref(), Some("T"));
    assert_eq!(user.dcos("auth logout").await, said("", "", 0));
    assert_eq!(user.home().token().unwrap(), None);

    let providers = json!({ "saml": { "authentication-type": "saml-sp-initiated", "client-method": "browser" } });
    cluster.answer("GET /acs/api/v1/auth/providers", 200, providers);
    let listed = user.dcos("auth list-providers").await;
    assert!(
        listed.out.contains("saml         saml-sp-initiated\n"),
        "{listed:?}"
    );
    let refused = user.dcos("auth login --provider saml").await;
    assert!(
        refused.err.contains("is not supported by this CLI"),
        "{refused:?}"
    );
    user.env.push(("DCOS_CLUSTER", "none".into()));
    assert_eq!(user.dcos("cluster list --attached").await.code, 1);
}
