//! What a client may not say: identity headers in any spelling, on any route, in trailers too; and what concerns
//! one connection only (RFC 9110 §7.6.1).

use crate::support::http2::{Answer, Frames, Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::request::{Ask, ask, get};
use crate::support::service::{Request, Service};
use crate::support::setup::{IDENTITY, PUBLIC, Setup};
use crate::support::wire::Headers;

/// Spellings that some services read as `x-customer-id` (CGI, WSGI, PHP and others fold names).
const ALIASES: &[&str] = &[
    "x-customer-id",
    "X-Customer-Id",
    "X-CUSTOMER-ID",
    "x-Customer-iD",
    "x_customer_id",
    "X_Customer_Id",
    "X_CUSTOMER_ID",
    "x_customer-id",
    "x-customer_id",
    "X-Customer_Id",
    "X_Customer-Id",
    "x.customer.id",
    "X.Customer.Id",
    "x.customer-id",
    "x-customer.id",
    "x_customer.id",
    "x!customer!id",
    "x#customer#id",
    "x$customer$id",
    "x%customer%id",
    "x&customer&id",
    "x'customer'id",
    "x*customer*id",
    "x+customer+id",
    "x^customer^id",
    "x`customer`id",
    "x|customer|id",
    "x~customer~id",
    "X|Customer^Id",
    "x~customer_id",
    "X+CUSTOMER-ID",
    "x-customer*id",
    "x!customer#id",
    "X$Customer%Id",
];

/// Names that only look like it: they are the client's own business.
const OTHERS: &[&str] = &[
    "xcustomerid",
    "x-customerid",
    "xx-customer-id",
    "x-customer-id2",
    "x-customer-ids",
    "x--customer-id",
    "x-customer--id",
    "-x-customer-id",
    "x-customer-id-",
    "_x_customer_id",
    "x-customer-name",
    "customer-id",
];

/// Fails if any field folds to one of these names or holds the forged value.
#[track_caller]
fn assert_clean(case: &str, headers: &Headers, allowed: &[(&str, &str)]) {
    for (name, value) in &headers.0 {
        let folded: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        let folded = folded.to_ascii_lowercase();
        let ours = ["x-customer-id", "x-user-roles", "x-user-email"].contains(&folded.as_str())
            || folded.starts_with("x-auth-");
        let fine = allowed.iter().any(|(own, right)| own == name && right == value);
        assert!(!ours || fine, "{case}: the service was told {name}: {value}");
        assert!(!value.contains("forged"), "{case}: {name}: {value}");
    }
}

const HEADERS: &str = "\n[identity]\nstrip = [\"x-auth-*\", \"x-plan\"]\n[identity.headers]\nx-customer-id = \"subject\"\n\
    x-user-roles = \"roles\"\nx-user-email = { attribute = \"email\", optional = true }\n";

#[test]
fn no_spelling_of_an_identity_header_survives_on_a_public_route() {
    let service = Service::ok("");
    let idp = Idp::start();
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(HEADERS).with(PUBLIC).start();
    for alias in ALIASES {
        get("/").header(alias, "forged").send(&gate).expect(200, alias);
        assert_clean(alias, &service.last().headers, &[]);
        get("/").header("x-customer-id", "forged").header(alias, "forged").send(&gate).expect(200, alias);
        assert_clean(alias, &service.last().headers, &[]);
    }
    let all = ALIASES.iter().take(20).fold(get("/"), |ask, alias| ask.header(alias, "forged"));
    all.send(&gate).expect(200, "all at once");
    assert_clean("all at once", &service.last().headers, &[]);
}

#[test]
fn no_spelling_of_an_identity_header_survives_beside_a_token() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(HEADERS).start();
    let token = idp.token().claim("roles", "a").build();
    for alias in ALIASES {
        for (case, ask) in [
            ("before", get("/").header(alias, "forged").bearer(&token)),
            ("after", get("/").bearer(&token).header(alias, "forged")),
            ("empty", get("/").bearer(&token).header(alias, "")),
        ] {
            ask.send(&gate).expect(200, alias);
            let headers = service.last().headers;
            assert_clean(
                &format!("{alias} {case}"),
                &headers,
                &[("x-customer-id", "user-1"), ("x-user-roles", "a")],
            );
            assert_eq!(headers.one("x-customer-id"), Some("user-1"), "{alias} {case}");
        }
    }
}

#[test]
fn other_names_are_the_clients_own_business() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(HEADERS).with(PUBLIC).start();
    for name in OTHERS {
        get("/").header(name, "mine").send(&gate).expect(200, name);
        assert_eq!(service.last().header(name), Some("mine"), "{name}");
    }
    let odd = get("/")
        .header("X-Odd_Name", "1")
        .header("x-twice", "a")
        .header("x-twice", "b")
        .header("X-Empty", "");
    odd.send(&gate).expect(200, "odd");
    let headers = service.last().headers;
    assert_eq!((headers.one("x-odd_name"), headers.all("x-twice")), (Some("1"), vec!["a", "b"]));
    assert_eq!(headers.one("x-empty"), Some(""));
}

#[test]
fn names_and_prefixes_can_be_stripped_besides() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(HEADERS).with(PUBLIC).start();
    for name in [
        "x-auth-user",
        "X-Auth-",
        "x_auth_user",
        "X.Auth.Scopes",
        "x-auth-a-b-c",
        "x-plan",
        "X_Plan",
        "x-user-email",
    ] {
        get("/").header(name, "forged").send(&gate).expect(200, name);
        assert_clean(name, &service.last().headers, &[]);
    }
    for name in ["x-author", "x-authx", "x-plans", "x-planet"] {
        get("/").header(name, "mine").send(&gate).expect(200, name);
        assert_eq!(service.last().header(name), Some("mine"));
    }
}

#[test]
fn trailers_are_cleaned_as_heads_are() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(HEADERS).with(PUBLIC).start();
    for alias in ALIASES.iter().chain(&[
        "x-auth-user",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-real-ip",
        "x-request-id",
    ]) {
        let mut client = gate.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: gate.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Checksum, {alias}\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Checksum: 1\r\n{alias}: forged\r\n\r\n"
        ));
        client.reply().expect(200, alias);
        let seen = service.last();
        assert_eq!(seen.body, b"hi", "{alias}");
        assert_clean(alias, &seen.trailers, &[]);
        assert_eq!(seen.trailers.one("x-checksum"), Some("1"), "{alias}");
    }
}

#[test]
fn nothing_survives_over_http2_either() {
    let idp = Idp::start();
    let service = Http2Service::start(|_| Answer::ok(""));
    let gate = Setup::new(service.url())
        .upstream("http2 = true")
        .with(&idp.authenticator("main"))
        .with(HEADERS)
        .route("/public", "access = \"public\"")
        .start();
    let token = format!("Bearer {}", idp.token().claim("roles", "a").build());
    let mut client = Http2::connect(gate.address());
    for alias in ALIASES {
        let alias = alias.to_ascii_lowercase();
        let trailers = [("x-checksum", "1"), (alias.as_str(), "forged")];
        let body = || Frames::new(&[b"hi"], &trailers);
        let reply = client.send("POST", "/public", &[(&alias, "forged")], body());
        assert_eq!(reply.status, 200, "{alias}");
        let seen = service.requests().pop().unwrap();
        assert_clean(&alias, &seen.headers, &[]);
        assert_clean(&alias, &seen.trailers, &[]);
        assert_eq!((seen.body.as_slice(), seen.trailers.one("x-checksum")), (b"hi".as_slice(), Some("1")));

        let reply = client.send("POST", "/", &[(&alias, "forged"), ("authorization", &token)], body());
        assert_eq!(reply.status, 200, "{alias}");
        let seen = service.requests().pop().unwrap();
        assert_clean(&alias, &seen.headers, &[("x-customer-id", "user-1"), ("x-user-roles", "a")]);
        assert_eq!(seen.header("x-customer-id"), Some("user-1"), "{alias}");
    }
}

/// Requests whose `Connection` header wants to have a say in our headers.
fn connection_tricks(token: &str) -> Vec<Ask> {
    [
        "x-customer-id",
        "X-Customer-Id",
        "close, x-customer-id",
        "x-customer-id, keep-alive",
        "keep-alive,x_customer_id",
        "x-forwarded-for, x-forwarded-proto, x-forwarded-host, forwarded",
        "x-request-id",
        "authorization",
        "host",
        "x-customer-id\r\nConnection: x-request-id",
        "\"x-customer-id\"",
        ",,x-customer-id,,",
    ]
    .iter()
    .map(|value| get("/").bearer(token).line(format!("Connection: {value}")))
    .collect()
}

#[test]
fn a_connection_header_can_neither_remove_nor_keep_ours() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let token = idp.token().build();
    for ask in connection_tricks(&token) {
        let case = String::from_utf8(ask.bytes()).unwrap();
        ask.header("x-customer-id", "forged").send(&gate).expect(200, &case);
        let Request { headers, .. } = service.last();
        assert_eq!(headers.one("x-customer-id"), Some("user-1"), "{case}");
        assert_eq!(headers.one("x-forwarded-for"), Some("127.0.0.1"), "{case}");
        assert_eq!(headers.one("host"), Some("gate.test"), "{case}");
        assert!(headers.has("x-request-id"), "{case}");
        assert_eq!(headers.one("authorization"), Some(format!("Bearer {token}").as_str()), "{case}");
        assert!(!headers.lists("connection", "x-customer-id"), "{case}: {headers:?}");
    }
}

#[test]
fn nor_in_front_of_an_http2_service() {
    let idp = Idp::start();
    let service = Http2Service::start(|_| Answer::ok(""));
    let gate = Setup::new(service.url())
        .upstream("http2 = true")
        .with(&idp.authenticator("main"))
        .with(IDENTITY)
        .start();
    let token = idp.token().build();
    for ask in connection_tricks(&token) {
        let case = String::from_utf8(ask.bytes()).unwrap();
        ask.send(&gate).expect(200, &case);
        let headers = service.requests().pop().unwrap().headers;
        assert_eq!(headers.one("x-customer-id"), Some("user-1"), "{case}");
        assert_eq!(headers.one("x-forwarded-for"), Some("127.0.0.1"), "{case}");
        assert!(headers.has("x-request-id") && headers.has("authorization"), "{case}");
        assert!(!headers.has("connection"), "{case}");
    }
}

#[test]
fn what_concerns_the_connection_is_not_forwarded() {
    let service = Service::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=77\r\n\
         Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Stay: 1\r\n\r\n",
    );
    let gate = Setup::public(&service).start();
    let reply = get("/")
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=99")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .header("Upgrade", "h2c")
        .header("X-Stay", "1")
        .send(&gate)
        .expect(200, "hop by hop");
    for (side, headers) in [("service", service.only().headers), ("client", reply.headers)] {
        for name in ["x-hop", "proxy-connection", "te", "upgrade"] {
            assert!(!headers.has(name), "the {side} received {name}: {headers:?}");
        }
        assert!(!headers.lists("connection", "x-hop"), "{side}: {headers:?}");
        assert!(!format!("{headers:?}").contains("timeout="), "{side}: {headers:?}");
        assert_eq!(headers.one("x-stay"), Some("1"), "{side}");
    }
}

#[test]
fn framing_is_the_gates_own() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client
        .send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    client.reply().expect(200, "chunked");
    assert_eq!(service.last().body, b"hi");
    ask("POST", "/length").body("hi").send(&gate).expect(200, "length");
    let seen = service.last();
    assert_eq!((seen.body.as_slice(), seen.header("content-length")), (b"hi".as_slice(), Some("2")));
    ask("POST", "/empty").body("").send(&gate).expect(200, "empty");
    assert_eq!(service.last().header("content-length"), Some("0"));
    get("/none").send(&gate).expect(200, "none");
    let seen = service.last();
    assert!(!seen.headers.has("content-length") && !seen.headers.has("transfer-encoding"), "{seen:?}");
}

#[test]
fn response_headers_are_set_on_every_response() {
    let service = Service::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\nX-Request-Id: mine\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Frame-Options: ALLOWALL\r\n\r\n",
    );
    let gate = Setup::public(&service)
        .route("/denied", "access = \"deny\"")
        .with("[response_headers]\nstrict-transport-security = \"max-age=63072000\"\nX-Frame-Options = \"DENY\"")
        .start();
    let served = get("/").send(&gate).expect(200, "served");
    assert_eq!(served.headers.all("set-cookie"), ["a=1", "b=2"]);
    assert_ne!(served.request_id(), "mine");
    assert_eq!(Some(served.request_id().as_str()), service.only().header("x-request-id"));
    let denied = get("/denied").send(&gate).expect(403, "denied");
    let refused = get("//").send(&gate).expect(400, "refused");
    for reply in [served, denied, refused] {
        assert_eq!(reply.header("strict-transport-security"), Some("max-age=63072000"));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(gate.access(&reply)["status"], reply.status);
    }
}
