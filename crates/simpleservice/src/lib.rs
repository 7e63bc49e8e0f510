//! The lab's test service.
