//! `zddcluster explain`: why an app, or anything at all, waits, and what would help.
//!
//! The master knows the reasons and their words; here they are only asked for and shown.

use serde_json::Value;
use zddcluster_model::AppId;

use crate::args::ExplainArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Front, path_segment};
use crate::printer::Printer;

pub(super) async fn run(args: &ExplainArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let front = Front::locate(&args.data_dir)?;
    let app_id = args.app.as_deref().map(AppId::absolute);
    explain(&front, app_id.as_ref(), printer).await
}

/// Asks about one app, or about everything.
async fn explain(
    front: &Front,
    app_id: Option<&AppId>,
    printer: &Printer,
) -> Result<ExitStatus, Failure> {
    let mut path = "/zdd/v1/explain".to_owned();
    for segment in app_id.into_iter().flat_map(AppId::segments) {
        path.push('/');
        path.push_str(&path_segment(segment));
    }
    let Some(answer) = front.mesos_if_there::<Value>(&path).await? else {
        return Err(match app_id {
            Some(app_id) => Failure::with_hint(
                format!("App '{app_id}' does not exist"),
                "the apps there are: zddcluster status",
            ),
            None => Failure::with_hint(
                "this cluster cannot explain itself",
                "it runs another version: zddcluster down, then zddcluster up",
            ),
        });
    };
    if printer.is_json() {
        printer.json(&answer)?;
        return Ok(ExitStatus::Success);
    }
    let text = answer["text"]
        .as_str()
        .ok_or_else(|| Failure::Undecodable {
            url: path,
            reason: "there is no text".to_owned(),
        })?;
    // What tasks and users wrote is in it; lines are ours.
    let lines: Vec<String> = text.lines().map(crate::text::printable).collect();
    printer.data(&lines.join("\n"))?;
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use serde_json::json;

    use super::*;
    use crate::args::Format;

    const TEXT: &str = "/a: 0 of 1 instances run\nwaits for:\n  1 instance of /a to find an agent";

    #[expect(
        clippy::disallowed_methods,
        reason = "the server ends with the test's runtime"
    )]
    async fn front() -> Front {
        let explanation = |text: &str| json!({ "text": text, "isWaiting": true }).to_string();
        let (one, all) = (explanation(TEXT), explanation("nothing\u{1b}[2J"));
        let router = Router::new()
            .route("/zdd/v1/explain/zdd/a", get(async move || one))
            .route("/zdd/v1/explain", get(async move || all));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Front::at(format!("http://{address}"))
    }

    async fn asked(app: Option<&str>, format: Format) -> Result<String, String> {
        let (printer, captured) = Printer::captured(format);
        let app_id = app.map(AppId::absolute);
        let ended = explain(&front().await, app_id.as_ref(), &printer).await;
        let ended = ended.map_err(|failure| format!("{failure}; {:?}", failure.hint()))?;
        assert_eq!(ended, ExitStatus::Success);
        Ok(captured.out())
    }

    #[tokio::test]
    async fn an_app_is_explained_in_the_masters_words() {
        let told = asked(Some("zdd/a"), Format::Table).await.unwrap();
        assert_eq!(told.trim_end(), TEXT);
        let json = asked(Some("/zdd/a"), Format::Json).await.unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["text"], &json["isWaiting"]),
            (&TEXT.into(), &true.into())
        );
        // Without an app everything; and nothing that a terminal would obey.
        let all = asked(None, Format::Table).await.unwrap();
        assert!(
            all.starts_with("nothing") && !all.contains('\u{1b}'),
            "{all:?}"
        );
        let unknown = asked(Some("/x"), Format::Table).await.unwrap_err();
        assert!(
            unknown.starts_with("App '/x' does not exist; Some("),
            "{unknown}"
        );
    }
}
