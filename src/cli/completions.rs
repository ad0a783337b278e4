//! `sidegate completions`: what a shell needs to complete the command line.

use crate::console::{Console, Status};
use clap_complete::Shell;

/// Prints the completions of `command` for `shell`.
pub(super) fn completions(shell: Shell, mut command: clap::Command, console: &mut Console<'_>) -> Status {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "sidegate", &mut script);
    console.say(String::from_utf8_lossy(&script).trim_end());
    Status::Well
}
