//! `explain` and the gate agree about any request under any policy: status, reason, decision, rule, and what the service gets.

use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::keys::{Key, key_set};
use crate::support::request::{Ask, ask};
use crate::support::service::{Request, Service};
use crate::support::setup::Setup;
use crate::support::tokens::Token;
use crate::support::wait;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use sidegate::config::load::load;
use sidegate::explain::{Explainer, Explanation, Question};
use std::collections::HashMap;
use std::fmt::Write as _;
use tokio::runtime::{Builder, LocalOptions};

const ISSUER: &str = "https://issuer.example/";

const TABLES: &str = r#"
[authenticators.main]
kind = "jwt"
issuer = "https://issuer.example/"
audience = ["api"]
jwks_file = "keys.json"
strip_credential = true
credentials = [{ header = "authorization", scheme = "Bearer" }, { cookie = "token" }, { query = "token", websocket_only = true }]
claims.customer_id = "customer_id"

[identity.headers]
x-customer-id = "customer_id"
x-user-roles = { attribute = "roles", optional = true }
"#;

/// Paths that no two rules could be confused in.
const PATTERNS: [&str; 8] = ["/", "/a", "/a/{id}", "/a/**", "/{x}/b", "/c/{id}/d", "/**", "/c/%7Ex"];

const PATHS: [&str; 16] = [
    "/", "/a", "/a/", "/a/b", "/a/%62", "/a/b/c", "/b/b", "/c/1/d", "/c/1/d/", "/c/~x", "/c/%7ex", "/x?q=/a",
    "/a/../b", "/a//b", "/a/b;c", "/a/%2f",
];

fn rule(path: &'static str) -> impl Strategy<Value = String> {
    let methods = select(vec!["", "methods = [\"GET\"]\n", "methods = [\"POST\", \"DELETE\"]\n"]);
    let hosts = select(vec!["", "", "hosts = [\"other.test\"]\n"]);
    let mode = select(vec!["", "", "mode = \"shadow\"\n", "mode = \"enforce\"\n"]);
    let access =
        select(vec!["public", "optional", "deny", "authenticated", "authenticated", "authenticated"]);
    let origins = select(vec!["", "websocket.allowed_origins = [\"https://app.example\"]\n"]);
    (methods, hosts, mode, access, origins, require()).prop_map(
        move |(methods, hosts, mode, access, origins, require)| {
            let require = if access == "authenticated" { require.as_str() } else { "require.inherit = false\n" };
            let rewrite = if path == "/a/**" { "rewrite_prefix = { from = \"/a\", to = \"/z\" }\n" } else { "" };
            format!(
                "\n[[routes]]\npath = {path:?}\naccess = {access:?}\n{methods}{hosts}{mode}{origins}{rewrite}{require}"
            )
        },
    )
}

const EXPRESSION: &str = "require.expression = 'claims.sub == \"user-1\" && \"admin\" in identity.roles && request.method == \"GET\"'\n";

fn require() -> impl Strategy<Value = String> {
    let lines = vec![
        "require.inherit = false\n",
        "require.roles = [\"admin\"]\n",
        "require.any_role = [\"admin\", \"editor\"]\n",
        "require.scopes = [\"read\"]\n",
        "require.any_permission = [\"x\", \"y\"]\n",
        "require.capabilities = [\"can\"]\n",
        "require.quotas = { \"q\" = 2 }\n",
        EXPRESSION,
    ];
    subsequence(lines, 0..=2).prop_map(|lines| lines.concat())
}

fn policy() -> impl Strategy<Value = String> {
    let cors = select(vec!["", "\n[cors]\nallowed_origins = [\"https://app.example\"]\n"]);
    let own = select(vec![
        "",
        EXPRESSION,
        "mode = \"shadow\"\n",
        "require.roles = [\"editor\"]\n",
        "access = \"deny\"\n",
    ]);
    let rules = Vec::from(PATTERNS.map(|path| prop::option::weighted(0.6, rule(path))));
    (cors, own, rules).prop_map(|(cors, own, rules)| {
        let rules: String = rules.into_iter().flatten().collect();
        format!("{TABLES}{cors}\n[policy]\n{own}{rules}")
    })
}

fn claims() -> impl Strategy<Value = Value> {
    let customer = select(vec![json!("c-1"), json!(7), json!("a,b"), json!(""), Value::Null, json!(true)]);
    let sets = subsequence(vec!["admin", "editor", "read", "x", "can"], 2..=5);
    let quota = select(vec![json!({}), json!({ "q": 1 }), json!({ "q": 2 }), json!({ "q": null })]);
    (prop::option::weighted(0.9, customer), sets, quota, any::<bool>()).prop_map(|(customer, sets, quotas, plain)| {
        let mut claims = json!({ "sub": "user-1", "roles": sets, "scope": sets.join(" "), "permissions": sets,
            "capabilities": sets, "quotas": quotas });
        let customer = if plain { Some(json!("c-1")) } else { customer };
        if let Some(customer) = customer {
            claims["customer_id"] = customer;
        }
        claims
    })
}

/// What a request shows of itself.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Token(Value),
    Expired(Value),
    Elsewhere(Value),
    Fields(Vec<(&'static str, &'static str)>),
}

fn shown() -> impl Strategy<Value = Shown> {
    let fields = vec![
        vec![("authorization", "Basic eDp5")],
        vec![("authorization", "Bearer")],
        vec![("authorization", "Bearer a.b.c")],
        vec![("authorization", "Bearer a"), ("authorization", "Bearer b")],
        vec![("authorization", "Bearer a"), ("cookie", "token=b")],
        vec![("cookie", "other=1; token=\"a\"")],
    ];
    prop_oneof![
        2 => Just(Shown::Nothing),
        8 => claims().prop_map(Shown::Token),
        1 => claims().prop_map(Shown::Expired),
        1 => claims().prop_map(Shown::Elsewhere),
        2 => select(fields).prop_map(Shown::Fields),
    ]
}

/// A request of a test.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    path: &'static str,
    host: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    websocket: bool,
    shown: Shown,
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = select(vec![
        "GET", "GET", "GET", "GET", "GET", "GET", "POST", "DELETE", "OPTIONS", "OPTIONS", "HEAD", "TRACE",
    ]);
    let host = select(vec![
        "gate.test",
        "gate.test",
        "gate.test",
        "other.test",
        "other.test",
        "OTHER.test.:80",
        "a b",
    ]);
    let fields = vec![
        ("x-customer-id", "evil"),
        ("X_Customer.Id", "evil"),
        ("x-user-roles", "evil"),
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
        ("x-forwarded-for", "6.6.6.6"),
        ("connection", "x-customer-id, x-other"),
        ("x-other", "1"),
    ];
    (
        method,
        prop_oneof![3 => select(PATHS[..11].to_vec()), 1 => select(PATHS.to_vec())],
        host,
        subsequence(fields, 0..=4),
        prop::bool::weighted(0.15),
        shown(),
    )
        .prop_map(|(method, path, host, mut fields, websocket, shown)| {
            if websocket {
                fields.retain(|(name, _)| *name != "connection");
            }
            Sent { method, path, host, fields, websocket, shown }
        })
}

impl Sent {
    /// Every field, with the credential.
    fn fields(&self) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut fields: Vec<(String, String)> = self.fields.iter().map(own).collect();
        if self.websocket {
            let handshake = [
                ("upgrade", "websocket"),
                ("connection", "Upgrade"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-version", "13"),
            ];
            fields.extend(handshake.iter().map(own));
        }
        let token = |claims: &Value| Token::new(ISSUER, &Key::rsa()).claims(claims.clone());
        let token = match &self.shown {
            Shown::Nothing => None,
            Shown::Token(claims) => Some(token(claims)),
            Shown::Expired(claims) => Some(token(claims).expires_in(-60)),
            Shown::Elsewhere(claims) => Some(token(claims).claim("aud", "elsewhere")),
            Shown::Fields(more) => {
                fields.extend(more.iter().map(own));
                None
            }
        };
        fields.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {}", token.build()))));
        fields
    }

    fn question(&self, fields: &[(String, String)]) -> Question {
        let mut question = Question::new(self.method, self.path).unwrap();
        question.header("host", self.host).unwrap();
        for (name, value) in fields {
            question.header(name, value).unwrap();
        }
        question.client = Some([127, 0, 0, 1].into());
        question
    }
}

/// What can be compared: status, reason, decision, rule.
type Verdict = (u16, String, String, String);

fn explained(explanation: &Explanation) -> Verdict {
    let verdict = &explanation.verdict;
    let route = explanation.rule.as_ref().map_or("none", |rule| &rule.name);
    (verdict.status.unwrap_or(200), verdict.reason.to_owned(), verdict.decision.to_owned(), route.to_owned())
}

fn logged(line: &Value) -> Verdict {
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    let status = line["status"].as_u64().unwrap().try_into().unwrap();
    (status, text("reason"), text("decision"), text("route"))
}

/// Sends all requests, on one connection as long as the gate keeps it.
fn replies(gate: &Gate, all: &[(Sent, Vec<(String, String)>)]) -> Vec<Reply> {
    let mut client: Option<Client> = None;
    let mut replies = Vec::new();
    for (sent, fields) in all {
        let asked: Ask =
            fields.iter().fold(ask(sent.method, sent.path).host(sent.host), |asked, (name, value)| {
                asked.header(name, value)
            });
        let mut open = client.take().unwrap_or_else(|| gate.connect());
        let reply = asked.on(&mut open);
        let closes = reply.headers.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes && !sent.websocket {
            client = Some(open);
        }
        replies.push(reply);
    }
    replies
}

fn log_by_id(gate: &Gate, replies: &[Reply]) -> HashMap<String, Value> {
    wait::until("a log line for each request", || {
        let lines = gate.log().into_iter().filter(|line| line["message"] == "request");
        let lines: HashMap<String, Value> =
            lines.map(|line| (line["request_id"].as_str().unwrap().to_owned(), line)).collect();
        replies.iter().all(|reply| lines.contains_key(&reply.request_id())).then_some(lines)
    })
}

/// The fields that sidegate strips or sets, and the path, must be those that the service received.
fn assert_received(explanation: &Explanation, received: &Request, case: &str) {
    let forward = explanation.forward.as_ref().unwrap_or_else(|| panic!("{case}: nothing is forwarded"));
    let path = received.target.split('?').next().unwrap();
    assert_eq!(forward.path, path, "{case}");
    let mut expected: Map<String, Value> = Map::new();
    for field in &forward.headers {
        expected.insert(field.name.clone(), field.value.clone().into());
    }
    for name in [
        "x-customer-id",
        "x-user-roles",
        "x-other",
        "authorization",
        "cookie",
        "x-forwarded-for",
        "forwarded",
    ] {
        let found = received.headers.all(name).join(", ");
        assert_eq!(expected.get(name).and_then(Value::as_str).unwrap_or_default(), found, "{case}: {name}");
    }
}

fn check(policy: &str, requests: Vec<Sent>) {
    let service = Service::ok("yes");
    let gate = Setup::new(service.url())
        .with(policy)
        .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
        .start();
    let all: Vec<_> = requests.into_iter().map(|sent| (sent.fields(), sent)).map(|(f, s)| (s, f)).collect();
    let replies = replies(&gate, &all);
    let log = log_by_id(&gate, &replies);
    let loaded = load(&gate.setup.write(), |_| None).unwrap();
    let explainer = Explainer::build(&loaded).0.unwrap();
    let received = service.requests();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    for ((sent, fields), reply) in all.iter().zip(&replies) {
        let mut case = String::new();
        write!(case, "{sent:?} under\n{policy}").unwrap();
        let question = sent.question(fields);
        let explanation = runtime.block_on(explainer.explain(&question));
        let line = &log[&reply.request_id()];
        assert_eq!(explained(&explanation), logged(line), "{case}");
        let found =
            received.iter().find(|request| request.header("x-request-id") == Some(&reply.request_id()));
        match found {
            Some(request) => assert_received(&explanation, request, &case),
            None => assert!(explanation.forward.is_none(), "{case}"),
        }
        if let Shown::Token(claims) = &sent.shown {
            let bare: Vec<_> = fields.iter().filter(|(name, _)| name != "authorization").cloned().collect();
            let mut assumed = sent.question(&bare);
            assumed.assume(&claims.to_string()).unwrap();
            let assumed = runtime.block_on(explainer.explain(&assumed));
            assert_eq!(explained(&assumed), logged(line), "claims alone: {case}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn explain_says_what_the_gate_does(policy in policy(), requests in prop::collection::vec(sent(), 80)) {
        check(&policy, requests);
    }
}
