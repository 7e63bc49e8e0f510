//! Requests to a cluster's front door, with failures in the original client's words.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use zddcluster_client::HttpClient;
use zddcluster_model::AppId;

use crate::args::DataDirArgs;
use crate::cluster::{ClusterFile, data_dir};
use crate::failure::Failure;
use crate::home::Home;

/// The original waits 5 s; a cluster on a laptop that is busy starting tasks gets twice that.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Names the cluster for every `dcos` client; goes before the cluster file.
const DCOS_URL: &str = "DCOS_URL";

/// Where the `dcos` client keeps the address of its cluster.
const DCOS_URL_PROPERTY: &str = "core.dcos_url";

/// Where the `dcos` client keeps the token of its cluster.
const DCOS_TOKEN_PROPERTY: &str = "core.dcos_acs_token";

/// Where `--data-dir` has its value from when it is not on the command line.
const DATA_DIR: &str = "ZDD_DATA_DIR";

/// Holds the token of a cluster that wants one.
const TOKEN: &str = "ZDD_TOKEN";

/// Names the file that holds it.
const TOKEN_FILE: &str = "ZDD_TOKEN_FILE";

/// How the package API wants its list of capabilities asked for; it refuses `application/json` (contract dcos-cli §8).
const CAPABILITIES: &str = "application/vnd.dcos.capabilities+json;charset=utf-8;version=v1";

/// What must not stand bare in a path segment; the rest of an app's id is put there as it is.
const SEGMENT: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    content_type: &'static str,
    content: Bytes,
}

impl Body {
    /// A document.
    pub(crate) fn json(value: &Value) -> Self {
        Self {
            content_type: "application/json",
            content: Bytes::from(value.to_string()),
        }
    }

    /// A form.
    pub(crate) fn form(text: String) -> Self {
        Self {
            content_type: "application/x-www-form-urlencoded",
            content: Bytes::from(text),
        }
    }
}

/// What the package API answered.
#[derive(Debug)]
pub(crate) struct PackageAnswer {
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// The front door of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// `http://127.0.0.1:8080`, without a trailing slash.
    origin: String,
    http: HttpClient,
    /// Sent to the front door only; addresses that a user names do not get it.
    token: Option<HeaderValue>,
}

impl Front {
    /// The front door at `origin`, which has no path.
    pub(crate) fn at(origin: String) -> Self {
        Self {
            origin,
            http: HttpClient::new(),
            token: None,
        }
    }

    /// The same, with a token that the client remembers.
    pub(crate) fn with_this_token(self, token: &str) -> Result<Self, Failure> {
        let token = Some(token_value(DCOS_TOKEN_PROPERTY, token)?);
        Ok(Self { token, ..self })
    }

    /// `http://127.0.0.1:8080`, without a trailing slash.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The same, with the token in the environment, if there is one.
    fn with_token(self) -> Result<Self, Failure> {
        let token = token(|name| std::env::var(name).ok())?;
        Ok(Self { token, ..self })
    }

    /// The front door of the cluster that is meant: the one of `--data-dir`, else `DCOS_URL`, else the one of
    /// `ZDD_DATA_DIR` or of the default directory.
    pub(crate) fn locate(args: &DataDirArgs) -> Result<Self, Failure> {
        match Self::named(args)? {
            Some(front) => Ok(front),
            None => Self::of(args),
        }
    }

    /// As [`locate`](Self::locate), but where nothing names a cluster the one that the settings of the `dcos` client name goes
    /// before the default directory.
    pub(crate) fn locate_as_dcos(args: &DataDirArgs, home: &Home) -> Result<Self, Failure> {
        if let Some(front) = Self::named(args)? {
            return Ok(front);
        }
        if args.get().is_none()
            && let Some(url) = home.dcos_url()?
        {
            let front = Self::at(origin(&format!("{DCOS_URL_PROPERTY} [{url}]"), &url)?);
            return match home.token()? {
                Some(token) => front.with_this_token(&token),
                None => front.with_token(),
            };
        }
        Self::of(args)
    }

    /// The front door that `DCOS_URL` names, unless `--data-dir` names another.
    fn named(args: &DataDirArgs) -> Result<Option<Self>, Failure> {
        let env = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let from_env = env(DATA_DIR);
        let is_flag = args
            .get()
            .is_some_and(|dir| Some(dir.as_os_str()) != from_env.as_deref());
        let Some(url) = env(DCOS_URL).filter(|_| !is_flag) else {
            return Ok(None);
        };
        let url = url.to_string_lossy();
        let origin = origin(&format!("{DCOS_URL} [{url}]"), &url)?;
        Self::at(origin).with_token().map(Some)
    }

    /// The front door at a URL that was typed.
    pub(crate) fn at_url(url: &str) -> Result<Self, Failure> {
        Self::at_url_unknown(url)?.with_token()
    }

    /// The same, for one of clusters of which the token in the environment is at most one's: none is sent.
    pub(crate) fn at_url_unknown(url: &str) -> Result<Self, Failure> {
        Ok(Self::at(origin(&format!("[{url}]"), url)?))
    }

    /// The cluster of a data directory, whatever the environment says.
    pub(crate) fn of(args: &DataDirArgs) -> Result<Self, Failure> {
        let data_dir = data_dir(args.get())?;
        match ClusterFile::read_running(&data_dir)? {
            Some(cluster) => Self::at(cluster.front_url()).with_token(),
            None => Err(Failure::NotRunning { data_dir }),
        }
    }

    /// Asks Marathon; `path` begins with `v2/` and is encoded. An empty answer is null.
    pub(crate) async fn marathon(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.direct(method, &format!("service/marathon/{path}"), body)
            .await
    }

    /// Asks Marathon where it is on its own, without an admin router before it; `path` begins with `v2/` and is encoded.
    pub(crate) async fn direct(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}/{path}", self.origin);
        let (status, answer) = self
            .exchange(method.clone(), &url, body.map(Body::json))
            .await?;
        if !status.is_success() {
            return Err(Failure::from_marathon(&method, &url, status, &answer));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        decode(&url, &answer)
    }

    /// Reads a document of Marathon's.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = format!("{}/service/marathon/{path}", self.origin);
        let (status, answer) = self.exchange(Method::GET, &url, None).await?;
        if !status.is_success() {
            return Err(Failure::from_marathon(&Method::GET, &url, status, &answer));
        }
        decode(&url, &answer)
    }

    /// Asks for what is ours alone; `path` comes after `/zdd/v1/` and is encoded.
    pub(crate) async fn zdd<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let url = format!("{}/zdd/v1/{path}", self.origin);
        let (status, answer) = self
            .exchange(method.clone(), &url, body.map(Body::json))
            .await?;
        if !status.is_success() {
            return Err(Failure::from_marathon(&method, &url, status, &answer));
        }
        decode(&url, &answer)
    }

    /// Asks the package API; `path` comes after `/package/`. Status, media type and body come back, whatever they are.
    pub(crate) async fn package(
        &self,
        path: &str,
        accept: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<PackageAnswer, Failure> {
        let url = format!("{}/package/{path}", self.origin);
        let request = Request::post(&url)
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, content_type);
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        };
        let request = request.body(Bytes::from(body.to_string()));
        let request = request.map_err(|error| Failure::Unreachable {
            url: url.clone(),
            reason: error.to_string(),
        })?;
        let answer = self.http.send(request, TIMEOUT).await;
        let answer = answer.map_err(|error| Failure::from_http(&url, error))?;
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Ok(PackageAnswer {
            url,
            status: answer.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: answer.into_body(),
        })
    }

    /// Reads a document of a Mesos master or agent; `path` begins with `/` and is encoded.
    pub(crate) async fn mesos<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = format!("{}{path}", self.origin);
        let (status, answer) = self.exchange(Method::GET, &url, None).await?;
        if !status.is_success() {
            return Err(Failure::from_mesos(&url, status));
        }
        decode(&url, &answer)
    }

    /// As [`mesos`](Self::mesos); `None` for 404.
    pub(crate) async fn mesos_if_there<T>(&self, path: &str) -> Result<Option<T>, Failure>
    where
        T: DeserializeOwned,
    {
        let url = format!("{}{path}", self.origin);
        let (status, answer) = self.exchange(Method::GET, &url, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(Failure::from_mesos(&url, status));
        }
        decode(&url, &answer).map(Some)
    }

    /// What the cluster says that it can do, by the names of DC/OS; nothing if it does not say.
    pub(crate) async fn capabilities(&self) -> Result<Vec<String>, Failure> {
        let url = format!("{}/capabilities", self.origin);
        let exchange = self.exchange_as(CAPABILITIES, Method::GET, &url, None);
        let (status, answer) = exchange.await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        if !status.is_success() {
            return Err(Failure::from_mesos(&url, status));
        }
        let document: Value = decode(&url, &answer)?;
        let capabilities = document["capabilities"].as_array().into_iter().flatten();
        let names = capabilities.filter_map(|capability| capability["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Asks anything of the front door, whatever it answers; `path` begins with `/` and is encoded.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        self.exchange(method, &format!("{}{path}", self.origin), body)
            .await
    }

    /// Asks a Mesos master or agent to do something.
    pub(crate) async fn tell_mesos(&self, path: &str, body: Body) -> Result<Bytes, Failure> {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await?;
        match status.is_success() {
            true => Ok(answer),
            false => Err(Failure::from_mesos(
                &format!("{}{path}", self.origin),
                status,
            )),
        }
    }

    /// Gets the text at any `http://` address.
    pub(crate) async fn fetch(&self, url: &str) -> Option<Bytes> {
        let (status, answer) = self.exchange(Method::GET, url, None).await.ok()?;
        status.is_success().then_some(answer)
    }

    fn is_ours(&self, url: &str) -> bool {
        url.strip_prefix(&self.origin)
            .is_some_and(|path| path.starts_with('/'))
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Option<Body>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        self.exchange_as("application/json", method, url, body)
            .await
    }

    async fn exchange_as(
        &self,
        accept: &str,
        method: Method,
        url: &str,
        body: Option<Body>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(ACCEPT, accept);
        if let Some(token) = self.token.as_ref().filter(|_| self.is_ours(url)) {
            request = request.header(AUTHORIZATION, token);
        }
        let mut content = Bytes::new();
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, body.content_type);
            content = body.content;
        }
        let request = request
            .body(content)
            .map_err(|error| Failure::Unreachable {
                url: url.to_owned(),
                reason: error.to_string(),
            })?;
        let answer = self.http.send(request, TIMEOUT).await;
        let answer = answer.map_err(|error| Failure::from_http(url, error))?;
        Ok((answer.status(), answer.into_body()))
    }
}

fn decode<T: DeserializeOwned>(url: &str, answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::Undecodable {
        url: url.to_owned(),
        reason: error.to_string(),
    })
}

/// The token in the environment, as the original client sends one.
fn token(env: impl Fn(&str) -> Option<String>) -> Result<Option<HeaderValue>, Failure> {
    let given = |name| env(name).filter(|value| !value.trim().is_empty());
    let (origin, text) = match (given(TOKEN), given(TOKEN_FILE)) {
        (Some(text), _) => (TOKEN.to_owned(), text),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => (path, text),
            Err(source) => {
                return Err(Failure::File {
                    action: "read the token in",
                    path: path.into(),
                    source,
                });
            }
        },
        (None, None) => return Ok(None),
    };
    token_value(&origin, &text).map(Some)
}

/// A token, which `origin` holds, as a header.
fn token_value(origin: &str, text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("token={}", text.trim()))
        .map_err(|_| Failure::stated(format!("{origin} holds no token")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The origin of a cluster's URL; a path is dropped, as the original does. `shown` stands for it in what is said.
fn origin(shown: &str, text: &str) -> Result<String, Failure> {
    let hint = "for instance http://127.0.0.1:8080";
    let fault = |what: &str| Failure::with_hint(format!("{shown} {what}"), hint);
    let url = Url::parse(text).map_err(|_| fault("is not a URL"))?;
    if url.scheme() != "http" {
        return Err(fault("is not an http:// URL"));
    }
    let host = url.host_str().ok_or_else(|| fault("names no host"))?;
    Ok(match url.port() {
        Some(port) => format!("http://{host}:{port}"),
        None => format!("http://{host}"),
    })
}

/// The path of an app as typed, `zdd/base` or `/zdd/base`: `v2/apps/zdd/base`.
pub(crate) fn app_path(app_id: &str) -> String {
    path_below("v2/apps", app_id)
}

/// The path of a group as typed; `v2/groups` for `/`.
pub(crate) fn group_path(group_id: &str) -> String {
    path_below("v2/groups", group_id)
}

fn path_below(resource: &str, id: &str) -> String {
    let mut path = resource.to_owned();
    for segment in AppId::absolute(id).segments() {
        path.push('/');
        path.push_str(&path_segment(segment));
    }
    path
}

/// A segment of a path.
pub(crate) fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, &SEGMENT).to_string()
}

/// A value in a query.
pub(crate) fn query_value(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_become_paths() {
        for (typed, path) in [
            ("zdd/base", "v2/apps/zdd/base"),
            ("/zdd//base/", "v2/apps/zdd/base"),
            ("/a b?c", "v2/apps/a%20b%3Fc"),
            ("/ü", "v2/apps/%C3%BC"),
        ] {
            assert_eq!(app_path(typed), path, "{typed}");
        }
    }

    #[test]
    fn the_token_goes_to_the_front_door_only() {
        let front = Front::at("http://127.0.0.1:8080".to_owned());
        assert!(front.is_ours("http://127.0.0.1:8080/v2/apps"));
        for other in [
            "http://127.0.0.1:80801/",
            "http://127.0.0.1:8080@x/",
            "http://x/",
        ] {
            assert!(!front.is_ours(other), "{other}");
        }
    }

    #[test]
    fn the_token_is_sent_as_the_original_sends_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "of-file\n").unwrap();
        let path = path.display().to_string();
        let check = |env: &[(&str, &str)]| {
            token(|name| {
                let found = env.iter().find(|(given, _)| *given == name);
                found.map(|(_, value)| (*value).to_owned())
            })
            .map(|value| value.map(|value| value.to_str().unwrap().to_owned()))
            .map_err(|failure| failure.to_string())
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(
            check(&[("ZDD_TOKEN", " a "), ("ZDD_TOKEN_FILE", &path)]),
            Ok(Some("token=a".into()))
        );
        assert_eq!(
            check(&[("ZDD_TOKEN_FILE", &path)]),
            Ok(Some("token=of-file".into()))
        );
        assert!(check(&[("ZDD_TOKEN_FILE", "/none/token")]).is_err());
        assert!(check(&[("ZDD_TOKEN", "a\nb")]).is_err());
    }

    #[test]
    fn only_origins_of_http_urls() {
        let check = |text| origin("it", text).map_err(|failure| failure.to_string());
        assert_eq!(
            check("http://127.0.0.1:8080/x/").as_deref(),
            Ok("http://127.0.0.1:8080")
        );
        assert_eq!(
            check("http://master.mesos").as_deref(),
            Ok("http://master.mesos")
        );
        assert!(check("127.0.0.1:8080").is_err());
        assert!(check("https://127.0.0.1").is_err());
    }
}
