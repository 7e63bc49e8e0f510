//! The executor alone, as an executable: what the agent's own tests start tasks with.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The first word is `executor`, as for the whole program.
    zddcluster_agent::executor::main(std::env::args_os().skip(2))
}
