//! Where credentials are looked for, in words; never what is found there.

use crate::authn::credential::Found;
use crate::config::Config;
use crate::config::credential::CredentialPlace;

/// The places where these authenticators look.
pub(super) fn places(config: &Config, authenticators: &[usize]) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for place in all(config, authenticators) {
        let described = describe(place);
        if !places.contains(&described) {
            places.push(described);
        }
    }
    places
}

/// The places of these authenticators that are of the kind in which something was found.
pub(super) fn found(config: &Config, authenticators: &[usize], found: Found<'_>) -> String {
    let fits = |place: &&CredentialPlace| match (place, found) {
        (CredentialPlace::Header(place), Found::Header(name)) => place.header.eq_ignore_ascii_case(name),
        (CredentialPlace::Cookie(place), Found::Cookie(name)) => place.cookie == name,
        (CredentialPlace::Query(place), Found::Query(name)) => place.query == name,
        (CredentialPlace::Subprotocol(place), Found::Subprotocol(word)) => place.subprotocol == word,
        (
            CredentialPlace::Header(_)
            | CredentialPlace::Cookie(_)
            | CredentialPlace::Query(_)
            | CredentialPlace::Subprotocol(_),
            Found::Header(_) | Found::Cookie(_) | Found::Query(_) | Found::Subprotocol(_),
        ) => false,
    };
    let mut places: Vec<String> = all(config, authenticators).filter(fits).map(describe).collect();
    places.dedup();
    places.join(" or ")
}

fn all<'a>(config: &'a Config, authenticators: &'a [usize]) -> impl Iterator<Item = &'a CredentialPlace> {
    let known = authenticators.iter().filter_map(|place| config.authenticators.get_index(*place));
    known.flat_map(|(_, authenticator)| authenticator.credentials())
}

fn describe(place: &CredentialPlace) -> String {
    match place {
        CredentialPlace::Header(place) => match &place.scheme {
            Some(scheme) => format!("header {}: {scheme} …", place.header),
            None => format!("header {}", place.header),
        },
        CredentialPlace::Cookie(place) => format!("cookie {}", place.cookie),
        CredentialPlace::Query(place) if place.websocket_only => {
            format!("query {} (WebSocket only)", place.query)
        }
        CredentialPlace::Query(place) => format!("query {}", place.query),
        CredentialPlace::Subprotocol(place) => format!("subprotocol after {}", place.subprotocol),
    }
}
