//! JSON Web Tokens: one authenticator's verdict on one token, pure given the keys and the time.
//!
//! The order is that of RFC 7515 §5.2 and RFC 7519 §7.2, hardened as RFC 8725 advises: the algorithm must be one that is
//! configured, the key one that the algorithm fits, the signature good; only then is any claim believed.

use super::algorithm::{self, ASYMMETRIC, Family};
use super::claims::{self, ClaimError, ClaimMap, ClaimPath};
use super::jwks::{KeySet, Unverified};
use super::key::Key;
use super::signed::Signed;
use super::token::{Claims, Jws, NumericDate, TokenError};
use crate::clock::UnixTime;
use crate::config::authenticator::{self as config, Algorithm};
use crate::config::problem::{KeyPath, Problems};
use crate::denial::{Denial, Reason};
use crate::identity::Identity;
use crate::outbound::is_http;
use std::sync::Arc;
use std::time::Duration;

/// What `auth_method` says of an identity that came from here.
pub const KIND: &str = "jwt";

/// Why a token is refused. The text holds names from the configuration, never anything from the token.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no strict JWS.
    #[error(transparent)]
    Malformed(#[from] TokenError),
    /// Its `typ` is not one that is accepted (RFC 8725 §3.11).
    #[error("the token's `typ` is not accepted")]
    Type,
    /// Its algorithm is unknown, not accepted, or not one for the key (RFC 8725 §3.1).
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// There is no such key: the caller asks the store once and tries again.
    #[error("no key fits the token's `kid`")]
    KeyUnknown,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("the token's `{0}` lies in the future")]
    NotYetValid(&'static str),
    /// `iss` is not accepted.
    #[error("the token's `iss` is not accepted")]
    Issuer,
    /// No `aud` is accepted.
    #[error("the token's `aud` is not accepted")]
    Audience,
    /// A claim that is required is missing or null.
    #[error("the token lacks `{0}`")]
    Missing(Arc<str>),
    /// It lives longer than `max_lifetime`.
    #[error("the token's lifetime is over `max_lifetime`")]
    Lifetime,
    /// A claim cannot be used.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

impl Refusal {
    /// The reason that the refusal is recorded under.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) | Self::Type => Reason::TokenMalformed,
            Self::Algorithm => Reason::TokenAlgorithm,
            Self::KeyUnknown => Reason::TokenKeyUnknown,
            Self::Signature => Reason::TokenSignature,
            Self::Expired => Reason::TokenExpired,
            Self::NotYetValid(_) => Reason::TokenNotYetValid,
            Self::Issuer => Reason::TokenIssuer,
            Self::Audience => Reason::TokenAudience,
            Self::Missing(_) | Self::Lifetime | Self::Claim(_) => Reason::TokenClaim,
        }
    }

    /// How the refusal is answered.
    #[must_use]
    pub fn denial(&self) -> Denial {
        Denial::new(self.reason()).because(self)
    }
}

/// What a good token says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who is asking.
    pub identity: Identity,
    /// The subject as text, for the log.
    pub subject: Arc<str>,
    /// `exp`, without leeway.
    pub expires: UnixTime,
    /// The key that signed it; once it is gone from the set, this is worth nothing any more.
    pub key: Arc<Key>,
}

/// A JWT authenticator.
#[derive(Clone, Debug)]
pub struct Jwt {
    name: Arc<str>,
    algorithms: Vec<Algorithm>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    types: Vec<String>,
    required: Vec<(Arc<str>, ClaimPath)>,
    leeway: Duration,
    max_lifetime: Option<Duration>,
    claims: ClaimMap,
}

impl Jwt {
    /// Compiles an authenticator; `at` is its place in the configuration, for the problems.
    ///
    /// # Errors
    /// Everything that contradicts itself, all at once.
    pub fn new(name: &str, config: &config::Jwt, at: &KeyPath) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        check_keys(config, at, &mut problems);
        check_names(config, at, &mut problems);
        let mut required = Vec::new();
        for (position, claim) in config.required_claims.iter().enumerate() {
            match ClaimPath::new(claim) {
                Ok(path) => required.push((claim.as_str().into(), path)),
                Err(why) => problems.error(at.key("required_claims").index(position), why, POINTER_HINT),
            }
        }
        let claims = match ClaimMap::new(&config.claims) {
            Ok(claims) if !problems.has_errors() => claims.built_in(name, KIND),
            Ok(_) => return Err(problems),
            Err(errors) => {
                for (attribute, why) in errors {
                    problems.error(at.key("claims").key(&attribute), why, POINTER_HINT);
                }
                return Err(problems);
            }
        };
        Ok(Self {
            name: name.into(),
            algorithms: accepted(config),
            issuers: config.issuer.iter().cloned().collect(),
            audiences: config.audience.iter().cloned().collect(),
            types: config.types.iter().map(|kind| media_type(kind)).collect(),
            required,
            leeway: config.leeway.0,
            max_lifetime: Some(config.max_lifetime.0).filter(|longest| !longest.is_zero()),
            claims,
        })
    }

    /// The authenticator's name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The algorithms that are accepted.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The exact `iss` values that are accepted; empty = any token.
    #[must_use]
    pub fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// The `aud` values that are accepted; empty = any token.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The tolerance for `exp`, `nbf` and `iat`.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }

    /// How claims become attributes.
    #[must_use]
    pub const fn claim_map(&self) -> &ClaimMap {
        &self.claims
    }

    /// Whether a token of that unverified `iss` is this authenticator's to judge.
    #[must_use]
    pub fn takes_issuer(&self, issuer: Option<&str>) -> bool {
        self.issuers.is_empty() || issuer.is_some_and(|issuer| self.issuers.iter().any(|ours| ours == issuer))
    }

    /// Whether that `aud` is one that is accepted.
    #[must_use]
    pub fn is_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|ours| ours == audience)
    }

    /// Verifies a token: algorithm, key, signature, `typ`, then the claims.
    ///
    /// # Errors
    /// The first thing that is wrong. [`Refusal::KeyUnknown`] may pass once the key store was asked.
    pub fn verify(&self, token: &Jws<'_>, keys: &KeySet, now: UnixTime) -> Result<Verified, Refusal> {
        self.verify_unless(token, keys, now, |_, _| None)
    }

    /// The same, but `known` may say that the signature of this very token was found good with a key before, or bad. Nothing
    /// else is taken as known.
    ///
    /// # Errors
    /// As [`Jwt::verify`].
    pub fn verify_unless(
        &self,
        token: &Jws<'_>,
        keys: &KeySet,
        now: UnixTime,
        known: impl Fn(&Key, &Signed<'_>) -> Option<bool>,
    ) -> Result<Verified, Refusal> {
        let key = self.signed_by(token, keys, known)?;
        if !self.takes_type(token.header().kind.as_deref()) {
            return Err(Refusal::Type);
        }
        let claims = token.claims();
        self.check_parties(claims)?;
        let expires = self.check_times(claims, now)?;
        for (name, path) in &self.required {
            path.find(claims.members()).ok_or_else(|| Refusal::Missing(Arc::clone(name)))?;
        }
        let identity = self.claims.identity(claims.members())?;
        let subject = claims::subject(&identity).ok_or_else(|| Refusal::Missing(claims::SUBJECT.into()))?;
        Ok(Verified { identity, subject, expires, key: Arc::clone(key) })
    }

    /// The key whose signature a token has; nothing else of it is looked at. `known` as in [`Jwt::verify_unless`].
    ///
    /// # Errors
    /// The algorithm is not accepted, there is no such key, or the signature is not its.
    pub fn signed_by<'a>(
        &self,
        token: &Jws<'_>,
        keys: &'a KeySet,
        known: impl Fn(&Key, &Signed<'_>) -> Option<bool>,
    ) -> Result<&'a Arc<Key>, Refusal> {
        let header = token.header();
        let algorithm = algorithm::named(&header.algorithm)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(Refusal::Algorithm)?;
        let kid = header.key_id.as_deref();
        let signed = Signed::new(algorithm, token.signing_input().as_bytes(), token.signature());
        let verifies = |key: &Key| known(key, &signed).unwrap_or_else(|| key.verify(&signed));
        keys.find(kid, algorithm, verifies).map_err(|unverified| match unverified {
            Unverified::KeyUnknown => Refusal::KeyUnknown,
            Unverified::Algorithm => Refusal::Algorithm,
            Unverified::Signature => Refusal::Signature,
        })
    }

    /// `typ`, compared as a media type without `application/` (RFC 7515 §4.1.9).
    fn takes_type(&self, kind: Option<&str>) -> bool {
        self.types.is_empty() || kind.is_some_and(|kind| self.types.contains(&media_type(kind)))
    }

    /// Who issued the token, and for whom (RFC 7519 §4.1.1, §4.1.3). A missing claim is no match.
    fn check_parties(&self, claims: &Claims<'_>) -> Result<(), Refusal> {
        if !self.issuers.is_empty() {
            let issuer = claims.issuer().ok_or_else(|| Refusal::Missing("iss".into()))?;
            if !self.takes_issuer(Some(issuer)) {
                return Err(Refusal::Issuer);
            }
        }
        if !self.audiences.is_empty() {
            let mut audience = claims.audience().ok_or_else(|| Refusal::Missing("aud".into()))?;
            if !audience.any(|theirs| self.is_audience(theirs)) {
                return Err(Refusal::Audience);
            }
        }
        Ok(())
    }

    /// When the token is good (RFC 7519 §4.1.4 to §4.1.6); returns `exp`.
    fn check_times(&self, claims: &Claims<'_>, now: UnixTime) -> Result<UnixTime, Refusal> {
        let expires: NumericDate = claims.expires().ok_or_else(|| Refusal::Missing("exp".into()))?;
        if now >= expires.floor.plus(self.leeway) {
            return Err(Refusal::Expired);
        }
        let latest = now.plus(self.leeway);
        for (name, date) in [("nbf", claims.not_before()), ("iat", claims.issued())] {
            if date.is_some_and(|date| latest < date.ceil) {
                return Err(Refusal::NotYetValid(name));
            }
        }
        if let Some(longest) = self.max_lifetime {
            let issued = claims.issued().ok_or_else(|| Refusal::Missing("iat".into()))?;
            if issued.floor.until(expires.ceil) > longest {
                return Err(Refusal::Lifetime);
            }
        }
        Ok(expires.floor)
    }
}

/// What to do about a claim that cannot be found like that.
pub const POINTER_HINT: &str =
    "name a claim as it stands in the token, or point into it: \"/realm_access/roles\" (RFC 6901)";

/// The algorithms that a configuration accepts: those it names, or the default for its source of keys.
#[must_use]
pub fn accepted(config: &config::Jwt) -> Vec<Algorithm> {
    if !config.algorithms.is_empty() {
        config.algorithms.clone()
    } else if uses_secret(config) {
        vec![Algorithm::HS256]
    } else {
        ASYMMETRIC.to_vec()
    }
}

const fn uses_secret(config: &config::Jwt) -> bool {
    config.secret_env.is_some() || config.secret_file.is_some()
}

/// One source of keys, and algorithms that fit it: a secret never verifies what a public key should (RFC 8725 §2.1).
fn check_keys(config: &config::Jwt, at: &KeyPath, problems: &mut Problems) {
    let named = config.key_sources();
    if let [_, second, ..] = named.as_slice() {
        let message = format!("there is more than one source of keys: {}", named.join(", "));
        problems.error(at.key(second), message, "keep exactly one of them");
    }
    if named.is_empty() && config.issuer.is_empty() {
        let hint = "set `issuer` for OIDC discovery, or one of jwks_url, jwks_file, public_key_file, secret_env, secret_file";
        problems.error(at.clone(), "there is no source of keys", hint);
    }
    let urls = [
        ("jwks_url", config.jwks_url.as_ref()),
        ("issuer", config.issuer.iter().next().filter(|_| named.is_empty())),
    ];
    for (key, url) in urls {
        if url.is_some_and(|url| !is_http(url)) {
            problems.error(
                at.key(key),
                "keys cannot be fetched from there",
                "write an https (or http) URL without user and password",
            );
        }
    }
    for (position, algorithm) in config.algorithms.iter().enumerate() {
        let place = at.key("algorithms").index(position);
        let is_hmac = algorithm::family(*algorithm) == Family::Hmac;
        if is_hmac && !uses_secret(config) {
            let message = format!("{algorithm:?} needs a shared secret, but the keys are public ones");
            problems.error(place, message, "use secret_env or secret_file, or an algorithm such as RS256");
        } else if !is_hmac && uses_secret(config) {
            let message = format!("{algorithm:?} needs a public key, but there is a shared secret");
            problems.error(place, message, "use HS256, HS384 or HS512, or a source of public keys");
        }
    }
}

fn check_names(config: &config::Jwt, at: &KeyPath, problems: &mut Problems) {
    for (key, names) in [("issuer", &config.issuer), ("audience", &config.audience), ("type", &config.types)]
    {
        if names.iter().any(String::is_empty) {
            problems.error(
                at.key(key),
                "an empty name would match tokens that say nothing",
                "write it out, or leave the key away",
            );
        }
    }
}

fn media_type(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind)
}

#[cfg(test)]
mod tests;
