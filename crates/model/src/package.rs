//! The built-in packages: what `dcos package install` turns into an app.
//!
//! A package is a fixed description, a schema of its options with their defaults, and a template that makes an app of them.
//! There is no repository: what is built in is all there is. Source: contract dcos-cli §8, contract marathon-lb §6.

mod marathon_lb;
mod options;
mod template;

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use crate::id::AppId;

pub use self::options::{FaultKind, OptionFault};

/// One version of a built-in package, with the texts its users see.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// `marathon-lb`.
    pub name: &'static str,
    /// `1.4.1`.
    pub version: &'static str,
    /// The version's number in the catalogue; larger is newer.
    pub release: u32,
    /// One line.
    pub description: &'static str,
    /// Mail address.
    pub maintainer: &'static str,
    /// Where the original's source is.
    pub scm: &'static str,
    /// Words it is found by.
    pub tags: &'static [&'static str],
    /// Shown before the question whether to go on.
    pub pre_install_notes: &'static str,
    /// Shown after installing.
    pub post_install_notes: &'static str,
    /// Shown after removing.
    pub post_uninstall_notes: &'static str,
    /// The image of its app.
    pub image: &'static str,
    /// The app as a mustache template.
    pub template: &'static str,
    schema: fn() -> Value,
    /// Options that cannot be set here, and why not.
    refused: &'static [(&'static str, &'static str)],
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackageError {
    /// They break the package's schema.
    #[error("{}", .0.iter().map(OptionFault::to_string).collect::<Vec<_>>().join("; "))]
    Schema(Vec<OptionFault>),
    /// A value this cluster cannot honour.
    #[error("option '{option}' is not supported here: {reason}")]
    NotSupported {
        /// `marathon-lb.template-url`.
        option: String,
        /// Why.
        reason: &'static str,
    },
}

/// All built-in packages, sorted by name.
pub fn all() -> Vec<Package> {
    vec![marathon_lb::PACKAGE]
}

/// The package with this name.
pub fn find(name: &str) -> Option<Package> {
    all().into_iter().find(|package| package.name == name)
}

/// The catalogue's entry of the package that an app with these labels is; `None` if it is none.
///
/// Name and version are the labels'; everything else is what the app was installed with, so it outlives the version that is
/// built in. Clients rely on `name`, `version` and `description`, whatever somebody wrote into a label; `command` would make
/// them look for a program on their machine.
pub fn installed(labels: &BTreeMap<String, String>) -> Option<Map<String, Value>> {
    let name = labels.get(NAME_LABEL)?;
    let read = |label: &String| {
        let entry = BASE64.decode(label.as_bytes()).ok()?;
        serde_json::from_slice::<Map<String, Value>>(&entry).ok()
    };
    let mut entry = labels
        .get(METADATA_LABEL)
        .and_then(read)
        .unwrap_or_default();
    entry.remove("command");
    entry.insert("name".to_owned(), name.as_str().into());
    let known = entry.get("version").and_then(Value::as_str);
    let version = labels.get(VERSION_LABEL).map(String::as_str).or(known);
    let version = Value::from(version.unwrap_or_default());
    entry.insert("version".to_owned(), version);
    if !entry.get("description").is_some_and(Value::is_string) {
        entry.insert("description".to_owned(), "".into());
    }
    Some(entry)
}

impl Package {
    /// The app's JSON with these options over the defaults, labelled as an installation of this package.
    ///
    /// `options` is `{"<package>": {"<option>": value}}`, `{}` or `null`; `app_id` goes before the id that the options give.
    ///
    /// # Errors
    /// When the options break the schema, or ask for what this cluster cannot do.
    pub fn render(&self, options: &Value, app_id: Option<&AppId>) -> Result<Value, PackageError> {
        let mut view = options::settle(&self.config(), options).map_err(PackageError::Schema)?;
        for (key, reason) in self.refused {
            if template::is_set(&view[self.name][key]) {
                let option = format!("{}.{key}", self.name);
                return Err(PackageError::NotSupported { option, reason });
            }
        }
        view["resource"] = self.resource();
        let filled = template::fill(self.template, &view).expect("a test fills the template");
        let mut app: Value = serde_json::from_str(&filled).expect("values are escaped as JSON");
        app["id"] = match app_id {
            Some(app_id) => app_id.as_str().into(),
            // Options may spell it in any way.
            None => AppId::absolute(app["id"].as_str().unwrap_or_default())
                .as_str()
                .into(),
        };
        for (key, value) in self.labels() {
            app["labels"][key] = Value::String(value);
        }
        Ok(app)
    }

    /// The options as a JSON schema, with defaults.
    pub fn config(&self) -> Value {
        (self.schema)()
    }

    /// The catalogue's entry: what `describe` and `list` show.
    pub fn definition(&self) -> Value {
        json!({
            "packagingVersion": PACKAGING_VERSION,
            "name": self.name,
            "version": self.version,
            "maintainer": self.maintainer,
            "description": self.description,
            "scm": self.scm,
            "tags": self.tags,
            "framework": false,
            "selected": true,
            "preInstallNotes": self.pre_install_notes,
            "postInstallNotes": self.post_install_notes,
            "postUninstallNotes": self.post_uninstall_notes,
        })
    }

    /// The images the package uses.
    pub fn resource(&self) -> Value {
        let key = format!("{}-docker", self.name);
        json!({"assets": {"container": {"docker": {(key): self.image}}}})
    }

    /// The template as `describe` carries it.
    pub fn template_base64(&self) -> String {
        BASE64.encode(self.template.as_bytes())
    }

    /// The labels by which an installation is recognised on its app.
    pub fn labels(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (NAME_LABEL, self.name.to_owned()),
            (VERSION_LABEL, self.version.to_owned()),
            ("DCOS_PACKAGE_SOURCE", SOURCE.to_owned()),
            ("DCOS_PACKAGE_RELEASE", self.release.to_string()),
            (
                "DCOS_PACKAGE_REGISTRY_VERSION",
                PACKAGING_VERSION.to_owned(),
            ),
            ("DCOS_PACKAGE_IS_FRAMEWORK", "false".to_owned()),
            (
                METADATA_LABEL,
                BASE64.encode(self.definition().to_string().as_bytes()),
            ),
        ])
    }
}

/// The format of the catalogue's entries.
const PACKAGING_VERSION: &str = "2.0";
/// Where packages come from: from this program. Stands where the original has the address of a repository.
pub const SOURCE: &str = "built-in";
/// The label that says which package an app is.
pub const NAME_LABEL: &str = "DCOS_PACKAGE_NAME";
/// The label that says which version of it.
pub const VERSION_LABEL: &str = "DCOS_PACKAGE_VERSION";
/// The label with the catalogue's entry, JSON in base64.
pub const METADATA_LABEL: &str = "DCOS_PACKAGE_METADATA";
