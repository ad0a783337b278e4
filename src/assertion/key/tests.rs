use super::{SigningKey, SigningKeyError, members, thumbprint};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use std::str::FromStr as _;

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn ec(curve: &'static EcdsaSigningAlgorithm) -> [String; 2] {
    let pair = EcdsaKeyPair::generate(curve).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    [pem("EC PRIVATE KEY", sec1.as_ref()), pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())]
}

fn rsa() -> [String; 2] {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    // What PKCS#8 wraps is PKCS#1; in front of it stand 26 bytes for a key of that size.
    [pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]), pem("PRIVATE KEY", pkcs8.as_ref())]
}

fn ed25519() -> String {
    pem("PRIVATE KEY", Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
}

/// A key of 1024 bits.
const SHORT: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXwIBAAKBgQDT9bqfjDeAbHlWpRgNY29MbYXyGyDivkk2WLGNWrW3hvUcEbGk\n\
fo0ilXCEXap8NSD3MymKdMronAIq4Bq00+TPRI0fxsmbH5YDxuyv7cMshvV4mLwr\n\
lQZj3v3gG6gO2blcvyccqQf/DHmr+F1EzNPNT+XptPSh/85lcHGCQhUQAwIDAQAB\n\
AoGBALc+T5Mzk6ARJ22C2SJp/oSigxRl465jN8QmNYmxDDyYDjuwCFXfmoB1lYq5\n\
t3QeMlvD/XvXsLwcc7tBd5UxQzNimOTaAdcOjyjuxKqG9mzIFs6Vg093cAN3m9yD\n\
5eNdcg6EuVWrFTA6HGsJejOcjs8Dp5xFPheJ+yrP6as4CNqBAkEA6VbfX6p3l3V6\n\
wS19Fiq9X4rEnXCDcSQ7pmaXotFcH7y56ivt1P/vW+maAuLrMpv5LD81ar7zFKb+\n\
hrac7lUJIwJBAOiLVZlKRmupG9wW8FobnJsrYUkaDyC2wkeva2QNb8bbki7QwQM+\n\
h0jDvJcDD5tPQ0CMMzTF57RoEuvXrCmX+6ECQQDnFBcmYGUK41br1CaaOz1LTtuj\n\
pvckpuNDyTnGDluTOo1LMLHZTJQ4i8DvttWBSyGaBgbabbvA6hgKRPJovGHNAkEA\n\
1RXgQQ/biYmzWrC2W4tTrKhKhCbZ19tAGVn36P2bADhxMm7dfnCMnLOnmyUV5vXx\n\
pTMTNPdoA1seg3fkbVS0IQJBAJgc0xd3tZxwW6dqlWjTyBi3xkB50NqxCBBvbVl7\n\
v6aehsqUFKpOqg4RlHRiIsFTuFpGQW9rtwBd95nfH0lqPzQ=\n\
-----END RSA PRIVATE KEY-----\n\n";

#[test]
fn every_kind_signs_what_its_public_half_verifies() {
    let [rsa1, rsa8] = rsa();
    let [p256, p256_8] = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let [p384, p384_8] = ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let with_parameters = format!("{}{p256}", pem("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07"));
    for (case, text, alg) in [
        ("PKCS#1", &rsa1, "RS256"),
        ("PKCS#8 RSA", &rsa8, "RS256"),
        ("SEC 1 P-256", &p256, "ES256"),
        ("SEC 1 with parameters", &with_parameters, "ES256"),
        ("PKCS#8 P-256", &p256_8, "ES256"),
        ("SEC 1 P-384", &p384, "ES384"),
        ("PKCS#8 P-384", &p384_8, "ES384"),
        ("Ed25519", &ed25519(), "EdDSA"),
    ] {
        let key = SigningKey::from_pem(text.as_bytes()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let jwk = key.jwk();
        assert_eq!((&jwk["alg"], &jwk["use"], &jwk["kid"]), (&alg.into(), &"sig".into(), &key.kid().into()));
        assert!(["d", "p", "q", "k"].iter().all(|private| jwk[private].is_null()), "{case}: {jwk}");
        let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let verifying = DecodingKey::from_jwk(&jwk).unwrap();
        let signature = super::URL_SAFE_NO_PAD.encode(key.sign(b"a.b").unwrap());
        let algorithm = Algorithm::from_str(alg).unwrap();
        assert!(jsonwebtoken::crypto::verify(&signature, b"a.b", &verifying, algorithm).unwrap(), "{case}");
        assert!(!jsonwebtoken::crypto::verify(&signature, b"a.c", &verifying, algorithm).unwrap(), "{case}");
    }
    let kid = |text: &str| SigningKey::from_pem(text.as_bytes()).unwrap().kid().to_owned();
    assert_eq!((kid(&rsa1), kid(&p256), kid(&p384)), (kid(&rsa8), kid(&p256_8), kid(&p384_8)));
}

#[test]
fn ids_are_the_thumbprints_of_the_standards() {
    // RFC 7638 §3.1, RFC 8037 A.3.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W\
        -5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let rsa = members(&[("e", "AQAB"), ("kty", "RSA"), ("n", n)]);
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed25519 = members(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", x)]);
    assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn what_cannot_sign_is_refused() {
    let [p521, p521_8] = ec(&ECDSA_P521_SHA512_FIXED_SIGNING);
    let two = format!("{}{}", ed25519(), ed25519());
    let broken = ed25519().replace("MC", "??");
    let locked = pem("ENCRYPTED PRIVATE KEY", b"x");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (case, text, message) in [
        ("RSA of 1024 bits", SHORT, "neither RSA of 2048"),
        ("P-521", &p521, "neither RSA"),
        ("P-521 in PKCS#8", &p521_8, "neither RSA"),
        ("no key in it", &pem("PRIVATE KEY", b"nonsense"), "neither RSA"),
        ("a public key", &pem("PUBLIC KEY", b"x"), "exactly one private key"),
        ("nothing", "", "exactly one private key"),
        ("two", &two, "exactly one private key"),
        ("no base64", &broken, "exactly one private key"),
        ("a password", &locked, "encrypted"),
        ("a password, the old way", old, "encrypted"),
    ] {
        let error = SigningKey::from_pem(text.as_bytes()).map(|key| key.kid().to_owned()).unwrap_err();
        assert!(error.to_string().contains(message), "{case}: {error}");
    }
    let error = SigningKey::read(std::path::Path::new("no/such/file.pem"));
    assert!(matches!(error, Err(SigningKeyError::Unreadable(_))));
}

#[test]
fn a_key_does_not_show_itself() {
    let key = SigningKey::from_pem(ed25519().as_bytes()).unwrap();
    assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
}
