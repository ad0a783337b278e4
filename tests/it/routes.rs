//! Which rule holds: hosts first, then the most specific path that fits the method.

use crate::support::gate::Gate;
use crate::support::request::ask;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};

/// A rule: name, path, further keys.
type Rule = (&'static str, &'static str, &'static str);
/// A request: method, host, target; and the name of the rule that holds.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// A gate with these rules; a request that none of them fits is forwarded under another name.
fn gate(service: &Service, rules: &[Rule]) -> Gate {
    let setup = Setup::public(service);
    let with =
        |setup: Setup, (name, path, keys): &Rule| setup.route(path, &format!("name = {name:?}\n{keys}"));
    rules.iter().fold(setup, with).start()
}

/// Asserts each case; "-" = none of the rules.
#[track_caller]
fn judge(rules: &[Rule], cases: &[Case]) {
    let service = Service::ok("");
    let gate = gate(&service, rules);
    let answered = |case: &Case| ask(case.0, case.2).host(case.1).send(&gate).expect(200, case.2);
    let replies: Vec<_> = cases.iter().map(answered).collect();
    for (case, reply) in cases.iter().zip(replies) {
        let found = gate.route(&reply);
        if case.3 == "-" {
            assert!(rules.iter().all(|(name, _, _)| *name != found), "{case:?} met {found}");
        } else {
            assert_eq!(found, case.3, "{case:?}");
        }
    }
}

#[test]
fn literal_beats_one_segment_beats_the_rest() {
    judge(
        &[
            ("all", "/a/**", ""),
            ("one", "/a/{id}", ""),
            ("literal", "/a/b", ""),
            ("one-edit", "/a/{id}/edit", ""),
            ("literal-all", "/a/b/**", "methods = [\"PUT\"]"),
            ("root", "/", ""),
        ],
        &[
            ("GET", "x", "/", "root"),
            ("GET", "x", "/?a", "root"),
            ("GET", "x", "/a", "all"),
            ("GET", "x", "/a/", "all"),
            ("GET", "x", "/a/b", "literal"),
            ("GET", "x", "/a/%62", "literal"),
            ("GET", "x", "/a/b/", "literal"),
            ("GET", "x", "/a/c", "one"),
            ("GET", "x", "/a/c/", "one"),
            ("GET", "x", "/a/{id}", "one"),
            ("GET", "x", "/a/B", "one"),
            ("GET", "x", "/a/c/edit", "one-edit"),
            ("GET", "x", "/a/b/edit", "one-edit"),
            ("PUT", "x", "/a/b/edit", "literal-all"),
            ("GET", "x", "/a/c/other", "all"),
            ("GET", "x", "/a/b/c", "all"),
            ("GET", "x", "/ab", "-"),
            ("GET", "x", "/A", "-"),
            ("GET", "x", "/b", "-"),
        ],
    );
}

#[test]
fn a_dead_end_backtracks() {
    judge(
        &[
            ("param-c", "/a/{x}/c", ""),
            ("literal-d", "/a/b/d", ""),
            ("deep", "/a/b/{y}/e/f", ""),
            ("rest", "/{z}/**", ""),
            ("three", "/{p}/{q}/{r}/g", ""),
        ],
        &[
            ("GET", "x", "/a/b/c", "param-c"),
            ("GET", "x", "/a/b/d", "literal-d"),
            ("GET", "x", "/a/b/d/e/f", "deep"),
            ("GET", "x", "/a/b/d/e", "rest"),
            ("GET", "x", "/a/b/d/g", "three"),
            ("GET", "x", "/a/b/d/e/g", "rest"),
            ("GET", "x", "/a", "rest"),
            ("GET", "x", "/", "-"),
        ],
    );
}

#[test]
fn a_path_that_fits_but_not_by_method_falls_through() {
    judge(
        &[
            ("get-literal", "/a/b", "methods = [\"GET\"]"),
            ("post-param", "/a/{id}", "methods = [\"POST\"]"),
            ("delete-rest", "/a/**", "methods = [\"DELETE\"]"),
            ("put-host", "/a/b", "methods = [\"PUT\"]\nhosts = [\"h.test\"]"),
            ("any", "/b", ""),
            ("get", "/b", "methods = [\"GET\", \"POST\"]"),
        ],
        &[
            ("GET", "x", "/a/b", "get-literal"),
            ("POST", "x", "/a/b", "post-param"),
            ("DELETE", "x", "/a/b", "delete-rest"),
            ("PUT", "x", "/a/b", "-"),
            ("PUT", "h.test", "/a/b", "put-host"),
            ("GET", "h.test", "/a/b", "get-literal"),
            ("PATCH", "h.test", "/a/b", "-"),
            ("GET", "x", "/b", "get"),
            ("POST", "x", "/b", "get"),
            ("PUT", "x", "/b", "any"),
        ],
    );
}

#[test]
fn get_covers_head_but_not_the_other_way_round() {
    judge(
        &[
            ("get", "/g", "methods = [\"GET\"]"),
            ("head", "/h", "methods = [\"HEAD\"]"),
            ("post", "/p", "methods = [\"POST\"]"),
        ],
        &[
            ("HEAD", "x", "/g", "get"),
            ("GET", "x", "/g", "get"),
            ("POST", "x", "/g", "-"),
            ("HEAD", "x", "/h", "head"),
            ("GET", "x", "/h", "-"),
            ("HEAD", "x", "/p", "-"),
            ("OPTIONS", "x", "/g", "-"),
            // Services that fold the case of methods exist: a rule for GET is not escaped by writing `get`.
            ("get", "x", "/g", "get"),
        ],
    );
}

#[test]
fn rules_that_name_the_host_come_first() {
    judge(
        &[
            ("host-all", "/**", "hosts = [\"api.test\", \"API2.test\"]\nmethods = [\"GET\"]"),
            ("host-one", "/a/{id}", "hosts = [\"api.test\"]"),
            ("literal", "/a/b", ""),
            ("all", "/**", ""),
        ],
        &[
            ("GET", "api.test", "/a/b", "host-one"),
            ("GET", "API.TEST.:443", "/a/b", "host-one"),
            ("GET", "api.test:", "/z", "host-all"),
            ("GET", "api2.test", "/a/b", "host-all"),
            ("POST", "api2.test", "/a/b", "literal"),
            ("POST", "api.test", "/z", "all"),
            ("GET", "other.test", "/a/b", "literal"),
            ("GET", "other.test", "/", "all"),
            ("GET", "x.api.test", "/a/c", "all"),
        ],
    );
}

#[test]
fn a_trailing_slash_makes_no_difference_to_the_rule() {
    judge(
        &[("with", "/with/", ""), ("without", "/without", ""), ("param", "/p/{id}", "")],
        &[
            ("GET", "x", "/with", "with"),
            ("GET", "x", "/with/", "with"),
            ("GET", "x", "/without", "without"),
            ("GET", "x", "/without/", "without"),
            ("GET", "x", "/p/1/", "param"),
            ("GET", "x", "/p/", "-"),
            ("GET", "x", "/p", "-"),
        ],
    );
}

#[test]
fn what_no_rule_fits_falls_to_the_policy() {
    let service = Service::ok("");
    let gate = Setup::new(service.url())
        .with(&PUBLIC.replace("public", "deny"))
        .route("/open", "access = \"public\"\nmethods = [\"GET\"]")
        .start();
    ask("GET", "/open").send(&gate).expect(200, "the rule");
    ask("HEAD", "/open").send(&gate).expect(200, "GET covers HEAD");
    for (method, target) in [("POST", "/open"), ("GET", "/"), ("GET", "/open/x"), ("OPTIONS", "/open")] {
        let reply = ask(method, target).send(&gate).expect(403, target);
        assert_eq!(gate.reason(&reply), "route_denied");
    }
    assert_eq!(service.requests().len(), 2);
}

#[test]
fn a_rule_without_a_name_is_called_by_its_path() {
    let service = Service::ok("");
    let gate = Setup::public(&service).route("/a/{id}", "").start();
    let reply = ask("GET", "/a/1").send(&gate);
    assert_eq!(gate.route(&reply), "/a/{id}");
}

#[test]
fn each_rule_may_lead_to_another_service() {
    let (first, second) = (Service::ok("first"), Service::ok("second"));
    let gate = Setup::public(&first)
        .with(&format!("[upstreams.other]\nurl = {:?}", second.url()))
        .route("/other/**", "upstream = \"other\"")
        .start();
    assert_eq!(ask("GET", "/other/x").send(&gate).text(), "second");
    assert_eq!(ask("GET", "/").send(&gate).text(), "first");
    assert_eq!((first.targets(), second.targets()), (vec!["/".to_owned()], vec!["/other/x".to_owned()]));
}

#[test]
fn rules_that_no_request_could_tell_apart_are_refused_at_start() {
    for (case, first, second) in [
        ("the same", ("/a", ""), ("/a", "")),
        ("another name for the segment", ("/a/{x}", ""), ("/a/{y}", "")),
        ("a slash at the end", ("/a", ""), ("/a/", "")),
        ("escapes", ("/%61", ""), ("/a", "")),
        (
            "methods in another order",
            ("/a", "methods = [\"GET\", \"PUT\"]"),
            ("/a", "methods = [\"PUT\", \"GET\"]"),
        ),
        ("hosts in another case", ("/a", "hosts = [\"H.test\"]"), ("/a", "hosts = [\"h.test\"]")),
    ] {
        let service = Service::ok("");
        let setup = Setup::public(&service);
        let name = "name = \"second-one\"\n";
        let refusal = setup.route(first.0, first.1).route(second.0, &format!("{name}{}", second.1)).refused();
        assert_eq!(refusal.code, Some(78), "{case}: {refusal:?}");
        assert!(refusal.text.contains("routes"), "{case}: {refusal:?}");
        assert!(refusal.text.contains("config.toml:"), "{case}: no place in {refusal:?}");
    }
}

#[test]
fn rules_that_some_request_tells_apart_are_not() {
    let service = Service::ok("");
    let gate = gate(
        &service,
        &[
            ("get", "/a", "methods = [\"GET\"]"),
            ("put", "/a", "methods = [\"PUT\"]"),
            ("any", "/a", ""),
            ("host", "/a", "hosts = [\"h.test\"]"),
            ("host-get", "/a", "hosts = [\"h.test\"]\nmethods = [\"GET\"]"),
            ("case", "/A", ""),
            ("below", "/a/**", ""),
            ("one", "/a/{id}", ""),
        ],
    );
    ask("GET", "/a").send(&gate).expect(200, "it started");
}
