//! Rate limits: how many pass, what they are told, who is counted as whom, alone and with others over Redis.

use crate::support::authority::{Authority, Mode};
use crate::support::client::Reply;
use crate::support::frames::handshake;
use crate::support::gate::Gate;
use crate::support::http2::{Frames, Http2};
use crate::support::idp::Idp;
use crate::support::keys::sha256_hex;
use crate::support::redis::RedisServer;
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until_true};
use serde_json::json;
use std::time::Duration;

/// Of so many requests, how many pass; the others must be 429.
#[track_caller]
fn passing(gate: &Gate, request: &Ask, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        match request.send(gate).status {
            200 => passed += 1,
            status => assert_eq!(status, 429),
        }
    }
    passed
}

fn number(reply: &Reply, name: &str) -> u64 {
    reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}")).parse().unwrap()
}

fn per_customer(service: &Service, idp: &Idp, rate_limit: &str) -> Setup {
    Setup::guarded(service, idp)
        .with("[authenticators.main.claims]\ncustomer_id = \"customer_id\"\ntier = { claim = \"tier\", type = \"integer\" }")
        .route("/limited", &format!("rate_limit = {rate_limit}"))
}

#[test]
fn the_limit_passes_and_then_each_is_told_when_to_come_again() {
    let (idp, service) = (Idp::start(), Service::ok("hello"));
    let limit = "{ per = \"customer_id\", limit = 3, window = \"1m\", burst = 2 }";
    let gate = per_customer(&service, &idp, limit).workers(2).start();
    let token = |customer: &str| idp.token().claim("customer_id", customer).build();
    let (ada, bob) = (get("/limited").bearer(&token("ada")), get("/limited").bearer(&token("bob")));
    for left in (0..5).rev() {
        let reply = ada.send(&gate).expect(200, "within the limit");
        assert_eq!(number(&reply, "ratelimit-limit"), 3);
        assert_eq!(number(&reply, "ratelimit-remaining"), left);
        assert!((1..=100).contains(&number(&reply, "ratelimit-reset")), "{reply:?}");
        assert!(reply.header("retry-after").is_none());
    }
    let served = service.requests().len();
    let refused = ada.send(&gate).expect(429, "above it");
    assert!((15..=20).contains(&number(&refused, "retry-after")), "{refused:?}");
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.json()["status"], 429);
    assert_eq!(gate.reason(&refused), "rate_limited");
    assert_eq!(service.requests().len(), served, "the service hears nothing of it");
    bob.send(&gate).expect(200, "somebody else");
    get("/").bearer(&token("ada")).send(&gate).expect(200, "another route");
    assert!(get("/").bearer(&token("ada")).send(&gate).header("ratelimit-limit").is_none());
}

#[test]
fn the_wait_is_true() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service)
        .route("/x", "rate_limit = { per = \"client_ip\", limit = 2, window = \"2s\" }")
        .start();
    assert_eq!(passing(&gate, &get("/x"), 5), 2);
    let refused = get("/x").send(&gate).expect(429, "no more");
    let_pass(Duration::from_secs(number(&refused, "retry-after")));
    get("/x").send(&gate).expect(200, "as was told");
}

#[test]
fn guesses_at_credentials_count_by_address_and_nobody_is_asked_about_them() {
    let authority = Authority::start(Mode::good(&json!({ "active": false })));
    let service = Service::ok("hello");
    let gate = Setup::new(service.url())
        .with(&authority.introspection("opaque"))
        .env("INTROSPECTION_SECRET", "s")
        .with("[policy]\nrate_limit = { per = \"client_ip\", limit = 3, window = \"1m\" }")
        .start();
    for guess in 0..8 {
        let status = if guess < 3 { 401 } else { 429 };
        get("/").bearer(&format!("guess-{guess}")).send(&gate).expect(status, "a guess");
    }
    assert_eq!(authority.questions().len(), 3);
    service.assert_untouched("guesses");
}

#[test]
fn what_the_rule_refuses_costs_nothing() {
    let (idp, service) = (Idp::start(), Service::ok("hello"));
    let limit = "{ per = \"customer_id\", limit = 2, window = \"1m\" }\nrequire.roles = [\"sailor\"]";
    let gate = per_customer(&service, &idp, limit).start();
    let token = idp.token().claim("customer_id", "ada");
    for _ in 0..5 {
        get("/limited").bearer(&token.clone().build()).send(&gate).expect(403, "no sailor");
        get("/limited").send(&gate).expect(401, "nobody");
    }
    let sailor = get("/limited").bearer(&token.claim("roles", json!(["sailor"])).build());
    assert_eq!(passing(&gate, &sailor, 4), 2);
}

#[test]
fn tiers_and_kinds_of_credentials_have_their_own_limits() {
    let (idp, service) = (Idp::start(), Service::ok("hello"));
    let tiers = "{ per = \"customer_id\", limit = { attribute = \"tier\", default = 1 }, window = \"1h\" }";
    let gate = per_customer(&service, &idp, tiers).start();
    let of = |customer: &str, tier: Option<i64>| {
        let token = idp.token().claim("customer_id", customer);
        get("/limited").bearer(&tier.map_or(token.clone(), |tier| token.claim("tier", tier)).build())
    };
    assert_eq!(passing(&gate, &of("poor", None), 4), 1);
    assert_eq!(passing(&gate, &of("rich", Some(3)), 5), 3);
    assert_eq!(passing(&gate, &of("barred", Some(0)), 2), 0);

    let gate = Setup::guarded(&service, &idp)
        .with("[authenticators.keys]\nkind = \"api_key\"\nfile = \"keys.toml\"\ncredentials = [{ header = \"x-api-key\" }]")
        .file("keys.toml", key_entry("k", "the-key"))
        .route(
            "/limited",
            "rate_limit = [{ per = \"subject\", limit = 1, window = \"1h\", authenticators = [\"keys\"] }, \
             { per = \"subject\", limit = 3, window = \"1h\", authenticators = [\"main\"] }]",
        )
        .start();
    assert_eq!(passing(&gate, &get("/limited").bearer(&idp.token().build()), 5), 3);
    assert_eq!(passing(&gate, &get("/limited").header("x-api-key", "the-key"), 3), 1);
}

fn key_entry(id: &str, key: &str) -> String {
    let hex = sha256_hex(key);
    format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{hex}\"\nsubject = \"{id}\"\n")
}

#[test]
fn several_limits_are_charged_together_or_not_at_all() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service)
        .route(
            "/x",
            "rate_limit = [{ per = \"client_ip\", limit = 100, window = \"1h\" }, { per = \"client_ip\", limit = 2, window = \"1h\" }]",
        )
        .start();
    assert_eq!(passing(&gate, &get("/x"), 10), 2);
    let refused = get("/x").send(&gate).expect(429, "the narrow one");
    assert_eq!(number(&refused, "ratelimit-limit"), 2);
}

#[test]
fn addresses_are_those_that_trusted_proxies_tell_and_no_others() {
    let service = Service::ok("hello");
    let limit = "rate_limit = { per = \"client_ip\", limit = 1, window = \"1h\" }";
    let from = |address: &str| get("/x").header("X-Forwarded-For", address);
    let gate = Setup::public(&service).route("/x", limit).start();
    from("192.0.2.1").send(&gate).expect(200, "first");
    from("192.0.2.2").send(&gate).expect(429, "nobody is believed");
    let gate = Setup::public(&service).server("trusted_proxies = [\"127.0.0.1\"]").route("/x", limit).start();
    from("192.0.2.1").send(&gate).expect(200, "first");
    from("192.0.2.2").send(&gate).expect(200, "another client");
    from("192.0.2.2").send(&gate).expect(429, "and once more");
    from("2001:db8::1").send(&gate).expect(200, "IPv6");
    from("2001:db8::2").send(&gate).expect(429, "the same /64");
}

#[test]
fn both_workers_count_together() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service)
        .route("/x", "rate_limit = { per = \"client_ip\", limit = 50, window = \"1h\" }")
        .workers(2)
        .start();
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passing(&gate, &get("/x"), 40))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 50);
}

#[test]
fn older_names_grpc_websockets_and_shadow_mode() {
    let service = Service::ok("hello");
    let limit = "rate_limit = { per = \"client_ip\", limit = 1, window = \"1h\" }";
    let gate = Setup::public(&service)
        .with("[rate_limits]\nheaders = \"x-ratelimit\"")
        .route("/x", limit)
        .route("/grpc", limit)
        .route("/ws", limit)
        .route("/shadow", &format!("{limit}\nmode = \"shadow\""))
        .start();
    let reply = get("/x").send(&gate).expect(200, "older names");
    assert_eq!(number(&reply, "x-ratelimit-limit"), 1);
    let now = u64::try_from(crate::support::tokens::now()).unwrap();
    assert!((now + 3500..now + 3700).contains(&number(&reply, "x-ratelimit-reset")), "{reply:?}");
    assert!(reply.header("ratelimit-limit").is_none());
    let mut http2 = Http2::connect(gate.address());
    let grpc = [("content-type", "application/grpc")];
    http2.send("POST", "/grpc", &grpc, Frames::default());
    let refused = http2.send("POST", "/grpc", &grpc, Frames::default());
    assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("8")), "RESOURCE_EXHAUSTED");
    handshake("/ws").send(&gate).expect(200, "this service opens no tunnel, but it was asked");
    handshake("/ws").send(&gate).expect(429, "a handshake counts as a request");
    get("/shadow").send(&gate).expect(200, "first");
    let passed = get("/shadow").send(&gate).expect(200, "refused, but in shadow mode");
    let record = gate.access(&passed);
    assert_eq!(
        (record["decision"].as_str(), record["reason"].as_str()),
        (Some("would_deny"), Some("rate_limited"))
    );
    assert_eq!(number(&passed, "x-ratelimit-remaining"), 0);
}

#[test]
fn a_service_cannot_say_otherwise() {
    let service = Service::raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRateLimit-Remaining: 999\r\n\r\n");
    let gate = Setup::public(&service)
        .route("/x", "rate_limit = { per = \"client_ip\", limit = 5, window = \"1h\" }")
        .start();
    assert_eq!(number(&get("/x").send(&gate), "ratelimit-remaining"), 4);
    assert_eq!(number(&get("/other").send(&gate), "ratelimit-remaining"), 999, "its own business there");
}

#[test]
fn the_policy_s_limit_holds_over_all_routes_but_those_with_their_own() {
    let service = Service::ok("hello");
    let gate = Setup::new(service.url())
        .with(
            "[policy]\naccess = \"public\"\nrate_limit = { per = \"client_ip\", limit = 3, window = \"1h\" }",
        )
        .route("/own", "rate_limit = { per = \"client_ip\", limit = 1, window = \"1h\" }")
        .route("/free", "rate_limit = []")
        .route("/a", "")
        .start();
    assert_eq!(passing(&gate, &get("/a"), 2) + passing(&gate, &get("/b"), 2), 3, "together");
    assert_eq!(passing(&gate, &get("/own"), 3), 1);
    assert_eq!(passing(&gate, &get("/free"), 9), 9);
}

#[test]
fn what_was_counted_outlives_a_reload() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service)
        .route("/x", "rate_limit = { per = \"client_ip\", limit = 2, window = \"1h\" }")
        .start();
    assert_eq!(passing(&gate, &get("/x"), 3), 2);
    gate.reload(|text| format!("{text}\n[[routes]]\npath = \"/other\"\naccess = \"deny\"\n"));
    assert_eq!(passing(&gate, &get("/x"), 1), 0);
    gate.reload(|text| text.replace("limit = 2", "limit = 4"));
    assert!(passing(&gate, &get("/x"), 4) <= 2, "what was used counts under the new limit");
}

#[test]
fn a_preflight_costs_an_identity_nothing() {
    let (idp, service) = (Idp::start(), Service::ok("hello"));
    let gate = per_customer(&service, &idp, "{ per = \"customer_id\", limit = 1, window = \"1h\" }").start();
    for _ in 0..3 {
        ask("OPTIONS", "/limited")
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "GET")
            .send(&gate)
            .expect(200, "a preflight");
    }
    until_true("they passed", || service.requests().len() == 3);
    let token = idp.token().claim("customer_id", "ada").build();
    assert_eq!(passing(&gate, &get("/limited").bearer(&token), 2), 1);
}

/// Two gates of one configuration that share a Redis.
fn replicas(service: &Service, url: &str, on_error: &str) -> [Gate; 2] {
    [(); 2].map(|()| {
        Setup::public(service)
            .with(&format!("[redis]\nurl = \"{url}\"\n[rate_limits]\non_error = \"{on_error}\""))
            .route("/x", "rate_limit = { per = \"client_ip\", limit = 20, window = \"1h\", burst = 4 }")
            .route("/y", "rate_limit = [{ per = \"client_ip\", limit = 9, window = \"1h\" }, { per = \"client_ip\", limit = 2, window = \"1h\" }]")
            .start()
    })
}

fn is_up(gates: &[Gate]) {
    for gate in gates {
        gate.wait_metric("redis_up", &[], 1);
    }
}

#[test]
fn replicas_count_together_over_redis() {
    let Some(server) = RedisServer::start("replicas_count_together_over_redis") else { return };
    let service = Service::ok("hello");
    let gates = replicas(&service, &server.url(), "local");
    is_up(&gates);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = gates
            .iter()
            .flat_map(|gate| [gate, gate])
            .map(|gate| scope.spawn(|| passing(gate, &get("/x"), 15)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 24, "never more than one gate alone");
    let refused = get("/x").send(&gates[0]).expect(429, "together");
    assert!((170..=180).contains(&number(&refused, "retry-after")), "{refused:?}");
    assert_eq!(passing(&gates[0], &get("/y"), 3) + passing(&gates[1], &get("/y"), 3), 2, "all or none");
    let refused = get("/y").send(&gates[1]).expect(429, "the narrow one");
    assert_eq!((number(&refused, "ratelimit-limit"), number(&refused, "ratelimit-remaining")), (2, 0));
    let keys = server.command("KEYS *");
    assert!(keys.contains("sidegate:limit:") && !keys.contains("127.0.0.1"), "{keys}");
}

#[test]
fn without_redis_each_counts_alone_or_nobody_passes_or_nobody_counts() {
    let service = Service::ok("hello");
    for (on_error, passes, others) in [("local", 24, 429), ("deny", 0, 503), ("allow", 30, 429)] {
        let Some(mut server) = RedisServer::start("without_redis_each_counts_alone") else { return };
        let gates = replicas(&service, &server.url(), on_error);
        is_up(&gates);
        assert_eq!(passing(&gates[0], &get("/x"), 2), 2);
        server.kill();
        for gate in &gates {
            gate.wait_metric("redis_up", &[], 0);
        }
        for gate in &gates {
            let mut passed = 0;
            for _ in 0..30 {
                match get("/x").send(gate) {
                    reply if reply.status == 200 => passed += 1,
                    reply => {
                        assert!(reply.header("retry-after").is_some(), "{on_error}: {reply:?}");
                        assert_eq!(reply.status, others, "{on_error}");
                    }
                }
            }
            assert_eq!(passed, passes, "{on_error}");
            assert!(gate.metric("rate_limit_errors_total", &[]) >= 30.0, "{on_error}");
        }
        server.run();
        is_up(&gates);
        until_true("Redis counts again", || {
            get("/x").send(&gates[0]).header("ratelimit-remaining") == Some("22")
        });
    }
}
