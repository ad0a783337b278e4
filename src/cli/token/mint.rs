//! `sidegate token mint`: signs a token for development.

use super::key::SigningKey;
use crate::authn::keys::source::without_final_newline;
use crate::clock::{Clock as _, SystemClock};
use crate::config::units::Period;
use crate::console::{Console, Status};
use crate::secret::Secret;
use clap::Args;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// How long a token is good that says nothing of it, in seconds.
const DEFAULT_TTL: u64 = 3600;

#[derive(Args, Debug)]
pub(in crate::cli) struct Mint {
    #[command(flatten)]
    signer: Signer,
    /// The algorithm; default: HS256 with a secret, RS256 with an RSA key, or the one of the key's curve.
    #[arg(long)]
    alg: Option<Algorithm>,
    /// The `kid` of the header: which key it is.
    #[arg(long)]
    kid: Option<String>,
    /// The `typ` of the header.
    #[arg(long, default_value = "JWT")]
    typ: String,
    /// A JSON file with an object of claims; the other arguments go before it.
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// The claim `sub`.
    #[arg(long)]
    sub: Option<String>,
    /// The claim `iss`.
    #[arg(long)]
    iss: Option<String>,
    /// The claim `aud`; several make a list.
    #[arg(long)]
    aud: Vec<String>,
    /// How long the token is good: `exp`, from now; default: 1h, unless the claims have an `exp`.
    #[arg(long, value_name = "PERIOD")]
    ttl: Option<Period>,
    /// A claim: its name, "=", and JSON, or else text. May be repeated, and goes before all others.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    each: Vec<(String, Value)>,
}

/// What the token is signed with: exactly one of these. Secrets themselves are no arguments, which others could read.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Signer {
    /// The environment variable with a shared secret of at least 32 bytes.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// The file with a shared secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The PEM file with a private key: RSA, EC on P-256 or P-384, or Ed25519.
    #[arg(long, value_name = "PEM")]
    key_file: Option<PathBuf>,
}

/// Why there is no token.
struct Failure(String, Status);

/// Prints the token, and nothing else.
pub(super) fn mint(arguments: &Mint, console: &mut Console<'_>) -> Status {
    match sign(arguments) {
        Ok(token) => {
            console.say(token);
            Status::Well
        }
        Err(Failure(why, status)) => {
            console.complain(format_args!("sidegate: {why}"));
            status
        }
    }
}

fn sign(arguments: &Mint) -> Result<String, Failure> {
    let usage = |why: String| Failure(why, Status::Usage);
    let (name, key) = key(&arguments.signer)?;
    let key = key.map_err(|error| usage(format!("{name}: {error}")))?;
    let default = key.algorithms.first().copied().unwrap_or_default();
    let algorithm = arguments.alg.unwrap_or(default);
    if !key.algorithms.contains(&algorithm) {
        let names: Vec<String> = key.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        return Err(usage(format!(
            "{algorithm:?} does not fit the key of {name}; it can be {}",
            names.join(", ")
        )));
    }
    let mut header = Header::new(algorithm);
    header.typ = Some(arguments.typ.clone());
    header.kid.clone_from(&arguments.kid);
    let claims = claims(arguments)?;
    jsonwebtoken::encode(&header, &claims, &key.key)
        .map_err(|error| usage(format!("the key of {name} cannot sign with {algorithm:?}: {error}")))
}

/// The key, and what it is called by in messages.
fn key(signer: &Signer) -> Result<(String, Result<SigningKey, super::key::KeyError>), Failure> {
    if let Some(name) = &signer.secret_env {
        let value = std::env::var(name)
            .map_err(|_| Failure(format!("the environment variable {name} is not set"), Status::Usage))?;
        return Ok((name.clone(), SigningKey::secret(&Secret::new(value.into_bytes()))));
    }
    if let Some(path) = &signer.secret_file {
        let secret = read(path)?;
        let secret = Secret::new(without_final_newline(secret.expose()).to_vec());
        return Ok((path.display().to_string(), SigningKey::secret(&secret)));
    }
    let path = signer.key_file.as_deref().unwrap_or(Path::new(""));
    Ok((path.display().to_string(), SigningKey::pem(&read(path)?)))
}

fn read(path: &Path) -> Result<Secret, Failure> {
    let failed = |error| Failure(format!("{}: {error}", path.display()), Status::Missing);
    std::fs::read(path).map(Secret::new).map_err(failed)
}

fn claims(arguments: &Mint) -> Result<Map<String, Value>, Failure> {
    let mut claims = match &arguments.claims {
        None => Map::new(),
        Some(path) => serde_json::from_slice(read(path)?.expose()).map_err(|error| {
            Failure(format!("{} is no JSON object: {error}", path.display()), Status::Usage)
        })?,
    };
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    set("iss", arguments.iss.clone().map(Value::from));
    set("sub", arguments.sub.clone().map(Value::from));
    set(
        "aud",
        match arguments.aud.as_slice() {
            [] => None,
            [one] => Some(one.clone().into()),
            several => Some(several.to_vec().into()),
        },
    );
    let now = SystemClock.now().seconds();
    claims.entry("iat").or_insert(now.into());
    match arguments.ttl {
        Some(ttl) => drop(claims.insert("exp".to_owned(), now.saturating_add(ttl.0.as_secs()).into())),
        None => drop(claims.entry("exp").or_insert(now.saturating_add(DEFAULT_TTL).into())),
    }
    claims.extend(arguments.each.iter().cloned());
    Ok(claims)
}

fn claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write name=value")?;
    if name.is_empty() {
        return Err("a claim has a name");
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}
