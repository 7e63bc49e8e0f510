//! The primitives of reading a body: typed access to a JSON object that collects faults instead of stopping at the first.
//!
//! Two kinds of faults are collected side by side: *reading* faults (400: wrong types and shapes) and *rule* faults
//! (422) for values that are of the right type but cannot be held by our own types, such as negative counts.
//! Source: contract marathon §1.1.

mod checks;
mod container;
mod definition;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use serde_json::{Map, Value};

use super::Fault;

pub(super) use container::{GivenContainer, GivenNetwork, NetworkMode};
pub(super) use definition::{Parts, has_repeated_port, is_archive, read_parts};

/// The largest value of Marathon's integers.
const INT_MAX: i64 = i32::MAX as i64;
/// The smallest value of Marathon's integers.
const INT_MIN: i64 = i32::MIN as i64;

/// The longest duration Marathon can hold, 2^63 - 1 nanoseconds; as milliseconds it is far from any overflow.
const MAX_SECONDS: u64 = 9_223_372_036;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Answered with 400.
    pub(crate) reading: Vec<Fault>,
    /// Answered with 422, once reading has found nothing.
    pub(super) rules: Vec<Fault>,
}

impl Faults {
    /// Notes a reading fault.
    pub(crate) fn read(&mut self, path: impl Into<String>, error: impl Into<String>) {
        self.reading.push(Fault {
            path: path.into(),
            errors: vec![error.into()],
        });
    }

    /// Notes a broken rule.
    pub(super) fn rule(&mut self, path: impl Into<String>, error: impl Into<String>) {
        self.rules.push(Fault {
            path: path.into(),
            errors: vec![error.into()],
        });
    }
}

/// One entry for each path, each error once, in the order of first mention.
pub(crate) fn merge(faults: Vec<Fault>) -> Vec<Fault> {
    let mut merged: Vec<Fault> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut seen: HashSet<(usize, String)> = HashSet::new();
    for Fault { path, errors } in faults {
        let place = *places.entry(path).or_insert_with_key(|path| {
            merged.push(Fault {
                path: path.clone(),
                errors: Vec::new(),
            });
            merged.len() - 1
        });
        for error in errors {
            if seen.insert((place, error.clone())) {
                merged[place].errors.push(error);
            }
        }
    }
    merged
}

/// The items in their order, each once: how Marathon's sets look in a list.
pub(super) fn without_duplicates<T: Eq + Hash + Clone>(items: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::with_capacity(items.len());
    items
        .into_iter()
        .filter(|item| seen.insert(item.clone()))
        .collect()
}

/// A JSON object and where it stands in the body.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    map: &'a Map<String, Value>,
    /// `""` for the body itself, `/container/docker` inside.
    pub(super) path: &'a str,
}

impl<'a> Object<'a> {
    /// `value` as an object, or a fault.
    pub(crate) fn new(value: &'a Value, path: &'a str, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { map, path }),
            _ => {
                faults.read(path, "error.expected.jsobject");
                None
            }
        }
    }

    /// The path of a member.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.path)
    }

    /// A member; `null` is absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// True if the key is there and not `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text.
    pub(crate) fn string(&self, key: &str, faults: &mut Faults) -> Option<String> {
        string(self.get(key)?, || self.at(key), faults)
    }

    /// A text that must be there.
    pub(super) fn required_string(&self, key: &str, faults: &mut Faults) -> Option<String> {
        self.required(key, faults)?;
        self.string(key, faults)
    }

    /// A member that must be there.
    pub(super) fn required(&self, key: &str, faults: &mut Faults) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() {
            faults.read(self.at(key), "error.path.missing");
        }
        value
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        let value = self.get(key)?;
        if value.as_bool().is_none() {
            faults.read(self.at(key), "error.expected.jsboolean");
        }
        value.as_bool()
    }

    /// Any number.
    pub(crate) fn double(&self, key: &str, faults: &mut Faults) -> Option<f64> {
        let value = self.get(key)?;
        if value.as_f64().is_none() {
            faults.read(self.at(key), "error.expected.jsnumber");
        }
        value.as_f64()
    }

    /// A 32-bit integer, sign and all.
    pub(super) fn int(&self, key: &str, faults: &mut Faults) -> Option<i64> {
        int(self.get(key)?, || self.at(key), faults)
    }

    /// A 32-bit count; a negative one is a broken rule and read as 0.
    pub(super) fn count(&self, key: &str, faults: &mut Faults) -> Option<u32> {
        let number = self.int(key, faults)?;
        Some(u32::try_from(number).unwrap_or_else(|_| {
            faults.rule(self.at(key), format!("got {number}, expected 0 or more"));
            0
        }))
    }

    /// A number of seconds; a negative one or one beyond Marathon's durations is a broken rule and read as 0.
    pub(super) fn seconds(&self, key: &str, faults: &mut Faults) -> Option<u64> {
        let number = whole(self.get(key)?, || self.at(key), faults)?;
        let seconds = u64::try_from(number)
            .ok()
            .filter(|seconds| *seconds <= MAX_SECONDS);
        Some(seconds.unwrap_or_else(|| {
            let wanted = if number < 0 {
                "0 or more".to_owned()
            } else {
                format!("{MAX_SECONDS} or less")
            };
            faults.rule(self.at(key), format!("got {number}, expected {wanted}"));
            0
        }))
    }

    /// A port number, 0 to 65535; any other integer is a broken rule and read as 0.
    pub(super) fn port(&self, key: &str, faults: &mut Faults) -> Option<u16> {
        let number = self.int(key, faults)?;
        Some(port(number, || self.at(key), faults))
    }

    /// A list, each item read by `item` with its value and path (`/fetch(1)`).
    pub(crate) fn list<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        mut item: impl FnMut(&'a Value, &str, &mut Faults) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = self.get(key)?.as_array() else {
            faults.read(self.at(key), "error.expected.jsarray");
            return None;
        };
        let read = |(idx, value)| item(value, &format!("{}({idx})", self.at(key)), faults);
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    /// A list of objects.
    pub(super) fn objects<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        mut item: impl FnMut(Object<'_>, &mut Faults) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.list(key, faults, |value, path, faults| {
            let object = Object::new(value, path, faults)?;
            item(object, faults)
        })
    }

    /// A list of texts.
    pub(crate) fn strings(&self, key: &str, faults: &mut Faults) -> Option<Vec<String>> {
        self.list(key, faults, |value, path, faults| {
            string(value, || path.to_owned(), faults)
        })
    }

    /// A map whose values are read by `item` with their path.
    pub(super) fn map<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        mut item: impl FnMut(&'a Value, &str, &mut Faults) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let Some(map) = self.get(key)?.as_object() else {
            faults.read(self.at(key), "error.expected.jsobject");
            return None;
        };
        let read = |(name, value): (&String, &'a Value)| {
            let value = item(value, &format!("{}/{name}", self.at(key)), faults)?;
            Some((name.clone(), value))
        };
        Some(map.iter().filter_map(read).collect())
    }

    /// A map of texts.
    pub(super) fn string_map(
        &self,
        key: &str,
        faults: &mut Faults,
    ) -> Option<BTreeMap<String, String>> {
        self.map(key, faults, |value, path, faults| {
            string(value, || path.to_owned(), faults)
        })
    }

    /// An object inside, read by `read`.
    pub(super) fn object<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        read: impl FnOnce(Object<'_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        let path = self.at(key);
        let object = Object::new(self.get(key)?, &path, faults)?;
        read(object, faults)
    }

    /// One word of an enumeration, or `<word> <complaint>`.
    pub(super) fn word<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Option<T>,
        complaint: &str,
    ) -> Option<T> {
        let word = self.string(key, faults)?;
        let parsed = parse(&word);
        if parsed.is_none() {
            faults.read(self.at(key), format!("{word} {complaint}"));
        }
        parsed
    }
}

/// A text.
pub(super) fn string(
    value: &Value,
    path: impl FnOnce() -> String,
    faults: &mut Faults,
) -> Option<String> {
    if value.as_str().is_none() {
        faults.read(path(), "error.expected.jsstring");
    }
    value.as_str().map(str::to_owned)
}

/// A 32-bit integer.
pub(super) fn int(value: &Value, path: impl Fn() -> String, faults: &mut Faults) -> Option<i64> {
    let number = whole(value, &path, faults)?;
    if !(INT_MIN..=INT_MAX).contains(&number) {
        faults.read(path(), "error.expected.int");
        return None;
    }
    Some(number)
}

/// A port number from an integer.
pub(super) fn port(number: i64, path: impl FnOnce() -> String, faults: &mut Faults) -> u16 {
    u16::try_from(number).unwrap_or_else(|_| {
        let error = if number < 0 {
            format!("got {number}, expected 0 or more")
        } else {
            format!("got {number}, expected between 0 and 65535")
        };
        faults.rule(path(), error);
        0
    })
}

/// A whole number; `4.0` is one.
fn whole(value: &Value, path: impl FnOnce() -> String, faults: &mut Faults) -> Option<i64> {
    /// Below it every whole double is exact (2^53).
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Value::Number(number) = value else {
        faults.read(path(), "error.expected.jsnumber");
        return None;
    };
    let as_double = || {
        number
            .as_f64()
            .filter(|n| n.fract() == 0.0 && n.abs() < EXACT)
    };
    match number.as_i64().or_else(|| as_double().map(|n| n as i64)) {
        Some(number) => Some(number),
        None => {
            faults.read(path(), "error.expected.int");
            None
        }
    }
}
