use super::{Jwt, Refusal, accepted};
use crate::authn::algorithm::ASYMMETRIC;
use crate::authn::jwks::KeySet;
use crate::authn::key::Key;
use crate::authn::signed::Signed;
use crate::authn::testing::{
    ED25519, HMAC, OTHER_RSA, P256, P384, RSA, SECRET, Signer, config, every_algorithm, theirs, with,
};
use crate::authn::token::{Jws, Space};
use crate::clock::UnixTime;
use crate::config::authenticator::Algorithm;
use crate::config::problem::KeyPath;
use crate::denial::Reason;
use crate::identity::Attribute;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: u64 = 1_700_000_000;

/// The same for fractions.
const NOW_F: f64 = 1_700_000_000.0;

const CONFIG: &str = "issuer = 'https://issuer.example/'\naudience = ['api', 'other']\n";

fn jwt(text: &str) -> Jwt {
    Jwt::new("auth", &config(text), &KeyPath::root("authenticators").key("auth")).unwrap()
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example/", "aud": "api", "sub": "u", "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3600})
}

/// A published set with a key of each family; the RSA key is "k".
fn keys() -> KeySet {
    let document = json!({"keys": [
        RSA.jwk_with(Algorithm::RS256, json!({"kid": "k"})),
        OTHER_RSA.jwk_with(Algorithm::RS256, json!({"kid": "other"})),
        P256.jwk_with(Algorithm::ES256, json!({"kid": "p256"})),
        P384.jwk_with(Algorithm::ES384, json!({"kid": "p384"})),
        ED25519.jwk_with(Algorithm::EdDSA, json!({"kid": "ed"})),
    ]});
    KeySet::from_jwks(document.to_string().as_bytes(), &ASYMMETRIC).unwrap().set
}

fn secret_keys(secret: &str, allowed: &[Algorithm]) -> KeySet {
    KeySet::single(Key::from_secret(secret.as_bytes(), allowed).unwrap())
}

fn verdict_at(jwt: &Jwt, keys: &KeySet, token: &str, now: UnixTime) -> Reason {
    let mut space = Space::default();
    let verdict =
        Jws::parse(token, &mut space).map_err(Refusal::from).and_then(|token| jwt.verify(&token, keys, now));
    verdict.map_or_else(|refusal| refusal.reason(), |_| Reason::Allowed)
}

fn verdict(jwt: &Jwt, keys: &KeySet, token: &str) -> Reason {
    verdict_at(jwt, keys, token, UnixTime::from_seconds(NOW))
}

/// The verdict on a well-signed token with these claims added, replaced or (null) removed.
fn on_claims(text: &str, changes: Value) -> Reason {
    verdict(&jwt(text), &keys(), &RSA.mint(Algorithm::RS256, &with(claims(), changes)))
}

fn on_header(text: &str, header: &Value) -> Reason {
    verdict(&jwt(text), &keys(), &RSA.sign(Algorithm::RS256, header, &claims()))
}

#[test]
fn every_algorithm_verifies_and_another_implementation_agrees() {
    let algorithms = "algorithms = ['HS256', 'HS384', 'HS512']\nsecret_env = 'S'\n";
    for (algorithm, signer) in every_algorithm() {
        let (jwt, keys) = if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            let allowed = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
            (jwt(&format!("{CONFIG}{algorithms}")), secret_keys(SECRET, &allowed))
        } else {
            let document = json!({"keys": [signer.jwk_with(algorithm, json!({"kid": "k"}))]});
            (jwt(CONFIG), KeySet::from_jwks(document.to_string().as_bytes(), &ASYMMETRIC).unwrap().set)
        };
        let token = signer.mint(algorithm, &claims());
        assert_eq!(verdict(&jwt, &keys, &token), Reason::Allowed, "{algorithm:?}");
        let mut validation = Validation::new(theirs(algorithm));
        validation.set_audience(&["api"]);
        validation.validate_exp = false;
        jsonwebtoken::decode::<Value>(&token, &signer.verifying, &validation).unwrap();
    }
}

#[test]
fn a_good_token_says_who_is_asking() {
    let jwt = jwt(&format!("{CONFIG}[claims]\ncustomer = 'c'\n"));
    let keys = keys();
    let token =
        RSA.mint(Algorithm::RS256, &with(claims(), json!({"c": 42, "scope": "a b", "exp": NOW_F + 10.5})));
    let verified = jwt
        .verify(&Jws::parse(&token, &mut Space::default()).unwrap(), &keys, UnixTime::from_seconds(NOW))
        .unwrap();
    assert_eq!(&*verified.subject, "u");
    assert_eq!(verified.expires, UnixTime::from_millis(NOW * 1000 + 10_500));
    assert!(keys.contains(&verified.key));
    assert_eq!(verified.identity.attribute("customer"), Some(&Attribute::Integer(42)));
    assert_eq!(verified.identity.attribute("authenticator"), Some(&Attribute::Text("auth".into())));
    assert_eq!(verified.identity.attribute("auth_method"), Some(&Attribute::Text("jwt".into())));
    assert!(verified.identity.set_contains("scopes", "b"));
}

#[test]
fn the_algorithm_must_be_one_that_is_accepted() {
    for name in
        ["none", "None", "nOnE", "", "ES512", "ES256K", "HS256", "HS512", "rs256", "RS256 ", "RS1", "dir"]
    {
        let header = json!({"alg": name, "kid": "k"});
        assert_eq!(on_header(CONFIG, &header), Reason::TokenAlgorithm, "{name}");
        let token = RSA.sign(Algorithm::RS256, &header, &claims());
        let (input, _) = token.rsplit_once('.').unwrap();
        assert_eq!(verdict(&jwt(CONFIG), &keys(), &format!("{input}.")), Reason::TokenAlgorithm, "{name}");
    }
    let ecdsa_only = format!("{CONFIG}algorithms = ['ES256']\n");
    assert_eq!(
        verdict(&jwt(&ecdsa_only), &keys(), &RSA.mint(Algorithm::RS256, &claims())),
        Reason::TokenAlgorithm
    );
    let pss_only = format!("{CONFIG}algorithms = ['PS256']\n");
    assert_eq!(
        verdict(&jwt(&pss_only), &keys(), &RSA.mint(Algorithm::RS256, &claims())),
        Reason::TokenAlgorithm
    );
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let jwk = RSA.jwk(Algorithm::RS256);
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [
        RSA.public.clone().into_bytes(),
        RSA.public.trim().as_bytes().to_vec(),
        n,
        jwk.to_string().into_bytes(),
    ] {
        let forger = Signer {
            signing: jsonwebtoken::EncodingKey::from_secret(&secret),
            verifying: jsonwebtoken::DecodingKey::from_secret(&secret),
            public: String::new(),
            private: String::new(),
        };
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = forger.mint(algorithm, &claims());
            assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenAlgorithm);
            let pem = KeySet::single(Key::from_pem(RSA.public.as_bytes(), &ASYMMETRIC).unwrap());
            let with_pem = format!("{CONFIG}public_key_file = 'key.pem'\n");
            assert_eq!(verdict(&jwt(&with_pem), &pem, &token), Reason::TokenAlgorithm);
        }
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithms_only() {
    // The header names a key of another family than its algorithm.
    for (signer, algorithm, kid, reason) in [
        (&*P256, Algorithm::ES256, "k", Reason::TokenAlgorithm),
        (&*RSA, Algorithm::RS256, "p256", Reason::TokenAlgorithm),
        (&*P256, Algorithm::ES256, "p384", Reason::TokenAlgorithm),
        (&*P256, Algorithm::ES256, "ed", Reason::TokenAlgorithm),
        (&*P256, Algorithm::ES256, "p256", Reason::Allowed),
        (&*P384, Algorithm::ES384, "p384", Reason::Allowed),
        (&*ED25519, Algorithm::EdDSA, "ed", Reason::Allowed),
        (&*RSA, Algorithm::RS256, "other", Reason::TokenSignature),
        (&*RSA, Algorithm::RS256, "unknown", Reason::TokenKeyUnknown),
    ] {
        let token = signer.sign(algorithm, &json!({"alg": format!("{algorithm:?}"), "kid": kid}), &claims());
        assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), reason, "{algorithm:?} {kid}");
    }
    // Without kid there is one P-256 key, but two RSA keys.
    let token = P256.sign(Algorithm::ES256, &json!({"alg": "ES256"}), &claims());
    assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::Allowed);
    let token = RSA.sign(Algorithm::RS256, &json!({"alg": "RS256"}), &claims());
    assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenKeyUnknown);
    // PKCS#1 v1.5 and PSS are different algorithms of one key.
    let token = RSA.sign(Algorithm::PS256, &json!({"alg": "RS256", "kid": "k"}), &claims());
    assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenSignature);
}

#[test]
fn a_token_does_not_bring_its_own_key() {
    let jwk = OTHER_RSA.jwk(Algorithm::RS256);
    for header in [
        json!({"alg": "RS256", "kid": "k", "jwk": jwk}),
        json!({"alg": "RS256", "kid": "k", "jku": "https://evil.example/jwks.json"}),
        json!({"alg": "RS256", "kid": "k", "x5u": "https://evil.example/", "x5c": ["AAAA"]}),
    ] {
        let token = OTHER_RSA.sign(Algorithm::RS256, &header, &claims());
        assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenSignature);
        assert_eq!(on_header(CONFIG, &header), Reason::Allowed);
    }
}

#[test]
fn nothing_is_believed_before_the_signature() {
    let worse = json!({"iss": "evil", "aud": "evil", "exp": 1, "sub": null});
    let token = OTHER_RSA.mint(Algorithm::RS256, &with(claims(), worse));
    assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenSignature);
    let typed = format!("{CONFIG}type = 'at+jwt'\n");
    assert_eq!(verdict(&jwt(&typed), &keys(), &token), Reason::TokenSignature);
}

#[test]
fn a_signature_that_is_known_spares_nothing_else() {
    let (jwt, keys) = (jwt(&format!("{CONFIG}type = 'at+jwt'\n")), keys());
    let judge =
        |signer: &Signer, header: Value, changes: Value, known: fn(&Key, &Signed<'_>) -> Option<bool>| {
            let header = with(json!({"alg": "RS256", "kid": "k", "typ": "at+jwt"}), header);
            let token = signer.sign(Algorithm::RS256, &header, &with(claims(), changes));
            let mut space = Space::default();
            let token = Jws::parse(&token, &mut space).unwrap();
            let verdict = jwt.verify_unless(&token, &keys, UnixTime::from_seconds(NOW), known);
            verdict.map_or_else(|refusal| refusal.reason(), |_| Reason::Allowed)
        };
    // It stands for the arithmetic, and is asked of the key that the token names.
    let on = |signer, known| judge(signer, json!({}), json!({}), known);
    assert_eq!(on(&OTHER_RSA, |key, _| (key.kid() == Some("k")).then_some(true)), Reason::Allowed);
    assert_eq!(on(&OTHER_RSA, |key, _| (key.kid() != Some("k")).then_some(true)), Reason::TokenSignature);
    assert_eq!(on(&RSA, |key, _| (key.kid() == Some("k")).then_some(false)), Reason::TokenSignature);
    assert_eq!(on(&RSA, |key, _| (key.kid() != Some("k")).then_some(false)), Reason::Allowed);
    for (header, changes, reason) in [
        (json!({"alg": "none"}), json!({}), Reason::TokenAlgorithm),
        (json!({"alg": "HS256"}), json!({}), Reason::TokenAlgorithm),
        (json!({"alg": "ES256"}), json!({}), Reason::TokenAlgorithm),
        (json!({"kid": "unknown"}), json!({}), Reason::TokenKeyUnknown),
        (json!({"kid": null}), json!({}), Reason::TokenKeyUnknown),
        (json!({"typ": "id+jwt"}), json!({}), Reason::TokenMalformed),
        (json!({}), json!({"iss": "evil"}), Reason::TokenIssuer),
        (json!({}), json!({"aud": "evil"}), Reason::TokenAudience),
        (json!({}), json!({"exp": NOW - 3600}), Reason::TokenExpired),
        (json!({}), json!({"nbf": NOW + 3600}), Reason::TokenNotYetValid),
        (json!({}), json!({"sub": null}), Reason::TokenClaim),
    ] {
        assert_eq!(judge(&RSA, header, changes, |_, _| Some(true)), reason);
    }
}

#[test]
fn the_type_must_be_accepted_where_one_is_configured() {
    let typed = format!("{CONFIG}type = ['at+jwt', 'application/JWT']\n");
    let header = |kind: Value| with(json!({"alg": "RS256", "kid": "k"}), json!({"typ": kind}));
    for kind in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "JWT", "application/jwt"] {
        assert_eq!(on_header(&typed, &header(json!(kind))), Reason::Allowed, "{kind}");
    }
    for kind in
        [json!("id+jwt"), json!(""), json!("application/"), json!("application/application/jwt"), json!(null)]
    {
        assert_eq!(on_header(&typed, &header(kind)), Reason::TokenMalformed);
    }
    assert_eq!(on_header(CONFIG, &header(json!("anything"))), Reason::Allowed);
}

#[test]
fn the_issuer_must_be_exactly_one_of_those_configured() {
    let several = "issuer = ['https://issuer.example/', 'b']\n";
    for (issuer, reason) in [
        (json!("https://issuer.example/"), Reason::Allowed),
        (json!("b"), Reason::Allowed),
        (json!("https://issuer.example"), Reason::TokenIssuer),
        (json!("https://ISSUER.example/"), Reason::TokenIssuer),
        (json!("https://issuer.example/ "), Reason::TokenIssuer),
        (json!(""), Reason::TokenIssuer),
        (json!(null), Reason::TokenClaim),
        (json!(["https://issuer.example/", "evil"]), Reason::TokenMalformed),
    ] {
        assert_eq!(on_claims(several, json!({"iss": issuer})), reason, "{issuer}");
    }
    let none = "jwks_url = 'https://issuer.example/jwks'\n";
    assert_eq!(on_claims(none, json!({"iss": null})), Reason::Allowed);
    assert_eq!(on_claims(none, json!({"iss": "anybody"})), Reason::Allowed);
    assert!(jwt(several).takes_issuer(Some("b")) && !jwt(several).takes_issuer(Some("c")));
    assert!(!jwt(several).takes_issuer(None) && jwt(none).takes_issuer(None));
}

#[test]
fn the_audience_must_name_us() {
    for (audience, reason) in [
        (json!("api"), Reason::Allowed),
        (json!("other"), Reason::Allowed),
        (json!(["x", "api"]), Reason::Allowed),
        (json!("API"), Reason::TokenAudience),
        (json!("x"), Reason::TokenAudience),
        (json!(["x", "y"]), Reason::TokenAudience),
        (json!([]), Reason::TokenAudience),
        (json!(""), Reason::TokenAudience),
        (json!(null), Reason::TokenClaim),
        (json!({"api": true}), Reason::TokenMalformed),
        (json!(["api", 1]), Reason::TokenMalformed),
    ] {
        assert_eq!(on_claims(CONFIG, json!({"aud": audience})), reason, "{audience}");
    }
    let none = "issuer = 'https://issuer.example/'\n";
    assert_eq!(on_claims(none, json!({"aud": null})), Reason::Allowed);
    assert_eq!(on_claims(none, json!({"aud": "x"})), Reason::Allowed);
}

#[test]
fn times_hold_with_the_leeway_and_not_beyond() {
    let text = format!("{CONFIG}leeway = '10s'\n");
    for (changes, reason) in [
        (json!({"exp": null}), Reason::TokenClaim),
        (json!({"exp": "1700003600"}), Reason::TokenMalformed),
        (json!({"exp": NOW + 1}), Reason::Allowed),
        (json!({"exp": NOW - 9}), Reason::Allowed),
        (json!({"exp": NOW - 10}), Reason::TokenExpired),
        (json!({"exp": NOW_F - 9.5}), Reason::Allowed),
        (json!({"exp": NOW_F - 10.001}), Reason::TokenExpired),
        (json!({"exp": 0}), Reason::TokenExpired),
        (json!({"exp": -1}), Reason::TokenMalformed),
        (json!({"nbf": null, "iat": null}), Reason::Allowed),
        (json!({"nbf": NOW + 10}), Reason::Allowed),
        (json!({"nbf": NOW_F + 10.001}), Reason::TokenNotYetValid),
        (json!({"nbf": NOW + 11}), Reason::TokenNotYetValid),
        (json!({"nbf": "soon"}), Reason::TokenMalformed),
        (json!({"iat": NOW + 10}), Reason::Allowed),
        (json!({"iat": NOW + 11}), Reason::TokenNotYetValid),
        (json!({"iat": "now"}), Reason::TokenMalformed),
    ] {
        assert_eq!(on_claims(&text, changes.clone()), reason, "{changes}");
    }
    let none = format!("{CONFIG}leeway = '0s'\n");
    assert_eq!(on_claims(&none, json!({"exp": NOW})), Reason::TokenExpired);
    assert_eq!(on_claims(&none, json!({"exp": NOW + 1})), Reason::Allowed);
    assert_eq!(on_claims(&none, json!({"nbf": NOW})), Reason::Allowed);
    assert_eq!(on_claims(&none, json!({"nbf": NOW + 1})), Reason::TokenNotYetValid);
    // A clock that stands at the end of time expires everything rather than nothing.
    let token = RSA.mint(Algorithm::RS256, &claims());
    assert_eq!(verdict_at(&jwt(CONFIG), &keys(), &token, UnixTime::NEVER), Reason::TokenExpired);
}

#[test]
fn a_lifetime_can_be_bounded() {
    let text = format!("{CONFIG}max_lifetime = '1h'\n");
    for (changes, reason) in [
        (json!({"iat": NOW, "exp": NOW + 3600}), Reason::Allowed),
        (json!({"iat": NOW, "exp": NOW + 3601}), Reason::TokenClaim),
        (json!({"iat": NOW, "exp": NOW_F + 3600.5}), Reason::TokenClaim),
        (json!({"iat": null}), Reason::TokenClaim),
        (json!({"iat": 0}), Reason::TokenClaim),
    ] {
        assert_eq!(on_claims(&text, changes.clone()), reason, "{changes}");
    }
    assert_eq!(on_claims(CONFIG, json!({"iat": 0})), Reason::Allowed);
}

#[test]
fn required_claims_must_be_there() {
    let text = format!("{CONFIG}required_claims = ['jti', '/realm/id']\n");
    assert_eq!(on_claims(&text, json!({"jti": "1", "realm": {"id": 0}})), Reason::Allowed);
    for changes in [
        json!({}),
        json!({"jti": "1"}),
        json!({"jti": "1", "realm": {"id": null}}),
        json!({"realm": {"id": 1}}),
    ] {
        assert_eq!(on_claims(&text, changes), Reason::TokenClaim);
    }
    assert_eq!(on_claims(CONFIG, json!({"sub": null})), Reason::TokenClaim);
    let mapped = format!("{CONFIG}[claims]\nsite = {{ claim = 'site', required = true }}\n");
    assert_eq!(on_claims(&mapped, json!({"site": "s"})), Reason::Allowed);
    assert_eq!(on_claims(&mapped, json!({})), Reason::TokenClaim);
    assert_eq!(on_claims(&mapped, json!({"site": true})), Reason::TokenClaim);
}

#[test]
fn duplicates_and_critical_extensions_are_refused_even_if_signed() {
    let payload = claims().to_string();
    let doubled = payload.replacen('{', "{\"sub\":\"admin\",", 1);
    let nested = payload.replacen('{', "{\"x\":{\"a\":1,\"a\":2},", 1);
    let header = r#"{"alg":"RS256","kid":"k"}"#;
    for (header, payload) in [
        (header, doubled.as_str()),
        (header, nested.as_str()),
        (r#"{"alg":"RS256","alg":"RS256","kid":"k"}"#, payload.as_str()),
        (r#"{"alg":"RS256","kid":"k","crit":["exp"],"exp":1}"#, payload.as_str()),
        (r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}"#, payload.as_str()),
        (r#"{"alg":"RS256","kid":7}"#, payload.as_str()),
    ] {
        let token = RSA.sign_text(Algorithm::RS256, header, payload);
        assert_eq!(verdict(&jwt(CONFIG), &keys(), &token), Reason::TokenMalformed, "{header} {payload}");
    }
}

#[test]
fn a_shared_secret_verifies_with_hs256_by_default() {
    let text = "secret_env = 'JWT_SECRET'\n[claims]\nsubject = 'user_id'\n";
    let (jwt, keys) = (jwt(text), secret_keys(SECRET, &accepted(&config(text))));
    let payload = json!({"user_id": 7, "username": "x", "exp": NOW + 60});
    assert_eq!(verdict(&jwt, &keys, &HMAC.mint(Algorithm::HS256, &payload)), Reason::Allowed);
    assert_eq!(verdict(&jwt, &keys, &HMAC.mint(Algorithm::HS512, &payload)), Reason::TokenAlgorithm);
    assert_eq!(verdict(&jwt, &keys, &RSA.mint(Algorithm::RS256, &payload)), Reason::TokenAlgorithm);
    let other = secret_keys("another shared secret of 40 bytes. . . .", &[Algorithm::HS256]);
    assert_eq!(verdict(&jwt, &other, &HMAC.mint(Algorithm::HS256, &payload)), Reason::TokenSignature);
    assert_eq!(
        verdict(&jwt, &keys, &HMAC.mint(Algorithm::HS256, &json!({"user_id": 7}))),
        Reason::TokenClaim
    );
}

#[test]
fn no_changed_byte_passes() {
    let (jwt, keys) = (jwt(CONFIG), keys());
    let now = UnixTime::from_seconds(NOW);
    let header = json!({"alg": "ES256", "kid": "p256"});
    let token = P256.sign(Algorithm::ES256, &header, &claims());
    assert_eq!(verdict_at(&jwt, &keys, &token, now), Reason::Allowed);
    let mut bytes = token.clone().into_bytes();
    for position in 0..bytes.len() {
        let was = bytes[position];
        for byte in (0..128).filter(|byte| *byte != was) {
            bytes[position] = byte;
            let changed = std::str::from_utf8(&bytes).unwrap();
            assert_ne!(verdict_at(&jwt, &keys, changed, now), Reason::Allowed, "{position} {byte}");
        }
        bytes[position] = was;
    }
}

#[test]
fn no_shortened_or_lengthened_token_passes() {
    let (jwt, keys) = (jwt(CONFIG), keys());
    let token = ED25519.sign(Algorithm::EdDSA, &json!({"alg": "EdDSA", "kid": "ed"}), &claims());
    assert_eq!(verdict(&jwt, &keys, &token), Reason::Allowed);
    for position in 0..token.len() {
        let (front, back) = token.split_at(position);
        assert_ne!(verdict(&jwt, &keys, front), Reason::Allowed);
        assert_eq!(verdict(&jwt, &keys, back) == Reason::Allowed, position == 0);
        for inserted in ["A", "_", "=", ".", " ", "\n", "AA", "AAAA", "==", "%3D"] {
            let longer = format!("{front}{inserted}{back}");
            assert_ne!(verdict(&jwt, &keys, &longer), Reason::Allowed, "{position} {inserted:?}");
        }
    }
    assert_ne!(verdict(&jwt, &keys, &format!("{token}=")), Reason::Allowed);
}

#[test]
fn a_refusal_is_recorded_but_says_nothing_from_the_token() {
    let jwt = jwt(CONFIG);
    let token = RSA.mint(Algorithm::RS256, &with(claims(), json!({"iss": "secret", "aud": "secret"})));
    let refusal = jwt
        .verify(&Jws::parse(&token, &mut Space::default()).unwrap(), &keys(), UnixTime::from_seconds(NOW))
        .unwrap_err();
    let denial = refusal.denial();
    assert_eq!(denial.reason(), Reason::TokenIssuer);
    assert_eq!(denial.source(), Some("the token's `iss` is not accepted"));
    assert!(!denial.text().contains("secret"));
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused_in_one_go() {
    let at = KeyPath::root("authenticators").key("a");
    let problems = |text: &str| -> Vec<String> {
        let Err(problems) = Jwt::new("a", &config(text), &at) else { return Vec::new() };
        problems.0.iter().map(|problem| problem.path.to_string()).collect()
    };
    for (text, paths) in [
        ("", vec!["authenticators.a"]),
        ("audience = 'x'", vec!["authenticators.a"]),
        ("issuer = 'issuer.example'", vec!["authenticators.a.issuer"]),
        ("jwks_url = 'file:///keys'", vec!["authenticators.a.jwks_url"]),
        ("jwks_url = 'https://user:password@issuer.example/'", vec!["authenticators.a.jwks_url"]),
        ("issuer = ''\njwks_file = 'x'", vec!["authenticators.a.issuer"]),
        ("jwks_file = 'x'\nsecret_env = 'Y'", vec!["authenticators.a.secret_env"]),
        (
            "issuer = 'https://i.example'\nalgorithms = ['RS256', 'HS256']",
            vec!["authenticators.a.algorithms[1]"],
        ),
        ("secret_env = 'S'\nalgorithms = ['RS256', 'HS256']", vec!["authenticators.a.algorithms[0]"]),
        (
            "jwks_file = 'x'\nalgorithms = ['HS256']\nrequired_claims = ['/~']\n[claims]\nauth_method = 'x'",
            vec![
                "authenticators.a.algorithms[0]",
                "authenticators.a.required_claims[0]",
                "authenticators.a.claims.auth_method",
            ],
        ),
        ("jwks_file = 'x'\ntype = ''", vec!["authenticators.a.type"]),
        ("issuer = 'https://i.example'", vec![]),
        ("issuer = 'not a url'\njwks_file = 'x'", vec![]),
    ] {
        assert_eq!(problems(text), paths, "{text}");
    }
}

#[test]
fn what_the_configuration_says_can_be_asked() {
    let jwt = jwt(&format!("{CONFIG}leeway = '3s'\n"));
    assert_eq!(&**jwt.name(), "auth");
    assert_eq!(jwt.issuers(), ["https://issuer.example/"]);
    assert_eq!(jwt.audiences(), ["api", "other"]);
    assert_eq!(jwt.leeway(), Duration::from_secs(3));
    assert_eq!(jwt.algorithms(), ASYMMETRIC);
    assert!(jwt.claim_map().attributes().any(|name| name == "subject"));
}
