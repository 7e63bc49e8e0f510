use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// A server of files and troubles, an agent's fetcher, a sandbox.
struct World {
    dir: tempfile::TempDir,
    address: SocketAddr,
    n_asked: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

async fn answer(State(n_asked): State<Arc<AtomicU32>>, UrlPath(path): UrlPath<String>) -> Response {
    n_asked.fetch_add(1, Ordering::Relaxed);
    match path.as_str() {
        "tool.sh" => "#!/bin/sh".into_response(),
        "moved.sh" => Redirect::temporary("/tool.sh").into_response(),
        "app.tgz" => archive().into_response(),
        "large" => vec![0_u8; 4096].into_response(),
        _ => http::StatusCode::NOT_FOUND.into_response(),
    }
}

fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o644);
    tar.append_data(&mut header, "app/page", &b"content"[..])
        .unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

impl World {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let n_asked = Arc::default();
        let router = Router::new()
            .route("/{*path}", get(answer))
            .with_state(Arc::clone(&n_asked));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sandbox")).unwrap();
        Self {
            dir,
            address,
            n_asked,
            _serving: serving,
        }
    }

    fn sandbox(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }

    fn fetcher(&self, limits: Limits) -> Fetcher {
        Fetcher::with(self.dir.path().join("fetch"), 1 << 20, limits)
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.sandbox().join(name)).ok()
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.sandbox().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    }

    async fn fetch(&self, wanted: Fetch) -> Result<(), String> {
        self.fetch_within(Limits::DEFAULT, wanted).await
    }

    async fn fetch_within(&self, limits: Limits, wanted: Fetch) -> Result<(), String> {
        let fetched = self
            .fetcher(limits)
            .fetch(&[wanted], &self.sandbox(), None)
            .await;
        fetched.map_err(|error| error.message)
    }
}

fn wanted(uri: impl Into<String>) -> Fetch {
    Fetch {
        uri: uri.into(),
        extract: true,
        executable: false,
        cache: false,
        output_file: None,
    }
}

#[tokio::test]
async fn from_a_server() {
    let world = World::start().await;
    world.fetch(wanted(world.uri("tool.sh?v=1"))).await.unwrap();
    assert_eq!(world.read("tool.sh").as_deref(), Some("#!/bin/sh"));
    assert_eq!(world.mode("tool.sh"), 0o644);
    let named = Fetch {
        executable: true,
        output_file: Some("bin/it".to_owned()),
        ..wanted(world.uri("moved.sh"))
    };
    world.fetch(named).await.unwrap();
    assert_eq!(world.read("bin/it").as_deref(), Some("#!/bin/sh"));
    assert_eq!(world.mode("bin/it"), 0o755);

    // The archive stays beside what was in it.
    world.fetch(wanted(world.uri("app.tgz"))).await.unwrap();
    assert_eq!(world.read("app/page").as_deref(), Some("content"));
    assert!(world.sandbox().join("app.tgz").exists());
    fs::remove_dir_all(world.sandbox().join("app")).unwrap();
    for kept in [
        Fetch {
            extract: false,
            ..wanted(world.uri("app.tgz"))
        },
        Fetch {
            executable: true,
            ..wanted(world.uri("app.tgz"))
        },
    ] {
        world.fetch(kept).await.unwrap();
        assert_eq!(world.read("app/page"), None);
    }
}

#[tokio::test]
async fn a_kept_download_is_not_asked_for_again() {
    let world = World::start().await;
    let cached = |path: &str| Fetch {
        cache: true,
        ..wanted(world.uri(path))
    };
    let fetcher = world.fetcher(Limits::DEFAULT);
    for _ in 0..2 {
        let wanted = [cached("tool.sh"), cached("app.tgz")];
        fetcher
            .fetch(&wanted, &world.sandbox(), None)
            .await
            .unwrap();
        assert_eq!(world.read("tool.sh").as_deref(), Some("#!/bin/sh"));
        assert_eq!(world.read("app/page").as_deref(), Some("content"));
        // As with Mesos, it is unpacked from where it is kept.
        assert!(!world.sandbox().join("app.tgz").exists());
        fs::remove_dir_all(world.sandbox()).unwrap();
        fs::create_dir(world.sandbox()).unwrap();
    }
    assert_eq!(world.n_asked.load(Ordering::Relaxed), 2);
    // The agent that starts next knows them, too.
    world.fetch(cached("tool.sh")).await.unwrap();
    assert_eq!(world.n_asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_server_s_trouble_is_told() {
    let world = World::start().await;
    let uri = world.uri("absent");
    let error = world.fetch(wanted(uri.clone())).await.unwrap_err();
    let expected = format!("Failed to fetch '{uri}': the server answered 404 Not Found");
    assert_eq!(error, expected);
    assert_eq!(world.read("absent"), None, "a part of it stays");

    let small = Limits {
        file: 1000,
        ..Limits::DEFAULT
    };
    let error = world.fetch_within(small, wanted(world.uri("large"))).await;
    let error = error.unwrap_err();
    assert!(error.ends_with("it is larger than 1000 bytes"), "{error}");
    assert!(!world.sandbox().join("large").exists());

    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let uri = format!("http://me:secret@{address}/x");
    let error = world.fetch(wanted(uri)).await.unwrap_err();
    assert!(
        error.contains(&format!("me:***@{address}/x")) && error.contains("refused"),
        "{error}"
    );
}

/// Serves one request with this head and beginning of a body; then it is silent, or hangs up.
async fn half_an_answer(serving: &mut JoinSet<()>, hangs_up: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        stream.write_all(answer).await.unwrap();
        if !hangs_up {
            std::future::pending::<()>().await;
        }
    });
    address
}

#[tokio::test]
async fn half_a_file_is_none() {
    let world = World::start().await;
    let mut serving = JoinSet::new();
    let broken = half_an_answer(&mut serving, true).await;
    let error = world.fetch(wanted(format!("http://{broken}/x"))).await;
    let error = error.unwrap_err();
    assert!(error.contains("the answer broke off"), "{error}");
    let silent = half_an_answer(&mut serving, false).await;
    let hasty = Limits {
        time: Duration::from_millis(200),
        ..Limits::DEFAULT
    };
    let error = world.fetch_within(hasty, wanted(format!("http://{silent}/x")));
    let error = error.await.unwrap_err();
    assert!(error.ends_with("it takes longer than 0.2 s"), "{error}");
    assert!(!world.sandbox().join("x").exists());
}

#[tokio::test]
async fn from_this_machine() {
    let world = World::start().await;
    let file = world.dir.path().join("tool");
    fs::write(&file, "#!/bin/sh").unwrap();
    let uri = file.display().to_string();
    world.fetch(wanted(&uri)).await.unwrap();
    assert_eq!(world.mode("tool"), 0o644);
    let order = Fetch {
        executable: true,
        output_file: Some("bin/it".to_owned()),
        ..wanted(format!("file://{uri}"))
    };
    world.fetch(order).await.unwrap();
    assert_eq!(world.mode("bin/it"), 0o755);
    let packed = world.dir.path().join("app.tgz");
    fs::write(&packed, archive()).unwrap();
    let packed = packed.display().to_string();
    world.fetch(wanted(packed)).await.unwrap();
    assert_eq!(world.read("app/page").as_deref(), Some("content"));

    let refused = async |fetch: Fetch| world.fetch(fetch).await.unwrap_err();
    for (uri, why) in [
        ("/no/such/file", "No such file"),
        ("/tmp", "it is not a file"),
        ("/dev/zero", "it is not a file"),
        ("relative", "must be absolute"),
        ("hdfs://host/x.tgz", "hdfs:// is not supported"),
    ] {
        let error = refused(wanted(uri)).await;
        assert!(error.contains(why), "{error}");
    }
    for name in ["../x", "/etc/x", "", "stderr"] {
        let order = Fetch {
            output_file: Some(name.to_owned()),
            ..wanted(&uri)
        };
        let error = refused(order).await;
        assert!(error.contains("cannot be its name"), "{name}: {error}");
    }
}

#[tokio::test]
async fn files_are_the_user_s() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::start().await;
    let nobody = Owner {
        name: "nobody".to_owned(),
        uid: 65534,
        gid: 65534,
    };
    let secret = world.dir.path().join("secret");
    fs::write(&secret, "agent's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let fetcher = world.fetcher(Limits::DEFAULT);
    let fetch = async |wanted: Fetch| {
        let sandbox = world.sandbox();
        fetcher.fetch(&[wanted], &sandbox, Some(&nobody)).await
    };
    fetch(wanted(world.uri("app.tgz"))).await.unwrap();
    for name in ["app.tgz", "app", "app/page"] {
        let metadata = fs::metadata(world.sandbox().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534), "{name}");
    }
    let error = fetch(wanted(secret.display().to_string())).await;
    let error = error.unwrap_err().message;
    assert!(error.contains("user 'nobody' may not read it"), "{error}");
}
