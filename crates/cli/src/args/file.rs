//! Settings from a file, all faults of settings at once, and the settings in effect.
//!
//! A role's settings come from its flags, else from the environment, else from the TOML file of `--config`, else from the
//! defaults. The file's keys are the long flags. What it says is put in place of the defaults of the grammar, so that the rest of the
//! order is clap's. The file of `dns` may also be a `config.json` of Mesos-DNS, which that role reads itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use clap::builder::{Resettable, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use toml::{Table, Value};

/// The verbs that have settings.
const ROLES: [&str; 5] = ["up", "master", "agent", "dns", "edge"];

/// Long flags that are no settings: they say where settings are, or what to do with them.
const NO_SETTINGS: [&str; 3] = ["config", "dump-config", "help"];

/// The role whose file may also be the original's, which is JSON.
const JSON_ROLE: &str = "dns";

/// Its flags with a default that such a file has too.
const IN_JSON: [&str; 4] = ["master", "listen", "domain", "ttl"];

/// How alike a key and a flag must be for one to be taken for the other misspelled; 1 is equal.
const ALIKE: f64 = 0.7;

/// What was read of a command line.
#[derive(Debug)]
pub(super) enum Read {
    /// It is in the grammar, and so is the file.
    Matches {
        matches: ArgMatches,
        /// With `--dump-config`: the settings in effect.
        dump: Option<String>,
    },
    /// It is not in the grammar, or asks for help.
    Usage(clap::Error),
    /// Values that cannot be: one line each.
    Faults(Vec<String>),
}

/// Reads a command line by a grammar, with the file it names.
pub(super) fn read(grammar: &Command, argv: &[OsString]) -> Read {
    let strict = |command: &Command| command.clone().try_get_matches_from(argv);
    let Some((verb, file)) = role_and_file(grammar, argv) else {
        return match strict(grammar) {
            Ok(matches) => Read::Matches {
                matches,
                dump: None,
            },
            Err(error) => Read::Usage(error),
        };
    };
    let (with_file, mut faults) = match &file {
        Some(path) => with_file(grammar, &verb, path),
        None => (grammar.clone(), Vec::new()),
    };
    match strict(&with_file) {
        Ok(matches) if faults.is_empty() => {
            let dump = matches
                .subcommand_matches(&verb)
                .filter(|matches| matches.get_flag("dump_config"))
                .map(|matches| dump(role(grammar, &verb), matches));
            Read::Matches { matches, dump }
        }
        Ok(_) => Read::Faults(faults),
        Err(error) if is_of_a_value(&error) => {
            faults.extend(faults_of_values(&with_file, &verb, argv, &error));
            Read::Faults(faults)
        }
        // A setting that the file would have had is missing because of the fault in it.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && !faults.is_empty() => {
            Read::Faults(faults)
        }
        Err(error) => Read::Usage(error),
    }
}

fn is_of_a_value(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::NoEquals
    )
}

/// The role a command line is for and the file it names, as far as it can be read.
fn role_and_file(grammar: &Command, argv: &[OsString]) -> Option<(String, Option<OsString>)> {
    // Whatever is wrong is told later.
    let lenient = relaxed(grammar).ignore_errors(true);
    let matches = lenient.try_get_matches_from(argv).ok()?;
    let (verb, matches) = matches.subcommand()?;
    if !ROLES.contains(&verb) {
        return None;
    }
    let mut file = matches.get_raw("config").into_iter().flatten();
    let file = file.next().map(OsStr::to_owned);
    Some((verb.to_owned(), file.filter(|path| !path.is_empty())))
}

/// The same grammar, in which values may be anything.
fn relaxed(grammar: &Command) -> Command {
    grammar.clone().mut_subcommands(|role| {
        if !ROLES.contains(&role.get_name()) {
            return role;
        }
        role.mut_args(|arg| {
            if arg.get_action().takes_values() {
                arg.value_parser(ValueParser::os_string()).required(false)
            } else {
                arg
            }
        })
    })
}

fn role<'a>(grammar: &'a Command, verb: &str) -> &'a Command {
    grammar
        .find_subcommand(verb)
        .expect("the verb was found in this grammar")
}

/// The settings of a role: its long flags.
fn settings(role: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    role.get_arguments().filter_map(|arg| {
        let long = arg.get_long()?;
        (!NO_SETTINGS.contains(&long)).then_some((long, arg))
    })
}

/// The grammar with the file's values in place of the defaults, and what is wrong with the others.
fn with_file(grammar: &Command, verb: &str, path: &OsStr) -> (Command, Vec<String>) {
    let shown = Path::new(path).display();
    let table = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the settings in {shown}: {error}"))
        .and_then(|text| match verb == JSON_ROLE && is_json(&text) {
            true => Ok(None),
            false => text
                .parse::<Table>()
                .map(Some)
                .map_err(|error| format!("{shown} is not TOML: {}", one_line(&error.to_string()))),
        });
    let table = match table {
        Ok(Some(table)) => table,
        Ok(None) => return (without_defaults(grammar, verb), Vec::new()),
        Err(fault) => return (grammar.clone(), vec![fault]),
    };
    let mut faults = Vec::new();
    let mut grammar = grammar.clone();
    for (key, value) in table {
        let role = role(&grammar, verb);
        let Some((_, arg)) = settings(role).find(|(long, _)| *long == key) else {
            faults.push(format!("{shown}: {}", unknown_key(role, &key)));
            continue;
        };
        let id = arg.get_id().as_str().to_owned();
        let checked = words(arg, &value).and_then(|words| match arg.get_action().takes_values() {
            true => words
                .iter()
                .try_for_each(|word| check(&grammar, verb, &key, word))
                .map(|()| words),
            false => Ok(words),
        });
        match checked {
            Ok(words) => {
                grammar = grammar.mut_subcommand(verb, |role| {
                    role.mut_arg(id, |arg| arg.required(false).default_values(words))
                });
            }
            Err(fault) => faults.push(format!("{shown}: {key}: {fault}")),
        }
    }
    (grammar, faults)
}

/// Whether a file is a JSON object rather than TOML, in which no line begins with a brace.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// The grammar in which only what is said has a value: the role reads the file itself, which goes before defaults.
fn without_defaults(grammar: &Command, verb: &str) -> Command {
    let ids: Vec<Id> = settings(role(grammar, verb))
        .filter(|(long, _)| IN_JSON.contains(long))
        .map(|(_, arg)| arg.get_id().clone())
        .collect();
    grammar.clone().mut_subcommand(verb, |role| {
        ids.into_iter().fold(role, |role, id| {
            role.mut_arg(id, |arg| arg.default_value(Resettable::Reset))
        })
    })
}

/// A value of the file as the words a command line would have.
fn words(arg: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let is_flag = !arg.get_action().takes_values();
    let is_list = is_list(arg);
    let word = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other => Err(format!(
            "a text or a number is needed, not {}",
            other.type_str()
        )),
    };
    match value {
        Value::Boolean(is_set) if is_flag => Ok(vec![is_set.to_string()]),
        other if is_flag => Err(format!("true or false is needed, not {}", other.type_str())),
        Value::Boolean(is_set) if is_switch(arg) => Ok(vec![is_set.to_string()]),
        Value::Array(values) if is_list => values.iter().map(word).collect(),
        value => Ok(vec![word(value)?]),
    }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|n| n.max_values() > 1)
}

/// Whether it is true or false, though it may have its value behind it.
fn is_switch(arg: &Arg) -> bool {
    let values = arg.get_possible_values();
    !values.is_empty()
        && values
            .iter()
            .all(|value| ["true", "false"].contains(&value.get_name()))
}

/// Says what is wrong with one value of a flag.
fn check(grammar: &Command, verb: &str, long: &str, value: &str) -> Result<(), String> {
    let grammar = grammar.clone().mut_subcommand(verb, |role| {
        role.mut_args(|arg| arg.env(None::<&'static str>).required(false))
    });
    let argv = ["zddcluster", verb, &format!("--{long}={value}")];
    match grammar.try_get_matches_from(argv) {
        Ok(_) => Ok(()),
        Err(error) => Err(text(&error)),
    }
}

/// What is wrong with the values on the command line and in the environment.
fn faults_of_values(
    grammar: &Command,
    verb: &str,
    argv: &[OsString],
    first: &clap::Error,
) -> Vec<String> {
    let Ok(matches) = relaxed(grammar).try_get_matches_from(argv) else {
        return vec![text(first)];
    };
    let Some(matches) = matches.subcommand_matches(verb) else {
        return vec![text(first)];
    };
    let mut faults = Vec::new();
    for (long, arg) in settings(role(grammar, verb)) {
        let id = arg.get_id().as_str();
        let source = matches.value_source(id);
        let prefix = match (source, arg.get_env()) {
            (Some(ValueSource::EnvVariable), Some(name)) => format!("{}: ", name.display()),
            (Some(ValueSource::CommandLine), _) => String::new(),
            _ => continue,
        };
        if !arg.get_action().takes_values() {
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            if let Err(fault) = check(grammar, verb, long, &value.to_string_lossy()) {
                faults.push(format!("{prefix}{fault}"));
            }
        }
    }
    if faults.is_empty() {
        faults.push(text(first));
    }
    faults
}

/// The settings in effect, as a file that says the same.
fn dump(role: &Command, matches: &ArgMatches) -> String {
    let mut table = Table::new();
    for (long, arg) in settings(role) {
        let id = arg.get_id().as_str();
        let value = if arg.get_action().takes_values() {
            let mut words: Vec<Value> = matches
                .get_raw(id)
                .into_iter()
                .flatten()
                .map(|word| value(arg, &word.to_string_lossy()))
                .collect();
            match is_list(arg) {
                true => Value::Array(words),
                false => match words.pop() {
                    Some(word) => word,
                    None => continue,
                },
            }
        } else {
            Value::Boolean(matches.get_flag(id))
        };
        table.insert(long.to_owned(), value);
    }
    table.to_string()
}

/// A word as the file has it: a number where only numbers may stand, true or false where only they may.
fn value(arg: &Arg, word: &str) -> Value {
    let is_number = arg
        .get_default_values()
        .first()
        .is_some_and(|default| default.to_string_lossy().parse::<f64>().is_ok());
    if let Some(is_set) = word.parse().ok().filter(|_| is_switch(arg)) {
        return Value::Boolean(is_set);
    }
    match (word.parse::<i64>(), word.parse::<f64>()) {
        (Ok(number), _) if is_number => Value::Integer(number),
        (_, Ok(number)) if is_number => Value::Float(number),
        _ => Value::String(word.to_owned()),
    }
}

fn unknown_key(role: &Command, key: &str) -> String {
    let nearest = settings(role)
        .map(|(long, _)| (strsim::jaro_winkler(long, key), long))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, long)) => format!("there is no setting `{key}`; hint: `{long}`"),
        None => format!(
            "there is no setting `{key}`; hint: zddcluster {} --help lists the flags, which are the settings",
            role.get_name()
        ),
    }
}

/// A fault of clap's without its frame.
fn text(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("For more information"))
        .filter(|line| !line.is_empty());
    let text = one_line(&lines.collect::<Vec<_>>().join(" "));
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
