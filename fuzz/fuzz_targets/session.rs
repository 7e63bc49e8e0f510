//! See `zddcluster_edge::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zddcluster_edge::fuzzing::session(input));
