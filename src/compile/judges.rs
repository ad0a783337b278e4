//! Who judges what is found in one place: never two authorities, since a token does not say whom to ask.

use crate::authn::{Authenticator, Kind};
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::generation::Lookup;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Refuses lists of authenticators in which two authorities read the same place. `used` has that of each route in its order,
/// and then the policy's.
pub(super) fn refuse_ambiguous(
    used: &[Arc<[usize]>],
    authenticators: &[Arc<Authenticator>],
    config: &Config,
    problems: &mut Problems,
) {
    let mut named = BTreeSet::new();
    let policy = KeyPath::root("policy");
    let routes = config.routes.iter().enumerate().map(|(index, route)| {
        let own = route.authenticators.as_ref();
        own.map_or_else(|| policy.clone(), |_| KeyPath::root("routes").index(index).key("authenticators"))
    });
    let policy_at =
        if config.policy.authenticators.is_some() { policy.key("authenticators") } else { policy.clone() };
    // The policy's own list first, so that what routes have from it is named there.
    let lists = used.last().map(|list| (list, policy_at)).into_iter().chain(used.iter().zip(routes));
    for (list, at) in lists {
        let authorities = list.iter().filter_map(|place| Some((*place, authenticators.get(*place)?)));
        let authorities: Vec<(usize, &Arc<Authenticator>)> =
            authorities.filter(|(_, authenticator)| is_authority(&authenticator.kind)).collect();
        for (index, (place, authority)) in authorities.iter().enumerate() {
            for (other_place, other) in authorities.iter().take(index) {
                if authority.places.overlaps(&other.places) && named.insert((*other_place, *place)) {
                    problems.error(
                        at.clone(),
                        format!("{} and {} both judge the tokens of one place", other.name, authority.name),
                        "name one of them here, or let them read their credentials from different places",
                    );
                }
            }
        }
    }
}

const fn is_authority(kind: &Kind) -> bool {
    match kind {
        Kind::Introspection(_) | Kind::Remote(_) => true,
        Kind::Jwt { .. } | Kind::ApiKey(_) => false,
    }
}

/// The places of the authenticators that a list names.
pub(super) fn places(
    names: &[String],
    config: &Config,
    at: &KeyPath,
    problems: &mut Problems,
) -> Arc<[usize]> {
    let mut places = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match config.authenticators.get_index_of(name) {
            Some(place) if places.contains(&place) => {
                problems.error(at.index(index), format!("{name:?} is named twice"), "name it once");
            }
            Some(place) => places.push(place),
            None => {
                let known: Vec<&str> = config.authenticators.keys().map(String::as_str).collect();
                problems.error(
                    at.index(index),
                    format!("there is no authenticator {name:?}"),
                    format!("there is {}", known.join(", ")),
                );
            }
        }
    }
    places.into()
}

/// Where the credentials of a rule are looked for; authenticators that look in the same places share one search.
pub(super) fn lookup(tried: &[usize], authenticators: &[Arc<Authenticator>]) -> Lookup {
    let mut lookup: Lookup = Lookup::default();
    for place in tried {
        let Some(authenticator) = authenticators.get(*place) else { continue };
        match lookup.0.iter_mut().find(|(places, _)| Arc::ptr_eq(places, &authenticator.places)) {
            Some((_, sharing)) => sharing.push(*place),
            None => lookup.0.push((Arc::clone(&authenticator.places), vec![*place])),
        }
    }
    lookup
}
