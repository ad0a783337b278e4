//! `sidegate explain`: what would become of a request, and why.

use super::check;
use crate::console::{Console, Status};
use crate::explain::{Explanation, Fault, Question, facts};
use clap::Args;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, LocalOptions};

/// A request, and what stands in for the rest of the world.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: super::ConfigFile,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The path, and a query if there is one.
    #[arg(long)]
    path: String,
    /// The host that the request is for; default: localhost.
    #[arg(long)]
    host: Option<String>,
    /// A token, sent as `Authorization: Bearer`; it is judged as a gate does it.
    #[arg(long, conflicts_with_all = ["token_file", "claims"])]
    token: Option<String>,
    /// A file with the token.
    #[arg(long, value_name = "FILE", conflicts_with = "claims")]
    token_file: Option<PathBuf>,
    /// A JSON file with claims that are taken as verified: neither keys nor network are needed, and neither signature,
    /// issuer, audience nor times are checked.
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// Whose claims they are; default: those of the first authenticator of the rule that has claims.
    #[arg(long, value_name = "NAME", requires = "claims")]
    authenticator: Option<String>,
    /// A JSON file with what is known about the customer: {"capabilities": […], "quotas": {…}}. The service of the
    /// entitlements is not asked then.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// A header field; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the connection comes from; default: none, as on a unix socket.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Ask for a WebSocket.
    #[arg(long)]
    websocket: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Explains one request: 0 if it is admitted, else 1.
pub(super) fn explain(arguments: &Arguments, console: &mut Console<'_>) -> Status {
    match try_explain(arguments, console) {
        Ok(explanation) => {
            if arguments.json {
                // It is made of texts, numbers and lists only.
                console.say(serde_json::to_string_pretty(&explanation).unwrap_or_default());
            } else {
                console.say(&explanation);
            }
            if explanation.is_admitted() { Status::Well } else { Status::Failed }
        }
        Err(status) => status,
    }
}

fn try_explain(arguments: &Arguments, console: &mut Console<'_>) -> Result<Explanation, Status> {
    let mut question = read(arguments, console)?;
    let explainer = check::explainer(&arguments.config.file, console)?;
    if let Some(name) = question.authenticator.as_ref().filter(|name| !explainer.takes_claims(name)) {
        console.complain(format_args!("sidegate: there is no authenticator {name:?} that has claims"));
        return Err(Status::Usage);
    }
    question.offline = question.claims.is_some();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| {
        console.complain(format_args!("sidegate: {error}"));
        Status::Failed
    })?;
    Ok(runtime.block_on(explainer.explain(&question)))
}

fn read(arguments: &Arguments, console: &mut Console<'_>) -> Result<Question, Status> {
    let usage = |console: &mut Console<'_>, option: &str, fault: Fault| {
        console.complain(format_args!("sidegate: {option}: {fault}"));
        Status::Usage
    };
    let question = Question::new(&arguments.method, &arguments.path);
    let mut question = question.map_err(|fault| usage(console, "--path", fault))?;
    if let Some(host) = &arguments.host {
        question.header("host", host).map_err(|fault| usage(console, "--host", fault))?;
    }
    for header in &arguments.headers {
        let parts = header.split_once(':').ok_or_else(|| Fault(format!("{header:?} has no colon")));
        let added = parts.and_then(|(name, value)| question.header(name, value));
        added.map_err(|fault| usage(console, "--header", fault))?;
    }
    let token = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(text(file, console)?.trim().to_owned()),
        (None, None) => None,
    };
    if let Some(token) = token {
        let added = question.header("authorization", &format!("Bearer {token}"));
        added.map_err(|fault| usage(console, "--token", fault))?;
    }
    if let Some(file) = &arguments.claims {
        let claims = text(file, console)?;
        question.assume(&claims).map_err(|fault| usage(console, "--claims", fault))?;
    }
    if let Some(file) = &arguments.facts {
        let text = text(file, console)?;
        question.facts = Some(facts(&text).map_err(|fault| usage(console, "--facts", fault))?);
    }
    if arguments.websocket {
        question.upgrade();
    }
    question.authenticator.clone_from(&arguments.authenticator);
    question.client = arguments.client;
    Ok(question)
}

fn text(file: &Path, console: &mut Console<'_>) -> Result<String, Status> {
    std::fs::read_to_string(file).map_err(|error| {
        console.complain(format_args!("sidegate: {}: {error}", file.display()));
        Status::Missing
    })
}
