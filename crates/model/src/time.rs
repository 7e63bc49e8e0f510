//! Marathon's time: UTC, exactly three fractional digits, `Z`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time in whole milliseconds since 1970, printed as `2016-10-12T11:38:56.845Z`.
///
/// Also serves as the version of apps, groups and plans, as in Marathon. Strict clients refuse nanoseconds,
/// `+00:00` and a missing fraction (contract marathon, trap 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The beginning of time: earlier than anything the cluster ever recorded.
    pub const ZERO: Self = Self(0);

    /// The latest representable point: "never" for deadlines.
    pub const NEVER: Self = Self(i64::MAX);

    /// Makes a timestamp from milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since 1970, as Mesos writes times.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// This point moved by `millis`, saturating at both ends.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this point; negative if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A text that is not a time in ISO 8601 form with an offset.
#[derive(Debug, thiserror::Error)]
#[error("Invalid format: \"{0}\"")]
pub struct InvalidTimestamp(pub String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self(timestamp.as_millisecond()))
            .map_err(|_| InvalidTimestamp(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(timestamp) = jiff::Timestamp::from_millisecond(self.0) else {
            return f.write_str("9999-12-31T23:59:59.999Z");
        };
        write!(f, "{timestamp:.3}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_three_digits_always() {
        // contract: trap-3
        let check = |millis: i64, text: &str| {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
            assert_eq!(
                text.parse::<Timestamp>().unwrap(),
                Timestamp::from_millis(millis)
            );
        };
        check(1_476_272_336_845, "2016-10-12T11:38:56.845Z");
        check(1_476_272_336_000, "2016-10-12T11:38:56.000Z");
        check(0, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["", "yesterday", "2016-10-12", "2016-13-12T11:38:56.845Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
