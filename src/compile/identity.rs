//! `[identity]` → what is stripped, and what is set.

use super::World;
use super::expressions::establishes;
use super::server::{CERTIFICATES_HINT, shows_certificates};
use crate::authn::claims::BUILT_IN;
use crate::config::Config;
use crate::config::authenticator::Authenticator;
use crate::config::credential::CredentialPlace;
use crate::config::problem::{KeyPath, Problems};
use crate::headers::Hygiene;
use crate::headers::alias::fold;
use crate::headers::trusted::{Content, IdentityHeader, IdentityHeaders};
use crate::identity::QUOTAS;
use crate::policy::Bypass;
use crate::standing::Fingerprint;
use http::header::HeaderName;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fields that frame or route a message, or that sidegate sets itself: no identity header may have such a name.
const RESERVED: [&str; 21] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
];

/// Whether requests are the same without it.
fn is_dispensable(reserved: &str) -> bool {
    matches!(reserved, "traceparent" | "tracestate" | "via" | "x-real-ip")
}

/// Whether a field of this name has a meaning of its own.
fn is_reserved(folded: &str) -> bool {
    RESERVED.contains(&folded) || folded.starts_with("x-forwarded-") || folded.starts_with("sec-websocket-")
}

/// `[identity]`, compiled.
pub(super) struct Told {
    /// What is set.
    pub(super) headers: IdentityHeaders,
    /// The field of `[identity.assertion]`, where there is one.
    pub(super) assertion: Option<HeaderName>,
    /// What is stripped.
    pub(super) hygiene: Hygiene,
}

pub(super) fn compile(config: &Config, bypass: Option<Bypass>, problems: &mut Problems) -> Told {
    let headers = headers(config, problems);
    let assertion = assertion_header(config, &headers, problems);
    let hygiene = hygiene(config, (&headers, assertion.as_ref()), bypass, problems);
    Told { headers, assertion, hygiene }
}

/// The headers, or the ones that the configuration before had: sessions rest on them.
pub(super) fn keep(config: &Config, headers: IdentityHeaders, world: &World) -> Arc<IdentityHeaders> {
    let made_of = Fingerprint::of(&(&config.identity.headers, config.entitlements.is_some(), world.bypass));
    world.making.keep_always("identity.headers", made_of, || (Arc::new(headers), None)).value
}

fn headers(config: &Config, problems: &mut Problems) -> IdentityHeaders {
    let (written, authenticators) = (&config.identity, &config.authenticators);
    let has_entitlements = config.entitlements.is_some();
    let at = KeyPath::root("identity").key("headers");
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut headers = Vec::new();
    for (text, source) in &written.headers {
        let at = at.key(text);
        let (attribute, optional) = (source.attribute(), source.optional());
        let Some(name) = header_name(text, "x-customer-id", &at, problems) else { continue };
        if let Some(other) = seen.insert(fold(text), text) {
            problems.error(
                at,
                format!("services may take {text} and {other} for the same header"),
                "keep one of them",
            );
            continue;
        }
        let content = Content::named(attribute);
        match &content {
            Content::Attribute(attribute) => {
                check_attribute((attribute, optional), authenticators, &at, problems);
            }
            Content::Certificate(attribute) if !shows_certificates(config) => {
                let outcome = if optional { "the header is never sent" } else { "every token is refused" };
                let message =
                    format!("no client shows a certificate, and {attribute} is never there: {outcome}");
                problems.warning(at.clone(), message, CERTIFICATES_HINT);
            }
            Content::Certificate(_) | Content::Quota(_) => {}
        }
        let entitled = content.takes_facts() && (has_entitlements || matches!(content, Content::Quota(_)));
        headers.push(IdentityHeader { name, content, optional, entitled });
    }
    IdentityHeaders(headers)
}

/// The name of a field that tells who is asking.
fn header_name(text: &str, example: &str, at: &KeyPath, problems: &mut Problems) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        let hint = format!("use letters, digits and \"-\", such as {example}");
        problems.error(at.clone(), format!("{text:?} is not a header name"), hint);
        return None;
    };
    if is_reserved(&fold(text)) {
        let hint = format!("choose a name such as {example}");
        problems.error(at.clone(), format!("{text} has a meaning of its own"), hint);
        return None;
    }
    Some(name)
}

/// The field of `[identity.assertion]`.
fn assertion_header(
    config: &Config,
    headers: &IdentityHeaders,
    problems: &mut Problems,
) -> Option<HeaderName> {
    let text = &config.identity.assertion.as_ref()?.header;
    let at = KeyPath::root("identity").key("assertion").key("header");
    let name = header_name(text, "x-identity-assertion", &at, problems)?;
    let same = headers.0.iter().find(|header| fold(header.name.as_str()) == fold(text));
    if let Some(IdentityHeader { name: other, .. }) = same {
        let message = format!("services may take {text} and the identity header {other} for the same header");
        problems.error(at, message, "choose another name");
        return None;
    }
    Some(name)
}

/// An attribute that no authenticator establishes is never there: an optional header is never sent, and another
/// one refuses every token.
fn check_attribute(
    (attribute, optional): (&str, bool),
    authenticators: &IndexMap<String, Authenticator>,
    at: &KeyPath,
    problems: &mut Problems,
) {
    if attribute == QUOTAS {
        let hint = "name one of them, e.g. quotas.active_algos";
        return problems.error(at.clone(), "quotas as a whole cannot stand in a header", hint);
    }
    if !is_established(attribute, authenticators) {
        let outcome = if optional { "the header is never sent" } else { "every token is refused" };
        problems.warning(
            at.clone(),
            format!("no authenticator establishes the attribute {attribute:?}: {outcome}"),
            format!("add it to an authenticator's claims, e.g. claims.{attribute} = \"sub\""),
        );
    }
}

/// Whether an identity can have that attribute.
pub(super) fn is_established(attribute: &str, authenticators: &IndexMap<String, Authenticator>) -> bool {
    BUILT_IN.contains(&attribute)
        || authenticators.values().any(|authenticator| establishes(authenticator, attribute))
}

fn hygiene(
    config: &Config,
    (headers, assertion): (&IdentityHeaders, Option<&HeaderName>),
    bypass: Option<Bypass>,
    problems: &mut Problems,
) -> Hygiene {
    let (written, authenticators) = (&config.identity, &config.authenticators);
    let at = KeyPath::root("identity").key("strip");
    for (index, entry) in written.strip.iter().enumerate() {
        let name = entry.strip_suffix('*').unwrap_or(entry);
        if HeaderName::from_bytes(name.as_bytes()).is_err() || name.contains('*') {
            problems.error(
                at.index(index),
                format!("{entry:?} is neither a header name nor a prefix and \"*\""),
                "write a name, or a prefix such as \"x-auth-*\"",
            );
        } else if RESERVED.iter().any(|reserved| strips(entry, reserved) && !is_dispensable(reserved)) {
            problems.error(
                at.index(index),
                format!("{entry:?} would strip a header that requests need"),
                "name only headers that say who is asking",
            );
        }
    }
    let credentials = authenticators.values().flat_map(Authenticator::credentials);
    let mut names: Vec<HeaderName> = credentials
        .filter_map(|place| match place {
            CredentialPlace::Header(place) => HeaderName::from_bytes(place.header.as_bytes()).ok(),
            CredentialPlace::Cookie(_) | CredentialPlace::Query(_) | CredentialPlace::Subprotocol(_) => None,
        })
        .collect();
    names.push(http::header::AUTHORIZATION);
    let mut told: Vec<&HeaderName> = headers.0.iter().map(|header| &header.name).collect();
    if bypass.is_some() {
        // The client's own word counts then, in the exact spelling.
        names.extend(told.drain(..).cloned());
    }
    told.extend(assertion);
    names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
    names.dedup();
    Hygiene::new(told.into_iter(), &written.strip, names)
}

fn strips(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => name.starts_with(&fold(prefix)),
        None => fold(entry) == name,
    }
}
