//! Domain names in wire form: labels each after their length, the root's zero at the end.
//!
//! Comparing names as bytes keeps a dot inside a label apart from one between labels. Lower-casing a whole name is
//! safe, since lengths are at most 63 and so are no letters.

use std::borrow::Borrow;
use std::fmt;

use crate::label::MAX_LABEL;

/// The longest name in wire form.
const MAX_WIRE: usize = 255;

/// A name in wire form, whole and uncompressed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Makes a name of text with dots between labels and a final dot; `None` when it does not fit the wire format.
    pub fn from_text(text: &str) -> Option<Self> {
        let labels = text.strip_suffix('.')?;
        let mut wire = Vec::with_capacity(text.len() + 1);
        for label in labels.split('.').filter(|_| !labels.is_empty()) {
            if !(1..=MAX_LABEL).contains(&label.len()) {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        (wire.len() <= MAX_WIRE).then(|| Self(wire.into()))
    }

    /// Makes a name of labels known to be 1 to 63 bytes long and together no longer than a name may be.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            wire.push(u8::try_from(label.len()).expect("a label is at most 63 bytes long"));
            wire.extend_from_slice(label);
        }
        wire.push(0);
        Self(wire.into())
    }

    /// Reads the name at the beginning of `bytes`; `None` if there is none, or not in full.
    pub(crate) fn from_start(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length > MAX_LABEL || at > MAX_WIRE {
                return None;
            }
            if length == 0 {
                return Some(Self(bytes[..at].into()));
            }
        }
    }

    /// Makes a name of one in wire form, for example of a [suffix](suffixes) of another.
    pub(crate) fn from_wire(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// The bytes, the root's zero included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name in lower case.
    pub(crate) fn to_lowercase(&self) -> Self {
        Self(self.0.to_ascii_lowercase().into())
    }

    /// Whether this name is `other` or below it; both in lower case.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        suffixes(&self.0).any(|suffix| suffix == other.as_wire())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for suffix in suffixes(&self.0).filter(|suffix| suffix.len() > 1) {
            let label = &suffix[1..=usize::from(suffix[0])];
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name and all names above it, the root last.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(wire);
    std::iter::from_fn(move || {
        let suffix = rest?;
        rest = match suffix[0] {
            0 => None,
            length => Some(&suffix[1 + usize::from(length)..]),
        };
        Some(suffix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for text in [".", "mesos.", "_blue-zdd._tcp.marathon.mesos."] {
            assert_eq!(Name::from_text(text).expect(text).to_string(), text);
        }
        let long = format!("{}.", "a".repeat(64));
        let deep = "a.".repeat(128);
        for text in ["", "mesos", "a..b.", ".a.", &long, &deep] {
            assert_eq!(Name::from_text(text), None, "{text}");
        }
        assert!(Name::from_text(&"a.".repeat(127)).is_some());
        let dotted = Name::from_labels([&b"blue.zdd"[..], b"mesos"].into_iter());
        assert_eq!(dotted.to_string(), "blue\\.zdd.mesos.");
        assert_ne!(Name::from_text("blue.zdd.mesos."), Some(dotted));
    }

    #[test]
    fn within_counts_whole_labels() {
        let name = |text| Name::from_text(text).expect("a name");
        let domain = name("mesos.");
        assert!(name("mesos.").is_within(&domain));
        assert!(name("a.b.mesos.").is_within(&domain));
        assert!(!name("notmesos.").is_within(&domain));
        assert!(!name("mesos.example.").is_within(&domain));
        assert!(!name(".").is_within(&domain));
    }
}
