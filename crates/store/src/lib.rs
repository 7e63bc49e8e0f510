//! Durable state behind a trait: sled on disk, memory in tests.
