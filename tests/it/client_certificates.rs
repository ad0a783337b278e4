//! Who a client is by its certificate: attributes of the connection that no token can set.

use crate::support::certificates::Certificates;
use crate::support::client::Client;
use crate::support::gate::{Gate, sidegate};
use crate::support::http2::{Frames, Http2};
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};

const SPIFFE: &str = "spiffe://prod.example/ns/billing/sa/app";

const TOLD: &str = "\n[identity.headers]\n\
    x-subject = { attribute = \"client_cert_subject\", optional = true }\n\
    x-san = { attribute = \"client_cert_san\", optional = true }\n\
    x-spiffe = { attribute = \"client_cert_spiffe_id\", optional = true }\n\
    x-fingerprint = { attribute = \"client_cert_fingerprint\", optional = true }\n";

fn named(uri: &str, organization: &str) -> Certificates {
    Certificates::with_client(|params: &mut CertificateParams| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, "billing");
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    })
}

/// A gate that asks for certificates.
fn start(setup: Setup, certificates: &Certificates, auth: &str) -> Gate {
    let tls =
        "[server.tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\nclient_ca_file = \"ca.pem\"";
    let setup = setup.server(&format!("{tls}\nclient_auth = {auth:?}"));
    certificates.write_to(&setup.dir);
    setup.start()
}

#[test]
fn the_service_is_told_who_the_client_is() {
    let (service, certificates) = (Service::ok(""), named(SPIFFE, "Example, Inc."));
    let gate = start(Setup::public(&service).with(TOLD), &certificates, "required");
    let mut client = Client::tls(gate.address(), &certificates, true);
    for _ in 0..2 {
        let claims =
            get("/").header("X-Spiffe", "spiffe://prod.example/admin").header("X_Subject", "CN=admin");
        claims.on(&mut client).expect(200, "shown");
        let seen = service.last();
        assert_eq!(seen.headers.all("x-subject"), [r"CN=billing,O=Example\, Inc."]);
        assert_eq!(seen.headers.all("x-spiffe"), [SPIFFE]);
        assert_eq!(seen.header("x-san"), Some(format!("DNS:client.test,URI:{SPIFFE}").as_str()));
        assert_eq!(seen.header("x-fingerprint").unwrap().len(), 64);
        assert!(!seen.headers.has("x_subject"));
    }
    // Over HTTP/2 too.
    let reply = Http2::tls_as(gate.address(), &certificates, true).send("GET", "/", &[], Frames::default());
    assert_eq!((reply.status, service.last().header("x-spiffe")), (200, Some(SPIFFE)));
}

#[test]
fn without_a_certificate_nothing_is_said() {
    let (service, idp, certificates) = (Service::ok(""), Idp::start(), named(SPIFFE, "Example"));
    let setup = |headers: &str| {
        let routes = "\n[[routes]]\npath = \"/open\"\naccess = \"public\"\n";
        Setup::new(service.url()).with(&idp.authenticator("main")).with(headers).with(routes)
    };
    // What is optional is left out, and what a client says of itself removed.
    let gate = start(setup(TOLD), &certificates, "optional");
    let mut nameless = Client::tls(gate.address(), &certificates, false);
    let token = idp.token().claim("client_cert_spiffe_id", SPIFFE).claim("client_cert_san", "DNS:a").build();
    for ask in [get("/open"), get("/").bearer(&token)] {
        ask.header("X-Spiffe", SPIFFE).on(&mut nameless).expect(200, "nameless");
        let seen = service.last();
        for name in ["x-subject", "x-san", "x-spiffe", "x-fingerprint"] {
            assert!(!seen.headers.has(name), "{name}");
        }
    }
    // What is not refuses whoever must be known.
    let needed = "\n[identity.headers]\nx-spiffe = \"client_cert_spiffe_id\"\n";
    let gate = start(setup(needed), &certificates, "optional");
    let mut nameless = Client::tls(gate.address(), &certificates, false);
    get("/open").on(&mut nameless).expect(200, "public");
    let before = service.received();
    let reply = get("/").bearer(&token).on(&mut nameless).expect(401, "known, but for the certificate");
    assert_eq!(gate.reason(&reply), "token_claim");
    assert_eq!(service.received(), before);
    let mut shown = Client::tls(gate.address(), &certificates, true);
    get("/").bearer(&token).on(&mut shown).expect(200, "with certificate");
    assert_eq!(service.last().header("x-spiffe"), Some(SPIFFE));
}

#[test]
fn one_token_comes_over_several_connections() {
    let (service, idp, certificates) = (Service::ok(""), Idp::start(), named(SPIFFE, "Example"));
    let rule = format!("require.expression = 'identity.client_cert_spiffe_id == \"{SPIFFE}\"'");
    let by_name = "require.expression = '\"DNS:client.test\" in identity.client_cert_san'";
    let gate = start(
        Setup::guarded(&service, &idp).route("/spiffe", &rule).route("/names", by_name),
        &certificates,
        "optional",
    );
    let token = idp.token().claim("client_cert_spiffe_id", SPIFFE).build();
    let mut shown = Client::tls(gate.address(), &certificates, true);
    let mut nameless = Client::tls(gate.address(), &certificates, false);
    // What is known of the token is shared; what the connection says is not.
    for _ in 0..2 {
        for path in ["/spiffe", "/names"] {
            get(path).bearer(&token).on(&mut shown).expect(200, path);
            get(path).bearer(&token).on(&mut nameless).expect(403, path);
        }
    }
    assert_eq!(service.requests().len(), 4);
}

#[test]
fn what_cannot_stand_in_a_header_is_refused() {
    let (service, idp) = (Service::ok(""), Idp::start());
    for (uri, status) in [("https://a.example/x", 200), ("https://a.example/x,DNS:admin.example", 401)] {
        let certificates = named(uri, "Example");
        let setup = Setup::new(service.url()).with(&idp.authenticator("main")).with(TOLD);
        let gate = start(setup, &certificates, "required");
        let mut client = Client::tls(gate.address(), &certificates, true);
        get("/").bearer(&idp.token().build()).on(&mut client).expect(status, uri);
    }
    assert!(!service.only().headers.has("x-spiffe"), "no SPIFFE id");
}

#[test]
fn nothing_else_can_set_these_attributes() {
    let idp = Idp::start();
    for name in ["client_cert_subject", "client_cert_san", "client_cert_spiffe_id", "client_cert_fingerprint"]
    {
        let claims =
            format!("{}\n[authenticators.main.claims]\n{name} = \"sub\"\n", idp.authenticator("main"));
        let refusal = Setup::new("http://127.0.0.1:1").with(&claims).refused();
        assert!(refusal.text.contains(name), "{refusal:?}");
        let keys = "\n[authenticators.keys]\nkind = \"api_key\"\nfile = \"keys.toml\"\n";
        let entry = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n{name} = \"x\"\n", "a".repeat(64));
        let refusal = Setup::new("http://127.0.0.1:1").with(keys).file("keys.toml", entry).refused();
        assert!(refusal.text.contains("sidegate sets this attribute itself"), "{refusal:?}");
    }
}

#[test]
fn whoever_wants_certificates_has_to_ask_for_them() {
    let setup = Setup::new("http://127.0.0.1:1").with(PUBLIC).with(TOLD);
    let file = setup.write();
    let checked = sidegate(&["check", "--config", file.to_str().unwrap()]);
    let text = [checked.stdout, checked.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("client_ca_file"), "{text}");
}

#[test]
fn certificates_that_have_expired_are_refused() {
    let service = Service::ok("");
    let expired = Certificates::with_client(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for auth in ["required", "optional"] {
        let gate = start(Setup::public(&service), &expired, auth);
        let mut client = Client::tls(gate.address(), &expired, true);
        client.send_anyway(get("/").bytes());
        assert!(client.try_reply("GET").is_err(), "{auth}");
        gate.wait_metric("connections_refused_total", &[("reason", "tls_handshake")], 1);
    }
    service.assert_untouched("expired");
}

#[test]
fn every_connection_shows_its_certificate() {
    // A resumed session would not be verified again.
    let (service, certificates) = (Service::ok(""), Certificates::new());
    let resumptions = |gate: &Gate, own: bool| {
        let config = certificates.client_config(own, &[b"http/1.1"]);
        let kinds = (0..3).map(|_| {
            let connection = rustls::ClientConnection::new(config.clone(), "localhost".try_into().unwrap());
            let socket = std::net::TcpStream::connect(gate.address()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection.unwrap(), socket);
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut stream, request).unwrap();
            std::io::Read::read_to_end(&mut stream, &mut Vec::new()).ok();
            stream.conn.handshake_kind().unwrap()
        });
        kinds.filter(|kind| *kind == rustls::HandshakeKind::Resumed).count()
    };
    let mutual = start(Setup::public(&service), &certificates, "required");
    assert_eq!(resumptions(&mutual, true), 0);
    let setup = Setup::public(&service);
    let setup = setup.server("[server.tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"");
    certificates.write_to(&setup.dir);
    assert_eq!(resumptions(&setup.start(), false), 2, "the others may resume");
}
