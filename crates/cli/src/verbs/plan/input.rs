//! What is wanted, from the words of the command line: files with apps, lists of apps or a group, or changes of one app.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use zddcluster_engine::predict::Assumptions;

use crate::dcos::property;
use crate::failure::Failure;

/// What is wanted.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// A change of one app, which its id names.
    App { id: String, update: Value },
    /// Several apps, each with its id.
    Apps(Vec<Value>),
    /// A group, with its id.
    Group(Value),
}

impl Wanted {
    /// The body of `POST /zdd/v1/plan`.
    pub(super) fn request(self, force: bool, assumptions: &Assumptions) -> Value {
        let mut request = match self {
            Self::App { id, update } => json!({ "app": id, "update": update }),
            Self::Apps(apps) => json!({ "apps": apps }),
            Self::Group(group) => json!({ "group": group }),
        };
        request["force"] = json!(force);
        request["assumptions"] = json!(assumptions);
        request
    }
}

/// Reads the words of `plan`: `[APP] FILE|KEY=VALUE…`.
pub(super) fn wanted(words: &[String]) -> Result<Wanted, Failure> {
    let is_file = |word: &str| word == "-" || Path::new(word).is_file();
    let is_property = |word: &str| word.contains('=') && !is_file(word);
    let (app, rest) = match words {
        [first, rest @ ..] if !is_file(first) && !is_property(first) && !looks_like_file(first) => {
            (Some(first), rest)
        }
        all => (None, all),
    };
    let (properties, files): (Vec<String>, Vec<String>) =
        rest.iter().cloned().partition(|word| is_property(word));
    match app {
        Some(id) => change(id, &files, &properties),
        None if properties.is_empty() => of_files(&files),
        None => Err(Failure::with_hint(
            format!("{} is a change, but of which app?", properties[0]),
            "put the app's id before it, for instance: zddcluster plan /zdd/base instances=5",
        )),
    }
}

/// A path that is meant to be a file, though there is none.
fn looks_like_file(word: &str) -> bool {
    Path::new(word)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn change(id: &str, files: &[String], properties: &[String]) -> Result<Wanted, Failure> {
    let mut update = match files {
        [] => Map::new(),
        [file] => match read(file)? {
            Value::Object(update) => update,
            _ => return Err(wrong(file, "must hold one app to be a change of one")),
        },
        [_, second, ..] => {
            return Err(wrong(
                second,
                "is one too many: a change of one app is one file",
            ));
        }
    };
    update.extend(property::object(properties)?);
    if update.is_empty() {
        return Err(Failure::with_hint(
            format!("nothing is to change in {id}"),
            format!(
                "add a file or KEY=VALUE, for instance: zddcluster plan {id} instances=5\n      if {id} was meant to be a file: there is none of that name"
            ),
        ));
    }
    Ok(Wanted::App {
        id: id.to_owned(),
        update: Value::Object(update),
    })
}

/// What files hold: one group, or apps and lists of apps.
pub(super) fn of_files(files: &[String]) -> Result<Wanted, Failure> {
    let mut apps = Vec::new();
    for file in files {
        match read(file)? {
            Value::Array(list) => apps.extend(list),
            Value::Object(group) if is_group(&group) => {
                if files.len() > 1 {
                    return Err(wrong(file, "is a group, which is planned alone"));
                }
                return Ok(Wanted::Group(Value::Object(group)));
            }
            Value::Object(app) if app.contains_key("id") => apps.push(Value::Object(app)),
            Value::Object(_) => {
                return Err(Failure::with_hint(
                    format!("{file} names no app: it has no id"),
                    format!("put the app's id before it: zddcluster plan /zdd/base {file}"),
                ));
            }
            _ => return Err(wrong(file, "is neither an app, a list of apps nor a group")),
        }
    }
    Ok(Wanted::Apps(apps))
}

fn is_group(object: &Map<String, Value>) -> bool {
    object.contains_key("apps") || object.contains_key("groups")
}

fn wrong(file: &str, what: &str) -> Failure {
    Failure::stated(format!("{file} {what}"))
}

/// The JSON in a file, or on standard input.
fn read(file: &str) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        path => std::fs::read_to_string(path).map(|found| text = found),
    };
    read.map_err(|source| Failure::File {
        action: "read",
        path: file.into(),
        source,
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::stated(format!("{file} is not JSON: {error}")))
}
