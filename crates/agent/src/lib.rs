//! The agent role: runs tasks as processes and reports on them.
