use super::{Jws, MAX_TOKEN_BYTES, Space, TokenError};
use crate::clock::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn parse(text: &str) -> Result<(), TokenError> {
    Jws::parse(text, &mut Space::default()).map(drop)
}

fn with_header(header: &str) -> Result<(), TokenError> {
    parse(&token(header, "{}"))
}

fn with_claims(payload: &str) -> Result<(), TokenError> {
    parse(&token(r#"{"alg":"RS256"}"#, payload))
}

#[test]
fn a_token_is_split_and_decoded() {
    let text = token(
        r#"{"alg":"RS256","kid":"k","typ":"at+jwt","jku":"https://evil.example","jwk":{"kty":"oct"}}"#,
        r#"{"iss":"i","aud":["a","b"],"exp":1700000000,"nbf":1.5,"iat":0}"#,
    );
    let mut space = Space::default();
    let jws = Jws::parse(&text, &mut space).unwrap();
    assert_eq!(jws.header().algorithm, "RS256");
    assert_eq!(jws.header().key_id.as_deref(), Some("k"));
    assert_eq!(jws.header().kind.as_deref(), Some("at+jwt"));
    assert_eq!(jws.signing_input(), text.strip_suffix(".c2ln").unwrap());
    assert_eq!(jws.signature(), b"sig");
    let claims = jws.claims();
    assert_eq!(claims.issuer(), Some("i"));
    assert_eq!(claims.audience().unwrap().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(claims.expires().unwrap().floor, UnixTime::from_seconds(1_700_000_000));
    assert_eq!(claims.not_before().unwrap().ceil, UnixTime::from_millis(1500));
    assert_eq!(claims.issued().unwrap().floor, UnixTime::from_seconds(0));
}

#[test]
fn there_are_exactly_three_parts() {
    let good = token(r#"{"alg":"RS256"}"#, "{}");
    assert!(parse(&good).is_ok());
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
        assert!(parse(&bad).is_err(), "{bad}");
    }
    // An unsecured JWS (RFC 7519 §6.1) can be read, so that its algorithm is what it fails for.
    assert!(parse(&format!("{input}.")).is_ok());
}

#[test]
fn base64url_is_canonical() {
    // The last character of "e30" holds two bits that are not used: "e31" would decode to the same.
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
    assert!(parse(&format!("{header}.e30.c2ln")).is_ok());
    for payload in ["e31", "e32", "e33", "e30=", "e30==", "e 30", "e30\n", " e30", "e3%30", "e3é", "e"] {
        assert!(
            matches!(parse(&format!("{header}.{payload}.c2ln")), Err(TokenError::Encoding("payload"))),
            "{payload}"
        );
    }
    let standard = STANDARD.encode("{\"alg\":\"RS256\",\"k\":\"~~~~????\"}");
    assert!(standard.contains(['+', '/']));
    let standard = standard.trim_end_matches('=');
    assert!(matches!(parse(&format!("{standard}.e30.c2ln")), Err(TokenError::Encoding("header"))));
    for signature in ["c2l", "c2ln=", "c2+n", "c", "AB"] {
        let parsed = parse(&format!("{header}.e30.{signature}"));
        assert!(matches!(parsed, Err(TokenError::Encoding("signature"))), "{signature}");
    }
}

#[test]
fn the_length_is_bounded() {
    let long = token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_TOKEN_BYTES)));
    assert!(matches!(parse(&long), Err(TokenError::TooLong)));
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
    let mut space = Space::default();
    let jws = Jws::parse(&text, &mut space).unwrap();
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
        assert!(!parse(&text).unwrap_err().to_string().contains("secret"));
    }
}

proptest::proptest! {
    /// Long parts are decoded by other instructions than short ones.
    #[test]
    fn every_decoder_agrees_on_what_is_canonical(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        place in 0_usize..400,
        other in "[A-Za-z0-9_=+/ .é-]",
    ) {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let mut signature = URL_SAFE_NO_PAD.encode(&bytes);
        let mut space = Space::default();
        let text = format!("{header}.e30.{signature}");
        assert_eq!(Jws::parse(&text, &mut space).unwrap().signature(), bytes);
        let place = place.min(signature.len());
        signature.replace_range(place.., &format!("{other}{}", signature.get(place.saturating_add(1)..).unwrap_or_default()));
        let text = format!("{header}.e30.{signature}");
        let theirs = URL_SAFE_NO_PAD.decode(&signature).ok();
        assert_eq!(Jws::parse(&text, &mut space).ok().map(|token| token.signature().to_vec()), theirs);
    }

    /// What a longer token has left behind is no part of the next.
    #[test]
    fn the_room_may_be_used_again(first in "\\PC{0,200}", second in "[a-z]{0,40}") {
        let mut space = Space::default();
        drop(Jws::parse(&token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":{first:?}}}")), &mut space));
        let text = token(r#"{"alg":"ES256"}"#, &format!("{{\"iss\":\"{second}\"}}"));
        let jws = Jws::parse(&text, &mut space).unwrap();
        assert_eq!((jws.claims().issuer(), jws.signature()), (Some(second.as_str()), b"sig".as_slice()));
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        drop(parse(&text));
    }

    #[test]
    fn no_payload_panics(header in ".{0,60}", payload in ".{0,100}") {
        drop(parse(&token(&header, &payload)));
    }
}

#[test]
fn whatever_a_careless_reader_takes_for_a_jws_looks_like_one() {
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    let header = encoded(br#"{"alg":"RS256"}"#);
    for token in [
        format!("{header}.x.y"),
        format!("{header}.x.y="),
        format!("{header}.."),
        format!("{header}.x.y."),
        format!("{header}.x.y.."),
        format!("{header}.x.y.z"),
        format!("{header}.x.y.z.w"),
        format!("{header}==.x.y"),
        format!("~~{}.x.y", header.replacen('J', "~J", 1)),
        format!("{}.x.y", encoded(b"\r\n\t {\"kid\":\"?>\",\"alg\":\"RS256\"}")),
    ] {
        assert!(super::looks_like_jws(&token), "{token}");
    }
    for other in [
        "v4.local.payload".to_owned(),
        "opaque-token".to_owned(),
        "ory_at_abc.def".to_owned(),
        "a.b.c.d".to_owned(),
        format!("{header}.x"),
        "..".to_owned(),
        ".".to_owned(),
        format!("{}.x.y", encoded(br#"{"user":1}"#)),
        format!("{}.k.iv.text.tag", encoded(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)),
    ] {
        assert!(!super::looks_like_jws(&other), "{other}");
    }
}
