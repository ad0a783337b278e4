//! Finding the credential in a request, and taking it out of what is forwarded.
//!
//! A credential that can be read in two ways is no credential: repeated or malformed ones are refused with 400 (RFC 6750
//! §2, §3.1), and another scheme than the one that is looked for counts as none.

mod place;
mod removal;

use crate::config::credential::CredentialPlace;
use crate::denial::{Denial, Reason};
use http::HeaderMap;
use place::Place;
use std::borrow::Cow;

/// Where a request may carry a credential.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its query as it was sent, without the question mark.
    pub query: Option<&'a str>,
    /// Whether it is a valid WebSocket handshake.
    pub is_websocket: bool,
}

/// The kind of place that a credential was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// The header field of that name.
    Header(&'p str),
    /// The cookie of that name.
    Cookie(&'p str),
    /// The query's parameter of that name.
    Query(&'p str),
    /// The WebSocket subprotocols, after this word; it must be answered if the service selects none (RFC 6455 §4.1).
    Subprotocol(&'p str),
}

/// A credential as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// Where it was.
    pub found: Found<'a>,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("found", &self.found).finish_non_exhaustive()
    }
}

/// Why a credential cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Malformed,
    Repeated,
}

/// A place that two authenticators read, apart from what tokens begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The first one's position in its list.
    pub position: usize,
    /// What the first one's tokens begin with.
    pub prefix: Option<&'a str>,
    /// What the other's tokens begin with.
    pub other: Option<&'a str>,
}

/// The places where one authenticator looks, compiled.
#[derive(Clone, Debug)]
pub struct Places(Vec<Place>);

impl Places {
    /// Compiles the places of a configuration.
    ///
    /// # Errors
    /// Every place that cannot be looked at, by its position, and why.
    pub fn new(places: &[CredentialPlace]) -> Result<Self, Vec<(usize, &'static str)>> {
        let mut compiled: Vec<Place> = Vec::new();
        let mut errors = Vec::new();
        for (position, place) in places.iter().enumerate() {
            match Place::new(place) {
                Ok(place) if compiled.iter().any(|known| known.overlaps(&place)) => {
                    errors.push((position, "another place of the list reads the same"));
                }
                Ok(place) => compiled.push(place),
                Err(why) => errors.push((position, why)),
            }
        }
        if errors.is_empty() { Ok(Self(compiled)) } else { Err(errors) }
    }

    /// Whether one credential could be found in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|place| other.0.iter().any(|theirs| place.overlaps(theirs)))
    }

    /// The places that `other` reads as well, whatever tokens begin with.
    pub fn shared_with<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Shared<'a>> {
        self.0.iter().enumerate().flat_map(move |(position, place)| {
            let beside = other.0.iter().filter(|theirs| place.is_beside(theirs));
            beside.map(move |theirs| Shared { position, prefix: place.prefix(), other: theirs.prefix() })
        })
    }

    /// The credential of a request, if it has one in any of the places.
    ///
    /// # Errors
    /// If there is more than one, or one that is malformed or empty (400).
    pub fn find<'a>(&'a self, carrier: &Carrier<'a>) -> Result<Option<Credential<'a>>, Denial> {
        let mut credential = None;
        for place in &self.0 {
            let token = place.find(carrier).map_err(|flaw| match flaw {
                Flaw::Malformed => Denial::new(Reason::CredentialMalformed),
                Flaw::Repeated => Denial::new(Reason::CredentialRepeated),
            })?;
            let Some(token) = token else { continue };
            if credential.replace(Credential { token, found: place.kind() }).is_some() {
                return Err(Denial::new(Reason::CredentialRepeated));
            }
        }
        Ok(credential)
    }
}

#[cfg(test)]
mod tests;
