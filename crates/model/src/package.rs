//! The built-in packages: what `dcos package install` turns into an app.
//!
//! A package is a fixed description, a schema of its options with their defaults, and a way to make an app of them. There is
//! no repository: what is built in is all there is. Source: contract dcos-cli §8, contract marathon-lb §6.

mod marathon_lb;
mod options;

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::id::AppId;

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
    /// The app as a mustache template, for readers: [`Package::render`] does not use it.
    pub template: &'static str,
    schema: fn() -> Value,
    app: fn(&Value) -> Result<Value, PackageError>,
}

/// Why options cannot be used. `option` is a path such as `marathon-lb.cpus`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// No such option.
    #[error("unknown option '{option}'; known are: {}", known.join(", "))]
    UnknownOption {
        /// What was given.
        option: String,
        /// What could have been given.
        known: Vec<String>,
    },
    /// A value of the wrong type.
    #[error("option '{option}' must be {expected}, got {got}")]
    WrongType {
        /// The option.
        option: String,
        /// `a number`.
        expected: &'static str,
        /// The value, as JSON.
        got: String,
    },
    /// A number below the option's minimum.
    #[error("option '{option}' must be {minimum} or more, got {got}")]
    TooSmall {
        /// The option.
        option: String,
        /// The least value.
        minimum: String,
        /// The value.
        got: String,
    },
    /// A value this cluster cannot honour.
    #[error("option '{option}' is not supported here: {reason}")]
    NotSupported {
        /// The option.
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

impl Package {
    /// The app's JSON with these options over the defaults, labelled as an installation of this package.
    ///
    /// `options` is `{"<package>": {"<option>": value}}`, `{}` or `null`.
    pub fn render(&self, options: &Value) -> Result<Value, PackageError> {
        let options = options::settle(&self.config(), options)?;
        let mut app = (self.app)(&options[self.name])?;
        let mut labels = json!(app.get("labels").cloned().unwrap_or_else(|| json!({})));
        for (key, value) in self.labels() {
            labels[key] = Value::String(value);
        }
        app["labels"] = labels;
        Ok(app)
    }

    /// The app's id when nothing else is asked for.
    pub fn default_app_id(&self) -> AppId {
        AppId::absolute(self.name)
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
            ("DCOS_PACKAGE_NAME", self.name.to_owned()),
            ("DCOS_PACKAGE_VERSION", self.version.to_owned()),
            ("DCOS_PACKAGE_SOURCE", SOURCE.to_owned()),
            ("DCOS_PACKAGE_RELEASE", self.release.to_string()),
            (
                "DCOS_PACKAGE_REGISTRY_VERSION",
                PACKAGING_VERSION.to_owned(),
            ),
            ("DCOS_PACKAGE_IS_FRAMEWORK", "false".to_owned()),
            (
                "DCOS_PACKAGE_METADATA",
                BASE64.encode(self.definition().to_string().as_bytes()),
            ),
        ])
    }
}

/// The format of the catalogue's entries.
const PACKAGING_VERSION: &str = "2.0";
/// Where packages come from: from this program.
const SOURCE: &str = "built-in";
