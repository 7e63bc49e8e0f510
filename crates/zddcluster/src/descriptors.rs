//! How many files this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// As many as ten thousand event streams, their callers and the store need, with room. Tasks inherit it, and some programs
/// close every possible descriptor when they start: not more than that takes no time.
pub(crate) const WANTED: u64 = 65_536;

/// Raises the limit of open files as far as the machine allows, but never above what is wanted: shells often set 1024,
/// which a thousand readers of events would use up.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}
