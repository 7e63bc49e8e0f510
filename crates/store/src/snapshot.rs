//! The last good contents as one readable JSON file, for the day the database cannot be opened.
//!
//! ```json
//! {"schema": 1, "commit": 17, "records": [{"key": "app/zdd/base", "json": {…}}, {"key": "…", "hex": "00ff"}]}
//! ```
//!
//! Values that are JSON appear as such; any other, and JSON that would not print back byte for byte, as hexadecimal digits.
//! Written beside the database and renamed into place, so that there is always a whole one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Record, StoreError};

/// The file, read or to be written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Schema version of the records.
    pub(crate) schema: u32,
    /// Number of the last commit contained.
    pub(crate) commit: u64,
    records: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Snapshot {
    pub(crate) fn new(schema: u32, commit: u64, records: &[Record]) -> Self {
        let records = records
            .iter()
            .map(|(key, value)| Entry::new(key, value))
            .collect();
        Self {
            schema,
            commit,
            records,
        }
    }

    /// Writes the file whole: a temporary one, synced, then renamed.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("json.new");
        let mut out = BufWriter::new(File::create(&temporary)?);
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_data()?;
        fs::rename(&temporary, path)?;
        sync_dir(path.parent().unwrap_or_else(|| Path::new(".")))
    }

    /// Reads it; `Ok(None)` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let bad = |cause: String| StoreError::BadSnapshot {
            path: path.to_owned(),
            cause,
        };
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| bad(e.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(error.to_string())),
        }
    }
}

impl Entry {
    fn new(key: &str, value: &[u8]) -> Self {
        let json = serde_json::from_slice::<Value>(value)
            .ok()
            .filter(|parsed| serde_json::to_vec(parsed).is_ok_and(|printed| printed == value));
        let hex = json
            .is_none()
            .then(|| value.iter().map(|byte| format!("{byte:02x}")).collect());
        Self {
            key: key.to_owned(),
            json,
            hex,
        }
    }

    fn into_record(self) -> Result<Record, String> {
        let value = match (self.json, self.hex) {
            (Some(json), None) => serde_json::to_vec(&json).map_err(|error| error.to_string())?,
            (None, Some(hex)) => from_hex(&hex)
                .ok_or_else(|| format!("record {} has broken hex digits", self.key))?,
            // A JSON `null` reads as no value.
            (None, None) => b"null".to_vec(),
            (Some(_), Some(_)) => return Err(format!("record {} has two values", self.key)),
        };
        Ok((self.key, value))
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|idx| u8::from_str_radix(digits.get(idx..idx + 2)?, 16).ok())
        .collect()
}

/// Makes a rename or creation in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The records of a snapshot file, for [`Store::replace_all`](crate::Store::replace_all) on a new store.
///
/// `Err` if the file is missing, broken, or of a newer schema version.
pub fn read(path: &Path) -> Result<Vec<Record>, StoreError> {
    let bad = |cause: String| StoreError::BadSnapshot {
        path: path.to_owned(),
        cause,
    };
    let snapshot = Snapshot::read(path)?.ok_or_else(|| bad("no such file".into()))?;
    if snapshot.schema > crate::sled_store::SCHEMA_VERSION {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found: snapshot.schema,
            known: crate::sled_store::SCHEMA_VERSION,
        });
    }
    snapshot
        .records
        .into_iter()
        .map(Entry::into_record)
        .collect::<Result<_, _>>()
        .map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        let records: Vec<Record> = [
            ("app/a", br#"{"id":"/a","cpus":0.10,"n":[1,2]}"#.as_slice()),
            ("b", br#"{"z":1,"a":2}"#),
            ("c", b"null"),
            ("d", b"\x00\xff"),
            ("e", b""),
        ]
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
        .collect();
        Snapshot::new(1, 9, &records).write(&path).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        assert_eq!(Snapshot::read(&path).unwrap().unwrap().commit, 9);
    }

    #[test]
    fn broken_snapshots_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert!(matches!(read(&path), Err(StoreError::BadSnapshot { .. })));
        fs::write(
            &path,
            r#"{"schema":1,"commit":1,"records":[{"key":"a","hex":"0"}]}"#,
        )
        .unwrap();
        assert!(matches!(read(&path), Err(StoreError::BadSnapshot { .. })));
        fs::write(&path, r#"{"schema":99,"commit":1,"records":[]}"#).unwrap();
        assert!(matches!(
            read(&path),
            Err(StoreError::NewerSchema { found: 99, .. })
        ));
    }
}
