//! The world's store: batches that get there, and whether it says what the engine believes.

use std::collections::BTreeMap;

use zddcluster_model::Timestamp;

use super::Plant;
use super::world::{Decided, World};
use crate::State;
use crate::effect::{Effect, Mutation};

impl World {
    /// Makes a batch durable, whole.
    pub(super) fn commit(&mut self, batch: &[Decided]) {
        for effect in batch.iter().flat_map(|decided| &decided.effects) {
            match effect {
                Effect::Persist(Mutation::Put(key, value)) => {
                    let is_lost = self.plant == Some(Plant::LosesAWrite)
                        && key.starts_with("version/")
                        && self.n_steps().is_multiple_of(7);
                    if !is_lost {
                        self.store.insert(key.clone(), value.clone());
                    }
                }
                Effect::Persist(Mutation::Remove(key)) => {
                    self.store.remove(key);
                }
                _ => {}
            }
        }
    }

    /// What the engine believes and what a new engine would read from the store are the same.
    pub(super) fn compare_with_store(&self) {
        let of = |records: Vec<(String, Vec<u8>)>| -> BTreeMap<String, Vec<u8>> {
            records
                .into_iter()
                .filter(|(key, _)| key != "meta/cluster")
                .collect()
        };
        let believed = of(crate::persist::export(&self.snapshot));
        let stored = of(self.store.clone().into_iter().collect());
        for (key, value) in &believed {
            let in_store = stored.get(key);
            assert!(
                in_store == Some(value),
                "the store does not hold {key} as acknowledged: {:?} instead of {}",
                in_store.map(|value| String::from_utf8_lossy(value).into_owned()),
                String::from_utf8_lossy(value)
            );
        }
        for key in stored.keys() {
            assert!(
                believed.contains_key(key),
                "the store holds {key}, which is gone"
            );
        }
        let replayed = State::replay(
            &self.config,
            Timestamp::from_millis(self.now),
            self.store.clone(),
        )
        .expect("a store of ours is readable");
        let again = of(crate::persist::export(&replayed));
        assert!(
            again == believed,
            "a replay of the store gives another state"
        );
    }
}
