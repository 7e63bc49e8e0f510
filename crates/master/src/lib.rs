//! The master role: Marathon and Mesos APIs, event bus and health checks around the engine.
