//! `sidegate token inspect`: what a token says, and whether it would pass.

use crate::app::App;
use crate::authn::Kind;
use crate::authn::cache::Bounds;
use crate::authn::token::{Jws, Space};
use crate::clock::{Clock as _, SystemClock, UnixTime};
use crate::console::{Console, Status};
use crate::denial::Denial;
use crate::sessions::{Session, Sessions};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// More is no token, whatever it is.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// What is remembered while one token is looked at.
const BOUNDS: Bounds = Bounds { signatures: NonZeroU32::MIN, bytes: 1 << 20 };

#[derive(Args, Debug)]
pub(in crate::cli) struct Inspect {
    /// The token; "-", or none at all, reads it from standard input.
    #[arg(value_name = "TOKEN", default_value = "-", hide_default_value = true)]
    token: String,
    /// Verify it, with the jwt authenticators of this configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Inspect {
    /// The configuration that it is to be verified with.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Says everything about a token, and whether `gate` would take it.
pub(super) fn inspect(arguments: &Inspect, gate: Option<App>, console: &mut Console<'_>) -> Status {
    let token = match read(&arguments.token) {
        Ok(token) => token,
        Err(error) => {
            console.complain(format_args!("sidegate: cannot read the token: {error}"));
            return Status::Failed;
        }
    };
    let token = bare(&token);
    if token.is_empty() {
        console.complain("sidegate: there is no token; give it as an argument, or on standard input");
        return Status::Usage;
    }
    if gate.is_none() {
        console.say("NOT VERIFIED: this is what the token says of itself; anybody can write such a token.\n");
    }
    let now = SystemClock.now();
    let is_well_formed = show(token, now, console);
    match gate {
        None if is_well_formed => Status::Well,
        None => Status::Failed,
        Some(app) => verify(app, token, console),
    }
}

fn read(token: &str) -> io::Result<String> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut text = String::new();
    io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The token itself, of what may be copied together with it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let scheme = text.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "));
    scheme.map_or(text, |(_, token)| token.trim_start())
}

/// Shows what can be shown, and says whether the token is one that the gate would read at all.
fn show(token: &str, now: UnixTime, console: &mut Console<'_>) -> bool {
    let mut parts = token.split('.').map(decoded);
    for name in ["header", "claims"] {
        match parts.next().flatten() {
            Some(value) => console.say(format_args!("{name}\n{}\n", printable(&value))),
            None => console.say(format_args!("{name}\n  cannot be read\n")),
        }
    }
    let mut space = Space::default();
    match Jws::parse(token, &mut space) {
        Ok(jws) => {
            let claims = jws.claims();
            let dates = [
                ("iat", "issued", claims.issued()),
                ("nbf", "not before", claims.not_before()),
                ("exp", "expires", claims.expires()),
            ];
            console.say("times");
            for (name, meaning, date) in dates {
                if let Some(date) = date {
                    console.say(format_args!("  {name}  {meaning} {}", moment(date.floor, now)));
                }
            }
            if claims.expires().is_none() {
                console.say("  exp  missing: the gate refuses tokens without an end");
            }
            console.say("");
            true
        }
        Err(error) => {
            console.say(format_args!("MALFORMED: the gate refuses it, whoever signed it: {error}\n"));
            false
        }
    }
}

/// A part of the token, read as leniently as possible: it is shown, not believed.
fn decoded(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// JSON over several lines. Whoever wrote the token must not write to the terminal.
fn printable(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        shown.push_str(if shown.is_empty() { "  " } else { "\n  " });
        for letter in line.chars() {
            if letter.is_control() || is_direction(letter) {
                // Writing to a string cannot fail.
                let _infallible = write!(shown, "\\u{:04x}", u32::from(letter));
            } else {
                shown.push(letter);
            }
        }
    }
    shown
}

/// Characters that turn the direction of what follows (CVE-2021-42574).
const fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time as RFC 3339 writes it, and how far away it is.
fn moment(time: UnixTime, now: UnixTime) -> String {
    let written =
        i64::try_from(time.seconds()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let written = written.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| "never".to_owned());
    if time > now {
        format!("{written} (in {})", span(now.until(time)))
    } else {
        format!("{written} ({} ago)", span(time.until(now)))
    }
}

/// A length of time in its largest unit, rounded down.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = [(86_400, "d"), (3600, "h"), (60, "min")].into_iter().find(|(length, _)| seconds >= *length);
    match unit.and_then(|(length, unit)| Some((seconds.checked_div(length)?, unit))) {
        Some((number, unit)) => format!("{number} {unit}"),
        None => format!("{seconds} s"),
    }
}

/// Asks every jwt authenticator, as the gate would.
fn verify(app: App, token: &str, console: &mut Console<'_>) -> Status {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.complain(format_args!("sidegate: cannot fetch keys: {error}"));
            return Status::Failed;
        }
    };
    let compiled = app.into_compiled();
    let generation = &compiled.generation;
    let headers = Arc::clone(&generation.identity_headers);
    let sessions = Sessions::new(&generation.authenticators, headers, BOUNDS, Arc::default());
    runtime.block_on(async {
        compiled.standing.begin();
        let mut passes = false;
        console.say("verified by");
        for (place, authenticator) in generation.authenticators.iter().enumerate() {
            let name = &authenticator.name;
            if !matches!(authenticator.kind, Kind::Jwt { .. }) {
                console.say(format_args!("  {name}: no jwt authenticator, not asked"));
                continue;
            }
            let now = SystemClock.now();
            let judged = sessions.learn(&[place], token, now).await;
            passes |= judged.is_ok();
            console.say(format_args!("  {name}: {}", verdict(judged, now)));
        }
        if passes { Status::Well } else { Status::Failed }
    })
}

fn verdict(judged: Result<Rc<Session>, (usize, Denial)>, now: UnixTime) -> String {
    match judged {
        Ok(session) => {
            let subject = printable(&Value::from(&*session.subject));
            format!("would pass as {}, until {}", subject.trim_start(), moment(session.ends, now))
        }
        Err((_, denial)) => {
            let why = denial.source().unwrap_or(denial.text());
            format!("would be refused: {} ({why})", denial.reason().label())
        }
    }
}
