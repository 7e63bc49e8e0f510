//! Typed client of the Marathon, Mesos and zddcluster APIs.
