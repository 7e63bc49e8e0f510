//! A set that keeps the order of adding, which decides which value is "first".

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;

/// Up to here a search along the list is faster than hashing, and nearly all names have fewer values.
const SEARCHED: usize = 16;

/// Values in the order of adding, each once. Reads as a slice.
#[derive(Clone)]
pub struct OrderedSet<T> {
    values: Vec<T>,
    /// All values, once there are more than [`SEARCHED`].
    index: HashSet<T>,
}

impl<T: Clone + Eq + Hash> OrderedSet<T> {
    /// Adds a value; returns whether it is new.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        if self.values.len() < SEARCHED {
            if self.values.contains(&value) {
                return false;
            }
        } else {
            if self.index.is_empty() {
                self.index.extend(self.values.iter().cloned());
            }
            if !self.index.insert(value.clone()) {
                return false;
            }
        }
        self.values.push(value);
        true
    }
}

impl<T> Default for OrderedSet<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            index: HashSet::new(),
        }
    }
}

impl<T> Deref for OrderedSet<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: PartialEq> PartialEq for OrderedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl<T: Eq> Eq for OrderedSet<T> {}

impl<T: fmt::Debug> fmt::Debug for OrderedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_once_and_in_order() {
        let mut set = OrderedSet::default();
        for n in 0..100 {
            assert!(set.insert(n % 100));
            assert!(!set.insert(n / 2));
        }
        assert!(set.iter().copied().eq(0..100));
    }
}
