//! Doubles as Marathon prints them: `32`, `0.1`, never `32.0`.

use serde::Serializer;

/// The largest double below which every whole number is exact (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Serialises a double without `.0` when it is whole, else in its shortest form.
///
/// Source: contract marathon, trap 4 (`32` in JSON, `32.0` only in a task's environment).
pub fn whole_or_shortest<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < EXACT {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}
