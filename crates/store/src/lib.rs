//! Durable state behind a trait: sled on disk, memory in tests.
//!
//! The master keeps what it must not forget as records: a readable path as the key, JSON as the value. Every drained inbox
//! becomes one [`Store::commit`], which returns only when the whole batch would survive a power cut, or else not at all.
//!
//! ```text
//!             load                    commit Ok
//!   open ──▶ (records) ──▶ healthy ◀───────────┐
//!                             │ commit Err      │
//!                             ▼                 │
//!                          failed ──reopen──▶ replace_all(everything the caller knows)
//! ```
//!
//! After a failed commit nobody knows whether the batch is on disk. So a failed store refuses further commits until it is
//! reopened, and the caller, who still has the acknowledged state in memory, writes that whole.
//!
//! - [`SledStore`]: one tree, one batch, one flush and one `fdatasync` for each commit; a readable snapshot beside it.
//! - [`MemoryStore`]: the same behaviour without a disk, with failures on order.

mod error;
mod memory;
mod sled_store;
mod snapshot;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use sled_store::SledStore;
pub use snapshot::read as read_snapshot;

/// A key and its value, as stored.
pub type Record = (String, Vec<u8>);

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set a key to a value.
    Put(String, Vec<u8>),
    /// Remove a key; a missing one is no error.
    Remove(String),
}

/// Where records live. One writer; calls block on the disk, so an async caller uses a blocking thread.
pub trait Store: Send {
    /// All records, in the order of their keys.
    ///
    /// `Err` if they cannot be read, or if the store [failed](Store::commit) and was not reopened.
    fn load(&mut self) -> Result<Vec<Record>, StoreError>;

    /// Makes all changes of the batch durable, or none; later changes of a key win over earlier ones.
    ///
    /// After an `Err` it is not known whether the batch is on disk: every further call is refused with
    /// [`StoreError::NeedsReopen`] until [`Store::reopen`] succeeds.
    fn commit(&mut self, batch: Vec<Change>) -> Result<(), StoreError>;

    /// Closes and opens the store again, after a failure. Takes no longer than a few hundred milliseconds; safe to repeat.
    fn reopen(&mut self) -> Result<(), StoreError>;

    /// Makes exactly these records the contents, in one atomic step.
    fn replace_all(&mut self, records: Vec<Record>) -> Result<(), StoreError>;
}
