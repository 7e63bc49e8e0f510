//! A registry with one image, as small as the protocol allows: images can be pulled where no network is.
//!
//! Source: the Docker Registry HTTP API, version 2, manifest schema 2. An engine speaks plain HTTP to loopback addresses.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use zddcluster_runtime::{OnFailure, Tasks};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What can be asked for, by digest; the manifest also by any tag.
#[derive(Debug, Default)]
struct Content {
    manifest: Vec<u8>,
    blobs: Vec<(String, Vec<u8>)>,
    n_pulls: usize,
}

/// The registry; ends when dropped.
pub(crate) struct Registry {
    address: std::net::SocketAddr,
    content: Arc<Mutex<Content>>,
    tasks: Tasks,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let content = Arc::<Mutex<Content>>::default();
        let router = Router::new()
            .route("/v2/", get(async || "{}"))
            .route("/v2/shell/manifests/{reference}", get(manifest))
            .route("/v2/shell/blobs/{digest}", get(blob))
            .with_state(Arc::clone(&content));
        let tasks = Tasks::new();
        let token = tasks.token().clone();
        let serving = zddcluster_runtime::serve(listener, router, token);
        tasks.spawn("registry", OnFailure::Log, serving);
        Self {
            address,
            content,
            tasks,
        }
    }

    /// As an app names it.
    pub(crate) fn image(&self) -> String {
        format!("{}/shell:1", self.address)
    }

    /// From now on the tag stands for an image of these files, with this variable in its environment.
    pub(crate) fn push(&self, tar: &[u8], variable: &str) {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(tar).unwrap();
        let layer = packed.finish().unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": [variable]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| {
            let kind = format!("application/vnd.docker.{kind}");
            json!({"mediaType": kind, "size": bytes.len(), "digest": digest(bytes)})
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part("container.image.v1+json", &config),
            "layers": [part("image.rootfs.diff.tar.gzip", &layer)],
        });
        let mut content = self.content.lock().unwrap();
        content.manifest = manifest.to_string().into_bytes();
        content.blobs = vec![(digest(&config), config), (digest(&layer), layer)];
    }

    /// How often the image was asked for.
    pub(crate) fn n_pulls(&self) -> usize {
        self.content.lock().unwrap().n_pulls
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

async fn manifest(
    State(content): State<Arc<Mutex<Content>>>,
    Path(reference): Path<String>,
) -> Response {
    let mut content = content.lock().unwrap();
    let own = digest(&content.manifest);
    if reference.starts_with("sha256:") && reference != own {
        return StatusCode::NOT_FOUND.into_response();
    }
    // Also by HEAD: an engine that knows the manifest asks no further.
    content.n_pulls += 1;
    let headers = [
        (header::CONTENT_TYPE.as_str(), MANIFEST),
        ("docker-content-digest", &own),
    ];
    (headers, content.manifest.clone()).into_response()
}

async fn blob(State(content): State<Arc<Mutex<Content>>>, Path(digest): Path<String>) -> Response {
    let content = content.lock().unwrap();
    match content.blobs.iter().find(|(of, _)| *of == digest) {
        Some((_, bytes)) => Body::from(bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
