//! The file of `kind = "api_key"`: what may be said about a key.
//!
//! Beside a few keys with a meaning of their own, an entry has whatever attributes its author likes; so this file is read
//! by hand, as strictly as the configuration: what could be read in two ways, or was probably meant otherwise, is an error.

mod value;

use super::check::words::{found_noun, nearest};
use super::document::{Document, Entry, Node, Value};
use super::problem::{KeyPath, Problems};
use super::report;
use super::server::Network;
use crate::clock::UnixTime;
use crate::identity::{Attribute, BUILT_IN, Identity, SUBJECT, is_reserved};
use ipnet::IpNet;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use value::Wrong;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// Names that look as if they were to restrict a key, and would not.
const LOOKALIKES: [(&str, &str); 6] = [
    ("exp", "expires"),
    ("expiry", "expires"),
    ("expiration", "expires"),
    ("not_after", "expires"),
    ("valid_until", "expires"),
    ("addresses", "allowed_ips"),
];

/// The SHA-256 of nothing: what a script writes when the key got lost on the way.
const DIGEST_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a file says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its name.
    pub id: String,
    /// The SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// When it ends.
    pub expires: Option<UnixTime>,
    /// From where it may be used; empty = anywhere. Addresses of IPv4 are written as such.
    pub allowed_ips: Vec<IpNet>,
    /// Who holds it: the attributes of the file, and always a subject.
    pub identity: Identity,
}

/// Why there are no keys. `Display` is the whole report: lines that name file, line and column, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It was read, but is no key file.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a key file.
///
/// # Errors
/// If it cannot be read, or with everything that is wrong with it at once. No error holds what a key or digest is.
pub fn load(path: &Path) -> Result<Vec<KeyRow>, KeyFileError> {
    let name = path.display().to_string();
    let unreadable = |error: &dyn std::fmt::Display| {
        KeyFileError::Unreadable(format!(
            "{name}: error: {error}\n  hint: name a file that this process may read\n"
        ))
    };
    let bytes = read(path).map_err(|error| unreadable(&error))?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            Err(KeyFileError::Invalid(report::not_utf8(&name, &text, valid)))
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!("the file has more than {} MiB", MAX_BYTES >> 20)))
    }
}

/// Reads the text of a key file; `name` is what findings are reported under.
///
/// # Errors
/// With everything that is wrong with the text at once.
pub fn parse(name: &str, text: &str) -> Result<Vec<KeyRow>, KeyFileError> {
    let document = Document::parse(name, text).map_err(KeyFileError::Invalid)?;
    let mut problems = Problems::default();
    let rows = rows(&document.tree(), &mut problems);
    if problems.has_errors() { Err(KeyFileError::Invalid(document.render(&problems))) } else { Ok(rows) }
}

fn rows(root: &Node, problems: &mut Problems) -> Vec<KeyRow> {
    for entry in root.entries() {
        if entry.key != "keys" {
            let hint =
                "the file is a list of [[keys]]; write attributes below the [[keys]] that they belong to";
            problems.error(KeyPath::root(&entry.key), "there is no such key", hint);
        }
    }
    let at = KeyPath::root("keys");
    // An empty file is more often one that is being written than one that takes every key away.
    let Some(entry) = root.entry("keys") else {
        problems.error(
            at,
            "there are no keys",
            "add [[keys]] entries, or write `keys = []` if nobody has one",
        );
        return Vec::new();
    };
    let Value::List(items) = &entry.node.value else {
        let message = format!("expected a list of tables, found {}", found_noun(&entry.node.value));
        problems.error(at, message, "write [[keys]] above each entry");
        return Vec::new();
    };
    let (mut rows, mut seen) = (Vec::with_capacity(items.len()), Seen::default());
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let Value::Table(entries) = &item.value else {
            let message = format!("expected a table, found {}", found_noun(&item.value));
            problems.error(at, message, "write [[keys]] above each entry");
            continue;
        };
        let row = row(entries, item, &at, problems);
        seen.compare((index, item), row.as_ref(), &at, problems);
        rows.extend(row);
    }
    rows
}

/// The ids and digests so far, and where they stand.
#[derive(Default)]
struct Seen {
    ids: HashMap<String, usize>,
    digests: HashMap<[u8; 32], usize>,
}

impl Seen {
    fn compare(
        &mut self,
        (index, item): (usize, &Node),
        row: Option<&KeyRow>,
        at: &KeyPath,
        problems: &mut Problems,
    ) {
        // What is wrong with the rest of an entry does not hide that it has another one's id or digest.
        let id = row.map(|row| row.id.clone()).or_else(|| Some(item.entry("id")?.node.text()?.value.clone()));
        if let Some(id) = id
            && let Some(first) = self.ids.insert(id, index)
        {
            problems.error(
                at.key("id"),
                format!("keys[{first}] has this id as well"),
                "give each key an id of its own",
            );
        }
        let digest = row.map(|row| row.sha256);
        let digest = digest.or_else(|| value::digest(&item.entry("sha256")?.node.text()?.value));
        if let Some(digest) = digest
            && let Some(first) = self.digests.insert(digest, index)
        {
            let hint = "remove one of them: whose key it is could not be told";
            problems.error(at.key("sha256"), format!("keys[{first}] is the same key"), hint);
        }
    }
}

/// One entry, if nothing is wrong with it.
fn row(entries: &[Entry], item: &Node, at: &KeyPath, problems: &mut Problems) -> Option<KeyRow> {
    let mut wrong = |at: &KeyPath, Wrong { message, hint }| problems.error(at.clone(), message, hint);
    let mut complete = true;
    let mut identity = Identity::with_capacity(entries.len().saturating_add(BUILT_IN.len()));
    let (mut expires, mut allowed_ips) = (None, Vec::new());
    for Entry { key, node, .. } in entries {
        let at = at.key(key);
        let read = match key.as_str() {
            "id" | "sha256" => continue,
            "expires" => value::moment(node).map(|moment| expires = Some(moment)),
            "allowed_ips" => networks(node).map(|networks| allowed_ips = networks),
            name => attribute(name, node).map(|attribute| identity.insert(name, attribute)),
        };
        if let Err(what) = read {
            wrong(&at, what);
            complete = false;
        }
    }
    let mut required = |name: &str, missing: Wrong| {
        let entry = item.entry(name);
        if entry.is_none() {
            wrong(&at.key(name), missing);
        }
        entry.map(|entry| &entry.node)
    };
    let id =
        required("id", Wrong::new("is missing", "name the key, e.g. id = \"billing\"; logs show this name"));
    let sha256 = required("sha256", Wrong::new("is missing", value::DIGEST_HINT));
    let id = id.and_then(|node| value::name(node).map_err(|what| wrong(&at.key("id"), what)).ok());
    let sha256 =
        sha256.and_then(|node| self::sha256(node).map_err(|what| wrong(&at.key("sha256"), what)).ok());
    let (id, sha256) = (id?, sha256?);
    if identity.attribute(SUBJECT).is_none() {
        identity.insert(SUBJECT, Attribute::Text(id.as_str().into()));
    }
    complete.then_some(KeyRow { id, sha256, expires, allowed_ips, identity })
}

fn sha256(node: &Node) -> Result<[u8; 32], Wrong> {
    let text = node.text().ok_or_else(|| Wrong::kind("a string", node, value::DIGEST_HINT))?;
    if text.value.eq_ignore_ascii_case(DIGEST_OF_NOTHING) {
        return Err(Wrong::new("is the SHA-256 of nothing at all", value::DIGEST_HINT));
    }
    value::digest(&text.value).ok_or_else(|| Wrong::new("is not 64 hexadecimal digits", value::DIGEST_HINT))
}

fn networks(node: &Node) -> Result<Vec<IpNet>, Wrong> {
    const HINT: &str = "write a list of addresses and networks, such as [\"10.0.0.0/8\", \"2001:db8::1\"]";
    let Value::List(items) = &node.value else { return Err(Wrong::kind("a list", node, HINT)) };
    if items.is_empty() {
        return Err(Wrong::new(
            "names nobody",
            "leave it out if the key may be used from anywhere, or remove the key",
        ));
    }
    let network = |item: &Node| {
        let text = item.text().ok_or_else(|| Wrong::kind("strings in the list", item, HINT))?;
        let network: Network = text
            .value
            .parse()
            .map_err(|_| Wrong::new(format!("{:?} is no address and no network", text.value), HINT))?;
        Ok(value::plain(network.0))
    };
    items.iter().map(network).collect()
}

fn attribute(name: &str, node: &Node) -> Result<Attribute, Wrong> {
    if name == "key" {
        let hint = "never store a key itself: remove it, and store its SHA-256 as `sha256`; `sidegate api-key new` prints it";
        return Err(Wrong::new("a key does not belong into this file", hint));
    }
    if is_reserved(name) {
        return Err(Wrong::new("sidegate sets this attribute itself", "remove it, or choose another name"));
    }
    let known = LOOKALIKES.iter().find(|(lookalike, _)| *lookalike == name).map(|(_, meant)| *meant);
    let meant = known.or_else(|| nearest(name, &["expires", "allowed_ips"]).into_iter().next());
    if let Some(meant) = meant {
        let hint = format!("write `{meant}`, or choose another name for the attribute");
        return Err(Wrong::new("this would be an attribute, and restrict nothing", hint));
    }
    value::attribute(name, node)
}

#[cfg(test)]
mod tests;
