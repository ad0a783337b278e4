//! What the pure parts of a request cost: nanoseconds by criterion, allocations by a counting allocator.
//!
//!     cargo bench --bench decide              # or with -- --quick, or -- authenticate
//!
//! Each step is measured by itself, in the order in which the gateway takes them, and `decide/*` are all of them in a
//! row. A table with both figures follows the last one. Nothing here touches a socket; what a whole request costs the
//! whole process is counted by `benches/instructions`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that overflows or lacks something is one that fails"
)]
#![allow(unreachable_pub, reason = "nobody imports a benchmark")]

#[path = "decide/assertion.rs"]
mod assertion;
#[path = "decide/bench.rs"]
mod bench;
#[path = "decide/stage.rs"]
mod stage;

use bench::Bench;
use bytes::BytesMut;
use stage::{Asked, Stage, canonical, read};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A path as most clients send it.
const PLAIN: &str = "/service-5/items/4711";
/// The same with what has to be decoded, or kept as it is.
const ESCAPED: &str = "/service%2D5/items/%7Emy%20item";

fn main() {
    let mut bench = Bench::new(&INSTRUMENTED_SYSTEM);
    heads(&mut bench);
    routes(&mut bench);
    authentication(&mut bench);
    verdicts(&mut bench);
    assertions(&mut bench);
    whole(&mut bench);
    bench.finish();
}

/// From bytes to a target.
fn heads(bench: &mut Bench) {
    let stage = Stage::new(10);
    let bytes = Asked::usual(PLAIN).bytes();
    bench.measure_with("read/head", || BytesMut::from(bytes.as_slice()), read);
    bench.measure("canonical/plain", || canonical(PLAIN));
    bench.measure("canonical/escaped", || canonical(ESCAPED));
    for (name, path) in [("target/plain", PLAIN), ("target/escaped", ESCAPED)] {
        let asked = Asked::usual(path);
        bench.measure(name, || stage.target(&asked));
    }
}

/// The lookup of a rule must not cost more where there are more of them.
fn routes(bench: &mut Bench) {
    for count in [10, 1_000, 10_000] {
        let stage = Stage::new(count);
        for (kind, path) in
            [("found", format!("/service-{}/items/4711", count / 2)), ("none", "/elsewhere/4711".to_owned())]
        {
            let target = stage.target(&Asked::usual(&path));
            bench.measure(&format!("route/{kind}/{count}"), || stage.route(&target).0);
        }
    }
}

/// Who is asking: the bearer token of an RS256 issuer, known and not.
fn authentication(bench: &mut Bench) {
    let stage = Stage::new(10);
    let asked = Asked::usual(PLAIN);
    let target = stage.target(&asked);
    let (lookup, route) = stage.route(&target);
    bench.measure("extract/bearer", || Stage::extract(route, lookup, &asked, &target));
    let candidate = Stage::extract(route, lookup, &asked, &target).unwrap();
    let sessions = stage.sessions();
    stage.authenticate(&sessions, &candidate);
    bench.measure("authenticate/known", || stage.authenticate(&sessions, &candidate));
    bench.measure_with(
        "authenticate/new",
        || stage.sessions(),
        |fresh| stage.authenticate(fresh, &candidate),
    );
}

/// What the identity may do, and what the service is told.
fn verdicts(bench: &mut Bench) {
    let stage = Stage::new(10);
    let sessions = stage.sessions();
    let asked = Asked::usual(PLAIN);
    let target = stage.target(&asked);
    let (lookup, route) = stage.route(&target);
    let candidate = Stage::extract(route, lookup, &asked, &target).unwrap();
    let session = stage.authenticate(&sessions, &candidate);
    bench.measure("permit/roles", || Stage::permit(route, &session, &target));
    let farm = stage.target(&Asked::usual("/farms/4711"));
    let (_, guarded) = stage.route(&farm);
    bench.measure("permit/expression", || Stage::permit(guarded, &session, &farm));
    for (name, asked) in [("rewrite/usual", &asked), ("rewrite/forged", &Asked::forged(PLAIN))] {
        bench.measure_with(
            name,
            || Some(asked.head()),
            |head| stage.rewrite(head.take().unwrap(), &target, &session),
        );
    }
}

/// What tells the service the same under a signature, by the kind of key; and once more, for the same session.
fn assertions(bench: &mut Bench) {
    let stage = Stage::new(10);
    let asked = Asked::usual(PLAIN);
    let target = stage.target(&asked);
    let (lookup, route) = stage.route(&target);
    let candidate = Stage::extract(route, lookup, &asked, &target).unwrap();
    let session = stage.authenticate(&stage.sessions(), &candidate);
    for (name, key) in assertion::keys() {
        let assertions = assertion::assertions(name, &key);
        let assert = |kept: &_| assertion::assert(&assertions, &session, kept);
        bench.measure_with(&format!("assert/{name}"), assertion::Kept::default, |kept| assert(kept));
        let kept = assertion::Kept::default();
        assert(&kept);
        bench.measure(&format!("assert/{name}/again"), || assert(&kept));
    }
}

/// Every step in a row, from the head as `http` types to the head that is forwarded.
fn whole(bench: &mut Bench) {
    let stage = Stage::new(10);
    let asked = Asked::usual(PLAIN);
    let known = stage.sessions();
    stage.decide(&known, asked.head());
    bench.measure_with(
        "decide/known",
        || Some(asked.head()),
        |head| stage.decide(&known, head.take().unwrap()),
    );
    bench.measure_with(
        "decide/new",
        || Some((stage.sessions(), asked.head())),
        |input| {
            let (sessions, head) = input.take().unwrap();
            // The cache is handed back, so that tearing it down is not measured.
            let clean = stage.decide(&sessions, head);
            (sessions, clean)
        },
    );
}
