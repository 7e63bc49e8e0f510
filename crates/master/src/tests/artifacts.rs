//! The artifact store over HTTP (contract marathon §2.7).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;
use zddcluster_store::MemoryStore;

use super::cluster::{Answer, Cluster};

const LIMIT: u64 = 4096;

async fn start(directory: &std::path::Path) -> Cluster {
    start_with(directory, LIMIT).await
}

async fn start_with(directory: &std::path::Path, limit: u64) -> Cluster {
    let path = directory.join("artifacts");
    Cluster::start_configured(MemoryStore::new(), |config| {
        config.artifacts = Some(path);
        config.artifact_limit = limit;
        config.artifacts_limit = 2 * limit;
    })
    .await
}

fn form(field: &str, file_name: &str, content: &[u8]) -> Bytes {
    let mut body = format!(
        "--XX\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
         --XX\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{file_name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--XX--\r\n");
    body.into()
}

async fn send(cluster: &Cluster, method: Method, path: &str, body: Bytes) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(cluster.url(path))
        .header("content-type", "multipart/form-data; boundary=XX")
        .body(body)
        .unwrap();
    cluster.request(request).await
}

#[tokio::test]
async fn artifacts_are_kept_read_replaced_and_removed() {
    // contract: artifacts, error-404-artifact
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let body = form("file", "tool.tgz", b"\x00\xff one");
    let made = send(&cluster, Method::POST, "/v2/artifacts", body).await;
    assert_eq!((made.status, made.text.as_str()), (StatusCode::CREATED, ""));
    assert_eq!(
        made.headers["location"],
        cluster.url("/v2/artifacts/tool.tgz")
    );
    let path = "/v2/artifacts/deep/er/a%20b.json";
    let made = send(&cluster, Method::PUT, path, form("file", "x", b"{}")).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.headers["location"], cluster.url(path));
    let path = "/service/marathon/v2/artifacts/deep/er/a%20b.json";
    let replaced = send(&cluster, Method::POST, path, form("file", "x", b"[1]")).await;
    assert_eq!(replaced.status, StatusCode::OK);
    cluster.stop().await;

    // Also after a restart, without what was not finished.
    let unfinished = directory.path().join("artifacts/.uploads/7");
    std::fs::write(&unfinished, "half").unwrap();
    let cluster = start(directory.path()).await;
    assert!(!unfinished.exists());
    let read = cluster.get(path).await;
    assert_eq!((read.status, read.text.as_str()), (StatusCode::OK, "[1]"));
    assert_eq!(read.headers["content-type"], "application/json");
    assert_eq!(read.headers["content-length"], "3");
    let modified = read.headers["last-modified"].to_str().unwrap();
    let age = httpdate::parse_http_date(modified)
        .unwrap()
        .elapsed()
        .unwrap();
    assert!(age < std::time::Duration::from_secs(3600), "{modified}");
    let head = cluster
        .call(Method::HEAD, "/v2/artifacts/tool.tgz", "")
        .await;
    assert_eq!(
        (
            head.headers["content-length"].to_str().unwrap(),
            head.text.as_str()
        ),
        ("6", "")
    );
    assert_eq!(head.headers["content-type"], "application/gzip");
    // A page of somebody else's making must not act in the cluster's name.
    assert!(
        head.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("sandbox")
    );

    let gone = cluster.call(Method::DELETE, path, "").await;
    assert_eq!(gone.status, StatusCode::OK);
    assert!(!directory.path().join("artifacts/deep").exists());
    for method in [Method::GET, Method::DELETE] {
        let none = cluster.call(method, path, "").await;
        assert_eq!(none.status, StatusCode::NOT_FOUND);
        assert_eq!(
            none.body,
            json!({"message": "No artifact with path deep/er/a b.json"})
        );
    }
    cluster.stop().await;
}

#[tokio::test]
async fn bad_uploads_leave_nothing_behind() {
    // contract: artifacts
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("outside"), "safe").unwrap();
    let cluster = start(directory.path()).await;
    let put = async |path: &str, body: Bytes| send(&cluster, Method::PUT, path, body).await;
    let good = || form("file", "x", b"evil");
    for path in [
        "/v2/artifacts/%2e%2e/outside",
        "/v2/artifacts/a%2f..%2f..%2foutside",
        "/v2/artifacts/.uploads/x",
        "/v2/artifacts/a%00b",
        "/v2/artifacts/a%ff",
    ] {
        let refused = put(path, good()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(refused.body["message"].is_string(), "{path}");
        assert_eq!(
            cluster.get(path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    let named = form("file", "..", b"evil");
    let refused = send(&cluster, Method::POST, "/v2/artifacts", named).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let at_limit = vec![b'x'; usize::try_from(LIMIT).unwrap()];
    assert_eq!(
        put("/v2/artifacts/full", form("file", "x", &at_limit))
            .await
            .status,
        201
    );
    let over = [at_limit.as_slice(), b"x"].concat();
    for large in [over, vec![b'x'; 100_000]] {
        let refused = put("/v2/artifacts/large", form("file", "x", &large)).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(refused.body["message"].is_string());
    }
    // Nor is much read that is not for the file.
    let refused = put("/v2/artifacts/large", form("none", "x", &[b'x'; 100_000])).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let refused = put("/v2/artifacts/a", form("upload", "x", b"y")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let cut = good().slice(..120);
    assert_eq!(
        put("/v2/artifacts/a", cut).await.status,
        StatusCode::BAD_REQUEST
    );
    let plain = cluster.call(Method::PUT, "/v2/artifacts/a", "{}").await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // A file where a directory is wanted, and the reverse.
    assert_eq!(
        put("/v2/artifacts/full/below", good()).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        put("/v2/artifacts/dir/file", good()).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        put("/v2/artifacts/dir", good()).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        cluster.get("/v2/artifacts/dir").await.status,
        StatusCode::NOT_FOUND
    );

    let left = std::fs::read_dir(directory.path().join("artifacts/.uploads")).unwrap();
    assert_eq!(left.count(), 0);
    assert_eq!(
        std::fs::read_to_string(directory.path().join("outside")).unwrap(),
        "safe"
    );
    assert!(!directory.path().join("artifacts/large").exists());
    cluster.stop().await;
    let without = Cluster::start().await;
    assert_eq!(
        without.get("/v2/artifacts/a").await.status,
        StatusCode::NOT_IMPLEMENTED
    );
    without.stop().await;
}

#[tokio::test]
async fn what_is_announced_too_large_is_refused_before_it_comes() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let limit = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let cluster = start_with(directory.path(), limit).await;
    let front = cluster.handle.front();
    let mut stream = tokio::net::TcpStream::connect(front).await.unwrap();
    // A little more than an artifact and the form around it may have.
    let head = format!(
        "PUT /v2/artifacts/a HTTP/1.1\r\nhost: {front}\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary=XX\r\n\r\n",
        limit + 64 * 1024 + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    tokio::time::timeout(super::cluster::PATIENCE, read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    cluster.stop().await;
}

#[tokio::test]
async fn a_full_store_takes_no_more_until_something_goes() {
    // contract: artifacts
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let content = vec![b'x'; usize::try_from(LIMIT).unwrap()];
    let put = async |cluster: &Cluster, name: &str| {
        let path = format!("/v2/artifacts/{name}");
        let body = form("file", "x", &content);
        send(cluster, Method::PUT, &path, body).await
    };
    assert_eq!(put(&cluster, "a").await.status, StatusCode::CREATED);
    assert_eq!(put(&cluster, "b").await.status, StatusCode::CREATED);
    let refused = put(&cluster, "c").await;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(refused.text.contains("full"), "{}", refused.text);
    cluster.stop().await;
    // Also after a restart.
    let cluster = start(directory.path()).await;
    assert_eq!(
        put(&cluster, "c").await.status,
        StatusCode::INSUFFICIENT_STORAGE
    );
    cluster.call(Method::DELETE, "/v2/artifacts/a", "").await;
    assert_eq!(put(&cluster, "c").await.status, StatusCode::CREATED);
    cluster.stop().await;
}
