//! Revocations that replicas share through a real Redis, which dies, hangs, forgets and comes back.

use super::logout::{logout, post};
use super::{SECRET, assert_revoked, revocation, revoke, revoking, send, sha256};
use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::redis::RedisServer;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::now;
use crate::support::wait;
use serde_json::json;
use std::time::{Duration, Instant};

fn setup(service: &Service, idp: &Idp, redis: &RedisServer, more: &str) -> Setup {
    Setup::guarded(service, idp)
        .with(&format!("{}{more}\n[redis]\nurl = \"{}\"\n", revocation("\"sid\", \"jti\""), redis.url()))
        .route("/public", "access = \"public\"")
        .env("REVOCATION_TOKEN", SECRET)
}

fn token(idp: &Idp, sid: &str) -> String {
    idp.token().claim("sid", sid).build()
}

fn key(sid: &str) -> String {
    format!("sidegate:revoked:sid:{}", sha256(sid))
}

#[track_caller]
fn await_revoked(gate: &Gate, token: &str) {
    wait::until_true("it is revoked", || send(gate, token).status == 401);
    assert_revoked(gate, token);
}

#[test]
fn replicas_learn_of_it_within_a_second() {
    let Some(redis) = RedisServer::start("replicas_learn_of_it_within_a_second") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let start = || setup(&service, &idp, &redis, "").start();
    let (one, other) = (start(), start());
    for number in 0..5 {
        let sid = format!("s-{number}");
        let token = token(&idp, &sid);
        send(&other, &token).expect(200, "good");
        revoke(&one, "sid", &sid);
        let told = Instant::now();
        assert_revoked(&one, &token);
        await_revoked(&other, &token);
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
        let left: u64 = redis.command(&format!("PTTL {}", key(&sid))).parse().unwrap();
        assert!((200_000..=301_000).contains(&left), "{left}");
    }
    let all = redis.command("KEYS *") + &redis.command("XRANGE sidegate:revocations - +");
    assert!(!all.contains("s-1"), "{all}");
    // One that starts later knows it all before it is ready.
    let late = start();
    assert_revoked(&late, &token(&idp, "s-0"));
}

#[test]
fn keys_that_others_write_count_as_well() {
    let Some(redis) = RedisServer::start("keys_that_others_write_count_as_well") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    redis.command(&format!("SET {} 1 EX 300", key("early")));
    let gate = setup(&service, &idp, &redis, "").start();
    assert_revoked(&gate, &token(&idp, "early"));
    for (sid, command) in [
        ("a", format!("SET {} x EX 300", key("a"))),
        ("b", format!("SET {} x", key("b"))),
        ("c", format!("HSET {} a b", key("c"))),
        ("long", format!("SET {} before:{} EX 300", key("long"), "1".repeat(5000))),
    ] {
        send(&gate, &token(&idp, sid)).expect(200, sid);
        redis.command(&command);
        await_revoked(&gate, &token(&idp, sid));
    }
    // What is no revocation of ours does no harm.
    for odd in
        ["sidegate:revoked:", "sidegate:revoked:sid:", "sidegate:revoked:sid:zz", "sidegate:revoked:other:00"]
    {
        redis.command(&format!("SET {odd} x"));
    }
    redis.command("XADD sidegate:revocations * odd field");
    redis.command(&format!("SET {} x EX 300", key("d")));
    await_revoked(&gate, &token(&idp, "d"));
    send(&gate, &token(&idp, "e")).expect(200, "all others");
}

#[test]
fn a_short_revocation_does_not_cut_a_long_one() {
    let Some(redis) = RedisServer::start("a_short_revocation_does_not_cut_a_long_one") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, &redis, "").start();
    revoke(&gate, "sid", "s-1");
    let short = json!({ "attribute": "sid", "value": "s-1", "until": now() + 2 });
    revoking(&short).send_admin(&gate).expect(204, "shorter");
    let left: u64 = redis.command(&format!("PTTL {}", key("s-1"))).parse().unwrap();
    assert!(left > 200_000, "{left}");
    redis.command(&format!("SET {} 1", key("s-2")));
    revoke(&gate, "sid", "s-2");
    assert_eq!(redis.command(&format!("PTTL {}", key("s-2"))), "-1", "what has no end does not get one");
}

#[test]
fn the_copy_serves_for_a_while_and_then_nobody_with_a_credential_is_let_in() {
    let name = "the_copy_serves_for_a_while_and_then_nobody_with_a_credential_is_let_in";
    let Some(mut redis) = RedisServer::start(name) else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, &redis, "max_stale = \"3s\"").start();
    let (good, revoked) = (token(&idp, "good"), token(&idp, "s-1"));
    revoke(&gate, "sid", "s-1");
    redis.kill();
    let died = Instant::now();
    wait::until_true("Redis is away", || gate.metric("redis_up", &[]) < 0.5);
    send(&gate, &good).expect(200, "the copy serves");
    assert_revoked(&gate, &revoked);
    let body = json!({ "attribute": "sid", "value": "s-2", "until": now() + 300 });
    let reply = revoking(&body).send_admin(&gate).expect(503, "nobody else can be told");
    assert!(reply.header("retry-after").is_some());
    assert_revoked(&gate, &token(&idp, "s-2"));
    let reply =
        wait::until("the copy is too old", || Some(send(&gate, &good)).filter(|reply| reply.status != 200));
    assert!(died.elapsed() >= Duration::from_secs(2), "{:?}", died.elapsed());
    assert_eq!((reply.status, gate.reason(&reply).as_str()), (503, "authority_unavailable"));
    assert!(reply.header("retry-after").is_some());
    assert_revoked(&gate, &revoked);
    get("/public").bearer(&good).send(&gate).expect(200, "public stays public");
    get("/").send(&gate).expect(401, "no credential is no question");
    send(&gate, "garbage").expect(401, "nor is what is none");
    // It comes back with nothing: what is held here is written there again, the one included that nobody else heard of.
    redis.run();
    wait::until_true("it serves again", || send(&gate, &good).status == 200);
    assert_revoked(&gate, &revoked);
    for sid in ["s-1", "s-2"] {
        wait::until_true("it is written again", || redis.command(&format!("EXISTS {}", key(sid))) == "1");
    }
    let other = setup(&service, &idp, &redis, "").start();
    assert_revoked(&other, &revoked);
    assert_revoked(&other, &token(&idp, "s-2"));
    revoke(&other, "sid", "s-3");
    await_revoked(&gate, &token(&idp, "s-3"));
}

#[test]
fn a_restart_forgets_nothing_and_without_redis_nobody_is_let_in() {
    let name = "a_restart_forgets_nothing_and_without_redis_nobody_is_let_in";
    let Some(mut redis) = RedisServer::start(name) else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, &redis, "").start();
    revoke(&gate, "sid", "s-1");
    drop(gate);
    let gate = setup(&service, &idp, &redis, "").start();
    assert_revoked(&gate, &token(&idp, "s-1"));
    drop(gate);
    redis.kill();
    let gate = setup(&service, &idp, &redis, "").start_unready();
    wait::throughout("it is not ready", Duration::from_millis(300), || gate.readiness() == 503);
    wait::until_true("the keys are there", || send(&gate, "x").status == 401);
    let reply = send(&gate, &token(&idp, "good")).expect(503, "no list was ever read");
    assert_eq!(gate.reason(&reply), "authority_unavailable");
    get("/public").send(&gate).expect(200, "public stays public");
    let served = service.requests().len();
    redis.run();
    gate.wait_ready();
    send(&gate, &token(&idp, "good")).expect(200, "now it was");
    assert_eq!(service.requests().len(), served + 1);
}

#[test]
fn a_redis_that_hangs_delays_no_request() {
    let Some(redis) = RedisServer::start("a_redis_that_hangs_delays_no_request") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, &redis, "").start();
    let good = token(&idp, "good");
    send(&gate, &good).expect(200, "good");
    redis.freeze();
    let started = Instant::now();
    for _ in 0..50 {
        send(&gate, &good).expect(200, "the copy serves");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    redis.thaw();
    wait::until_true("Redis is back", || gate.metric("redis_up", &[]) > 0.5);
    revoke(&gate, "sid", "good");
    assert_revoked(&gate, &good);
}

#[test]
fn the_rights_that_the_documentation_names_suffice() {
    let Some(redis) = RedisServer::start("the_rights_that_the_documentation_names_suffice") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md")).unwrap();
    let rights = page.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    assert_eq!(redis.command(rights), "OK");
    assert_eq!(redis.command("ACL SETUSER default off"), "OK");
    let start = || {
        Setup::guarded(&service, &idp)
            .with(&revocation("\"sid\""))
            .with("\n[redis]\nurl_env = \"REDIS_URL\"\n")
            .env("REDIS_URL", &format!("redis://sidegate:password@127.0.0.1:{}/1", redis.port()))
            .env("REVOCATION_TOKEN", SECRET)
            .start()
    };
    let (one, other) = (start(), start());
    revoke(&one, "sid", "s-1");
    await_revoked(&other, &token(&idp, "s-1"));
    let printed = [one.log_lines(), other.log_lines()].concat().concat();
    assert!(!printed.contains("password") && !printed.contains("NOPERM"), "{printed}");
}

#[test]
fn a_logout_reaches_every_replica() {
    let Some(redis) = RedisServer::start("a_logout_reaches_every_replica") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let start = || setup(&service, &idp, &redis, "logout_audience = \"app\"").start();
    let (one, other) = (start(), start());
    let issued = now() - 10;
    let of = |seconds: i64| idp.token().claim("iat", issued + seconds).build();
    let logout = logout(&idp, "1").claim("iat", issued).claim("sub", "user-1").build();
    send(&other, &of(0)).expect(200, "good");
    post(&one, &logout).expect(200, "logged out");
    await_revoked(&other, &of(0));
    send(&other, &of(1)).expect(200, "came back");
    let late = start();
    assert_revoked(&late, &of(0));
    send(&late, &of(1)).expect(200, "came back");
}

#[test]
fn a_list_that_was_its_own_is_shared_after_a_reload() {
    let Some(redis) = RedisServer::start("a_list_that_was_its_own_is_shared_after_a_reload") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate =
        Setup::guarded(&service, &idp).with(&revocation("\"sid\"")).env("REVOCATION_TOKEN", SECRET).start();
    let (good, revoked) = (token(&idp, "good"), token(&idp, "s-1"));
    revoke(&gate, "sid", "s-1");
    let text = gate.setup.text();
    gate.setup.dir.write("config.toml", format!("{text}\n[redis]\nurl = \"{}\"\n", redis.url()));
    gate.signal("HUP");
    wait::until_true("it is written", || {
        send(&gate, &good).expect(200, "no request is lost on the way");
        assert_revoked(&gate, &revoked);
        redis.command(&format!("EXISTS {}", key("s-1"))) == "1"
    });
    // Whatever Redis loses comes back.
    redis.command("FLUSHALL");
    wait::until_true("it is written again", || redis.command(&format!("EXISTS {}", key("s-1"))) == "1");
    assert_revoked(&gate, &revoked);
    // And the other way round: what was shared stays known.
    redis.command(&format!("SET {} 1 EX 300", key("s-2")));
    await_revoked(&gate, &token(&idp, "s-2"));
    gate.setup.dir.write("config.toml", text);
    gate.signal("HUP");
    wait::until_true("it is alone", || {
        gate.metrics().families().iter().all(|name| name != "sidegate_redis_up")
    });
    assert_revoked(&gate, &revoked);
    assert_revoked(&gate, &token(&idp, "s-2"));
    send(&gate, &good).expect(200, "good");
}

#[test]
fn what_is_open_elsewhere_is_closed_as_well() {
    let Some(redis) = RedisServer::start("what_is_open_elsewhere_is_closed_as_well") else { return };
    let (service, idp) = (Service::start(echo), Idp::start());
    let start = || setup(&service, &idp, &redis, "logout_audience = \"app\"").start();
    let (one, other) = (start(), start());
    let open = |sid: &str| {
        let mut socket = Socket::open(&other, &handshake("/ws").bearer(&token(&idp, sid)));
        socket.echo("open");
        socket
    };
    let closed = |socket: &mut Socket, since: Instant| {
        assert_eq!(socket.read().code(), Some(1008));
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    };
    let (mut good, mut revoked, mut out, mut late) = (open("good"), open("s-1"), open("s-2"), open("s-3"));
    let begun = Instant::now();
    revoke(&one, "sid", "s-1");
    closed(&mut revoked, begun);
    let begun = Instant::now();
    post(&one, &logout(&idp, "1").claim("sid", "s-2").build()).expect(200, "logged out");
    closed(&mut out, begun);
    // What was opened under an earlier configuration is not forgotten.
    let more = other.setup.text().replace("[\"sid\", \"jti\"]", "[\"jti\", \"sid\", \"sub\"]");
    other.setup.dir.write("config.toml", more);
    other.signal("HUP");
    other.wait_metric("config_reloads_total", &[("result", "success")], 1);
    late.echo("still open");
    let begun = Instant::now();
    revoke(&one, "sid", "s-3");
    closed(&mut late, begun);
    good.echo("nobody ended this one");
}
