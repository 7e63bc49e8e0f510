use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const SOON: Duration = Duration::from_secs(5);

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address.to_string())
}

async fn get_text(client: &WebClient, url: &str) -> Result<(u16, String), WebError> {
    let url = Url::parse(url).unwrap();
    let answer = client.open(&Method::GET, &url, SOON).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Says what it was asked with, or leads elsewhere.
async fn serve(serving: &mut JoinSet<()>, elsewhere: String) -> String {
    let (listener, address) = listen().await;
    let router = Router::new()
        .route(
            "/file",
            get(async |headers: ::http::HeaderMap| {
                let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
                String::from_utf8_lossy(said.unwrap_or(b"nobody")).into_owned()
            }),
        )
        .route(
            "/hops/{n}",
            get(async |Path(n): Path<u32>| match n {
                0 => Redirect::temporary("/file").into_response(),
                n => Redirect::permanent(&(n - 1).to_string()).into_response(),
            }),
        )
        .route(
            "/elsewhere",
            get(async move || Redirect::to(&elsewhere).into_response()),
        );
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test]
async fn redirects_are_followed_and_a_password_stays_with_its_server() {
    let mut serving = JoinSet::new();
    let second = serve(&mut serving, String::new()).await;
    let first = serve(&mut serving, format!("http://{second}/file")).await;
    let client = WebClient::new();
    let text = async |path: &str| {
        let url = format!("http://me:p%40ss@{first}{path}");
        get_text(&client, &url).await
    };
    let me = "Basic bWU6cEBzcw==".to_owned();
    assert_eq!(text("/file").await.unwrap(), (200, me.clone()));
    assert_eq!(text("/hops/3").await.unwrap(), (200, me));
    assert_eq!(
        text("/elsewhere").await.unwrap(),
        (200, "nobody".to_owned())
    );
    assert_eq!(text("/absent").await.unwrap().0, 404);
    let error = text("/hops/30").await.unwrap_err().to_string();
    assert!(
        error.contains("too many") && !error.contains("p%40ss"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_leads_to_the_web_only() {
    let mut serving = JoinSet::new();
    let server = serve(&mut serving, "file:///etc/passwd".to_owned()).await;
    let client = WebClient::new();
    let error = get_text(&client, &format!("http://{server}/elsewhere")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("neither http nor https"), "{error}");
    let secure = Url::parse("https://example.com/").unwrap();
    let to = HeaderValue::from_static("http://example.com/");
    let error = follow(&secure, &to).unwrap_err().to_string();
    assert!(error.contains("from https to http"), "{error}");
    let ftp = Url::parse("ftp://example.com/x").unwrap();
    let error = client.open(&Method::GET, &ftp, SOON).await.unwrap_err();
    assert!(matches!(error, WebError::Address), "{error}");
}

/// Answers one request after the other over TLS.
async fn serve_tls(serving: &mut JoinSet<()>) -> String {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tests/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust it hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 1024]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn certificates_are_held_against_the_authorities() {
    let mut serving = JoinSet::new();
    let server = serve_tls(&mut serving).await;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(include_bytes!("tests/ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let trusting = WebClient::trusting(Arc::new(roots));
    let url = format!("https://{server}/file");
    assert_eq!(
        get_text(&trusting, &url).await.unwrap(),
        (200, "secret".to_owned())
    );

    let mut others = RootCertStore::empty();
    let other = include_bytes!("../../../master/src/tests/tls/cert.pem");
    others
        .add(CertificateDer::from_pem_slice(other).unwrap())
        .unwrap();
    let error = get_text(&WebClient::trusting(Arc::new(others)), &url).await;
    let error = error.unwrap_err();
    let chain = format!("{error:?}");
    assert!(
        matches!(error, WebError::Exchange { .. }) && chain.contains("UnknownIssuer"),
        "{chain}"
    );

    let nobody = WebClient::trusting(Arc::new(RootCertStore::empty()));
    let error = get_text(&nobody, &url).await.unwrap_err().to_string();
    assert!(error.contains("SSL_CERT_FILE"), "{error}");
}

#[test]
fn a_message_shows_no_password() {
    let url = Url::parse("https://me:secret@example.com/x").unwrap();
    assert_eq!(without_password(&url), "https://me:***@example.com/x");
}
