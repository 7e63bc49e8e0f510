//! Each role as a process of its own: killed and started again one after the other, frozen, fenced, rebooted and ended by `down`.
//! The others go on, the tasks keep their processes, and who comes back joins.

mod ended;
mod fenced;
mod lives;
