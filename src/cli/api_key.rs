//! `sidegate api-key new`: a key for its holder, and the entry for the key file.

use crate::authn::credential::Places;
use crate::config::credential::{CredentialPlace, HeaderPlace};
use crate::console::{Console, Status};
use crate::hex;
use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

/// How many random bytes a key has.
const RANDOM_BYTES: usize = 32;

/// How many hexadecimal digits of the hash a key is called by that got no name.
const NAME_DIGITS: usize = 8;

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key: print it once, and the entry for the key file.
    ///
    /// The key has 256 random bits. It is stored nowhere; the file holds only its SHA-256.
    #[command(after_help = "Examples:\n  sidegate api-key new --prefix sb_ --id billing\n  \
                            sidegate api-key new --json | jq -r .entry >> api-keys.toml")]
    New(New),
}

#[derive(Args, Debug)]
pub(super) struct New {
    /// What the key begins with, to be told from other tokens: the `prefix` of the authenticator's `credentials`.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// The key's name in logs and in the file; default: "key-" and the front of its hash.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Print one JSON object: `key`, `id`, `sha256` and `entry`.
    #[arg(long)]
    json: bool,
}

/// Makes a key, as the arguments say.
pub(super) fn api_key(command: &ApiKey, console: &mut Console<'_>) -> Status {
    let ApiKey::New(new) = command;
    match make(new) {
        Ok(made) if new.json => {
            let Made { key, id, sha256, entry } = made;
            console.say(json!({ "key": &*key, "id": id, "sha256": sha256, "entry": entry }));
            Status::Well
        }
        Ok(Made { key, entry, .. }) => {
            console.say(format_args!(
                "# The key, for its holder. It is shown this once and stored nowhere:\n{}\n\n\
                 # The entry for the key file, which holds only the key's SHA-256:\n{entry}",
                &*key
            ));
            Status::Well
        }
        Err((why, status)) => {
            console.complain(format_args!("sidegate: {why}"));
            status
        }
    }
}

struct Made {
    key: Zeroizing<String>,
    id: String,
    sha256: String,
    entry: String,
}

fn make(new: &New) -> Result<Made, (String, Status)> {
    let usage = |why: &str| (why.to_owned(), Status::Usage);
    if !new.prefix.is_empty() {
        check_prefix(&new.prefix).map_err(|why| usage(&format!("--prefix: {why}")))?;
    }
    if new.id.as_ref().is_some_and(|id| id.is_empty() || id.chars().any(char::is_control)) {
        return Err(usage("--id: a name has at least one character, and no control characters"));
    }
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    getrandom::fill(random.as_mut())
        .map_err(|error| (format!("there is no randomness: {error}"), Status::Failed))?;
    let key = Zeroizing::new(format!("{}{}", new.prefix, &*Zeroizing::new(hex::encode(random.as_ref()))));
    let sha256 = hex::encode(digest(&SHA256, key.as_bytes()).as_ref());
    let name = || format!("key-{}", sha256.chars().take(NAME_DIGITS).collect::<String>());
    let id = new.id.clone().unwrap_or_else(name);
    // What JSON escapes is escaped alike in TOML.
    let entry = format!("[[keys]]\nid = {}\nsha256 = \"{sha256}\"", json!(id));
    Ok(Made { key, id, sha256, entry })
}

/// Whether a configuration may name that prefix, by what the configuration itself is checked with.
fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let place = CredentialPlace::Header(HeaderPlace {
        header: "authorization".to_owned(),
        scheme: Some("Bearer".to_owned()),
        prefix: Some(prefix.to_owned()),
    });
    let checked = Places::new(&[place]).map_err(|errors| errors.into_iter().next().map(|(_, why)| why));
    checked.map(|_| ()).map_err(Option::unwrap_or_default)
}
