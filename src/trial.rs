//! `sidegate test`: requests that are written down with what is expected to become of them.
//!
//! Each is decided by the code of the gate, through [`explain`](crate::explain); nobody is asked over the network.

mod compare;
mod compile;

pub use compare::Difference;
pub use compile::compile;

use crate::config::trials::Expect;
use crate::explain::{Explainer, Explanation, Question};
use std::collections::BTreeSet;

/// One test, ready to be run.
#[derive(Clone, Debug)]
pub struct Test {
    name: String,
    /// The file and line where it stands.
    place: String,
    question: Question,
    expect: Expect,
}

/// A test that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The file and line where it stands.
    pub place: String,
    /// Its name.
    pub name: String,
    /// Everything that was found to be other than expected.
    pub differences: Vec<Difference>,
    /// What else there is to know.
    pub cause: Option<String>,
}

/// What came of all tests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many passed.
    pub passed: usize,
    /// Those that did not.
    pub failures: Vec<Failure>,
    /// The keys of the rules that a test met.
    met: BTreeSet<String>,
}

impl Outcome {
    /// Runs one test more.
    pub async fn run(&mut self, explainer: &Explainer, test: &Test) {
        let explanation = explainer.explain(&test.question).await;
        let differences = compare::differences(&test.expect, &explanation);
        if differences.is_empty() {
            self.passed = self.passed.saturating_add(1);
        } else {
            self.failures.push(Failure {
                place: test.place.clone(),
                name: test.name.clone(),
                differences,
                cause: cause(&explanation),
            });
        }
        self.met.extend(explanation.rule.map(|rule| rule.key));
    }

    /// The names of the routes that no test met.
    pub fn uncovered<'a>(&self, explainer: &'a Explainer) -> Vec<&'a str> {
        let is_uncovered = |(place, _): &(usize, &str)| !self.met.contains(&format!("routes[{place}]"));
        explainer.routes().enumerate().filter(is_uncovered).map(|(_, name)| name).collect()
    }
}

/// Why it came as it did, in words.
fn cause(explanation: &Explanation) -> Option<String> {
    let verdict = &explanation.verdict;
    match (&verdict.text, &verdict.cause) {
        (Some(text), Some(cause)) => Some(format!("{text} ({cause})")),
        (Some(text), None) => Some(text.clone()),
        (None, _) => None,
    }
}
