//! The configuration is read again while the gate serves: what changed holds at once, what did not goes on.

use crate::support::client::Client;
use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::idp::{Idp, Mode};
use crate::support::keys::Key;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::Token;
use crate::support::wait::until_true;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Replaces a piece of the configuration, which must be there.
fn replacing(from: &str, to: &str) -> impl Fn(&str) -> String {
    move |text| {
        assert!(text.contains(from), "{from:?} is not in {text}");
        text.replace(from, to)
    }
}

fn is_logged(gate: &Gate, text: &str) -> bool {
    gate.log_lines().iter().any(|line| line.contains(text))
}

#[test]
fn a_changed_rule_holds_after_sighup_and_after_the_file_has_changed() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).route("/closed", "access = \"deny\"").workers(2).start();
    let mut client = gate.connect();
    get("/closed").on(&mut client).expect(403, "before");
    let started = gate.metric("config_last_reload_success_timestamp_seconds", &[]);
    assert!(started > 1_700_000_000.0);
    gate.reload(replacing("access = \"deny\"", "access = \"public\""));
    get("/closed").on(&mut client).expect(200, "the same connection, judged by the new rules");
    get("/closed").send(&gate).expect(200, "a new connection");
    assert_eq!(gate.reloads(), (1, 0));
    gate.edit(replacing("path = \"/closed\"\naccess = \"public\"", "path = \"/closed\"\naccess = \"deny\""));
    until_true("a changed file needs no signal", || gate.reloads().0 == 2);
    get("/closed").on(&mut client).expect(403, "and back");
    assert!(gate.metric("config_last_reload_success_timestamp_seconds", &[]) >= started);
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).route("/closed", "access = \"deny\"").start();
    for (index, (bad, complaint)) in [
        ("access = \"denied\"", "config.toml:"),
        ("access = \"deny\"\nupstream = \"nowhere\"", "there is no such upstream"),
        ("access = \"deny\"\nno_such_key = 1", "no_such_key"),
        ("access = ", "config.toml:"),
    ]
    .into_iter()
    .enumerate()
    {
        let good = std::cell::RefCell::new(String::new());
        gate.edit(|text| {
            text.clone_into(&mut good.borrow_mut());
            text.replace("access = \"deny\"", bad)
        });
        gate.signal("HUP");
        until_true("it is counted", || gate.reloads().1 > index);
        until_true("it is logged", || is_logged(&gate, complaint));
        get("/closed").send(&gate).expect(403, bad);
        get("/open").send(&gate).expect(200, bad);
        assert_eq!(gate.readiness(), 200, "{bad}");
        gate.edit(|_| good.borrow().clone());
        gate.signal("HUP");
        until_true("a good one is taken over", || gate.reloads().0 > index);
    }
}

#[test]
fn a_kubernetes_config_map_is_followed() {
    let service = Service::ok("hello");
    let setup = Setup::public(&service).route("/closed", "access = \"deny\"");
    // As the kubelet lays it out: the file is a link through ..data to a folder of its own, and ..data is what is replaced.
    let first = setup.text();
    let gate = setup.start();
    let root = gate.setup.dir.file("");
    let config = root.join("config.toml");
    for (version, text) in
        [("..1", &first), ("..2", &first.replace("access = \"deny\"", "access = \"public\""))]
    {
        std::fs::create_dir(root.join(version)).unwrap();
        std::fs::write(root.join(version).join("config.toml"), text).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    std::fs::remove_file(&config).unwrap();
    symlink("..data/config.toml", &config).unwrap();
    until_true("the link is read", || gate.reloads().0 == 1);
    get("/closed").send(&gate).expect(403, "the same text");
    symlink("..2", root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    until_true("the swap is noticed", || gate.reloads().0 == 2);
    get("/closed").send(&gate).expect(200, "the new text");
}

#[test]
fn what_did_not_change_goes_on() {
    let idp = Idp::start();
    let service = Service::ok("hello");
    let gate = Setup::guarded(&service, &idp).route("/x", "require.roles = [\"a\"]").start();
    let token = idp.token().build();
    let mut client = gate.connect();
    get("/").bearer(&token).on(&mut client).expect(200, "before");
    let (fetches, discoveries) = (idp.fetches(), idp.discoveries());
    // From here on the issuer is away: only what is known already can serve.
    idp.mode(Mode::Down);
    let hits = gate.metric("token_cache_lookups_total", &[("result", "hit")]);
    gate.reload(replacing("require.roles = [\"a\"]", "require.roles = [\"b\"]"));
    get("/").bearer(&token).on(&mut client).expect(200, "after");
    assert_eq!((idp.fetches(), idp.discoveries()), (fetches, discoveries), "the key set goes on");
    let now = gate.metric("token_cache_lookups_total", &[("result", "hit")]);
    assert!((now - hits - 1.0).abs() < 0.1, "the session goes on: {hits} {now}");
    assert_eq!(service.connections().len(), 1, "the connection to the service goes on");
    assert_eq!(gate.readiness(), 200);
    get("/")
        .bearer(&idp.token().claim("sub", "another").build())
        .send(&gate)
        .expect(200, "with the known keys");
}

#[test]
fn an_authenticator_that_changed_believes_nothing_that_it_had_verified() {
    let idp = Idp::start();
    let service = Service::ok("hello");
    let gate = Setup::guarded(&service, &idp).start();
    let token = idp.token().claim("customer_id", "c-1").build();
    get("/").bearer(&token).send(&gate).expect(200, "before");
    gate.reload(replacing("kind = \"jwt\"", "kind = \"jwt\"\nrequired_claims = [\"tenant\"]"));
    gate.wait_ready();
    let refused = get("/").bearer(&token).send(&gate).expect(401, "a claim lacks now");
    assert_eq!(gate.reason(&refused), "token_claim");
    gate.reload(replacing("\nrequired_claims = [\"tenant\"]", ""));
    gate.wait_ready();
    gate.reload(replacing("x-customer-id = \"subject\"", "x-user-id = \"subject\""));
    get("/").bearer(&token).send(&gate).expect(200, "another header");
    let told = service.last();
    assert!(
        told.headers.one("x-user-id").is_some() && told.headers.one("x-customer-id").is_none(),
        "{told:?}"
    );
    gate.reload(|text| text.replace("[authenticators.main]", "[authenticators.other]"));
    gate.wait_ready();
    let reply = get("/").bearer(&token).send(&gate).expect(200, "another name");
    assert_eq!(gate.access(&reply)["authenticator"], "other");
}

#[test]
fn a_secret_in_a_file_is_read_again() {
    let service = Service::ok("hello");
    let (old, new) =
        ("a secret of more than thirty-two bytes", "and another one, of the same length or more");
    let gate = Setup::new(service.url())
        .with("[authenticators.main]\nkind = \"jwt\"\nsecret_file = \"secret\"")
        .file("secret", old)
        .start();
    let token = |secret: &str| Token::bare(&Key::secret(secret)).claim("sub", "a").expires_in(600).build();
    get("/").bearer(&token(old)).send(&gate).expect(200, "the old secret");
    gate.setup.dir.write("secret", new);
    until_true("the file is noticed", || gate.reloads().0 == 1);
    get("/").bearer(&token(new)).send(&gate).expect(200, "the new secret");
    get("/").bearer(&token(old)).send(&gate).expect(401, "the old secret counts no more");
    gate.setup.dir.write("secret", "short");
    until_true("a secret that is too short is refused", || gate.reloads().1 == 1);
    get("/").bearer(&token(new)).send(&gate).expect(200, "nothing has changed");
}

#[test]
fn tunnels_and_requests_on_their_way_go_on() {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let service = Service::start(move |exchange| match exchange.target().as_str() {
        "/ws" => echo(exchange),
        "/held" => {
            until_true("the test lets it go", || released.load(Ordering::SeqCst));
            exchange.ok("held")
        }
        _ => exchange.ok("hello"),
    });
    let gate = Setup::public(&service).server("trusted_proxies = []").start();
    let mut socket = Socket::open(&gate, &handshake("/ws"));
    socket.echo("before");
    let mut held = gate.connect();
    held.send(get("/held").bytes());
    until_true("it is in flight", || service.targets().contains(&"/held".to_owned()));
    let mut idle = gate.connect();
    get("/").header("X-Forwarded-For", "192.0.2.9").on(&mut idle).expect(200, "before");
    assert!(!service.last().headers.one("x-forwarded-for").unwrap().contains("192.0.2.9"));
    gate.reload(|text| {
        text.replace("trusted_proxies = []", "trusted_proxies = [\"127.0.0.1\"]").replace(
            "access = \"public\"",
            "access = \"deny\"\n[[routes]]\npath = \"/\"\naccess = \"public\"",
        )
    });
    socket.echo("after");
    release.store(true, Ordering::SeqCst);
    let reply = held.reply().expect(200, "judged by the rules that it met");
    assert!(reply.headers.lists("connection", "close"), "accepted on other terms: {reply:?}");
    get("/held").send(&gate).expect(403, "judged by the new ones");
    idle.assert_closed("accepted on other terms");
    get("/").header("X-Forwarded-For", "192.0.2.9").send(&gate).expect(200, "a new connection");
    assert!(service.last().headers.one("x-forwarded-for").unwrap().contains("192.0.2.9"));
    gate.terminate();
    assert_eq!(socket.read().code(), Some(1001), "an old tunnel is closed in order all the same");
    assert_eq!(gate.wait_exit(), Some(0));
}

#[test]
fn every_request_is_judged_by_one_configuration() {
    let service = Service::start(|exchange| {
        let target = exchange.target();
        exchange.ok(&target)
    });
    let gate = Setup::public(&service)
        .route("/in/**", "rewrite_prefix = { from = \"/in\", to = \"/one\" }")
        .with("[response_headers]\nx-generation = \"one\"")
        .workers(2)
        .start();
    let stop = AtomicBool::new(false);
    let seen = [AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gate.connect();
                while !stop.load(Ordering::SeqCst) {
                    let reply = get("/in/x").on(&mut client).expect(200, "under reloads");
                    let generation = reply.header("x-generation").unwrap().to_owned();
                    assert_eq!(
                        reply.text(),
                        format!("/{generation}/x"),
                        "rule and headers are of one configuration"
                    );
                    seen[usize::from(generation == "two")].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..10 {
            let (from, to) = if round % 2 == 0 { ("one", "two") } else { ("two", "one") };
            gate.reload(|text| text.replace(from, to));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) > 10), "{seen:?}");
    assert_eq!(service.connections().len(), 4, "the pools go on: {:?}", service.connections().len());
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_is_taken_over() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).route("/closed", "access = \"deny\"").start();
    gate.reload(|text| {
        text.replace("workers = 1", "workers = 2").replace("access = \"deny\"", "access = \"public\"")
    });
    get("/closed").send(&gate).expect(200, "taken over");
    assert!(is_logged(&gate, "server.workers"), "{:?}", gate.log_lines());
}

#[test]
fn limits_and_services_change_without_a_restart() {
    let (first, second) = (Service::ok("first"), Service::ok("second"));
    let gate =
        Setup::public(&first).server("[server.limits]\nconnections = 2\nbody_bytes = \"1KiB\"").start();
    let mut client = gate.connect();
    assert_eq!(get("/").on(&mut client).text(), "first");
    ask("POST", "/").body(vec![0; 2000]).send(&gate).expect(413, "before");
    gate.reload(|text| {
        let text = text.replace(first.url(), second.url());
        text.replace("connections = 2", "connections = 3").replace("1KiB", "4KiB")
    });
    client.assert_closed("accepted on other terms");
    let mut clients: Vec<Client> = (0..3).map(|_| gate.connect()).collect();
    for client in &mut clients {
        assert_eq!(get("/").on(client).text(), "second");
    }
    let mut fourth = gate.connect();
    fourth.send(get("/").bytes());
    assert!(fourth.silent_for(Duration::from_millis(300)), "more than three wait");
    drop(clients);
    fourth.reply().expect(200, "its turn");
    drop(fourth);
    ask("POST", "/").body(vec![0; 2000]).send(&gate).expect(200, "after");
}
