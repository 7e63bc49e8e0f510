//! Where the `dcos` client keeps its settings: `~/.dcos`, laid out as the original's, so that either client reads what the
//! other wrote.
//!
//! ```text
//!   ~/.dcos/dcos.toml                     before a cluster was set up (0.4); $DCOS_CONFIG names another file
//!   ~/.dcos/clusters/<CLUSTER_ID>/dcos.toml
//!   ~/.dcos/clusters/<CLUSTER_ID>/attached    an empty file: the cluster that is spoken to
//! ```
//!
//! `$DCOS_DIR` stands for `~/.dcos`. Files are made for their owner alone, and others are refused: a token may be in them.
//!
//! Source: dcos 0.6.1 `config.py`, `cluster.py`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use toml::Table;

use crate::failure::Failure;

/// The file in each directory.
const FILE_NAME: &str = "dcos.toml";
/// The mark of the cluster that is spoken to.
const ATTACHED: &str = "attached";

/// Tells variables of the environment.
type Env = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The client's own directory.
pub(crate) struct Home {
    dir: PathBuf,
    env: Env,
}

/// A cluster that was set up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// Its `CLUSTER_ID`.
    pub(crate) id: String,
    /// `cluster.name`, else the id.
    pub(crate) name: String,
    /// `core.dcos_url`.
    pub(crate) url: Option<String>,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Whether it is spoken to.
    pub(crate) is_attached: bool,
}

/// The settings of one file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) table: Table,
}

impl Home {
    /// The one of whoever runs this.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        Self::with_env(|name| std::env::var_os(name))
    }

    pub(crate) fn with_env(
        env: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let given = |name| env(name).filter(|value| !value.is_empty());
        let dir = given("DCOS_DIR")
            .map(PathBuf::from)
            .or_else(|| given("HOME").map(|home| Path::new(&home).join(".dcos")));
        let dir = dir.ok_or_else(|| {
            Failure::with_hint(
                "neither DCOS_DIR nor HOME says where the settings of the client are kept",
                "name a directory: DCOS_DIR=DIR dcos ...",
            )
        })?;
        Ok(Self {
            dir,
            env: Box::new(env),
        })
    }

    /// A variable of the environment that is not empty.
    pub(crate) fn env(&self, name: &str) -> Option<String> {
        let value = (self.env)(name)?.to_string_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    fn clusters_dir(&self) -> PathBuf {
        self.dir.join("clusters")
    }

    /// The file that counts: the attached cluster's, else the one for all.
    pub(crate) fn config_path(&self) -> Result<PathBuf, Failure> {
        if let Some(attached) = self.attached()? {
            return Ok(attached.dir.join(FILE_NAME));
        }
        let given = (self.env)("DCOS_CONFIG").filter(|path| !path.is_empty());
        Ok(given.map_or_else(|| self.dir.join(FILE_NAME), PathBuf::from))
    }

    /// The settings that count; none if there is no file.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Settings::read(self.config_path()?)
    }

    /// The cluster that `core.dcos_url` names.
    pub(crate) fn dcos_url(&self) -> Result<Option<String>, Failure> {
        Ok(self.settings()?.text("core.dcos_url"))
    }

    /// The token that a login left.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        Ok(self.settings()?.text("core.dcos_acs_token"))
    }

    /// The clusters that were set up, in the order of their ids.
    pub(crate) fn clusters(&self) -> Result<Vec<Known>, Failure> {
        let dir = self.clusters_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(unreadable(dir, source)),
        };
        let mut known = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| unreadable(dir.clone(), source))?;
            let id = entry.file_name().to_string_lossy().into_owned();
            let dir = entry.path();
            if !is_cluster_id(&id) || !dir.is_dir() {
                continue;
            }
            let settings = Settings::read(dir.join(FILE_NAME))?;
            known.push(Known {
                name: settings.text("cluster.name").unwrap_or_else(|| id.clone()),
                url: settings.text("core.dcos_url"),
                is_attached: dir.join(ATTACHED).exists(),
                dir,
                id,
            });
        }
        known.sort_by(|a, b| a.id.cmp(&b.id));
        let is_the_only_one = known.len() == 1;
        let chosen = self.env("DCOS_CLUSTER");
        for cluster in &mut known {
            cluster.is_attached = match &chosen {
                Some(chosen) => *chosen == cluster.id || *chosen == cluster.name,
                None => cluster.is_attached || is_the_only_one,
            };
        }
        Ok(known)
    }

    /// The cluster that is spoken to.
    pub(crate) fn attached(&self) -> Result<Option<Known>, Failure> {
        Ok(self.clusters()?.into_iter().find(|known| known.is_attached))
    }

    /// The cluster of a name, an id or the begin of an id.
    pub(crate) fn find(&self, name: &str) -> Result<Known, Failure> {
        let clusters = self.clusters()?;
        if let Some(exact) = clusters.iter().find(|known| known.id == name) {
            return Ok(exact.clone());
        }
        let mut matching = clusters
            .into_iter()
            .filter(|known| known.name == name || known.id.starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(known), None) => Ok(known),
            (None, _) => Err(Failure::stated(format!("Cluster [{name}] does not exist"))),
            (Some(_), Some(_)) => Err(Failure::stated(format!(
                "Multiple clusters matching \"{name}\", please use the exact cluster ID."
            ))),
        }
    }

    /// Has a cluster be the one that is spoken to.
    pub(crate) fn attach(&self, dir: &Path) -> Result<(), Failure> {
        for known in self.clusters()? {
            if known.dir != dir {
                remove_mark(&known.dir)?;
            }
        }
        let mark = dir.join(ATTACHED);
        write_private(&mark, "").map_err(|source| unwritable(mark, source))
    }

    /// Remembers a cluster; `None` if it is known already.
    pub(crate) fn add(&self, id: &str) -> Result<Option<PathBuf>, Failure> {
        let dir = self.clusters_dir().join(id);
        if dir.exists() {
            return Ok(None);
        }
        fs::create_dir_all(&dir).map_err(|source| unwritable(dir.clone(), source))?;
        Ok(Some(dir))
    }

    /// Forgets a cluster.
    pub(crate) fn remove(&self, known: &Known) -> Result<(), Failure> {
        fs::remove_dir_all(&known.dir).map_err(|source| Failure::File {
            action: "remove",
            path: known.dir.clone(),
            source,
        })
    }
}

impl Settings {
    /// The settings of a cluster's directory.
    pub(crate) fn of(dir: &Path) -> Result<Self, Failure> {
        Self::read(dir.join(FILE_NAME))
    }

    fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(unreadable(path, source)),
        };
        refuse_readers(&path)?;
        match text.parse() {
            Ok(table) => Ok(Self { path, table }),
            Err(error) => Err(Failure::stated(format!(
                "Error parsing config file at [{}]: {error}",
                path.display()
            ))),
        }
    }

    /// A value by its whole name, `core.dcos_url`.
    pub(crate) fn get(&self, name: &str) -> Option<&toml::Value> {
        let (section, key) = name.split_once('.')?;
        self.table.get(section)?.get(key)
    }

    /// A value as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(shown)
    }

    pub(crate) fn set(&mut self, section: &str, key: &str, value: toml::Value) {
        let entry = self
            .table
            .entry(section)
            .or_insert_with(|| Table::new().into());
        // Whatever stood there was no section.
        if !entry.is_table() {
            *entry = Table::new().into();
        }
        if let Some(table) = entry.as_table_mut() {
            table.insert(key.to_owned(), value);
        }
    }

    /// Takes a value away; `None` if there is none.
    pub(crate) fn unset(&mut self, section: &str, key: &str) -> Option<toml::Value> {
        self.table.get_mut(section)?.as_table_mut()?.remove(key)
    }

    /// Writes the file, for its owner alone.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let Self { path, table } = self;
        let write = || -> io::Result<()> {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            write_private(path, &table.to_string())
        };
        write().map_err(|source| unwritable(path.clone(), source))
    }
}

/// A value as `config show` prints it.
pub(crate) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        // As Python prints them.
        toml::Value::Boolean(true) => "True".to_owned(),
        toml::Value::Boolean(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// The original only knows directories that are named so: a lower-case UUID of version 4.
pub(crate) fn is_cluster_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &&str| {
        let mut digits = part.bytes();
        digits.all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    };
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts.iter().all(is_hex)
        && parts[2].starts_with('4')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

/// A file that others may read is refused, as by the original.
fn refuse_readers(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::with_hint(
        format!(
            "Permissions '{:#o}' for configuration file '{}' are too open. File must only be accessible by owner.",
            metadata.permissions().mode() & 0o777,
            path.display()
        ),
        format!("chmod 600 {}", path.display()),
    ))
}

/// Replaces a file as a whole.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

fn remove_mark(dir: &Path) -> Result<(), Failure> {
    let mark = dir.join(ATTACHED);
    match fs::remove_file(&mark) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(unwritable(mark, source)),
        _ => Ok(()),
    }
}

fn unreadable(path: PathBuf, source: io::Error) -> Failure {
    Failure::File {
        action: "read",
        path,
        source,
    }
}

fn unwritable(path: PathBuf, source: io::Error) -> Failure {
    Failure::File {
        action: "write",
        path,
        source,
    }
}
