//! The head that the service gets, and what is said in it about who is asking.

use crate::assertion::claims::Subject;
use crate::authn::claims::subject;
use crate::authn::credential::Places;
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::facts::Holder;
use crate::generation::Generation;
use crate::headers::trusted::Prepared;
use crate::headers::{CleanHead, Cleaning};
use crate::sessions::Session;
use http::request::Parts;
use http::uri::PathAndQuery;
use std::borrow::Cow;
use std::mem;

/// The header fields in which facts have a part; they are made for each request.
pub(super) fn prepare_entitled(
    generation: &Generation,
    holder: Option<Holder<'_>>,
) -> Result<Option<Prepared>, Denial> {
    let Some(holder) = holder.filter(|_| generation.tells_facts) else { return Ok(None) };
    let fields = generation.identity_headers.prepare_entitled(&holder).map_err(|(attribute, unfit)| {
        Denial::new(Reason::TokenClaim).because(format_args!("the attribute {attribute} {unfit}"))
    })?;
    Ok(Some(fields))
}

/// The signed word about who is asking, where services want one.
pub(super) fn assert(
    generation: &Generation,
    session: Option<&Session>,
    at: UnixTime,
) -> Result<Option<Prepared>, Denial> {
    let (Some(assertions), Some(session)) = (&generation.assertions, session) else { return Ok(None) };
    // Of an API key the session's subject is the key's id, for the log; the service is told about its holder.
    let name = subject(&session.identity);
    let name = name.as_deref().unwrap_or(&session.subject);
    let subject = Subject { name, identity: &session.identity, ends: session.ends };
    let asserted = assertions.assert(&subject, &session.known.assertion, at);
    asserted.map(Some).map_err(|unsigned| Denial::new(Reason::AuthorityUnavailable).because(unsigned))
}

/// Takes the credential out where it must not go on, strips what a client may not say, sets what we say. A token that came
/// as a subprotocol, behind a `word`, never goes on.
pub(super) fn rewrite(
    generation: &Generation,
    head: &mut Parts,
    mut path: PathAndQuery,
    word: bool,
    cleaning: Cleaning<'_>,
) -> Result<CleanHead, Denial> {
    let (method, mut headers) = (mem::take(&mut head.method), mem::take(&mut head.headers));
    for authenticator in &generation.authenticators {
        if authenticator.strip_credential {
            authenticator.places.strip_headers(&mut headers);
            path = without_credential(path, &authenticator.places, cleaning.websocket)?;
        }
        if word {
            authenticator.places.strip_subprotocol(&mut headers);
        }
    }
    Ok(generation.hygiene.clean(method, path, headers, cleaning))
}

fn without_credential(path: PathAndQuery, places: &Places, websocket: bool) -> Result<PathAndQuery, Denial> {
    let Some(query) = path.query() else { return Ok(path) };
    let whole = match places.strip_query(query, websocket) {
        Some(Cow::Borrowed(_)) => return Ok(path),
        Some(Cow::Owned(rest)) => format!("{}?{rest}", path.path()),
        None => path.path().to_owned(),
    };
    PathAndQuery::try_from(whole).map_err(|_| Denial::new(Reason::PathRefused))
}
