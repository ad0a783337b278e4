//! From a file of tests to tests that can be run: whatever could never come true is an error.

use super::Test;
use super::compare::reasons;
use crate::config::problem::{KeyPath, Problems};
use crate::config::trials::{Amount, Expect, Facts as WrittenFacts, LoadedTrials, Trial};
use crate::explain::{Explainer, Fault, Question};
use crate::facts::Facts;
use crate::quotas::Quota;
use http::{HeaderName, StatusCode};
use std::net::IpAddr;

const LINE_HINT: &str = "write it as it stands in a request, on one line";

/// Compiles the tests of a file.
///
/// # Errors
/// The report of everything that is wrong with them.
pub fn compile(loaded: &LoadedTrials, explainer: &Explainer) -> Result<Vec<Test>, String> {
    let mut problems = Problems::default();
    let mut tests = Vec::new();
    for (index, written) in loaded.trials.iter().enumerate() {
        let at = KeyPath::root("tests").index(index);
        check_expected(&written.expect, explainer, &at.key("expect"), &mut problems);
        let question = question(written, explainer, &at, &mut problems);
        tests.push(Test {
            name: written.name.clone(),
            place: format!("{}:{}", loaded.document.name(), loaded.document.line(&at)),
            question,
            expect: written.expect.clone(),
        });
    }
    if problems.has_errors() { Err(loaded.document.render(&problems)) } else { Ok(tests) }
}

fn question(written: &Trial, explainer: &Explainer, at: &KeyPath, problems: &mut Problems) -> Question {
    let mut question = request(written, &at.key("request"), problems);
    if let Some(token) = &written.token {
        if written.claims.is_some() {
            let hint = "give a token that is judged, or claims that are taken as verified";
            problems.error(at.key("token"), "cannot stand beside `claims`", hint);
        }
        if let Err(fault) = question.header("authorization", &format!("Bearer {token}")) {
            problems.error(at.key("token"), fault.0, LINE_HINT);
        }
    }
    if let Some(claims) = &written.claims {
        let json = json(&toml::Value::Table(claims.0.clone()));
        let json = json.ok_or_else(|| Fault("has a value that no token has".to_owned()));
        if let Err(fault) = json.and_then(|json| question.assume(&json.to_string())) {
            let hint = "write strings, numbers, booleans, lists and tables; tokens have seconds for a date";
            problems.error(at.key("claims"), fault.0, hint);
        }
    }
    if let Some(name) = &written.authenticator {
        if !explainer.takes_claims(name) {
            let message = format!("there is no authenticator {name:?} that has claims");
            problems.error(at.key("authenticator"), message, "name one of the configuration's");
        } else if written.claims.is_none() {
            let hint = "add `claims`, or remove the key";
            problems.error(at.key("authenticator"), "there are no claims that could be its", hint);
        }
    }
    question.authenticator.clone_from(&written.authenticator);
    question.facts = written.facts.as_ref().map(facts);
    question.offline = true;
    question
}

fn request(written: &Trial, at: &KeyPath, problems: &mut Problems) -> Question {
    let request = &written.request;
    let question = Question::new(&request.method, &request.path);
    let mut question = question.unwrap_or_else(|fault| {
        problems.error(at.clone(), fault.0, LINE_HINT);
        Question::default()
    });
    let host = request.host.iter().map(|host| ("host", at.key("host"), host));
    let headers = request.headers.iter().flat_map(|(name, values)| {
        let at = at.key("headers").key(name);
        values.iter().map(move |value| (name.as_str(), at.clone(), value))
    });
    for (name, at, value) in host.chain(headers) {
        if let Err(fault) = question.header(name, value) {
            problems.error(at, fault.0, LINE_HINT);
        }
    }
    if let Some(text) = &request.client {
        question.client = text.parse::<IpAddr>().ok();
        if question.client.is_none() {
            let hint = "write it without a port, such as \"192.0.2.1\"";
            problems.error(at.key("client"), format!("{text:?} is not an address"), hint);
        }
    }
    if request.websocket {
        question.upgrade();
    }
    question
}

fn check_expected(expect: &Expect, explainer: &Explainer, at: &KeyPath, problems: &mut Problems) {
    let Expect { status, reason, decision, route, headers } = expect;
    if status.is_none() && reason.is_none() && decision.is_none() && route.is_none() && headers.is_empty() {
        problems.error(
            at.clone(),
            "expects nothing",
            "add `status`, `reason`, `decision`, `route` or `headers`",
        );
    }
    if let Some(reason) = reason.as_deref().filter(|reason| !reasons().any(|known| known == *reason)) {
        let known: Vec<&str> = reasons().collect();
        let hint = format!("there is {}", known.join(", "));
        problems.error(at.key("reason"), format!("there is no reason {reason:?}"), hint);
    }
    if let Some(status) = status.filter(|status| StatusCode::from_u16(*status).is_err()) {
        let hint = "write the status of a refusal, such as 403, or 200 for whatever the service answers";
        problems.error(at.key("status"), format!("{status} is not a status"), hint);
    }
    if let Some(route) = route.as_deref().filter(|route| *route != "policy") {
        let known: Vec<&str> = explainer.routes().collect();
        if !known.contains(&route) {
            let hint = format!("there is {}", known.join(", "));
            problems.error(at.key("route"), format!("there is no route {route:?}"), hint);
        }
    }
    for name in headers.keys().filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
        let message = format!("{name:?} is not a header name");
        problems.error(at.key("headers").key(name), message, "use letters, digits and \"-\"");
    }
}

fn facts(written: &WrittenFacts) -> Facts {
    let quota = |amount: &Amount| match amount {
        Amount::Limit(limit) => Quota::Limit(*limit),
        Amount::Unlimited(_) => Quota::Unlimited,
    };
    Facts {
        capabilities: written.capabilities.iter().map(String::as_str).collect(),
        quotas: written.quotas.iter().map(|(name, amount)| (name.as_str(), quota(amount))).collect(),
    }
}

/// The same in JSON; nothing where there is a date or a number that JSON has not.
fn json(value: &toml::Value) -> Option<serde_json::Value> {
    match value {
        toml::Value::String(text) => Some(text.as_str().into()),
        toml::Value::Integer(number) => Some((*number).into()),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number).map(Into::into),
        toml::Value::Boolean(truth) => Some((*truth).into()),
        toml::Value::Datetime(_) => None,
        toml::Value::Array(list) => list.iter().map(json).collect(),
        toml::Value::Table(table) => {
            let member = |(name, value): (&String, _)| Some((name.clone(), json(value)?));
            table.iter().map(member).collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
        }
    }
}
