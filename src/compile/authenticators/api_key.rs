//! `kind = "api_key"`: the key file, and that no key can be taken for another authenticator's token.

use crate::authn::api_key::KeyFile;
use crate::authn::credential::Places;
use crate::compile::World;
use crate::config::authenticator::{ApiKey, Authenticator as Written};
use crate::config::credential::CredentialPlace;
use crate::config::key_file::KeyFileError;
use crate::config::problem::{KeyPath, Problems};
use crate::standing::{Fingerprint, Kept, Running};
use indexmap::IndexMap;
use std::sync::Arc;

/// Reads the key file; what is wrong with it is wrong with the configuration.
pub(super) fn open(
    name: &str,
    written: &ApiKey,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<Kept<KeyFile>> {
    // The file follows its own changes: one that stays where it is need not be opened anew.
    let made_of = Fingerprint::of(&(name, &written.file));
    let make = || -> Result<_, KeyFileError> {
        let file = Arc::new(KeyFile::open(name, written.file.clone())?);
        let running: Running = Box::pin(Arc::clone(&file).follow());
        Ok((file, Some(running)))
    };
    let opened = world.making.keep(format!("authenticators.{name}.file"), made_of, make).map_err(|error| {
        let (what, hint) = match error {
            KeyFileError::Unreadable(_) => {
                ("cannot be read", "`sidegate api-key new` makes a key and its entry")
            }
            KeyFileError::Invalid(_) => ("cannot be used", "each line says where, and what to do"),
        };
        let report = error.to_string().trim_end().replace('\n', "\n    ");
        problems.error(at.key("file"), format!("the key file {what}:\n    {report}"), hint);
    });
    opened.ok()
}

/// A prefix tells API keys from other tokens; no other kind has one.
pub(super) fn refuse_prefix(written: &Written, at: &KeyPath, problems: &mut Problems) {
    if matches!(written, Written::ApiKey(_)) {
        return;
    }
    for (position, place) in written.credentials().iter().enumerate() {
        if let CredentialPlace::Header(place) = place
            && place.prefix.is_some()
        {
            problems.error(
                at.index(position).key("prefix"),
                "only API keys have a prefix",
                "remove it here, and give the api_key authenticator that reads the same header one",
            );
        }
    }
}

/// Where an API key stands, nobody else may look, unless a prefix says whose it is: a key must never be tried as another
/// credential, nor another credential as a key.
pub(super) fn refuse_shared(written: &IndexMap<String, Written>, at: &KeyPath, problems: &mut Problems) {
    // What is wrong with a place itself has been said.
    let compiled = |(name, written)| Some((name, written, Places::new(Written::credentials(written)).ok()?));
    let list: Vec<(&String, &Written, Places)> = written.iter().filter_map(compiled).collect();
    for (index, (name, written, places)) in list.iter().enumerate() {
        if !matches!(written, Written::ApiKey(_)) {
            continue;
        }
        for (other_index, (other, theirs, other_places)) in list.iter().enumerate() {
            // Of two key files that clash alike, the later one is reported.
            let is_first = matches!(theirs, Written::ApiKey(_)) && index < other_index;
            if index == other_index {
                continue;
            }
            for shared in places.shared_with(other_places) {
                let at = at.key(name).key("credentials").index(shared.position);
                match (shared.prefix, shared.other) {
                    (None, None) if is_first => {}
                    (None, _) => {
                        problems.error(
                            at,
                            format!("{other} looks there as well"),
                            hint(written, shared.position),
                        );
                    }
                    (Some(prefix), Some(theirs))
                        if !is_first && (prefix.starts_with(theirs) || theirs.starts_with(prefix)) =>
                    {
                        let message = format!("{other} takes keys that begin with {theirs:?} there");
                        let hint = "choose prefixes that do not begin with each other";
                        problems.error(at.key("prefix"), message, hint);
                    }
                    (Some(_), _) => {}
                }
            }
        }
    }
}

fn hint(written: &Written, position: usize) -> &'static str {
    match written.credentials().get(position) {
        Some(CredentialPlace::Header(_)) => {
            "give the keys a `prefix`, such as \"sb_\", or a header of their own"
        }
        Some(CredentialPlace::Cookie(_) | CredentialPlace::Query(_) | CredentialPlace::Subprotocol(_))
        | None => "give the keys a place of their own, or a header with a `prefix`",
    }
}
