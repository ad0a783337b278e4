use super::claims::{Settings, Subject};
use super::ring::OVERLAP;
use super::{Assertions, Follower, Kept};
use crate::clock::{SystemClock, UnixTime};
use crate::headers::trusted::Prepared;
use crate::identity::{Attribute, Identity};
use crate::quotas::{Quota, Quotas};
use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::HeaderName;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// 2027-01-15T08:00:00Z.
const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const TTL: Duration = Duration::from_secs(30);

struct KeyFile(PathBuf);

impl KeyFile {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sidegate-assertion-{}-{number}.pem", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.renew();
        file
    }

    fn renew(&self) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        self.write(&format!("-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"));
    }

    /// Another time as well, for file systems whose clocks are coarse.
    fn write(&self, text: &str) {
        static AGE: AtomicU32 = AtomicU32::new(1);
        std::fs::write(&self.0, text).unwrap();
        let age = Duration::from_secs(AGE.fetch_add(1, Ordering::Relaxed).into());
        let file = std::fs::File::options().write(true).open(&self.0).unwrap();
        file.set_modified(std::time::UNIX_EPOCH.checked_add(age).unwrap()).unwrap();
    }

    fn follow(&self) -> Follower {
        let settings = Settings {
            header: HeaderName::from_static("x-identity-assertion"),
            issuer: "sidegate".to_owned(),
            audience: "app".to_owned(),
            ttl: TTL,
        };
        Follower::new(settings, &self.0, Arc::new(SystemClock)).unwrap()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn token(field: &Prepared) -> String {
    let (name, value) = field.iter().next().unwrap();
    assert_eq!((field.len(), name.as_str()), (1, "x-identity-assertion"));
    value.to_str().unwrap().to_owned()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// The claims, if the published keys verify them.
#[track_caller]
fn verified(assertions: &Assertions, token: &str) -> Value {
    let keys: JwkSet = serde_json::from_slice(&assertions.key_set()).unwrap();
    let jwk = keys.find(&kid(token)).expect("the key is published");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["app"]);
    validation.set_issuer(&["sidegate"]);
    validation.validate_exp = false;
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims
}

fn identity() -> Identity {
    let mut identity = Identity::default();
    for (name, value) in [
        ("subject", Attribute::Text("u-1".into())),
        ("customer_id", Attribute::Integer(i128::from(u64::MAX))),
        ("balance", Attribute::Integer(-5)),
        ("staff", Attribute::Boolean(true)),
        ("roles", Attribute::Set(["b", "a"].into_iter().collect())),
        ("none", Attribute::Set([].into_iter().collect())),
        ("name", Attribute::Text("Zoë \"Z\"\u{7f}, Müller".into())),
    ] {
        identity.insert(name, value);
    }
    let quotas: Quotas = [("seats", Quota::Limit(3)), ("algos", Quota::Unlimited)].into_iter().collect();
    identity.insert("quotas", Attribute::Quotas(quotas));
    for registered in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        identity.insert(registered, Attribute::Text("forged".into()));
    }
    identity
}

fn subject(identity: &Identity, ends: UnixTime) -> Subject<'_> {
    Subject { name: "u-1", identity, ends }
}

#[test]
fn it_says_who_is_asking_and_attributes_replace_no_registered_claim() {
    let file = KeyFile::new();
    let follower = file.follow();
    let identity = identity();
    let field =
        follower.assertions().assert(&subject(&identity, UnixTime::NEVER), &Kept::default(), NOW).unwrap();
    let token = token(&field);
    assert_eq!(
        verified(follower.assertions(), &token),
        json!({
            "iss": "sidegate", "sub": "u-1", "aud": "app", "iat": 1_800_000_000, "exp": 1_800_000_030,
            "subject": "u-1", "customer_id": u64::MAX, "balance": -5, "staff": true, "roles": ["a", "b"],
            "none": [], "name": "Zoë \"Z\"\u{7f}, Müller", "quotas": { "seats": 3, "algos": null },
        })
    );
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT", "kid": kid(&token) }));
}

#[test]
fn it_is_used_again_for_half_of_its_time() {
    let file = KeyFile::new();
    let (follower, identity) = (file.follow(), Identity::default());
    let (kept, at) = (Kept::default(), |seconds| NOW.plus(Duration::from_secs(seconds)));
    let told = |now, ends| {
        let field = follower.assertions().assert(&subject(&identity, ends), &kept, now).unwrap();
        let claims = verified(follower.assertions(), &token(&field));
        (claims["iat"].as_u64().unwrap() - NOW.seconds(), claims["exp"].as_u64().unwrap() - NOW.seconds())
    };
    assert_eq!(told(NOW, at(100)), (0, 30));
    assert_eq!(told(at(14), at(100)), (0, 30));
    assert_eq!(told(at(15), at(100)), (15, 45));
    // A clock that was set back: nothing is told that was made in the future.
    assert_eq!(told(at(10), at(100)), (10, 40));
    assert_eq!(told(at(80), at(100)), (80, 100), "not beyond what vouches for it");
    assert_eq!(told(at(99), at(100)), (80, 100), "another one would end at the same time");
    assert_eq!(told(at(100), at(100)), (100, 100), "and would be no good");
}

#[test]
fn a_new_key_is_published_before_it_signs_and_everything_can_be_verified_all_the_time() {
    let file = KeyFile::new();
    let (mut follower, identity) = (file.follow(), Identity::default());
    let assertions = Arc::clone(follower.assertions());
    let sign =
        |now| token(&assertions.assert(&subject(&identity, UnixTime::NEVER), &Kept::default(), now).unwrap());
    let published = || serde_json::from_slice::<JwkSet>(&assertions.key_set()).unwrap().keys.len();
    let first = sign(NOW);
    file.renew();
    follower.look(NOW);
    assert_eq!((published(), kid(&sign(NOW)) == kid(&first), assertions.reloads()), (2, true, (1, 0)));
    let switched = NOW.plus(OVERLAP);
    follower.look(switched);
    let second = sign(switched);
    assert_ne!(kid(&first), kid(&second));
    for token in [&first, &second] {
        verified(&assertions, token);
    }
    follower.look(switched.plus(TTL));
    verified(&assertions, &first);
    follower.look(switched.plus(Duration::from_secs(3600)));
    assert_eq!(published(), 1);
    verified(&assertions, &second);
}

#[test]
fn a_bad_file_changes_nothing_and_is_looked_at_once() {
    let file = KeyFile::new();
    let mut follower = file.follow();
    let before = follower.assertions().key_set();
    for (text, errors) in [("nonsense", 1), ("", 2)] {
        file.write(text);
        follower.look(NOW);
        follower.look(NOW.plus(OVERLAP));
        assert_eq!(
            (follower.assertions().reloads(), follower.assertions().key_set()),
            ((0, errors), before.clone())
        );
    }
    std::fs::remove_file(&file.0).unwrap();
    follower.look(NOW);
    follower.look(NOW);
    assert_eq!((follower.assertions().reloads(), follower.assertions().key_set()), ((0, 3), before));
    file.renew();
    follower.look(NOW);
    follower.look(NOW.plus(OVERLAP));
    assert_eq!(follower.assertions().reloads(), (1, 3));
}
