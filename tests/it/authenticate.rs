//! Who is asking: every reason to refuse a credential, with the answer, the log line and the count; and good tokens
//! of every algorithm.

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::keys::{ASYMMETRIC, Key};
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::{Token, base64url, non_canonical, now, with_signature};
use serde_json::{Value, json};

/// A denial: the case, the response, its status, and the reasons of which one must be logged.
type Denied<'a> = (&'a str, Reply, u16, &'a [&'a str]);

/// Fails unless the response is a denial as the contract words it.
#[track_caller]
fn assert_worded((case, reply, status, reasons): &Denied<'_>) {
    let (case, status) = (*case, *status);
    let reply = reply.clone().expect(status, case);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{case}");
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{case}: {problem}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{case}: {problem}");
    }
    let challenges = reply.headers.all("www-authenticate");
    if status == 401 || status == 400 {
        assert_eq!(challenges.len(), 1, "{case}: {challenges:?}");
        assert!(challenges[0].starts_with("Bearer realm=\""), "{case}: {challenges:?}");
        let error = match reasons {
            ["credential_missing"] => None,
            _ if status == 400 => Some("error=\"invalid_request\""),
            _ => Some("error=\"invalid_token\""),
        };
        match error {
            Some(error) => assert!(challenges[0].contains(error), "{case}: {challenges:?}"),
            None => assert!(!challenges[0].contains("error"), "{case}: {challenges:?}"),
        }
    }
}

/// Fails unless every one of these is worded and logged as it should be. The log is written in strokes: it is looked
/// into once all are asked.
#[track_caller]
fn assert_denied(gate: &Gate, denied: &[Denied<'_>]) {
    denied.iter().for_each(assert_worded);
    for (case, reply, status, reasons) in denied {
        let entry = gate.access(reply);
        let reason = entry["reason"].as_str().unwrap();
        assert!(reasons.contains(&reason), "{case}: {reason} is none of {reasons:?}");
        assert_eq!(
            (&entry["status"], &entry["decision"]),
            (&json!(status), &json!("deny")),
            "{case}: {entry}"
        );
        assert_eq!(entry["subject"], Value::Null, "{case}: an unverified subject in {entry}");
    }
}

#[test]
fn credentials_that_are_none_malformed_or_too_many() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let good = idp.token().build();
    let authorization = |value: &str| get("/").header("Authorization", value);
    let missing = (401, "credential_missing");
    let malformed = (400, "credential_malformed");
    let repeated = (400, "credential_repeated");
    let cases: Vec<(&str, Ask, (u16, &str))> = vec![
        ("none", get("/"), missing),
        ("Basic", authorization("Basic dXNlcjpwYXNz"), missing),
        ("another scheme", authorization("Digest username=\"x\""), missing),
        ("a scheme that only begins so", authorization(&format!("BearerX {good}")), missing),
        ("in a cookie", get("/").header("Cookie", &format!("access_token={good}")), missing),
        ("in the query", get(&format!("/?access_token={good}&token={good}")), missing),
        ("empty", authorization(""), malformed),
        ("scheme alone", authorization("Bearer"), malformed),
        ("scheme and a space", get("/").line("Authorization: Bearer "), malformed),
        ("two tokens", authorization(&format!("Bearer {good} {good}")), malformed),
        ("a list", authorization(&format!("Bearer {good},{good}")), malformed),
        ("a list of credentials", authorization(&format!("Bearer {good}, Basic eDp5")), malformed),
        ("quoted", authorization(&format!("Bearer \"{good}\"")), malformed),
        ("a tab in it", authorization("Bearer a\tb"), malformed),
        ("parameters", authorization("Bearer token=abc;x"), malformed),
        ("non-ASCII", get("/").line(b"Authorization: Bearer \xc3\xa9"), malformed),
        ("padding in front", authorization("Bearer ==abc"), malformed),
        ("twice the same", authorization(&format!("Bearer {good}")).bearer(&good), repeated),
        ("two different", authorization("Bearer abc").bearer(&good), repeated),
        ("beside Basic", authorization("Basic dXNlcjpwYXNz").bearer(&good), repeated),
        ("in front of Basic", get("/").bearer(&good).header("authorization", "Basic dXNlcjpwYXNz"), repeated),
    ];
    let mut denied = Vec::new();
    for (case, ask, (status, reason)) in &cases {
        denied.push((*case, ask.send(&gate), *status, std::slice::from_ref(reason)));
        service.assert_untouched(case);
    }
    assert_denied(&gate, &denied);
    for scheme in ["Bearer", "bearer", "BEARER", "bEARER"] {
        get("/").header("authorization", &format!("{scheme} {good}")).send(&gate).expect(200, scheme);
    }
}

/// What is wrong with a token, the token, and for which of these reasons it may be refused.
type Bad = (&'static str, String, &'static [&'static str]);

/// Tokens that are no JWS as RFC 7515 and RFC 7519 have it.
fn malformed_tokens(idp: &Idp) -> Vec<Bad> {
    let good = idp.token();
    let built = good.build();
    let (input, signature) = built.rsplit_once('.').unwrap();
    let (head, claims) = (good.header_text(), good.claims_text());
    let with_claims = |text: &str| good.signed_as(&head, text);
    let doubled = |text: &str, member: &str| format!("{{{member},{}", &text[1..]);
    let no_utf8 = format!("{}.{}.{signature}", base64url([0xff, 0xfe]), base64url(&claims));
    [
        ("a word", "abc".to_owned()),
        ("two parts", input.to_owned()),
        ("four parts", format!("{built}.x")),
        ("five parts (a JWE)", format!("{built}.x.y")),
        ("empty parts", "..".to_owned()),
        ("no header", format!(".{}", built.split_once('.').unwrap().1)),
        ("padded", format!("{input}.{signature}==")),
        ("unused bits set", with_signature(&built, &non_canonical(signature))),
        ("standard alphabet", with_signature(&built, &format!("+/{}", &signature[2..]))),
        ("header is no JSON", good.signed_as("x", &claims)),
        ("header is a list", good.signed_as("[]", &claims)),
        ("header is no UTF-8", no_utf8),
        ("claims are no JSON", with_claims("x")),
        ("claims are a list", with_claims("[1]")),
        ("claims are text", with_claims("\"x\"")),
        ("claims go on", with_claims(&format!("{claims}{{}}"))),
        ("alg twice", good.signed_as(&doubled(&head, "\"alg\":\"none\""), &claims)),
        ("sub twice", with_claims(&doubled(&claims, "\"sub\":\"admin\""))),
        ("exp twice", with_claims(&doubled(&claims, "\"exp\":9999999999"))),
        ("twice, spelled otherwise", with_claims(&doubled(&claims, "\"s\\u0075b\":\"admin\""))),
        ("twice, further in", with_claims(&doubled(&claims, "\"x\":{\"a\":1,\"a\":2}"))),
        ("crit", idp.token().header("crit", json!(["b64"])).build()),
        ("crit that is empty", idp.token().header("crit", json!([])).build()),
        ("no alg", idp.token().header("alg", Value::Null).build()),
        ("alg is a number", idp.token().header("alg", 256).build()),
        ("exp as text", idp.token().claim("exp", (now() + 300).to_string()).build()),
        ("exp as a list", idp.token().claim("exp", json!([now() + 300])).build()),
        ("nbf as text", idp.token().claim("nbf", "0").build()),
        ("iat as text", idp.token().claim("iat", "0").build()),
        ("aud as a number", idp.token().claim("aud", 1).build()),
        ("aud with a number", idp.token().claim("aud", json!(["api", 1])).build()),
        ("iss as a list", idp.token().claim("iss", json!([idp.issuer(), "http://evil.test/"])).build()),
    ]
    .map(|(case, token)| (case, token, ["token_malformed"].as_slice()))
    .into()
}

/// Tokens whose signature does not hold.
fn forged_tokens(idp: &Idp) -> Vec<Bad> {
    let good = idp.token();
    let built = good.build();
    let (input, signature) = built.rsplit_once('.').unwrap();
    let (head, claims) = (good.header_text(), good.claims_text());
    let algorithm = |name: &str| idp.token().header("alg", name).build();
    let unsigned = |header: Value| format!("{}.{}.", base64url(header.to_string()), base64url(&claims));
    let forged = || idp.token().forged_with(&Key::rsa_other());
    let raised = format!("{}.{}.{signature}", base64url(&head), base64url(claims.replace("user-1", "admin")));
    let mut flipped = signature.to_owned();
    flipped.replace_range(10..11, if &signature[10..11] == "A" { "B" } else { "A" });
    let none = ["token_algorithm", "token_malformed"].as_slice();
    let wrong = ["token_signature"].as_slice();
    let stranger = ["token_signature", "token_key_unknown"].as_slice();
    vec![
        ("unsigned", unsigned(json!({ "alg": "none" })), none),
        ("unsigned with kid", unsigned(json!({ "alg": "none", "kid": "rsa", "typ": "JWT" })), none),
        ("alg None", algorithm("None"), &["token_algorithm"]),
        ("alg nOnE", algorithm("nOnE"), &["token_algorithm"]),
        ("alg unknown", algorithm("RS1"), &["token_algorithm"]),
        ("alg in lower case", algorithm("rs256"), &["token_algorithm"]),
        ("no signature", format!("{input}."), &["token_malformed", "token_signature"]),
        ("another signature", with_signature(&built, &flipped), wrong),
        ("a short signature", with_signature(&built, &base64url([1; 16])), wrong),
        ("other claims under it", raised, wrong),
        ("another key under its name", forged().build(), wrong),
        ("a key of its own", forged().header("jwk", Key::rsa_other().jwk()).build(), wrong),
        (
            "a place for keys",
            forged().header("jku", "http://evil.test/").header("kid", "x").build(),
            stranger,
        ),
        ("an unknown key", idp.token().header("kid", "unknown").build(), &["token_key_unknown"]),
        ("a path for a key", idp.token().header("kid", "../../dev/null").build(), &["token_key_unknown"]),
    ]
}

/// Tokens that are signed well and say what does not suffice.
fn insufficient_tokens(idp: &Idp) -> Vec<Bad> {
    let claim = |name: &str, value: Value| idp.token().claim(name, value).build();
    let without = |name: &str| idp.token().without(name).build();
    vec![
        ("expired", idp.token().expires_in(-60).build(), &["token_expired"]),
        ("expired long ago", claim("exp", json!(1)), &["token_expired"]),
        ("exp in fractions", claim("exp", json!(1_000_000_000.5)), &["token_expired"]),
        ("not yet", claim("nbf", json!(now() + 60)), &["token_not_yet_valid"]),
        ("issued in the future", claim("iat", json!(now() + 60)), &["token_not_yet_valid"]),
        ("another issuer", claim("iss", json!("http://evil.test/")), &["token_issuer"]),
        ("without the slash", claim("iss", json!(idp.issuer().trim_end_matches('/'))), &["token_issuer"]),
        ("issuer in another case", claim("iss", json!(idp.issuer().to_uppercase())), &["token_issuer"]),
        ("no issuer", without("iss"), &["token_issuer", "token_claim"]),
        ("another audience", claim("aud", json!("other")), &["token_audience"]),
        ("other audiences", claim("aud", json!(["other", "API", "api/"])), &["token_audience"]),
        ("no audience in the list", claim("aud", json!([])), &["token_audience"]),
        ("no audience", without("aud"), &["token_audience", "token_claim"]),
        ("no expiry", without("exp"), &["token_claim"]),
        ("no subject", without("sub"), &["token_claim"]),
        ("subject null", claim("sub", Value::Null), &["token_claim"]),
        ("subject empty", claim("sub", json!("")), &["token_claim"]),
    ]
}

#[test]
fn bad_tokens_are_refused_for_the_right_reason() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with("[log]\nlevel = \"trace\"").start();
    let cases = [malformed_tokens(&idp), forged_tokens(&idp), insufficient_tokens(&idp)].concat();
    let mut denied = Vec::new();
    for (case, token, reasons) in &cases {
        denied.push((*case, get("/").bearer(token).send(&gate), 401, *reasons));
        service.assert_untouched(case);
    }
    assert_denied(&gate, &denied);
    // What was counted is what was logged.
    gate.wait_metric("decisions_total", &[("decision", "deny")], cases.len());
    let malformed = gate.log().iter().filter(|entry| entry["reason"] == "token_malformed").count();
    gate.wait_metric("decisions_total", &[("decision", "deny"), ("reason", "token_malformed")], malformed);
    gate.wait_metric("authentications_total", &[("authenticator", "main"), ("result", "error")], cases.len());

    let good = idp.token().build();
    get("/").bearer(&good).send(&gate).expect(200, "good");
    gate.wait_metric("authentications_total", &[("authenticator", "main"), ("result", "success")], 1);
    // No token, nor any longer part of one, in any line, even when everything is logged.
    let log = gate.log_lines().join("\n");
    for (case, token, _) in cases.iter().chain([&("good", good, [].as_slice())]) {
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!log.contains(part), "{case}: {part} is in the log");
        }
    }
}

#[test]
fn bad_signature_and_unknown_key_answer_alike() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let answers = [
        idp.token().forged_with(&Key::rsa_other()).build(),
        Token::new(&idp.issuer(), &Key::rsa().kid("unknown")).build(),
        idp.token().header("alg", "HS256").build(),
    ]
    .map(|token| {
        let reply = get("/").bearer(&token).send(&gate).expect(401, "alike");
        (reply.header("www-authenticate").map(str::to_owned), reply.text())
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(!answers[0].1.contains("unknown"));
}

#[test]
fn times_have_some_leeway() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    for (case, token) in [
        ("just expired", idp.token().expires_in(-3)),
        ("soon valid", idp.token().claim("nbf", now() + 3)),
        ("soon issued", idp.token().claim("iat", now() + 3)),
        ("no iat", idp.token().without("iat")),
        ("fractions", idp.token().claim("exp", json!(9_000_000_000.5))),
    ] {
        get("/").bearer(&token.build()).send(&gate).expect(200, case);
    }
}

#[test]
fn lifetime_type_and_claims_can_be_demanded() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let demands = "max_lifetime = \"10m\"\ntype = [\"at+jwt\"]\nrequired_claims = [\"sid\"]\n";
    let gate = Setup::new(service.url()).with(&format!("{}{demands}", idp.authenticator("main"))).start();
    let good = || idp.token().header("typ", "at+jwt").claim("sid", "s");
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        get("/").bearer(&good().header("typ", typ).build()).send(&gate).expect(200, typ);
    }
    let before = service.received();
    for (case, token) in [
        ("another type", good().header("typ", "JWT")),
        ("no type", good().header("typ", Value::Null)),
        ("type is a number", good().header("typ", json!(1))),
        ("no sid", good().without("sid")),
        ("sid null", good().claim("sid", Value::Null)),
        ("too long a life", good().expires_in(700)),
        ("a life without beginning", good().without("iat").expires_in(700)),
    ] {
        get("/").bearer(&token.build()).send(&gate).expect(401, case);
    }
    assert_eq!(service.received(), before);
}

#[test]
fn good_tokens_of_every_algorithm() {
    let keys = [Key::rsa(), Key::p256(), Key::p384(), Key::ed25519()];
    let (service, idp) = (Service::ok(""), Idp::with(&keys));
    let gate = Setup::guarded(&service, &idp).start();
    for alg in ASYMMETRIC {
        let key = match alg {
            "ES256" => keys[1].clone(),
            "ES384" => keys[2].clone(),
            "EdDSA" => keys[3].clone(),
            _ => keys[0].clone().alg(alg),
        };
        let token = Token::new(&idp.issuer(), &key).claim("sub", alg).build();
        get("/").bearer(&token).send(&gate).expect(200, alg);
        assert_eq!(service.last().header("x-customer-id"), Some(alg));
    }
    // A key of one kind never verifies another kind's algorithm.
    let before = service.received();
    let zero = base64url([0; 64]);
    let mut denied = Vec::new();
    for (case, token) in [
        ("zeros for ES256", with_signature(&Token::new(&idp.issuer(), &keys[1]).build(), &zero)),
        ("zeros for EdDSA", with_signature(&Token::new(&idp.issuer(), &keys[3]).build(), &zero)),
        ("RS256 under an EC key", Token::new(&idp.issuer(), &keys[0].clone().kid("p256")).build()),
        ("ES256 under an RSA key", Token::new(&idp.issuer(), &keys[1].clone().kid("rsa")).build()),
        ("ES256 under a P-384 key", Token::new(&idp.issuer(), &keys[1].clone().kid("p384")).build()),
        (
            "PS256 that says RS256",
            Token::new(&idp.issuer(), &keys[0].clone().alg("PS256")).header("alg", "RS256").build(),
        ),
        ("HS256 with the public key", confused(&idp, keys[0].public_pem().as_bytes())),
        ("HS256 with the public key, bare", confused(&idp, keys[0].public_pem().trim_end().as_bytes())),
        ("HS256 with the modulus", confused(&idp, keys[0].jwk()["n"].as_str().unwrap().as_bytes())),
        ("HS256 with nothing", confused(&idp, b"")),
    ] {
        let reply = get("/").bearer(&token).send(&gate);
        let reasons = ["token_algorithm", "token_signature", "token_key_unknown"].as_slice();
        denied.push((case, reply, 401, reasons));
    }
    assert_denied(&gate, &denied);
    assert_eq!(service.received(), before);
}

fn confused(idp: &Idp, secret: &[u8]) -> String {
    Token::new(&idp.issuer(), &Key::secret(secret).kid("rsa")).build()
}

#[test]
fn only_the_algorithms_of_the_list_count() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let setup = Setup::new(service.url()).with(&idp.authenticator("main"));
    let gate = setup.with("algorithms = [\"RS512\", \"PS256\"]").start();
    for (alg, status) in [("RS512", 200), ("PS256", 200), ("RS256", 401), ("RS384", 401), ("PS512", 401)] {
        let token = Token::new(&idp.issuer(), &Key::rsa().alg(alg)).build();
        let reply = get("/").bearer(&token).send(&gate).expect(status, alg);
        if status == 401 {
            assert_eq!(gate.reason(&reply), "token_algorithm", "{alg}");
        }
    }
}

#[test]
fn refusals_come_in_three_forms_and_without_a_body_for_head() {
    for (form, member, members) in [("problem", "detail", 0), ("detail", "detail", 1), ("error", "error", 1)]
    {
        let (service, idp) = (Service::ok(""), Idp::start());
        let gate = Setup::guarded(&service, &idp).with(&format!("[denials]\nbody = {form:?}")).start();
        let reply = get("/").send(&gate).expect(401, form);
        let body = reply.json();
        assert!(body[member].is_string(), "{form}: {body}");
        assert!(members == 0 || body.as_object().unwrap().len() == members, "{form}: {body}");
        let kind = if form == "problem" { "application/problem+json" } else { "application/json" };
        assert_eq!(reply.header("content-type"), Some(kind), "{form}");
        let bare = ask("HEAD", "/").send(&gate).expect(401, "HEAD");
        assert!(bare.body.is_empty() && bare.headers.has("www-authenticate"), "{bare:?}");
        let posted = ask("POST", "/").body("x".repeat(100_000)).send(&gate).expect(401, "POST");
        assert_eq!(posted.json(), body, "{form}");
        service.assert_untouched(form);
    }
}
