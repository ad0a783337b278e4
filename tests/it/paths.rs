//! The path: one form, matched and forwarded alike (RFC 3986 §6.2.2); everything that could be read in two ways
//! is refused before the service hears of it.

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;

/// Spellings that are refused by default.
const REFUSED: &[&str] = &[
    // Dot segments.
    "/.",
    "/..",
    "/./",
    "/../",
    "/./a",
    "/../a",
    "/a/.",
    "/a/..",
    "/a/./b",
    "/a/../b",
    "/a/../../b",
    "/a/b/../",
    "/%2e",
    "/%2E",
    "/%2e%2e",
    "/%2E%2E",
    "/%2e%2E/a",
    "/.%2e",
    "/%2e.",
    "/a/%2e",
    "/a/%2e/b",
    "/a/%2e%2e/b",
    "/a/.%2E/b",
    "/a/%2e./b",
    "/a/..?q",
    "/../?q",
    "/a/.?/b",
    // Empty segments.
    "//",
    "//a",
    "/a//b",
    "/a//",
    "///",
    "//a?q",
    // Slashes that some services decode.
    "/a%2fb",
    "/a%2Fb",
    "/%2f",
    "/a%2f",
    "/a%2f..%2fb",
    "/a/%2f/b",
    "/%2F%2Fa",
    // Backslashes, which some services read as slashes.
    "/a\\b",
    "/\\a",
    "/a\\..\\b",
    "/a%5cb",
    "/a%5Cb",
    "/%5c..%5cb",
    // Path parameters, which some services cut off before they match.
    "/a;b",
    "/a;",
    "/a;x=1/b",
    "/..;/a",
    "/a/..;/b",
    "/;",
    "/a%3bb",
    "/a%3Bb",
    "/a;jsessionid=1",
    // Broken escapes.
    "/%",
    "/a%",
    "/%2",
    "/%g0",
    "/%0g",
    "/%zz",
    "/a%2/b",
    "/%%32",
    "/a%-1",
    "/%u002e",
    "/% 2",
];

/// What is forwarded, and in which form.
const FORWARDED: &[(&str, &str)] = &[
    // As it is.
    ("/", "/"),
    ("/a", "/a"),
    ("/a/", "/a/"),
    ("/a/b/c/", "/a/b/c/"),
    ("/A/b", "/A/b"),
    ("/-._~", "/-._~"),
    ("/a:b@c", "/a:b@c"),
    ("/!$&'()*+,=", "/!$&'()*+,="),
    ("/a=b,c", "/a=b,c"),
    // Dots that are no dot segments.
    ("/...", "/..."),
    ("/.a", "/.a"),
    ("/..a", "/..a"),
    ("/a.", "/a."),
    ("/a..", "/a.."),
    ("/a..b", "/a..b"),
    ("/.../a", "/.../a"),
    ("/.well-known/x", "/.well-known/x"),
    ("/%2ea", "/.a"),
    ("/%2e%2e%2e", "/..."),
    ("/a%2e", "/a."),
    ("/a%2Etxt", "/a.txt"),
    // Unreserved characters are decoded, once.
    ("/%61", "/a"),
    ("/%41%5A", "/AZ"),
    ("/%7Eme", "/~me"),
    ("/%7eme", "/~me"),
    ("/a%2Db", "/a-b"),
    ("/a%2db", "/a-b"),
    ("/a%5Fb", "/a_b"),
    ("/%30%39", "/09"),
    // Nothing is decoded twice.
    ("/%252e", "/%252e"),
    ("/%252e%252e/a", "/%252e%252e/a"),
    ("/%252f", "/%252f"),
    ("/%255c", "/%255c"),
    ("/%253b", "/%253b"),
    ("/%2500", "/%2500"),
    ("/%2525", "/%2525"),
    ("/%25", "/%25"),
    ("/%25%32%65", "/%252e"),
    ("/%2561", "/%2561"),
    // Other escapes stay, in upper case.
    ("/a%20b", "/a%20b"),
    ("/%3a", "/%3A"),
    ("/%3f", "/%3F"),
    ("/a%3fb", "/a%3Fb"),
    ("/%23", "/%23"),
    ("/%40", "/%40"),
    ("/%2b", "/%2B"),
    ("/%26%3d", "/%26%3D"),
    ("/%21", "/%21"),
    ("/%22%3c%3e", "/%22%3C%3E"),
    ("/%5b%5d", "/%5B%5D"),
    ("/%7b%7c%7d", "/%7B%7C%7D"),
    ("/%5e%60", "/%5E%60"),
    ("/%80", "/%80"),
    ("/%c3%a9", "/%C3%A9"),
    ("/%c3%28", "/%C3%28"),
    ("/%ff%fe", "/%FF%FE"),
    // Overlong UTF-8 for "." and "/" is nothing but bytes.
    ("/%c0%ae%c0%ae/a", "/%C0%AE%C0%AE/a"),
    ("/%c0%af", "/%C0%AF"),
    ("/%e2%80%ae", "/%E2%80%AE"),
    ("/a+b", "/a+b"),
    ("/*", "/*"),
    ("/a/*/b", "/a/*/b"),
    ("/%2A", "/%2A"),
];

/// Queries, which are forwarded byte by byte.
const QUERIES: &[&str] = &[
    "?",
    "??",
    "?a",
    "?a=b",
    "?a=b&a=c",
    "?&",
    "?=",
    "?a=%61",
    "?a=%2f%2F",
    "?%61=1",
    "?a=../..//",
    "?/../a",
    "?a=;b",
    "?a=%",
    "?a=%zz",
    "?a=%00",
    "?a=%0d%0aX:1",
    "?a=\\",
    "?a=b?c=d",
    "?url=http://u:p@h/",
    "?a=+%20",
    "?a={}|^`",
];

/// Fails unless all of these are refused, and nothing reaches the service.
#[track_caller]
fn refuse<'a>(gate: &Gate, service: &Service, targets: impl IntoIterator<Item = &'a str>) {
    let answered = |target: &'a str| (target, get(target).send(gate).expect(400, target));
    let replies: Vec<(&str, Reply)> = targets.into_iter().map(answered).collect();
    service.assert_untouched("all of these");
    // The log is written in strokes: looked into once all are asked, it keeps nobody waiting.
    for (target, reply) in replies {
        assert_eq!(gate.reason(&reply), "path_refused", "{target}");
    }
}

/// Fails unless the service gets this form.
#[track_caller]
pub fn forward(gate: &Gate, service: &Service, target: &str, form: &str) {
    get(target).send(gate).expect(200, target);
    assert_eq!(service.last().target, form, "{target}");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    // The one target that holds a space is a malformed request line, not a path.
    let (malformed, refused): (Vec<&str>, Vec<&str>) =
        REFUSED.iter().partition(|target| target.contains(' '));
    refuse(&gate, &service, refused);
    for target in malformed {
        get(target).send(&gate).expect(400, target);
        service.assert_untouched(target);
    }
}

#[test]
fn escaped_control_characters_are_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let bytes = (0x00..=0x1f_u8).chain([0x7f]);
    let targets: Vec<String> =
        bytes.flat_map(|byte| [format!("/a%{byte:02x}b"), format!("/%{byte:02X}")]).collect();
    refuse(&gate, &service, targets.iter().map(String::as_str));
}

#[test]
fn raw_control_and_non_ascii_bytes_are_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for byte in (0x00..=0x1f).chain([0x7f, 0x80, 0xa0, 0xc3, 0xff]) {
        let bytes = [b"GET /a", [byte].as_slice(), b"b HTTP/1.1\r\nHost: gate.test\r\n\r\n"].concat();
        let (reply, mut client) = crate::support::client::exchange(gate.address(), &bytes);
        let case = format!("byte {byte:#04x}");
        assert_eq!(reply.expect("an answer").status, 400, "{case}");
        if byte < 0x20 || byte == 0x7f {
            client.assert_closed(&case);
        }
        service.assert_untouched(&case);
    }
}

#[test]
fn a_fragment_is_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for target in ["/#", "/a#b", "/a?b#c", "/a#?b", "/#/../a"] {
        get(target).send(&gate).expect(400, target);
        service.assert_untouched(target);
    }
}

#[test]
fn everything_else_is_forwarded_in_one_form() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (target, form) in FORWARDED {
        forward(&gate, &service, target, form);
        // The form is its own form, and a slash at the end stays what it was.
        forward(&gate, &service, form, form);
        if !form.ends_with('/') {
            forward(&gate, &service, &format!("{target}/"), &format!("{form}/"));
        }
        forward(&gate, &service, &format!("/x{target}?{target}"), &format!("/x{form}?{target}"));
    }
}

#[test]
fn queries_are_not_touched() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for query in QUERIES {
        for path in ["/", "/a", "/a/"] {
            let target = format!("{path}{query}");
            forward(&gate, &service, &target, &target);
        }
    }
    get("/secret?token=hunter2&x=../y").send(&gate).expect(200, "query");
    assert_eq!(gate.access_to("/secret")["path"], "/secret");
    assert!(!gate.log_lines().concat().contains("hunter2"), "the query is in the log");
}

#[test]
fn the_form_that_is_forwarded_is_the_form_that_is_matched() {
    let service = Service::ok("");
    let gate = Setup::public(&service)
        .route("/admin/**", "access = \"deny\"")
        .route("/caf%C3%A9/~me", "access = \"deny\"")
        .start();
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/admin?x",
        "/%61dmin",
        "/adm%69n/",
        "/%61%64%6d%69%6e/x",
        "/admin/%2561",
        "/caf%C3%A9/~me",
        "/caf%c3%A9/%7eme",
        "/caf%C3%A9/~me/",
        "/c%61f%c3%a9/~me?x",
    ] {
        get(target).send(&gate).expect(403, target);
    }
    for target in [
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/admin;x",
        "/;/admin",
        "/\\admin",
        "/x\\..\\admin",
        "/admin%2f",
        "/%2fadmin",
        "/admin%00",
        "/admin/..",
        "/%2e/admin",
        "/admin%5c",
    ] {
        get(target).send(&gate).expect(400, target);
    }
    service.assert_untouched("all of these");
    for target in ["/ADMIN", "/administrator", "/x/admin", "/%2561dmin", "/caf%C3%A9/~ME", "/caf/~me", "/"] {
        forward(&gate, &service, target, target);
    }
}
