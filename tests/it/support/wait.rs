//! Waiting for a condition with a deadline; nothing here or in a test sleeps in the hope that it will do.

use std::time::{Duration, Instant};

/// How long anything may take before a test fails; long, since many gates share the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `probe` until it has an answer; fails with `what` when [`PATIENCE`] is over.
#[track_caller]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        pause();
    }
}

/// Asks `probe` until it says yes.
#[track_caller]
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}

/// Fails as soon as `holds` says no within `span`.
#[track_caller]
pub fn throughout(what: &str, span: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline {
        assert!(holds(), "did not hold: {what}");
        pause();
    }
}

/// Lets `span` pass because it is the subject of the test (a cool-down, an expiry), not to wait for something.
pub fn let_pass(span: Duration) {
    std::thread::sleep(span);
}

fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
