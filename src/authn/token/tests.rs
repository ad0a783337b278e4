use super::{Jws, MAX_TOKEN_BYTES, TokenError};
use crate::clock::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn with_header(header: &str) -> Result<(), TokenError> {
    Jws::parse(&token(header, "{}")).map(drop)
}

fn with_claims(payload: &str) -> Result<(), TokenError> {
    Jws::parse(&token(r#"{"alg":"RS256"}"#, payload)).map(drop)
}

#[test]
fn a_token_is_split_and_decoded() {
    let text = token(
        r#"{"alg":"RS256","kid":"k","typ":"at+jwt","jku":"https://evil.example","jwk":{"kty":"oct"}}"#,
        r#"{"iss":"i","aud":["a","b"],"exp":1700000000,"nbf":1.5,"iat":0}"#,
    );
    let jws = Jws::parse(&text).unwrap();
    assert_eq!(jws.header().algorithm, "RS256");
    assert_eq!(jws.header().key_id.as_deref(), Some("k"));
    assert_eq!(jws.header().kind.as_deref(), Some("at+jwt"));
    assert_eq!(jws.signing_input(), text.strip_suffix(".c2ln").unwrap());
    assert_eq!(jws.signature(), b"sig");
    let claims = jws.claims();
    assert_eq!(claims.issuer(), Some("i"));
    assert_eq!(claims.audience().unwrap(), ["a", "b"]);
    assert_eq!(claims.expires().unwrap().floor, UnixTime::from_seconds(1_700_000_000));
    assert_eq!(claims.not_before().unwrap().ceil, UnixTime::from_millis(1500));
    assert_eq!(claims.issued().unwrap().floor, UnixTime::from_seconds(0));
}

#[test]
fn there_are_exactly_three_parts() {
    let good = token(r#"{"alg":"RS256"}"#, "{}");
    assert!(Jws::parse(&good).is_ok());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        input.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{header}.a.{payload}.{signature}.x"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
    ] {
        assert!(Jws::parse(&bad).is_err(), "{bad}");
    }
    // An unsecured JWS (RFC 7519 §6.1) can be read, so that its algorithm is what it fails for.
    assert!(Jws::parse(&format!("{input}.")).is_ok());
}

#[test]
fn base64url_is_canonical() {
    // The last character of "e30" holds two bits that are not used: "e31" would decode to the same.
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
    assert!(Jws::parse(&format!("{header}.e30.c2ln")).is_ok());
    for payload in ["e31", "e32", "e33", "e30=", "e30==", "e 30", "e30\n", " e30", "e3%30", "e3é", "e"] {
        assert!(
            matches!(Jws::parse(&format!("{header}.{payload}.c2ln")), Err(TokenError::Encoding("payload"))),
            "{payload}"
        );
    }
    let standard = STANDARD.encode("{\"alg\":\"RS256\",\"k\":\"~~~~????\"}");
    assert!(standard.contains(['+', '/']));
    let standard = standard.trim_end_matches('=');
    assert!(matches!(Jws::parse(&format!("{standard}.e30.c2ln")), Err(TokenError::Encoding("header"))));
    for signature in ["c2l", "c2ln=", "c2+n", "c", "AB"] {
        let parsed = Jws::parse(&format!("{header}.e30.{signature}")).map(drop);
        assert!(matches!(parsed, Err(TokenError::Encoding("signature"))), "{signature}");
    }
}

#[test]
fn the_length_is_bounded() {
    let long = token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_TOKEN_BYTES)));
    assert!(matches!(Jws::parse(&long), Err(TokenError::TooLong)));
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_TOKEN_BYTES / 2));
    assert!(with_claims(&payload).is_ok());
}

#[test]
fn the_header_is_strict() {
    for good in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"RS256","x5c":["a"],"x5u":"u","b64":true,"cty":"x"}"#,
        r#"{"alg":"","kid":"","typ":""}"#,
    ] {
        assert!(with_header(good).is_ok(), "{good}");
    }
    for bad in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"alg":256}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":"RS256","kid":null}"#,
        r#"{"alg":"RS256","kid":["k"]}"#,
        r#"{"alg":"RS256","typ":true}"#,
        r#"{"alg":"RS256","alg":"none"}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256","jwk":{"kty":"RSA","kty":"oct"}}"#,
        r#"["alg"]"#,
        r#"{"alg":"RS256"} "x""#,
        "",
    ] {
        assert!(with_header(bad).is_err(), "{bad}");
    }
}

#[test]
fn any_critical_extension_is_refused() {
    for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", "\"x\"", "false"] {
        let header = format!(r#"{{"alg":"RS256","b64":false,"exp":1,"crit":{crit}}}"#);
        assert!(matches!(with_header(&header), Err(TokenError::Critical)), "{crit}");
    }
}

#[test]
fn registered_claims_have_their_types() {
    for good in [
        "{}",
        r#"{"exp":0}"#,
        r#"{"exp":-0}"#,
        r#"{"exp":1e9}"#,
        r#"{"exp":253402300799}"#,
        r#"{"iss":""}"#,
        r#"{"aud":[]}"#,
        r#"{"aud":"a"}"#,
        r#"{"sub":12}"#,
    ] {
        assert!(with_claims(good).is_ok(), "{good}");
    }
    for claim in ["exp", "nbf", "iat"] {
        let absurd = [
            "\"1700000000\"",
            "null",
            "true",
            "[1]",
            "{}",
            "-1",
            "-0.5",
            "1e300",
            "253402300800",
            "253402300800.5",
            "1e15",
            "1700000000000",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999999999999",
            "1e400",
            "-1e400",
        ];
        for value in absurd {
            assert!(with_claims(&format!("{{\"{claim}\":{value}}}")).is_err(), "{claim} {value}");
        }
    }
    for bad in [
        r#"{"iss":["good","evil"]}"#,
        r#"{"iss":null}"#,
        r#"{"iss":{"a":1}}"#,
        r#"{"aud":null}"#,
        r#"{"aud":1}"#,
        r#"{"aud":["a",1]}"#,
        r#"{"aud":["a",["b"]]}"#,
        r#"{"aud":{"a":"a"}}"#,
        r#"{"exp":1,"exp":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        "[]",
        "\"exp\"",
    ] {
        assert!(with_claims(bad).is_err(), "{bad}");
    }
}

#[test]
fn fractions_are_rounded_to_the_safe_side() {
    let text = token(r#"{"alg":"RS256"}"#, r#"{"exp":10.0009,"nbf":10.0001,"iat":10.5}"#);
    let jws = Jws::parse(&text).unwrap();
    let millis =
        |date: Option<super::NumericDate>| (date.unwrap().floor.millis(), date.unwrap().ceil.millis());
    assert_eq!(millis(jws.claims().expires()), (10_000, 10_001));
    assert_eq!(millis(jws.claims().not_before()), (10_000, 10_001));
    assert_eq!(millis(jws.claims().issued()), (10_500, 10_500));
}

#[test]
fn an_error_holds_nothing_from_the_token() {
    for text in
        [token("secret", "{}"), token(r#"{"alg":"RS256"}"#, r#"{"exp":"secret"}"#), "secret".to_owned()]
    {
        assert!(!Jws::parse(&text).unwrap_err().to_string().contains("secret"));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        drop(Jws::parse(&text));
    }

    #[test]
    fn no_payload_panics(header in ".{0,60}", payload in ".{0,100}") {
        drop(Jws::parse(&token(&header, &payload)));
    }
}
