//! What every role stands on: supervised tasks, guarded HTTP listeners, retry back-off.
