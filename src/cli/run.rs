//! `sidegate run`: serve until a signal ends it.

use crate::app::{App, Exit};
use crate::console::{Console, Status};
use crate::shutdown::Shutdown;

/// Serves on this thread until a signal has ended it.
pub(super) fn run(app: App, console: &mut Console<'_>) -> Status {
    let listeners = match app.bind() {
        Ok(listeners) => listeners,
        Err(error) => {
            console.complain(format_args!("sidegate: {error}"));
            return Status::CannotListen;
        }
    };
    match app.run(listeners, Shutdown::on_signals()) {
        // What outlives the grace period is cut off because the configuration says so; that is no failure.
        Exit::Drained | Exit::GraceExpired => Status::Well,
        Exit::Interrupted => Status::Failed,
    }
}
