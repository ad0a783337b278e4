//! Programs that some tests need, and that may be missing.

use std::io::Write as _;

/// Says loudly that `test` is skipped, for the program of that Debian package is missing; a failure where `variable` is
/// `required`, as it is in CI.
#[track_caller]
pub fn missing(test: &str, program: &str, package: &str, variable: &str) {
    let required = std::env::var(variable).is_ok_and(|value| value == "required");
    assert!(!required, "{program} is missing: apt-get install {package}");
    let line = format!(
        "SKIPPED: {test}: {program} is missing (apt-get install {package}; {variable}=required fails instead)\n"
    );
    // Not through `eprintln!`, which nobody sees of a test that passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
