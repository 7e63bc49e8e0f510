//! Drives the real binary from whole-system tests.
