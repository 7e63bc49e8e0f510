//! What a zone with extras knows besides its records: names that only lead to others, and the names of addresses.

use std::collections::{HashMap, HashSet};

use super::Node;
use crate::name::{Name, suffixes};
use crate::records::Records;

/// See the module.
#[derive(Debug)]
pub(crate) struct Extras {
    /// Names without records above those that have some (RFC 8020).
    non_terminals: HashSet<Name>,
    /// From the name of an address to whose it is.
    reverse: HashMap<Name, Vec<Name>>,
}

impl Extras {
    pub(super) fn of(records: &Records, table: &HashMap<Name, Node>, origin: &Name) -> Self {
        let mut non_terminals = HashSet::new();
        // A name with a capital letter cannot be asked for, and so leads nowhere.
        let names = table.keys().filter(|name| **name == name.to_lowercase());
        for name in names.filter(|name| name.is_within(origin)) {
            let n_labels = |name: &Name| suffixes(name.as_wire()).count();
            let n_above = n_labels(name) - n_labels(origin);
            for above in suffixes(name.as_wire()).skip(1).take(n_above) {
                if !table.contains_key(above) {
                    non_terminals.insert(Name::from_wire(above));
                }
            }
        }
        let reverse = records.ptr.iter().filter_map(|(name, targets)| {
            let targets = targets.iter().filter_map(|name| Name::from_text(name));
            Some((Name::from_text(name)?, targets.collect()))
        });
        Self {
            non_terminals,
            reverse: reverse.collect(),
        }
    }

    /// Whether the name has no records, but some name below it has.
    pub(crate) fn is_non_terminal(&self, name: &Name) -> bool {
        self.non_terminals.contains(name)
    }

    /// Whose an address is, by its name; `None` for one that is nobody's.
    pub(crate) fn pointers(&self, name: &Name) -> Option<&[Name]> {
        self.reverse.get(name).map(Vec::as_slice)
    }
}
