//! Paths where the configuration relaxes the rules, and where it rewrites them.

use crate::paths::forward;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};

#[test]
fn dot_segments_can_be_resolved() {
    let service = Service::ok("");
    let gate = Setup::public(&service)
        .with("[server.paths]\ndot_segments = \"resolve\"")
        .route("/admin/**", "access = \"deny\"")
        .start();
    for (target, form) in [
        ("/.", "/"),
        ("/./", "/"),
        ("/./a", "/a"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/../c?x=..", "/a/c?x=.."),
        ("/a/b/../../c", "/c"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E/b", "/a/b"),
        ("/a/.%2e/b", "/b"),
        ("/admin/../b", "/b"),
        ("/.../a", "/.../a"),
    ] {
        forward(&gate, &service, target, form);
    }
    for target in ["/a/../admin", "/a/%2e%2e/admin/x", "/./admin", "/admin/x/.."] {
        get(target).send(&gate).expect(403, target);
    }
    for target in ["/..", "/../a", "/a/../..", "/a/../../b", "/%2e%2e/a", "/a//../b", "/a/..%2fb", "/a/..;/b"]
    {
        get(target).send(&gate).expect(400, target);
    }
}

#[test]
fn slashes_can_be_merged() {
    let service = Service::ok("");
    let gate = Setup::public(&service)
        .with("[server.paths]\nslashes = \"merge\"")
        .route("/admin/**", "access = \"deny\"")
        .start();
    for (target, form) in [
        ("//", "/"),
        ("///", "/"),
        ("//a", "/a"),
        ("/a//b", "/a/b"),
        ("/a///b//c", "/a/b/c"),
        ("/a//", "/a/"),
        ("/a?x=//", "/a?x=//"),
    ] {
        forward(&gate, &service, target, form);
    }
    for target in ["//admin", "/admin//x", "///admin///"] {
        get(target).send(&gate).expect(403, target);
    }
    for target in ["//..", "/a//../b", "/a%2f%2fb", "/.//a"] {
        get(target).send(&gate).expect(400, target);
    }
}

#[test]
fn encoded_slashes_and_semicolons_can_be_kept() {
    let service = Service::ok("");
    let gate = Setup::public(&service)
        .with("[server.paths]\nencoded_slash = \"keep\"\nsemicolon = \"keep\"")
        .route("/admin/**", "access = \"deny\"")
        .route("/one/{id}", "access = \"deny\"")
        .start();
    for (target, form) in [
        ("/a%2fb", "/a%2Fb"),
        ("/a%5cb", "/a%5Cb"),
        ("/a;b=1", "/a;b=1"),
        ("/a%3bb", "/a%3Bb"),
        ("/a;b/c", "/a;b/c"),
        ("/x%2fadmin", "/x%2Fadmin"),
        ("/admin%2fx", "/admin%2Fx"),
    ] {
        forward(&gate, &service, target, form);
    }
    // What is kept is part of its segment.
    for target in ["/admin/a%2fb", "/one/a%2fb", "/one/a;b"] {
        get(target).send(&gate).expect(403, target);
    }
    for target in ["/a\\b", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a%00b"] {
        get(target).send(&gate).expect(400, target);
    }
}

#[test]
fn prefixes_are_rewritten_after_the_match() {
    let service = Service::ok("");
    let rewrite =
        |from, to| format!("access = \"public\"\nrewrite_prefix = {{ from = \"{from}\", to = \"{to}\" }}");
    let gate = Setup::new(service.url())
        .with(&PUBLIC.replace("public", "deny"))
        .route("/admin/**", &rewrite("/admin", "/internal/admin"))
        .route("/api/**", &rewrite("/api", "/"))
        .start();
    for (target, form) in [
        ("/admin", "/internal/admin"),
        ("/admin/", "/internal/admin/"),
        ("/admin/x/?y=/admin", "/internal/admin/x/?y=/admin"),
        ("/%61dmin/%61?%61", "/internal/admin/a?%61"),
        ("/api/x", "/x"),
        ("/api/x/?q", "/x/?q"),
        ("/api/", "/"),
        ("/api", "/"),
    ] {
        forward(&gate, &service, target, form);
    }
    get("/internal/admin").send(&gate).expect(403, "what it is rewritten to");
}
