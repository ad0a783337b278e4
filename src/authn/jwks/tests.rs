use super::{Ignored, JwksError, KeySet, MAX_DOCUMENT_BYTES, MAX_KEYS, Unverified};
use crate::authn::algorithm::ASYMMETRIC;
use crate::authn::key::{Key, KeyError};
use crate::authn::signed::Signed;
use crate::authn::testing::{ED25519, OTHER_RSA, P256, P384, RSA, SECRET, Signer, with};
use crate::config::authenticator::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

fn document(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::from_jwks(&document(keys), &ASYMMETRIC).unwrap().set
}

fn good() -> Value {
    RSA.jwk_with(Algorithm::RS256, json!({"kid": "good"}))
}

/// Why a key beside a good one is ignored; `None` if it is not.
fn ignored(key: &Value) -> Option<KeyError> {
    let filtered = KeySet::from_jwks(&document(&[good(), key.clone()]), &ASYMMETRIC).unwrap();
    let used = filtered.set.len();
    assert_eq!((used, filtered.ignored.total()), if used == 2 { (2, 0) } else { (1, 1) });
    filtered.ignored.counts.keys().next().copied()
}

fn try_verify(
    set: &KeySet,
    signer: &Signer,
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Result<(), Unverified> {
    let token = signer.mint(algorithm, &json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    set.find(kid, algorithm, |key| key.verify(&Signed::new(algorithm, input.as_bytes(), &signature)))
        .map(drop)
}

#[test]
fn keys_that_may_verify_are_used() {
    let rsa = RSA.jwk(Algorithm::RS256);
    for key in [
        rsa.clone(),
        with(rsa.clone(), json!({"use": "sig"})),
        with(rsa.clone(), json!({"key_ops": ["sign", "verify"]})),
        with(rsa.clone(), json!({"alg": "PS512", "kid": "", "x5c": ["ignored"], "x5u": 1})),
        P256.jwk(Algorithm::ES256),
        P384.jwk_with(Algorithm::ES384, json!({"alg": "ES384"})),
        ED25519.jwk_with(Algorithm::EdDSA, json!({"alg": "EdDSA"})),
        ED25519.jwk_with(Algorithm::EdDSA, json!({"alg": "Ed25519"})),
    ] {
        assert_eq!(ignored(&key), None, "{key}");
    }
}

#[test]
fn keys_that_may_not_are_ignored() {
    let rsa = RSA.jwk(Algorithm::RS256);
    let ec = P256.jwk(Algorithm::ES256);
    let ed = ED25519.jwk(Algorithm::EdDSA);
    let n = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
    for (key, why) in [
        (with(rsa.clone(), json!({"use": "enc"})), KeyError::Use),
        (with(rsa.clone(), json!({"use": ""})), KeyError::Use),
        (with(rsa.clone(), json!({"use": ["sig"]})), KeyError::Malformed),
        (with(rsa.clone(), json!({"key_ops": ["sign"]})), KeyError::Operations),
        (with(rsa.clone(), json!({"key_ops": []})), KeyError::Operations),
        (with(rsa.clone(), json!({"key_ops": "verify"})), KeyError::Malformed),
        (with(rsa.clone(), json!({"alg": "RSA-OAEP"})), KeyError::Algorithm),
        (with(rsa.clone(), json!({"alg": "none"})), KeyError::Algorithm),
        (with(rsa.clone(), json!({"alg": "HS256"})), KeyError::Algorithm),
        (with(rsa.clone(), json!({"alg": "ES256"})), KeyError::Algorithm),
        (with(ec.clone(), json!({"alg": "ES384"})), KeyError::Algorithm),
        (with(ec.clone(), json!({"alg": "RS256"})), KeyError::Algorithm),
        (with(rsa.clone(), json!({"alg": 1})), KeyError::Malformed),
        (with(rsa.clone(), json!({"kid": 1})), KeyError::Malformed),
        (with(rsa.clone(), json!({"n": n(128)})), KeyError::RsaSize),
        (with(rsa.clone(), json!({"n": n(1025)})), KeyError::RsaSize),
        (with(rsa.clone(), json!({"e": "AQ"})), KeyError::RsaExponent),
        (with(rsa.clone(), json!({"e": "Ag"})), KeyError::RsaExponent),
        (with(rsa.clone(), json!({"e": null})), KeyError::Malformed),
        (with(rsa.clone(), json!({"n": 1})), KeyError::Malformed),
        (with(rsa.clone(), json!({"e": "AQAB=="})), KeyError::Malformed),
        (with(rsa.clone(), json!({"e": "AQ+/"})), KeyError::Malformed),
        (with(rsa, json!({"kty": "rsa"})), KeyError::Kind),
        (with(ec.clone(), json!({"x": ec["y"], "y": ec["x"]})), KeyError::Invalid),
        (with(ec.clone(), json!({"x": "AA"})), KeyError::Invalid),
        (with(ec.clone(), json!({"crv": "P-384"})), KeyError::Invalid),
        (with(ec.clone(), json!({"crv": "P-521"})), KeyError::Kind),
        (with(ec.clone(), json!({"crv": "secp256k1"})), KeyError::Kind),
        (with(ec, json!({"crv": null})), KeyError::Malformed),
        (with(ed.clone(), json!({"crv": "Ed448"})), KeyError::Kind),
        (with(ed.clone(), json!({"crv": "X25519"})), KeyError::Kind),
        (with(ed.clone(), json!({"x": "AQ"})), KeyError::Invalid),
        (with(ed, json!({"x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})), KeyError::Invalid),
        (json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}), KeyError::Symmetric),
        (json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"}), KeyError::Symmetric),
        (json!({"kid": "x"}), KeyError::Malformed),
        (json!({}), KeyError::Malformed),
        (json!("RSA"), KeyError::Malformed),
        (json!(null), KeyError::Malformed),
    ] {
        assert_eq!(ignored(&key), Some(why), "{key}");
    }
}

#[test]
fn a_secret_from_a_published_set_is_ignored_even_where_hmac_is_allowed() {
    let oct = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"});
    let read = KeySet::from_jwks(&document(&[oct]), &[Algorithm::HS256]);
    assert!(matches!(read, Err(JwksError::NothingLeft(_))));
}

#[test]
fn the_algorithms_of_a_key_are_those_that_are_allowed_and_its_own() {
    let filtered = KeySet::from_jwks(
        &document(&[
            RSA.jwk_with(Algorithm::RS256, json!({"kid": "any"})),
            RSA.jwk_with(Algorithm::RS256, json!({"kid": "own", "alg": "RS256"})),
            P256.jwk_with(Algorithm::ES256, json!({"kid": "curve"})),
        ]),
        &[Algorithm::RS256, Algorithm::PS256],
    )
    .unwrap();
    assert_eq!(filtered.set.len(), 2);
    assert_eq!(filtered.ignored.counts[&KeyError::Algorithm], 1);
    let set = filtered.set;
    assert_eq!(try_verify(&set, &RSA, Algorithm::PS256, Some("any")), Ok(()));
    assert_eq!(try_verify(&set, &RSA, Algorithm::PS256, Some("own")), Err(Unverified::Algorithm));
    assert_eq!(try_verify(&set, &RSA, Algorithm::RS512, Some("any")), Err(Unverified::Algorithm));
    assert_eq!(try_verify(&set, &P256, Algorithm::ES256, Some("any")), Err(Unverified::Algorithm));
}

#[test]
fn at_most_a_hundred_keys_are_used() {
    let keys: Vec<Value> =
        (0..150).map(|n| P256.jwk_with(Algorithm::ES256, json!({"kid": n.to_string()}))).collect();
    let filtered = KeySet::from_jwks(&document(&keys), &ASYMMETRIC).unwrap();
    assert_eq!(filtered.set.len(), MAX_KEYS);
    assert_eq!(filtered.ignored.counts[&KeyError::TooMany], 50);
    assert_eq!(filtered.ignored.examples.len(), 10);
    assert!(filtered.set.knows("99") && !filtered.set.knows("100"));
}

#[test]
fn a_document_that_is_no_key_set_is_refused() {
    let mut large = document(&[good()]);
    large.resize(MAX_DOCUMENT_BYTES, b' ');
    assert!(KeySet::from_jwks(&large, &ASYMMETRIC).is_ok());
    large.push(b' ');
    assert!(matches!(KeySet::from_jwks(&large, &ASYMMETRIC), Err(JwksError::TooLarge)));
    let doubled = format!(r#"{{"keys":[],"keys":[{}]}}"#, good());
    let twice = format!(r#"{{"keys":[{}]}}"#, good().to_string().replacen('{', r#"{"e":"AQAB","#, 1));
    for json in ["", "[]", "null", "{", doubled.as_str(), twice.as_str()] {
        assert!(matches!(KeySet::from_jwks(json.as_bytes(), &ASYMMETRIC), Err(JwksError::Json(_))), "{json}");
    }
    for no_list in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert!(
            matches!(KeySet::from_jwks(no_list.as_bytes(), &ASYMMETRIC), Err(JwksError::NoList)),
            "{no_list}"
        );
    }
    assert!(matches!(KeySet::from_jwks(&document(&[]), &ASYMMETRIC), Err(JwksError::NothingLeft(_))));
    let encryption = with(good(), json!({"use": "enc"}));
    let error = KeySet::from_jwks(&document(&[encryption]), &ASYMMETRIC).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key set has no usable key (ignored 1: 1 use; \"good\" not meant for signatures)"
    );
}

#[test]
fn a_token_finds_the_key_that_it_names() {
    let set = set(&[
        RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"})),
        OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "b"})),
        P256.jwk(Algorithm::ES256),
    ]);
    assert_eq!(try_verify(&set, &RSA, Algorithm::RS256, Some("a")), Ok(()));
    assert_eq!(try_verify(&set, &OTHER_RSA, Algorithm::RS256, Some("b")), Ok(()));
    assert_eq!(try_verify(&set, &RSA, Algorithm::RS256, Some("b")), Err(Unverified::Signature));
    for unknown in ["", "A", "a ", "c", "a\0"] {
        assert_eq!(try_verify(&set, &RSA, Algorithm::RS256, Some(unknown)), Err(Unverified::KeyUnknown));
    }
    assert!(set.knows("a") && !set.knows("c"));
    // A key without an id is nobody's who names one.
    assert_eq!(try_verify(&set, &P256, Algorithm::ES256, Some("c")), Err(Unverified::KeyUnknown));
}

#[test]
fn a_token_without_kid_needs_exactly_one_key_that_fits() {
    let both = set(&[
        RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"})),
        OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "b"})),
        P256.jwk_with(Algorithm::ES256, json!({"kid": "c"})),
    ]);
    assert_eq!(try_verify(&both, &P256, Algorithm::ES256, None), Ok(()));
    assert_eq!(try_verify(&both, &RSA, Algorithm::RS256, None), Err(Unverified::KeyUnknown));
    assert_eq!(try_verify(&both, &ED25519, Algorithm::EdDSA, None), Err(Unverified::KeyUnknown));
    let one = set(&[good()]);
    assert_eq!(try_verify(&one, &RSA, Algorithm::RS256, None), Ok(()));
    assert_eq!(try_verify(&one, &OTHER_RSA, Algorithm::RS256, None), Err(Unverified::Signature));
}

#[test]
fn keys_of_one_id_are_both_tried() {
    let set = set(&[
        RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"})),
        OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"})),
    ]);
    assert_eq!(try_verify(&set, &RSA, Algorithm::RS256, Some("a")), Ok(()));
    assert_eq!(try_verify(&set, &OTHER_RSA, Algorithm::RS256, Some("a")), Ok(()));
}

#[test]
fn a_single_key_ignores_kid() {
    let set = KeySet::single(Key::from_pem(RSA.public.as_bytes(), &ASYMMETRIC).unwrap());
    for kid in [None, Some(""), Some("anything")] {
        assert_eq!(try_verify(&set, &RSA, Algorithm::RS256, kid), Ok(()));
        assert_eq!(try_verify(&set, &OTHER_RSA, Algorithm::RS256, kid), Err(Unverified::Signature));
    }
    assert_eq!(try_verify(&set, &P256, Algorithm::ES256, Some("x")), Err(Unverified::Algorithm));
}

#[test]
fn sets_are_compared_by_their_keys() {
    let a = RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"}));
    let b = OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "b"}));
    let both = set(&[a.clone(), b.clone()]);
    assert!(both.is_same(&set(&[b.clone(), a.clone()])));
    assert!(!both.is_same(&set(std::slice::from_ref(&a))));
    assert!(!set(std::slice::from_ref(&a)).is_same(&both));
    assert_ne!(both.generation(), set(&[a.clone(), b]).generation());
    let renamed = OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"}));
    let held = set(&[a]);
    let key =
        held.find(Some("a"), Algorithm::RS256, |key| key.verify(&Signed::new(Algorithm::RS256, b"", b"")));
    assert!(key.is_err());
    assert!(both.contains(&held.keys[0]));
    assert!(!set(&[renamed]).contains(&held.keys[0]));
}

#[test]
fn what_was_ignored_can_be_read_in_a_log() {
    assert_eq!(Ignored::default().to_string(), "ignored 0");
}
