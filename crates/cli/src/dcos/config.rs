//! `dcos config …`: the settings of the client.
//!
//! Source: dcoscli 0.6.1 `config/main.py`, and the schemas in `dcos/data/config-schema`.

use toml::Value;
use url::Url;

use crate::args::ConfigVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::home::{Home, Settings, shown};
use crate::printer::Printer;
use crate::text::{printable, quoted};

/// What a property may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Url,
    Boolean,
    /// A whole number of at least 1.
    Positive,
}

/// All properties of the original's own commands.
const PROPERTIES: [(&str, &str, Kind); 15] = [
    ("core", "dcos_url", Kind::Url),
    ("core", "dcos_acs_token", Kind::Text),
    ("core", "mesos_master_url", Kind::Url),
    ("core", "pagination", Kind::Boolean),
    ("core", "prompt_login", Kind::Boolean),
    ("core", "reporting", Kind::Boolean),
    ("core", "ssh_proxy_ip", Kind::Text),
    ("core", "ssh_user", Kind::Text),
    ("core", "ssl_verify", Kind::Text),
    ("core", "timeout", Kind::Positive),
    ("cluster", "name", Kind::Text),
    ("job", "service_name", Kind::Text),
    ("job", "url", Kind::Text),
    ("marathon", "url", Kind::Url),
    ("package", "cosmos_url", Kind::Url),
];

/// What is shown in place of a token.
const HIDDEN: &str = "********";
/// Where the notes on the environment begin.
const NOTE_COLUMN: usize = 35;

const URL: &str = "core.dcos_url";
const TOKEN: &str = "core.dcos_acs_token";

pub(super) fn run(verb: ConfigVerb, home: &Home, printer: &Printer) -> Result<ExitStatus, Failure> {
    match verb {
        ConfigVerb::Set { name, value } => set(&name, &value, home, printer),
        ConfigVerb::Show { name } => show(name.as_deref(), home, printer),
        ConfigVerb::Unset { name } => unset(&name, home, printer),
        ConfigVerb::Validate => validate(home, printer),
    }
}

fn set(name: &str, text: &str, home: &Home, printer: &Printer) -> Result<ExitStatus, Failure> {
    let (section, key) = split(name)?;
    let value = typed(kind_of(section, key)?, name, text)?;
    let mut settings = home.settings()?;
    let old = settings.get(name).cloned();
    let mut said = match (&old, name == TOKEN) {
        (None, true) => format!("[{name}]: set"),
        (Some(old), true) if *old == value => format!("[{name}]: already set to that value"),
        (Some(_), true) => format!("[{name}]: changed"),
        (None, false) => format!("[{name}]: set to '{}'", shown(&value)),
        (Some(old), false) if *old == value => {
            format!("[{name}]: already set to '{}'", shown(old))
        }
        (Some(old), false) => {
            format!(
                "[{name}]: changed from '{}' to '{}'",
                shown(old),
                shown(&value)
            )
        }
    };
    // A token is of one cluster.
    let is_other = old.is_some_and(|old| old != value);
    if name == URL && is_other && settings.unset("core", "dcos_acs_token").is_some() {
        said.push_str(&format!("\n[{TOKEN}]: removed"));
    }
    settings.set(section, key, value);
    settings.write()?;
    printer.talk(&printable(&said));
    Ok(ExitStatus::Success)
}

fn unset(name: &str, home: &Home, printer: &Printer) -> Result<ExitStatus, Failure> {
    let mut settings = home.settings()?;
    let Some((section, key)) = name.split_once('.') else {
        return Err(incomplete(name, &settings));
    };
    if settings.unset(section, key).is_none() {
        return Err(missing(name));
    }
    let mut said = format!("Removed [{name}]");
    if name == URL && settings.unset("core", "dcos_acs_token").is_some() {
        said.push_str(&format!(" and [{TOKEN}]"));
    }
    settings.write()?;
    printer.talk(&said);
    Ok(ExitStatus::Success)
}

fn show(name: Option<&str>, home: &Home, printer: &Printer) -> Result<ExitStatus, Failure> {
    let settings = home.settings()?;
    if let Some(name) = name {
        let Some((section, key)) = name.split_once('.') else {
            return Err(incomplete(name, &settings));
        };
        let overriding = variables(section, key)
            .into_iter()
            .find_map(|variable| home.env(&variable));
        let value = overriding.or_else(|| settings.text(name));
        let value = value.ok_or_else(|| missing(name))?;
        printer.data(&printable(&value))?;
        return Ok(ExitStatus::Success);
    }
    let mut lines = Vec::new();
    for (section, values) in &settings.table {
        for (key, value) in values.as_table().into_iter().flatten() {
            lines.push((
                format!("{section}.{key}"),
                line(section, key, &shown(value), home),
            ));
        }
    }
    lines.sort();
    if printer.is_json() {
        let entries = lines.iter().map(|(name, _)| {
            let value = match name == TOKEN {
                true => HIDDEN.to_owned(),
                false => settings.text(name).unwrap_or_default(),
            };
            (name.clone(), value.into())
        });
        printer.json(&serde_json::Value::Object(entries.collect()))?;
        return Ok(ExitStatus::Success);
    }
    for (_, line) in lines {
        printer.data(&printable(&line))?;
    }
    Ok(ExitStatus::Success)
}

/// One property of the file, and what the environment makes of it.
fn line(section: &str, key: &str, in_file: &str, home: &Home) -> String {
    let name = format!("{section}.{key}");
    let is_hidden = name == TOKEN;
    let variables = variables(section, key);
    let overriding = variables.iter().find_map(|variable| {
        let value = home.env(variable)?;
        Some((variable, value))
    });
    let effective = overriding
        .as_ref()
        .map_or(in_file, |(_, value)| value.as_str());
    let printed = if is_hidden { HIDDEN } else { effective };
    let line = format!("{name} {printed}");
    match overriding {
        Some((variable, value)) if value != in_file => {
            let rest = if is_hidden {
                "config file value differs".to_owned()
            } else {
                format!("config file value: {in_file}")
            };
            format!("{line:NOTE_COLUMN$} # overwritten by environment var {variable}; {rest}")
        }
        _ => line,
    }
}

fn validate(home: &Home, printer: &Printer) -> Result<ExitStatus, Failure> {
    let settings = home.settings()?;
    printer.data(&format!("Validating {} ...", settings.path.display()))?;
    let mut faults = Vec::new();
    for (section, values) in &settings.table {
        let Some(values) = values.as_table() else {
            faults.push(format!("Error: {} is no section", quoted(section)));
            continue;
        };
        for (key, value) in values {
            let name = format!("{section}.{key}");
            let fault = match kind_of(section, key) {
                Ok(kind) => fault_of(kind, value),
                Err(failure) => Some(failure.to_string()),
            };
            faults.extend(fault.map(|fault| format!("{fault}\nPath: {name}")));
        }
    }
    if faults.is_empty() {
        printer.data("Congratulations, your configuration is valid!")?;
        return Ok(ExitStatus::Success);
    }
    printer.data(&printable(&faults.join("\n\n")))?;
    Ok(ExitStatus::Failure)
}

/// What is wrong with a value of the file.
fn fault_of(kind: Kind, value: &Value) -> Option<String> {
    let is_right = match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Boolean, Value::Boolean(_)) => true,
        (Kind::Url, Value::String(text)) => Url::parse(text).is_ok(),
        (Kind::Positive, Value::Integer(number)) => *number >= 1,
        _ => false,
    };
    (!is_right).then(|| format!("Error: {} is not {}", shown(value), kind.what()))
}

impl Kind {
    const fn what(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Url => "a URL",
            Self::Boolean => "true or false",
            Self::Positive => "a whole number of at least 1",
        }
    }
}

/// The value that a text stands for.
fn typed(kind: Kind, name: &str, text: &str) -> Result<Value, Failure> {
    let quoted_by = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    let text = match quoted_by('"') || quoted_by('\'') {
        true => &text[1..text.len() - 1],
        false => text,
    };
    let value = match kind {
        Kind::Text => Some(Value::from(text)),
        Kind::Url => Url::parse(text)
            .ok()
            .filter(Url::has_host)
            .map(|_| Value::from(text)),
        Kind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        Kind::Positive => {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 1);
            number.map(Value::from)
        }
    };
    value.ok_or_else(|| {
        let message = format!("{name}: {} is not {}", quoted(text), kind.what());
        match kind {
            Kind::Url => Failure::with_hint(message, "for instance http://127.0.0.1:8080"),
            _ => Failure::stated(message),
        }
    })
}

fn split(name: &str) -> Result<(&str, &str), Failure> {
    name.split_once('.').ok_or_else(|| {
        Failure::stated(
            "Property name must have both a section and key: <section>.<key> - E.g. marathon.url",
        )
    })
}

fn kind_of(section: &str, key: &str) -> Result<Kind, Failure> {
    let mut of_section = PROPERTIES.iter().filter(|(name, _, _)| *name == section);
    if of_section.clone().next().is_none() {
        return Err(Failure::stated(format!(
            "Config section '{section}' is invalid: '{section}' is not a dcos command."
        )));
    }
    let found = of_section.find(|(_, name, _)| *name == key);
    found.map(|(_, _, kind)| *kind).ok_or_else(|| {
        Failure::stated(format!(
            "Error: Additional properties are not allowed ('{key}' was unexpected)"
        ))
    })
}

/// The variables of the environment that go before a property.
fn variables(section: &str, key: &str) -> Vec<String> {
    let (section, key) = (section.to_uppercase(), key.to_uppercase());
    match section.as_str() {
        "CORE" if key.starts_with("DCOS") => vec![key.clone(), format!("DCOS_{key}")],
        "CORE" => vec![format!("DCOS_{key}")],
        "CLUSTER" => Vec::new(),
        _ => vec![format!("DCOS_{section}_{key}")],
    }
}

fn missing(name: &str) -> Failure {
    Failure::stated(format!("Property {} doesn't exist", quoted(name)))
}

/// Why a section is no property; what it has is named.
fn incomplete(name: &str, settings: &Settings) -> Failure {
    let Some(section) = settings.table.get(name).and_then(Value::as_table) else {
        return missing(name);
    };
    let keys: Vec<String> = section
        .keys()
        .map(|key| format!("\n{name}.{key}"))
        .collect();
    Failure::stated(format!(
        "Property {} doesn't fully specify a value - possible properties are:{}",
        quoted(name),
        keys.concat()
    ))
}
