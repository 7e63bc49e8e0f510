//! See `zddcluster_dns::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zddcluster_dns::fuzzing::packet(input));
