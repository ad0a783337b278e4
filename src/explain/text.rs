//! An explanation for people: one line a step, in the order in which a decision is made.

use super::explanation::{
    Credential, Entitlements, Explanation, Forward, PassedOver, Requirement, Rule, Verdict,
};
use serde_json::{Map, Value};
use std::fmt::{self, Display, Formatter};

/// How wide the names of the steps are.
const WIDTH: usize = 14;

impl Display for Explanation {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        let websocket = if request.websocket { " (WebSocket)" } else { "" };
        writeln!(out, "{} {} at {}{websocket}", request.method, request.path, request.host)?;
        writeln!(out)?;
        line(out, "path", self.path.as_deref().unwrap_or("refused before it was looked at"))?;
        if let Some(rule) = &self.rule {
            list(
                out,
                "rule",
                std::iter::once(described(rule)).chain(self.passed_over.iter().map(passed_over)),
            )?;
            line(out, "access", access(rule))?;
        }
        if let Some(credential) = &self.credential {
            line(out, "credential", found(credential, self))?;
        }
        if let Some(judge) = &self.authenticator {
            line(out, "authenticator", format_args!("{} ({}): {}", judge.name, judge.kind, judge.result))?;
        }
        if let Some(identity) = &self.identity {
            list(out, "identity", identity.iter().map(|(name, value)| format!("{name} = {value}")))?;
        }
        if self.entitlements.needed {
            list(out, "entitlements", entitlements(&self.entitlements).into_iter())?;
        }
        list(out, "requires", self.requirements.iter().map(requirement))?;
        if let Some(forward) = &self.forward {
            forwarded(out, forward, &request.method)?;
        }
        list(out, "note", self.notes.iter())?;
        writeln!(out)?;
        verdict(out, &self.verdict)
    }
}

fn line(out: &mut Formatter<'_>, name: &str, text: impl Display) -> fmt::Result {
    writeln!(out, "{name:WIDTH$} {text}")
}

/// The first line bears the name; nothing at all if there is nothing.
fn list(out: &mut Formatter<'_>, name: &str, lines: impl Iterator<Item = impl Display>) -> fmt::Result {
    for (index, text) in lines.enumerate() {
        line(out, if index == 0 { name } else { "" }, text)?;
    }
    Ok(())
}

fn described(rule: &Rule) -> String {
    let limits = |name: &str, limits: &Option<Vec<String>>| match limits {
        Some(limits) => format!(", {name} {}", limits.join(" ")),
        None => String::new(),
    };
    let path = rule.path.as_deref().unwrap_or("no route fits");
    let name =
        if rule.path.as_ref() == Some(&rule.name) { String::new() } else { format!(" {:?}", rule.name) };
    let (methods, hosts) = (limits("methods", &rule.methods), limits("hosts", &rule.hosts));
    match rule.path {
        Some(_) => format!("{}{name} in line {}: {path}{methods}{hosts}", rule.key, rule.line),
        None => format!("[policy]: {path}"),
    }
}

fn passed_over(passed: &PassedOver) -> String {
    let why = match passed.why {
        "host" => "it is for other hosts",
        "method" => "it is for other methods",
        "names_no_host" => "it names no host, and rules that do come first",
        _ => "it is less specific",
    };
    format!("not {}: {why}", described(&passed.rule))
}

fn access(rule: &Rule) -> String {
    let shadow = if rule.mode == "shadow" { ", in shadow mode: nobody is refused" } else { "" };
    format!("{}{shadow}", rule.access)
}

fn found(credential: &Credential, explanation: &Explanation) -> String {
    let places = credential.places.join(", ");
    match (&credential.found, explanation.verdict.reason) {
        (Some(found), _) => format!("found in {found}"),
        (None, "credential_malformed" | "credential_repeated") => format!("refused; looked for in {places}"),
        (None, _) if explanation.authenticator.is_some() => "given by its claims".to_owned(),
        (None, _) => format!("none in {places}"),
    }
}

fn entitlements(entitlements: &Entitlements) -> Vec<String> {
    let Entitlements { capabilities, quotas, .. } = entitlements;
    if capabilities.is_none() && quotas.is_none() {
        return vec!["needed, and nothing is known".to_owned()];
    }
    let capabilities = capabilities.as_deref().unwrap_or_default();
    let capabilities = if capabilities.is_empty() { "none".to_owned() } else { capabilities.join(", ") };
    let quota = |(name, value): (&String, &Value)| {
        if value.is_null() { format!("{name} = unlimited") } else { format!("{name} = {value}") }
    };
    let mut lines = vec![format!("capabilities: {capabilities}")];
    let quotas: Vec<String> = quotas.iter().flat_map(Map::iter).map(quota).collect();
    if !quotas.is_empty() {
        lines.push(format!("quotas: {}", quotas.join(", ")));
    }
    lines
}

fn requirement(requirement: &Requirement) -> String {
    let result = match (requirement.met, requirement.reason) {
        (Some(true), _) => "met".to_owned(),
        (Some(false), reason) => format!("NOT met ({})", reason.unwrap_or_default()),
        (None, _) => "not checked".to_owned(),
    };
    format!("{}: {result}", requirement.text)
}

fn forwarded(out: &mut Formatter<'_>, forward: &Forward, method: &str) -> fmt::Result {
    list(out, "removed", forward.removed.iter().map(|field| format!("{}: {}", field.name, field.why)))?;
    list(out, "set", forward.set.iter().map(|field| format!("{}: {}", field.name, field.value)))?;
    line(
        out,
        "forwarded",
        format_args!("{method} {} to {} ({})", forward.path, forward.upstream, forward.url),
    )
}

fn verdict(out: &mut Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    match (verdict.status, verdict.would_be) {
        (Some(status), _) if verdict.decision != "deny" => write!(out, "answered: {status}")?,
        (Some(status), _) => write!(out, "refused: {status} {}", verdict.reason)?,
        (None, Some(status)) => {
            write!(out, "passes in shadow mode; would be refused: {status} {}", verdict.reason)?;
        }
        (None, None) => write!(out, "allowed")?,
    }
    if let Some(text) = &verdict.text {
        write!(out, ": {text}")?;
    }
    if let Some(cause) = &verdict.cause {
        write!(out, " ({cause})")?;
    }
    Ok(())
}
