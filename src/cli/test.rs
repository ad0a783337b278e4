//! `sidegate test`: policy tests.

use super::check;
use crate::config::load::LoadError;
use crate::config::trials;
use crate::console::{Console, Status};
use crate::explain::Explainer;
use crate::trial::{Failure, Outcome, Test, compile};
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, LocalOptions};

/// Runs the tests of these files: 0 if all pass, else 1.
pub(super) fn test(config: &Path, files: &[PathBuf], console: &mut Console<'_>) -> Status {
    match try_test(config, files, console) {
        Ok(status) | Err(status) => status,
    }
}

fn try_test(config: &Path, files: &[PathBuf], console: &mut Console<'_>) -> Result<Status, Status> {
    let explainer = check::explainer(config, console)?;
    let tests = read(files, &explainer, console)?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| {
        console.complain(format_args!("sidegate: {error}"));
        Status::Failed
    })?;
    let mut outcome = Outcome::default();
    runtime.block_on(async {
        for test in &tests {
            outcome.run(&explainer, test).await;
        }
    });
    report(&outcome, &explainer, console);
    Ok(if outcome.failures.is_empty() { Status::Well } else { Status::Failed })
}

/// Every file is read, so that all that is wrong is said at once.
fn read(files: &[PathBuf], explainer: &Explainer, console: &mut Console<'_>) -> Result<Vec<Test>, Status> {
    let mut tests = Vec::new();
    let mut worst = Status::Well;
    for file in files {
        let read = trials::load(file).map_err(|error| match error {
            LoadError::Unreadable { .. } => (error.to_string(), Status::Missing),
            LoadError::Invalid { report, .. } => (report, Status::Configuration),
        });
        match read
            .and_then(|loaded| compile(&loaded, explainer).map_err(|report| (report, Status::Configuration)))
        {
            Ok(compiled) => tests.extend(compiled),
            Err((report, status)) => {
                console.complain(report.trim_end());
                worst = status;
            }
        }
    }
    if worst == Status::Well { Ok(tests) } else { Err(worst) }
}

fn report(outcome: &Outcome, explainer: &Explainer, console: &mut Console<'_>) {
    for Failure { place, name, differences, cause } in &outcome.failures {
        let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let cause = cause.as_ref().map(|cause| format!(" [{cause}]")).unwrap_or_default();
        console.say(format_args!("FAILED {place} {name}: {}{cause}", differences.join("; ")));
    }
    let uncovered = outcome.uncovered(explainer);
    if !uncovered.is_empty() {
        console.say(format_args!("routes that no test covers: {}", uncovered.join(", ")));
    }
    console.say(format_args!("{} passed, {} failed", outcome.passed, outcome.failures.len()));
}
