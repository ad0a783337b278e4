//! Opaque tokens, and the authorization server that is asked about them.

use crate::support::authority::{Authority, Mode};
use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::get;
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::{IDENTITY, Setup};
use crate::support::tokens::{Token, now};
use crate::support::wait::until_true;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SECRET: &str = "introspection s3cret/";

fn active() -> Value {
    json!({ "active": true, "sub": "user-1", "scope": "read" })
}

fn good() -> Authority {
    Authority::start(Mode::good(&active()))
}

/// In front of this service, with the authenticator `opaque` and these keys of it.
fn setup(service: &Service, authority: &Authority, keys: &str) -> Setup {
    Setup::new(service.url())
        .with(&format!("{}{keys}\n", authority.introspection("opaque")))
        .with(IDENTITY)
        .env("INTROSPECTION_SECRET", SECRET)
}

#[track_caller]
fn ask(gate: &Gate, token: &str) -> Reply {
    get("/").bearer(token).send(gate)
}

#[test]
fn the_server_is_asked_as_the_rfc_says_and_its_word_becomes_the_identity() {
    let (service, authority) = (Service::ok("hello"), good());
    let gate = setup(&service, &authority, "[authenticators.opaque.claims]\nroles = \"/groups\"")
        .with("x-method = \"auth_method\"\nx-roles = { attribute = \"roles\", optional = true }")
        .route("/scoped", "require.scopes = [\"write\"]")
        .start();
    ask(&gate, "a+b/c==").expect(200, "active");
    let request = authority.service().only();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/introspect"));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("accept"), Some("application/json"));
    // base64("gate:introspection%20s3cret%2F")
    assert_eq!(request.header("authorization"), Some("Basic Z2F0ZTppbnRyb3NwZWN0aW9uJTIwczNjcmV0JTJG"));
    assert_eq!(request.body, b"token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    let seen = service.only();
    assert_eq!(seen.header("x-customer-id"), Some("user-1"));
    assert_eq!(seen.header("x-method"), Some("introspection"));
    let scoped = get("/scoped").bearer("a+b/c==").send(&gate).expect(403, "a scope lacks");
    assert_eq!(gate.reason(&scoped), "scope_missing");
    gate.wait_metric("authority_requests_total", &[("authenticator", "opaque"), ("result", "success")], 1);
    let printed = gate.log_lines().concat();
    assert!(!printed.contains(SECRET) && !printed.contains("a+b/c"), "{printed}");
}

#[test]
fn the_secret_may_stand_in_a_file_and_go_in_the_form() {
    let (service, authority) = (Service::ok(""), good());
    let gate = Setup::new(service.url())
        .with(&format!(
            "{}client_auth = \"post\"\n",
            authority
                .introspection("opaque")
                .replace("_env = \"INTROSPECTION_SECRET\"", "_file = \"secret\"")
        ))
        .file("secret", "a&b=c\n")
        .start();
    ask(&gate, "t").expect(200, "active");
    let request = authority.service().only();
    assert_eq!(request.header("authorization"), None);
    let form = "token=t&token_type_hint=access_token&client_id=gate&client_secret=a%26b%3Dc";
    assert_eq!(String::from_utf8(request.body).unwrap(), form);
}

#[test]
fn verdicts() {
    let (service, authority) = (Service::ok(""), good());
    let gate = setup(&service, &authority, "audience = [\"api\", \"web\"]").start();
    for (token, answer, status, reason) in [
        ("good", json!({ "active": true, "sub": "a", "aud": "web" }), 200, "allowed"),
        ("inactive", json!({ "active": false }), 401, "token_inactive"),
        (
            "expired",
            json!({ "active": true, "sub": "a", "aud": "api", "exp": now() - 1 }),
            401,
            "token_expired",
        ),
        (
            "early",
            json!({ "active": true, "sub": "a", "aud": "api", "nbf": now() + 60 }),
            401,
            "token_not_yet_valid",
        ),
        ("foreign", json!({ "active": true, "sub": "a", "aud": ["other"] }), 401, "token_audience"),
        ("nobody's", json!({ "active": true, "sub": "a" }), 401, "token_claim"),
        ("anonymous", json!({ "active": true, "aud": "api", "username": "joe" }), 401, "token_claim"),
        ("crooked", json!({ "active": true, "aud": "api", "sub": "a\nb" }), 401, "token_claim"),
        ("text", json!({ "active": "true", "sub": "a", "aud": "api" }), 503, "authority_unavailable"),
        ("number", json!({ "active": 1, "sub": "a", "aud": "api" }), 503, "authority_unavailable"),
        ("silent", json!({ "sub": "a", "aud": "api" }), 503, "authority_unavailable"),
        (
            "vague",
            json!({ "active": true, "sub": "a", "aud": "api", "exp": "soon" }),
            503,
            "authority_unavailable",
        ),
    ] {
        let token = token.replace('\'', "-");
        let before = service.received();
        authority.on_question(&token, 200, &answer);
        let reply = ask(&gate, &token).expect(status, &token);
        assert_eq!(gate.reason(&reply), reason, "{token}");
        match status {
            200 => continue,
            401 => assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"), "{token}"),
            _ => assert!(reply.header("retry-after").is_some(), "{token}"),
        }
        assert_eq!(service.received(), before, "{token} reached the service");
    }
    let long = "x".repeat(16 * 1024 + 1);
    let asked = authority.questions().len();
    let reply = ask(&gate, &long).expect(401, "too long");
    assert_eq!((gate.reason(&reply).as_str(), authority.questions().len()), ("token_malformed", asked));
    assert_eq!(gate.reason(&get("/").send(&gate).expect(401, "none")), "credential_missing");
}

#[test]
fn no_outage_lets_anybody_in_or_holds_up_others() {
    let idp = Idp::start();
    for mode in Mode::outages(&active()) {
        let case = format!("{mode:?}").chars().take(60).collect::<String>();
        let (service, authority) = (Service::ok(""), Authority::start(mode));
        let gate = setup(&service, &authority, "timeout = \"700ms\"")
            .with(&idp.authenticator("main"))
            .route("/opaque", "authenticators = [\"opaque\"]")
            .route("/jwt", "authenticators = [\"main\"]")
            .start();
        let token = idp.token().build();
        get("/jwt").bearer(&token).send(&gate).expect(200, &case);
        let mut waiting: Vec<Client> = (0..8).map(|_| gate.connect()).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            client.send(get("/opaque").bearer(&format!("token-{number}")).bytes());
        }
        for number in 0..5 {
            let (begin, other) = (Instant::now(), idp.token().claim("jti", number).build());
            get("/jwt").bearer(&other).send(&gate).expect(200, &case);
            assert!(begin.elapsed() < Duration::from_millis(500), "{case}: {:?}", begin.elapsed());
        }
        for client in &mut waiting {
            let reply = client.reply().expect(503, &case);
            assert!(reply.header("retry-after").is_some(), "{case}");
            assert_eq!(gate.reason(&reply), "authority_unavailable", "{case}");
        }
        assert!(service.targets().iter().all(|target| target == "/jwt"), "{case}: {:?}", service.targets());
        assert!(authority.service().targets().iter().all(|target| target == "/introspect"), "{case}");
        assert!(gate.metric("authority_requests_total", &[("result", "error")]) > 0.0, "{case}");
        let printed = gate.log_lines().concat();
        assert!(!printed.contains("token-1"), "{case}: {printed}");
    }
}

#[test]
fn equal_questions_are_asked_once_and_answers_are_kept() {
    let (service, authority) = (Service::ok(""), good());
    let gate = setup(&service, &authority, "ttl = \"2s\"").workers(2).start();
    authority.mode(Mode::Late(Duration::from_millis(500), 200, active().to_string()));
    let mut clients: Vec<Client> = (0..20).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.send(get("/").bearer("same").bytes());
    }
    for client in &mut clients {
        client.reply().expect(200, "parallel");
    }
    assert_eq!(authority.questions(), ["same"]);
    authority.mode(Mode::good(&json!({ "active": false })));
    for _ in 0..10 {
        // Maybe half a second has passed: not two.
        ask(&gate, "same").expect(200, "kept");
    }
    until_true("the answer is believed no longer", || ask(&gate, "same").status == 401);
    assert_eq!(authority.questions().len(), 2);
    for _ in 0..10 {
        ask(&gate, "same").expect(401, "a bad one is kept as well");
    }
    assert_eq!(authority.questions().len(), 2);
}

#[test]
fn an_answer_is_not_believed_past_the_end_of_the_token() {
    let (service, authority) = (Service::ok(""), good());
    let gate = setup(&service, &authority, "ttl = \"1h\"").start();
    authority.on_question("short", 200, &json!({ "active": true, "sub": "a", "exp": now() + 2 }));
    ask(&gate, "short").expect(200, "not over yet");
    let mut last = None;
    until_true("it is over", || {
        let reply = ask(&gate, "short");
        let is_over = reply.status == 401;
        last = Some(reply);
        is_over
    });
    assert_eq!(gate.reason(&last.unwrap()), "token_expired");
}

#[test]
fn an_authority_that_comes_back_is_asked_again() {
    let service = Service::ok("");
    let port = ClosedPort::new();
    let gate = Setup::new(service.url())
        .with(&format!(
            "[authenticators.opaque]\nkind = \"introspection\"\nurl = \"http://{}/x\"\nclient_id = \"gate\"\n\
             client_secret_env = \"INTROSPECTION_SECRET\"\n",
            port.address()
        ))
        .env("INTROSPECTION_SECRET", SECRET)
        .start();
    for number in 0..20 {
        ask(&gate, &number.to_string()).expect(503, "nobody is there");
    }
    assert!(gate.metric("authority_requests_total", &[("result", "error")]) < 10.0, "the breaker is open");
    let authority = Authority::on(port.open(), Mode::good(&active()));
    let begin = Instant::now();
    until_true("it is asked again", || ask(&gate, "x").status == 200);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    authority.mode(Mode::Says(500, String::new()));
    ask(&gate, "x").expect(200, "what is known still counts");
    ask(&gate, "y").expect(503, "another one");
    authority.mode(Mode::good(&active()));
    until_true("it has recovered", || ask(&gate, "y").status == 200);
    let said = |message: &str| gate.log().iter().filter(|line| line["message"] == message).count();
    assert_eq!(said("the authority is down: from now on it is tried once a second"), 1);
    assert_eq!(said("the authority answers again"), 1);
}

#[test]
fn shape_and_issuer_decide_who_judges_what_comes_in_one_header() {
    let (service, authority, idp) = (Service::ok(""), good(), Idp::start());
    let gate = setup(&service, &authority, "")
        .with(&idp.authenticator("main"))
        .with("[policy]\nauthenticators = [\"opaque\", \"main\"]")
        .start();
    let judge = |token: &str| {
        let reply = ask(&gate, token);
        let line = gate.access(&reply);
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        (reply.status, text("authenticator"), text("reason"))
    };
    let outcome = |status, name: &str, reason: &str| (status, name.to_owned(), reason.to_owned());
    let ours = idp.token().claim("sub", "jwt-user").build();
    let foreign = Token::new("https://elsewhere.test/", &Key::rsa_other()).build();
    let forged = idp.token().forged_with(&Key::rsa_other().alg("RS256")).build();
    for _ in 0..2 {
        assert_eq!(judge("opaque-1"), outcome(200, "opaque", "allowed"));
        assert_eq!(judge(&ours), outcome(200, "main", "allowed"));
        assert_eq!(service.last().header("x-customer-id"), Some("jwt-user"));
        assert_eq!(judge(&foreign), outcome(200, "opaque", "allowed"));
        assert_eq!(judge(&forged), outcome(401, "main", "token_signature"));
    }
    authority.on_question("opaque-2", 200, &json!({ "active": false }));
    assert_eq!(judge("opaque-2"), outcome(401, "opaque", "token_inactive"));
    let mut asked = authority.questions();
    asked.sort();
    let mut expected = vec![foreign, "opaque-1".to_owned(), "opaque-2".to_owned()];
    expected.sort();
    assert_eq!(asked, expected, "the tokens of our issuer are nobody else's business");
}

#[test]
fn no_spelling_takes_a_jwt_from_its_judge() {
    let (service, authority, idp) = (Service::ok(""), good(), Idp::start());
    let gate = setup(&service, &authority, "")
        .with(&idp.authenticator("main"))
        .route("/opaque", "authenticators = [\"opaque\"]")
        .with("[policy]\nauthenticators = [\"opaque\", \"main\"]")
        .start();
    // Signed well, for somebody else: the audience alone keeps it out.
    let token = idp.token().claim("aud", "other");
    let twice = token.claims_text().replacen('{', "{\"iss\":\"https://other.test/\",", 1);
    for (case, spelled) in [
        ("padding", format!("{}==", token.build())),
        ("a part too many", format!("{}.", token.build())),
        ("a critical extension", token.clone().header("crit", json!(["x"])).build()),
        ("two issuers", token.signed_as(&token.header_text(), &twice)),
        ("a list of issuers", token.clone().claim("iss", json!([idp.issuer()])).build()),
        ("no signature at all", format!("{}.", token.build().rsplit_once('.').unwrap().0)),
    ] {
        // What its authority has vouched for elsewhere makes no difference either.
        get("/opaque").bearer(&spelled).send(&gate).expect(200, case);
        let reply = ask(&gate, &spelled).expect(401, case);
        let line = gate.access(&reply);
        assert_eq!(line["authenticator"], "main", "{case}");
        assert!(line["reason"] != "token_inactive", "{case}: {line}");
    }
    assert_eq!(authority.questions().len(), 6, "only where there is no other judge");
}

#[test]
fn tokens_that_come_once_take_no_memory() {
    let (service, authority) = (Service::ok(""), Authority::start(Mode::good(&json!({ "active": false }))));
    let gate = setup(&service, &authority, "").start();
    let mut client = gate.connect();
    let mut send = |number: usize| {
        let token = format!("{number:06}{}", "x".repeat(8000));
        get("/").bearer(&token).on(&mut client).expect(401, "inactive");
    };
    (0..500).for_each(&mut send);
    let before = gate.memory();
    (500..3000).for_each(&mut send);
    // That was 20 MB of tokens.
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < 6 << 20, "{grown} bytes more");
    service.assert_untouched("bad tokens");
}
