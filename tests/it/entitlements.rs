//! Facts about customers: asked for where something depends on them, and judged anew for every request.

use crate::support::authority::{Authority, Mode};
use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, throughout, until_true};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn facts() -> Value {
    json!({ "capabilities": { "can.view": true, "can.edit": false }, "quotas": { "algos": 3, "rooms": null } })
}

const VIEW: &str = "require.capabilities = [\"can.view\"]";

struct Stage {
    service: Service,
    idp: Idp,
    authority: Authority,
}

impl Stage {
    fn new() -> Self {
        let authority = Authority::start(Mode::good(&facts()));
        Self { service: Service::ok(""), idp: Idp::start(), authority }
    }

    /// With these keys of `[entitlements]`, and the route `/view` that needs a capability.
    fn setup(&self, keys: &str) -> Setup {
        Setup::new(self.service.url())
            .with(&self.idp.authenticator("main"))
            .with("[authenticators.main.claims]\ncustomer_id = \"customer\"")
            .with(&format!("{}{keys}\n", self.authority.entitlements()))
            .route("/view", VIEW)
    }

    fn token(&self, customer: &str) -> String {
        self.idp.token().claim("customer", customer).build()
    }

    #[track_caller]
    fn view(&self, gate: &Gate, customer: &str) -> Reply {
        get("/view").bearer(&self.token(customer)).send(gate)
    }

    fn asked(&self) -> usize {
        self.authority.questions().len()
    }
}

#[test]
fn the_service_is_asked_by_attribute_and_its_facts_decide() {
    let stage = Stage::new();
    let gate = stage
        .setup("bearer_env = \"ENTITLEMENTS_TOKEN\"")
        .env("ENTITLEMENTS_TOKEN", "entitlements-key")
        .route("/edit", "require.capabilities = [\"can.edit\"]")
        .route("/algos", "require.quotas = { algos = 3 }")
        .route("/more-algos", "require.quotas = { algos = 4 }")
        .route("/rooms", "require.quotas = { rooms = 1000000 }")
        .route("/other", "require.quotas = { other = 1 }")
        .start();
    let token = stage.token("a/b c&d");
    for (path, status, reason) in [
        ("/view", 200, "allowed"),
        ("/edit", 403, "capability_missing"),
        ("/algos", 200, "allowed"),
        ("/more-algos", 403, "quota_too_low"),
        ("/rooms", 200, "allowed"),
        ("/other", 403, "quota_too_low"),
    ] {
        let reply = get(path).bearer(&token).send(&gate).expect(status, path);
        assert_eq!(gate.reason(&reply), reason, "{path}");
    }
    let request = stage.authority.service().only();
    assert_eq!(request.target, "/resolve?customer_id=a%2Fb%20c%26d");
    assert_eq!(request.header("authorization"), Some("Bearer entitlements-key"), "and not the client's");
    assert_eq!(request.header("accept"), Some("application/json"));
    // Unknown to the service, and known to the token.
    stage.authority.on_question("/resolve?customer_id=nobody", 404, &json!({}));
    assert_eq!(gate.reason(&stage.view(&gate, "nobody").expect(403, "unknown")), "capability_missing");
    let own =
        stage.idp.token().claim("customer", "nobody").claim("capabilities", json!(["can.view"])).build();
    get("/view").bearer(&own).send(&gate).expect(200, "its own capability counts as well");
    assert_eq!(stage.asked(), 2, "who is unknown is remembered");
    gate.wait_metric("entitlement_fetches_total", &[("result", "success")], 2);
    gate.wait_metric("entitlement_cache_lookups_total", &[("result", "hit")], 5);
    let printed = gate.log_lines().concat();
    assert!(!printed.contains("entitlements-key") && !printed.contains("resolve?customer"), "{printed}");
}

#[test]
fn a_client_cannot_choose_whose_facts_count() {
    let stage = Stage::new();
    let gate = stage.setup("").start();
    stage.authority.on_question("/resolve?customer_id=poor", 200, &json!({}));
    let reply = get("/view?customer_id=rich")
        .bearer(&stage.token("poor"))
        .header("x-customer-id", "rich")
        .header("customer_id", "rich")
        .send(&gate);
    assert_eq!(gate.reason(&reply.expect(403, "poor")), "capability_missing");
    assert_eq!(stage.authority.questions(), ["/resolve?customer_id=poor"]);
}

#[test]
fn nobody_is_asked_where_nothing_depends_on_it() {
    let stage = Stage::new();
    let gate = stage
        .setup("")
        .route("/open", "access = \"public\"")
        .route("/optional", "access = \"optional\"")
        .route("/roles", "require.roles = [\"admin\"]")
        .start();
    let token = stage.token("c");
    get("/").bearer(&token).send(&gate).expect(200, "no requirement");
    get("/open").send(&gate).expect(200, "public");
    get("/optional").send(&gate).expect(200, "optional");
    get("/roles").bearer(&token).send(&gate).expect(403, "roles stand in the token");
    get("/view").send(&gate).expect(401, "no token");
    get("/view").bearer(&stage.idp.token().expires_in(-60).build()).send(&gate).expect(401, "bad token");
    assert_eq!(stage.asked(), 0);
    stage.view(&gate, "c").expect(200, "here it is needed");
    assert_eq!(stage.asked(), 1);
}

#[test]
fn without_the_attribute_it_is_403_and_nobody_is_asked() {
    let stage = Stage::new();
    let gate = stage.setup("on_error = \"allow\"").start();
    for token in [
        stage.idp.token().build(),
        stage.idp.token().claim("customer", Value::Null).build(),
        stage.idp.token().claim("customer", "").build(),
    ] {
        let reply = get("/view").bearer(&token).send(&gate).expect(403, "no customer");
        assert_eq!(gate.reason(&reply), "capability_missing");
    }
    assert_eq!(stage.asked(), 0);
    stage.service.assert_untouched("no customer");
}

#[test]
fn nobody_is_asked_about_who_fails_before() {
    let stage = Stage::new();
    stage.authority.mode(Mode::Down);
    let gate = stage.setup("").route("/both", &format!("{VIEW}\nrequire.roles = [\"staff\"]")).start();
    let reply = get("/both").bearer(&stage.token("c-1")).send(&gate).expect(403, "no role");
    assert_eq!(gate.reason(&reply), "role_missing");
    assert_eq!(stage.asked(), 0);
    let staff = stage.idp.token().claim("customer", "c-1").claim("roles", json!(["staff"])).build();
    get("/both").bearer(&staff).send(&gate).expect(503, "a role, and nobody to ask");
}

#[test]
fn facts_stand_in_headers() {
    let stage = Stage::new();
    let gate = stage
        .setup("")
        .with("[identity.headers]\nx-caps = \"capabilities\"\nx-algos = \"quotas.algos\"\nx-rooms = \"quotas.rooms\"")
        .route("/open", "access = \"public\"")
        .start();
    let token = stage.idp.token().claim("customer", "c").claim("capabilities", json!(["can.own"])).build();
    let forged =
        |path: &str| get(path).header("x-caps", "all").header("X_Algos", "99").header("x-rooms", "1");
    forged("/").bearer(&token).send(&gate).expect(200, "facts");
    let seen = stage.service.last();
    assert_eq!(seen.header("x-caps"), Some("can.own,can.view"));
    assert_eq!(seen.header("x-algos"), Some("3"));
    assert_eq!(seen.header("x-rooms"), Some("unlimited"));
    assert_eq!(seen.header("x_algos"), None);
    forged("/open").send(&gate).expect(200, "public");
    let seen = stage.service.last();
    assert_eq!((seen.header("x-caps"), seen.header("x-algos"), seen.header("x-rooms")), (None, None, None));
}

#[test]
fn no_outage_lets_anybody_in() {
    for mode in Mode::outages(&facts()).into_iter().chain([
        Mode::good(&json!({ "capabilities": "can.view" })),
        Mode::good(&json!({ "capabilities": { "can.view": "yes" } })),
        Mode::good(&json!({ "capabilities": ["can.view"], "quotas": ["x"] })),
    ]) {
        let case = format!("{mode:?}").chars().take(60).collect::<String>();
        let stage = Stage::new();
        stage.authority.mode(mode);
        let gate = stage.setup("timeout = \"300ms\"").start();
        let reply = stage.view(&gate, "c").expect(503, &case);
        assert!(reply.header("retry-after").is_some(), "{case}");
        assert_eq!(gate.reason(&reply), "authority_unavailable", "{case}");
        stage.service.assert_untouched(&case);
        // One that hangs up is asked once more: it may have closed a connection that nobody used.
        let asked = if case == "Down" { 2 } else { 1 };
        assert_eq!(stage.authority.service().targets(), vec!["/resolve?customer_id=c"; asked], "{case}");
        get("/").bearer(&stage.token("c")).send(&gate).expect(200, &case);
        stage.authority.mode(Mode::good(&facts()));
        until_true("the service is back", || stage.view(&gate, "c").status == 200);
    }
}

#[test]
fn with_on_error_allow_the_tokens_own_facts_decide() {
    let stage = Stage::new();
    stage.authority.mode(Mode::Down);
    let gate = stage.setup("on_error = \"allow\"").start();
    assert_eq!(gate.reason(&stage.view(&gate, "c").expect(403, "none of its own")), "capability_missing");
    let own = stage.idp.token().claim("customer", "c").claim("capabilities", json!(["can.view"])).build();
    get("/view").bearer(&own).send(&gate).expect(200, "its own");
    gate.wait_metric("entitlement_fallbacks_total", &[], 2);
    assert!(gate.log_lines().concat().contains("the authority was asked in vain"));
}

#[test]
fn a_capability_that_is_taken_away_counts_no_longer_than_the_ttl() {
    let stage = Stage::new();
    let gate = stage.setup("ttl = \"1s\"\nstale_while_revalidate = \"0s\"\nstale_if_error = \"0s\"").start();
    let token = stage.token("c");
    let view = || get("/view").bearer(&token).send(&gate);
    let begin = Instant::now();
    view().expect(200, "held");
    stage.authority.mode(Mode::good(&json!({ "capabilities": {} })));
    until_true("it is refused", || view().status == 403);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(gate.reason(&view()), "capability_missing");
    stage.authority.mode(Mode::good(&facts()));
    until_true("it is given back", || view().status == 200);
    // Nothing serves in place of an answer here.
    stage.authority.mode(Mode::Down);
    until_true("nobody can say", || view().status == 503);
}

#[test]
fn stale_facts_serve_while_new_ones_are_on_their_way() {
    let stage = Stage::new();
    let gate = stage.setup("ttl = \"1s\"\nstale_while_revalidate = \"1m\"\ntimeout = \"10s\"").start();
    let token = stage.token("c");
    let view = || get("/view").bearer(&token).send(&gate);
    view().expect(200, "held");
    let late = Duration::from_millis(1500);
    stage.authority.mode(Mode::Late(late, 200, json!({ "capabilities": {} }).to_string()));
    let_pass(Duration::from_millis(1100));
    let begin = Instant::now();
    for _ in 0..20 {
        view().expect(200, "stale");
    }
    assert!(begin.elapsed() < Duration::from_millis(1200), "{:?}", begin.elapsed());
    until_true("it is asked once", || stage.asked() == 2);
    until_true("the new facts count", || view().status == 403);
    assert!(begin.elapsed() >= late);
}

#[test]
fn old_facts_serve_while_the_service_fails_and_it_is_not_flooded() {
    let stage = Stage::new();
    let keys = "ttl = \"1s\"\nstale_while_revalidate = \"0s\"\nstale_if_error = \"1m\"\ntimeout = \"300ms\"";
    let gate = stage.setup(keys).start();
    let token = stage.token("c");
    let view = || get("/view").bearer(&token).send(&gate);
    view().expect(200, "held");
    stage.authority.mode(Mode::Says(500, String::new()));
    let_pass(Duration::from_millis(1100));
    throughout("old facts serve", Duration::from_millis(2500), || view().status == 200);
    let asked = stage.asked();
    assert!((2..=5).contains(&asked), "asked {asked} times");
    stage.view(&gate, "stranger").expect(503, "of whom nothing is known");
    stage.authority.mode(Mode::good(&json!({})));
    until_true("new facts count at once", || view().status == 403);
}

#[test]
fn many_tokens_of_one_customer_are_one_question() {
    let stage = Stage::new();
    stage.authority.mode(Mode::Late(Duration::from_millis(300), 200, facts().to_string()));
    let gate = stage.setup("timeout = \"5s\"").workers(2).start();
    let mut clients: Vec<Client> = (0..20).map(|_| gate.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let token = stage.idp.token().claim("customer", "c").claim("jti", number).build();
        client.send(get("/view").bearer(&token).bytes());
    }
    for client in &mut clients {
        client.reply().expect(200, "parallel");
    }
    assert_eq!(stage.asked(), 1);
}

#[test]
fn the_facade_knows_what_the_gate_knows() {
    let stage = Stage::new();
    let gate = stage.setup("").with("[facade]\nlisten = \"127.0.0.1:0\"").start();
    stage.view(&gate, "17").expect(200, "asked for");
    let line = gate.log().into_iter().find(|line| line["facade"].is_string()).expect("where it listens");
    let address = line["facade"].as_str().unwrap();
    let resolve = get("/entitlements/resolve?customer_id=17").host(address);
    let reply = resolve.on(&mut Client::connect(address)).expect(200, "facade");
    let (answer, facts) = (reply.json(), facts());
    assert_eq!(answer["customer_id"], "17");
    assert_eq!(answer["capabilities"]["can.view"], facts["capabilities"]["can.view"]);
    assert_eq!(answer["quotas"], facts["quotas"]);
    assert_eq!(stage.asked(), 1, "once for both");
}
