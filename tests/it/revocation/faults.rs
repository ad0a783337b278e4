//! Redis is down, slow, talks nonsense or breaks off, under load: nobody who was revoked gets in, and all others notice nothing.

use super::{SECRET, assert_revoked, revocation, revoke, revoking, send};
use crate::support::client::Client;
use crate::support::faulty::{Fault, Relay};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::redis::RedisServer;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::now;
use crate::support::wait::{let_pass, until_true};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a fault lasts.
const OUTAGE: Duration = Duration::from_millis(1500);

/// How long all but one in a hundred requests may take at most: less than any time-out of ours.
const UNDISTURBED: Duration = Duration::from_millis(250);

/// One client's requests until it is stopped: how long each took, and what was wrong.
fn load(gate: &Gate, idp: &Idp, stop: &AtomicBool, number: &AtomicUsize) -> (Vec<Duration>, Vec<String>) {
    let (mut took, mut wrong) = (Vec::new(), Vec::new());
    let mut client = gate.connect();
    let token = |sid: &str, jti: &str| idp.token().claim("sid", sid).claim("jti", jti).build();
    let known = [("good", token("good", "known"), 200), ("revoked", token("revoked", "known"), 401)];
    while !stop.load(Ordering::SeqCst) {
        let fresh = number.fetch_add(1, Ordering::Relaxed).to_string();
        let new = [("good", token("good", &fresh), 200), ("revoked", token("revoked", &fresh), 401)];
        for (path, token, due) in known.iter().chain(&new) {
            let begun = Instant::now();
            client.send_anyway(get(&format!("/{path}")).bearer(token).bytes());
            match client.try_reply("GET") {
                Ok(reply) if reply.status == *due => took.push(begun.elapsed()),
                Ok(reply) => wrong.push(format!("{path}: {}", reply.status)),
                Err(error) => {
                    wrong.push(format!("{path}: {error}"));
                    client = Client::connect(gate.address());
                }
            }
        }
        let_pass(Duration::from_millis(1));
    }
    (took, wrong)
}

#[test]
fn redis_fails_in_every_way_and_no_request_notices() {
    let Some(redis) = RedisServer::start("redis_fails_in_every_way_and_no_request_notices") else { return };
    let (service, idp) = (Service::ok(""), Idp::start());
    let relay = Relay::to(&format!("127.0.0.1:{}", redis.port()));
    let start = |url: String| {
        Setup::guarded(&service, &idp)
            .with(&format!("{}\n[redis]\nurl = \"{url}\"\n", revocation("\"sid\", \"jti\"")))
            .env("REVOCATION_TOKEN", SECRET)
            .workers(2)
            .start()
    };
    let (gate, other) = (start(format!("redis://{}", relay.address())), start(redis.url()));
    revoke(&other, "sid", "revoked");
    let revoked = idp.token().claim("sid", "revoked").build();
    until_true("it is known", || send(&gate, &revoked).status == 401);
    for fault in Fault::ALL {
        let (stop, number) = (AtomicBool::new(false), AtomicUsize::new(0));
        let sid = format!("{fault:?}");
        let (took, wrong) = std::thread::scope(|scope| {
            let loaded = || load(&gate, &idp, &stop, &number);
            let clients: Vec<_> = (0..3).map(|_| scope.spawn(loaded)).collect();
            let_pass(Duration::from_millis(100));
            relay.fail(fault);
            let_pass(OUTAGE);
            let told = Instant::now();
            let body = json!({ "attribute": "sid", "value": sid, "until": now() + 300 });
            revoking(&body).send_admin(&gate).expect(503, "others cannot be told");
            assert!(told.elapsed() < Duration::from_secs(1), "{fault:?}: {:?}", told.elapsed());
            assert_revoked(&gate, &idp.token().claim("sid", sid.as_str()).build());
            relay.fail(Fault::None);
            let_pass(Duration::from_millis(300));
            stop.store(true, Ordering::SeqCst);
            let results: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
            let mut took: Vec<Duration> = results.iter().flat_map(|(took, _)| took.clone()).collect();
            took.sort_unstable();
            (took, results.into_iter().flat_map(|(_, wrong)| wrong).collect::<Vec<_>>())
        });
        assert!(wrong.is_empty(), "{fault:?}: {:?}", &wrong[..wrong.len().min(8)]);
        let slowest = took[took.len() * 99 / 100];
        assert!(slowest < UNDISTURBED, "{fault:?}: {slowest:?}");
        let back = Instant::now();
        let held = idp.token().claim("sid", sid.as_str()).build();
        until_true("what was held here is known there", || send(&other, &held).status == 401);
        println!("| Redis | {fault:?} | {} | 0 | 0 | {slowest:?} | {:?} |", took.len(), back.elapsed());
    }
    assert!(
        !service.targets().iter().any(|target| target == "/revoked"),
        "nothing revoked was seen by the service"
    );
}
