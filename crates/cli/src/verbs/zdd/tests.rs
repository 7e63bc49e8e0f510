//! Whole swaps against a small Marathon with an edge, which keep account of all that is asked of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, State};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use clap::Parser;
use http::StatusCode;

use super::*;
use crate::args::Format;

#[derive(Debug, Parser)]
struct Words {
    #[command(flatten)]
    args: ZddArgs,
}

/// An app and its tasks, each on a port of its own.
#[derive(Clone, Debug)]
struct App {
    definition: Value,
    ports: Vec<u16>,
    scaled: u64,
}

#[derive(Debug, Default)]
struct World {
    apps: BTreeMap<String, App>,
    next_port: u16,
    n_scalings: u64,
    /// Every change, in order.
    log: Vec<String>,
    /// Refuses to create apps.
    refuses: bool,
    /// The task that drains first is replaced by another before the next look at the edge.
    loses_one: bool,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn scale(&mut self, id: &str, instances: u64) {
        let Self {
            apps,
            next_port,
            n_scalings,
            ..
        } = self;
        let app = apps.get_mut(id).unwrap();
        app.definition["instances"] = json!(instances);
        *n_scalings += 1;
        app.scaled = *n_scalings;
        while (app.ports.len() as u64) < instances {
            *next_port += 1;
            app.ports.push(31000 + *next_port);
        }
    }

    fn lose_one(&mut self) {
        if self.apps.len() == 2 && std::mem::take(&mut self.loses_one) {
            let old = self.apps.get_mut("/app-blue").unwrap();
            self.next_port += 1;
            old.ports[0] = 31000 + self.next_port;
        }
    }

    fn shown(&self, id: &str) -> Value {
        let app = &self.apps[id];
        let mut shown = app.definition.clone();
        shown["deployments"] = json!([]);
        let task = |port: &u16| json!({"id": format!("{}.{port}", &id[1..]), "host": "10.0.0.1", "ports": [port]});
        shown["tasks"] = app.ports.iter().map(task).collect();
        shown
    }

    /// The statistics of the group `svc`, as the edge's rules make them.
    fn csv(&self) -> String {
        let mut apps: Vec<&App> = self.apps.values().collect();
        apps.sort_by_key(|app| label(&app.definition, STARTED_AT).unwrap_or_default());
        let mut csv = "# pxname,svname,qcur,scur,status,\nsvc_10000,FRONTEND,,0,OPEN,\n".to_owned();
        let mut n_draining = 0;
        if let [first, second] = apps[..] {
            let (mut old, mut new) = (first, second);
            if old.scaled > new.scaled {
                (old, new) = (new, old);
            }
            let target = Side::read(&new.definition).target as usize;
            n_draining = (new.ports.len() + old.ports.len())
                .saturating_sub(target)
                .min(new.ports.len());
            apps = vec![old, new];
        }
        for app in apps {
            for port in &app.ports {
                let status = if n_draining > 0 { "MAINT" } else { "UP" };
                n_draining = n_draining.saturating_sub(1);
                csv += &format!("svc_10000,10_0_0_1_{port},0,0,{status},\n");
            }
            // Only the first app's tasks drain.
            n_draining = 0;
        }
        csv + "svc_10000,BACKEND,0,0,UP,\n"
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server ends with the test's runtime"
)]
async fn serve(world: Shared) -> String {
    let list = async |State(world): State<Shared>| {
        let world = world.lock().unwrap();
        Json(json!({"apps": world.apps.keys().map(|id| world.shown(id)).collect::<Vec<_>>()}))
    };
    let create = async |State(world): State<Shared>, Json(mut app): Json<Value>| {
        let mut world = world.lock().unwrap();
        if world.refuses {
            return StatusCode::FORBIDDEN;
        }
        let id = app["id"].as_str().unwrap().to_owned();
        let instances = app["instances"].as_u64().unwrap();
        world.log.push(format!("create {id} {instances}"));
        if app.get("ports").is_none() {
            app["ports"] = json!([app["portDefinitions"][0]["port"]]);
        }
        let app = App {
            definition: app,
            ports: Vec::new(),
            scaled: 0,
        };
        world.apps.insert(id.clone(), app);
        world.scale(&id, instances);
        StatusCode::CREATED
    };
    let one = async |State(world): State<Shared>, UrlPath(id): UrlPath<String>| {
        let world = world.lock().unwrap();
        let id = format!("/{id}");
        match world.apps.contains_key(&id) {
            true => Ok(Json(json!({"app": world.shown(&id)}))),
            false => Err(StatusCode::NOT_FOUND),
        }
    };
    let update = async |State(world): State<Shared>,
                        UrlPath(id): UrlPath<String>,
                        Json(body): Json<Value>| {
        let mut world = world.lock().unwrap();
        world.log.push(format!("scale /{id} {}", body["instances"]));
        world.scale(&format!("/{id}"), body["instances"].as_u64().unwrap());
    };
    let remove = async |State(world): State<Shared>, UrlPath(id): UrlPath<String>| {
        let mut world = world.lock().unwrap();
        world.log.push(format!("delete /{id}"));
        world.apps.remove(&format!("/{id}"));
    };
    let kill = async |State(world): State<Shared>, Json(body): Json<Value>| {
        let mut world = world.lock().unwrap();
        let ids: Vec<_> = body["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        let app_id = format!("/{}", ids[0].split('.').next().unwrap());
        world.log.push(format!("kill {} of {app_id}", ids.len()));
        let app = world.apps.get_mut(&app_id).unwrap();
        app.ports
            .retain(|port| !ids.contains(&format!("{}.{port}", &app_id[1..])));
        let left = app.ports.len() as u64;
        world.scale(&app_id, left);
    };
    let router = Router::new()
        .route("/v2/apps", get(list).post(create))
        .route("/v2/apps/{id}", get(one))
        .route("/v2/apps/{id}", put(update))
        .route("/v2/apps/{id}", delete(remove))
        .route("/v2/tasks/delete", post(kill))
        .route(
            "/haproxy",
            get(async |State(world): State<Shared>| {
                let mut world = world.lock().unwrap();
                world.lose_one();
                world.csv()
            }),
        )
        .route("/_haproxy_getpids", get(async || "4711"))
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A Marathon with an edge, and a definition to deploy.
struct Stage {
    world: Shared,
    url: String,
    file: tempfile::NamedTempFile,
}

impl Stage {
    async fn new() -> Self {
        let world = Shared::default();
        let url = serve(Arc::clone(&world)).await;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let definition = json!({
            "id": "/app", "instances": 4, "ports": [10000],
            "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "svc", "HAPROXY_DEPLOYMENT_ALT_PORT": "10001"},
        });
        file.write_all(definition.to_string().as_bytes()).unwrap();
        Self { world, url, file }
    }

    /// Runs the verb with these words and returns its code and what it printed.
    async fn run(&self, words: &str) -> (u8, String) {
        self.run_at(&self.url, &self.url, words).await
    }

    async fn run_at(&self, marathon: &str, edge: &str, words: &str) -> (u8, String) {
        let file = self.file.path().to_str().unwrap();
        let given = format!("zdd {file} -f -s 0.01 -m {marathon} -l {edge} {words}");
        let args = Words::try_parse_from(given.split_whitespace())
            .unwrap()
            .args;
        let (printer, captured) = Printer::captured(Format::Table);
        let ended = run(&args, &printer).await.unwrap();
        (ended.code(), captured.out() + &captured.err())
    }

    /// Takes what was changed since the last time.
    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().log)
    }

    fn sizes(&self) -> Vec<(String, usize)> {
        let world = self.world.lock().unwrap();
        world
            .apps
            .iter()
            .map(|(id, app)| (id.clone(), app.ports.len()))
            .collect()
    }
}

fn sizes(of: &[(&str, usize)]) -> Vec<(String, usize)> {
    of.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect()
}

#[tokio::test]
async fn a_swap_takes_zdd_pys_steps() {
    // contract: lb-zdd-steps, lb-native-progress
    let stage = Stage::new().await;
    assert_eq!(stage.run("").await.0, 0);
    assert_eq!(stage.log(), ["create /app-blue 4"]);
    let (code, told) = stage.run("").await;
    assert_eq!(code, 0, "{told}");
    let steps = [
        "create /app-green 1",
        "kill 1 of /app-blue",
        "scale /app-green 2",
        "kill 1 of /app-blue",
        "scale /app-green 4",
        "delete /app-blue",
    ];
    assert_eq!(stage.log(), steps, "{told}");
    assert!(
        told.contains("step 1: /app-blue 4, /app-green 1 of 4; 4 up, 1 draining\n"),
        "{told}"
    );
    // And the other way round.
    assert_eq!(stage.run("--linear-increase 3").await.0, 0);
    assert_eq!(stage.sizes(), sizes(&[("/app-blue", 4)]));
}

#[tokio::test]
async fn a_swap_stops_on_the_way_and_goes_on_or_back() {
    // contract: lb-zdd-hybrid, lb-native-rollback, lb-run-zdd-hybrid
    for (words, whole, left) in [
        ("--complete-cur", "/app-green", "/app-blue"),
        ("--rollback", "/app-blue", "/app-green"),
    ] {
        let stage = Stage::new().await;
        stage.run("").await;
        let (code, told) = stage.run("--pause-at 50%").await;
        assert_eq!(code, 0, "{told}");
        assert_eq!(
            stage.sizes(),
            sizes(&[("/app-blue", 2), ("/app-green", 2)]),
            "{told}"
        );
        stage.log();
        let (code, told) = stage.run(words).await;
        assert_eq!(code, 0, "{told}");
        assert_eq!(stage.sizes(), sizes(&[(whole, 4)]), "{told}");
        let log = stage.log();
        assert_eq!(
            log[0],
            format!("scale {whole} 4"),
            "nothing can drain yet, so nothing is waited for"
        );
        assert_eq!(log.last().unwrap(), &format!("delete {left}"));
    }
}

#[tokio::test]
async fn what_was_broken_off_goes_on_or_back() {
    // contract: lb-native-resume, lb-zdd-hook
    for (words, whole) in [("--resume", "/app-green"), ("--rollback", "/app-blue")] {
        let stage = Stage::new().await;
        stage.run("").await;
        let (code, told) = stage.run("--pre-kill-hook /bin/false").await;
        assert_eq!(code, 1, "{told}");
        assert_eq!(
            stage.sizes(),
            sizes(&[("/app-blue", 4), ("/app-green", 1)]),
            "nothing was killed"
        );
        let (code, told) = stage.run("").await;
        assert!(code == 2 && told.contains("--resume goes on"), "{told}");
        let (code, told) = stage.run(words).await;
        assert_eq!(code, 0, "{told}");
        assert_eq!(stage.sizes(), sizes(&[(whole, 4)]), "{told}");
    }
}

/// The edge drains a task that was not there when the apps were read: to wait for those would be to wait for ever.
#[tokio::test]
async fn a_task_that_dies_while_it_drains_does_not_hold_up_the_swap() {
    let stage = Stage::new().await;
    stage.run("").await;
    stage.world.lock().unwrap().loses_one = true;
    let (code, told) = stage.run("-w 1000000").await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(stage.sizes(), sizes(&[("/app-green", 4)]), "{told}");
    assert!(!stage.world.lock().unwrap().loses_one);
}

#[tokio::test]
async fn codes_are_zdd_pys() {
    // contract: lb-zdd-codes
    let stage = Stage::new().await;
    let nobody = "http://127.0.0.1:1";
    for (marathon, edge, words, code) in [
        (&*stage.url, &*stage.url, "--complete-cur", 3),
        (&stage.url, &stage.url, "--complete-cur --complete-prev", 3),
        (nobody, &stage.url, "", 6),
    ] {
        assert_eq!(stage.run_at(marathon, edge, words).await.0, code, "{words}");
    }
    stage.world.lock().unwrap().refuses = true;
    assert_eq!(stage.run("").await.0, 7);
    stage.world.lock().unwrap().refuses = false;
    assert_eq!(stage.run("--dry-run").await.0, 0);
    assert_eq!(stage.log(), [""; 0], "nothing was changed");
    assert_eq!(stage.run("").await.0, 0);
    assert_eq!(stage.run_at(&stage.url, nobody, "").await.0, 5);
    std::fs::write(stage.file.path(), "{\"id\": \"/x\"}").unwrap();
    let (code, told) = stage.run("").await;
    assert!(
        code == 4 && told.contains("HAPROXY_DEPLOYMENT_GROUP"),
        "{told}"
    );
    std::fs::write(stage.file.path(), "no json").unwrap();
    assert_eq!(stage.run("").await.0, 2);
}

#[tokio::test]
async fn steps_are_lines_of_json_for_programs() {
    // contract: lb-native-progress
    let stage = Stage::new().await;
    stage.run("").await;
    let (_, told) = stage.run("--json").await;
    let lines = told
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let events: Vec<Value> = lines.filter(|line: &Value| line.is_object()).collect();
    let kinds: Vec<_> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(kinds[..3], ["created", "step", "killed"]);
    assert_eq!(kinds.last(), Some(&"deleted"));
    assert_eq!(
        events[1]["new"],
        json!({"app": "/app-green", "instances": 1, "target": 4})
    );
}
