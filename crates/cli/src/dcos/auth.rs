//! `dcos auth …`: logging in to a cluster that asks who you are.
//!
//! A cluster asks so by 401 to `HEAD /pkgpanda/active.buildinfo.full.json`; 200 there means that everybody may. Of the ways to log
//! in, a name and a password are understood; those that need a browser or a service's key are refused.
//!
//! Source: dcoscli 0.6.1 `auth/main.py`, `dcos/auth.py`; contract dcos-cli §6.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::args::{AuthVerb, LoginArgs};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Body, Front};
use crate::home::Home;
use crate::printer::Printer;
use crate::table::{Align, Table};

const PROVIDERS: &str = "/acs/api/v1/auth/providers";
const LOGIN: &str = "/acs/api/v1/auth/login";
/// Asked to find out whether the cluster knows its callers.
const GUARDED: &str = "/pkgpanda/active.buildinfo.full.json";

const REFUSED: &str = "Authentication failed. Please run `dcos auth login`";

pub(super) async fn run(
    verb: AuthVerb,
    front: impl FnOnce() -> Result<Front, Failure>,
    home: &Home,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    match verb {
        AuthVerb::Login(login) => {
            let front = front()?;
            forget(home)?;
            if let Some(token) = log_in(&front, &login).await? {
                let mut settings = home.settings()?;
                settings.set("core", "dcos_acs_token", token.into());
                settings.write()?;
            }
            printer.data("Login successful!")?;
            Ok(ExitStatus::Success)
        }
        AuthVerb::Logout => {
            forget(home)?;
            Ok(ExitStatus::Success)
        }
        AuthVerb::ListProviders { json, dcos_url } => {
            let front = match dcos_url {
                Some(url) => Front::at_url(&url)?,
                None => front()?,
            };
            list_providers(&front, json, printer).await
        }
    }
}

/// Takes the token out of the settings, if there is one.
fn forget(home: &Home) -> Result<(), Failure> {
    let mut settings = home.settings()?;
    match settings.unset("core", "dcos_acs_token") {
        Some(_) => settings.write(),
        None => Ok(()),
    }
}

/// Whether a failure means that the cluster does not let us in.
pub(super) fn is_refusal(failure: &Failure) -> bool {
    failure.to_string() == REFUSED
}

/// Logs in; `None` where nobody is asked who he is.
pub(super) async fn log_in(front: &Front, login: &LoginArgs) -> Result<Option<String>, Failure> {
    if let Some(provider) = &login.provider {
        check_provider(front, provider).await?;
    }
    if let Some(username) = &login.username {
        let password = password(login)?.ok_or_else(|| {
            Failure::with_hint(
                format!("no password for {username}"),
                "give it with --password-file or --password-env",
            )
        })?;
        return token(front, username, &password).await.map(Some);
    }
    let (status, _) = front.ask(Method::HEAD, GUARDED, None).await?;
    match status {
        StatusCode::OK => Ok(None),
        StatusCode::UNAUTHORIZED => Err(Failure::with_hint(
            REFUSED,
            "this cluster asks who you are: --username NAME --password-file FILE",
        )),
        _ => Err(Failure::stated(REFUSED)),
    }
}

async fn token(front: &Front, username: &str, password: &str) -> Result<String, Failure> {
    let body = Body::json(&json!({ "uid": username, "password": password }));
    let (status, answer) = front.ask(Method::POST, LOGIN, Some(body)).await?;
    let answer: Option<Value> = serde_json::from_slice(&answer).ok();
    let token = answer.and_then(|answer| answer["token"].as_str().map(str::to_owned));
    token
        .filter(|_| status.is_success())
        .ok_or_else(|| Failure::stated("Authentication failed"))
}

fn password(login: &LoginArgs) -> Result<Option<String>, Failure> {
    let LoginArgs {
        provider: _,
        username: _,
        password,
        password_file,
        password_env,
    } = login;
    if let Some(path) = password_file {
        let text = std::fs::read_to_string(path).map_err(|source| Failure::File {
            action: "read the password in",
            path: path.clone(),
            source,
        })?;
        return Ok(Some(text.trim_end().to_owned()));
    }
    if let Some(name) = password_env {
        return match std::env::var(name) {
            Ok(password) => Ok(Some(password)),
            Err(_) => Err(Failure::stated(format!(
                "Environment variable specified [{name}] does not exist"
            ))),
        };
    }
    Ok(password.clone())
}

/// The cluster's ways to log in, by id.
async fn providers(front: &Front) -> Result<serde_json::Map<String, Value>, Failure> {
    let found = front.mesos_if_there(PROVIDERS).await?;
    found.ok_or_else(|| Failure::stated("This command is not supported for your cluster"))
}

/// Refuses a way to log in that the cluster has not, or that needs more than a name and a password.
async fn check_provider(front: &Front, id: &str) -> Result<(), Failure> {
    let providers = providers(front).await?;
    let Some(provider) = providers.get(id) else {
        return Err(Failure::stated(format!(
            "Provider [{id}] not configured on your cluster"
        )));
    };
    match provider["client-method"].as_str() {
        Some(
            "dcos-usercredential-post-receive-authtoken" | "dcos-credential-post-receive-authtoken",
        ) => Ok(()),
        _ => Err(Failure::with_hint(
            format!("Authentication by provider [{id}] is not supported by this CLI"),
            "the original client can; put its token where ZDD_TOKEN_FILE says",
        )),
    }
}

async fn list_providers(
    front: &Front,
    json: bool,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    let providers = providers(front).await?;
    if json || printer.is_json() {
        printer.json(&providers)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new([
        ("PROVIDER ID", Align::Left),
        ("AUTHENTICATION TYPE", Align::Left),
    ]);
    for (id, provider) in providers {
        let kind = provider["authentication-type"].as_str().unwrap_or("N/A");
        table.row([id, kind.to_owned()]);
    }
    match table.sorted() {
        Some(table) => printer.data(&table)?,
        None => {
            return Err(Failure::stated("No providers configured for your cluster"));
        }
    }
    Ok(ExitStatus::Success)
}
