//! TLS towards clients and towards services.

use crate::support::certificates::Certificates;
use crate::support::client::Client;
use crate::support::http2::{Answer, Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use crate::support::wait::until_true;
use std::time::Instant;

const SERVER: &str = "[server.tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\n";

fn with_files(setup: Setup, certificates: &Certificates) -> Setup {
    certificates.write_to(&setup.dir);
    setup
}

#[test]
fn clients_are_served_over_tls() {
    let (service, certificates) = (Service::ok("hello"), Certificates::new());
    let gate = with_files(Setup::public(&service).server(SERVER), &certificates).start();
    let mut client = Client::tls(gate.address(), &certificates, false);
    for _ in 0..2 {
        assert_eq!(get("/a").on(&mut client).expect(200, "https").text(), "hello");
    }
    assert_eq!(service.last().header("x-forwarded-proto"), Some("https"));
    let reply = Http2::tls(gate.address(), &certificates).get("/b", &[]);
    assert_eq!((reply.status, service.last().target.as_str()), (200, "/b"));
    let mut plain = gate.connect();
    plain.send_anyway(get("/plain").bytes());
    assert!(plain.try_reply("GET").is_err(), "no plain HTTP on a TLS port");
    assert_eq!(service.requests().len(), 3);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (service, certificates, strangers) = (Service::ok("hello"), Certificates::new(), Certificates::new());
    for (mode, without) in [("required", false), ("optional", true)] {
        let tls = format!("{SERVER}client_ca_file = \"ca.pem\"\nclient_auth = {mode:?}\n");
        let gate = with_files(Setup::public(&service).server(&tls), &certificates).start();
        let mut known = Client::tls(gate.address(), &certificates, true);
        get("/").on(&mut known).expect(200, mode);
        let mut nameless = Client::tls(gate.address(), &certificates, false);
        nameless.send_anyway(get("/").bytes());
        assert_eq!(nameless.try_reply("GET").is_ok(), without, "{mode}: no certificate");
        let before = service.received();
        // Shows a certificate of another authority (and trusts the gate's).
        let mixed = Certificates { ca: certificates.ca.clone(), ..clone(&strangers) };
        let mut stranger = Client::tls(gate.address(), &mixed, true);
        stranger.send_anyway(get("/").bytes());
        assert!(stranger.try_reply("GET").is_err(), "{mode}: another authority's certificate");
        assert_eq!(service.received(), before);
    }
}

fn clone(certificates: &Certificates) -> Certificates {
    Certificates {
        ca: certificates.ca.clone(),
        server: certificates.server.clone(),
        server_key: certificates.server_key.clone(),
        client: certificates.client.clone(),
        client_key: certificates.client_key.clone(),
        authority: certificates.authority.clone(),
    }
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let (service, old, new) = (Service::ok("hello"), Certificates::new(), Certificates::new());
    let gate = with_files(Setup::public(&service).server(SERVER), &old).start();
    let mut open = Client::tls(gate.address(), &old, false);
    get("/").on(&mut open).expect(200, "old certificate");
    new.write_to(&gate.setup.dir);
    until_true("the new certificate is shown", || {
        let mut client = Client::tls(gate.address(), &new, false);
        client.send_anyway(get("/").bytes());
        client.try_reply("GET").is_ok()
    });
    get("/").on(&mut open).expect(200, "connections stay");
}

#[test]
fn services_are_reached_over_tls() {
    let certificates = Certificates::new();
    let service = Service::tls(&certificates, false, |exchange| exchange.ok("hello"));
    let trusting = "[upstreams.app.tls]\nca_file = \"ca.pem\"\n";
    let gate = with_files(Setup::new(service.url()).upstream(trusting).with(PUBLIC), &certificates).start();
    assert_eq!(get("/a").host("public.test").send(&gate).expect(200, "https").text(), "hello");
    assert_eq!(service.only().header("host"), Some("public.test"));

    let http2 = Http2Service::tls(&certificates, |_| Answer::ok("hello"));
    let gate = with_files(
        Setup::new(http2.url()).upstream(&format!("http2 = true\n{trusting}")).with(PUBLIC),
        &certificates,
    )
    .start();
    get("/a").send(&gate).expect(200, "h2 by ALPN");
    assert_eq!(http2.only().uri.rsplit_once('/').unwrap().1, "a");
}

#[test]
fn services_must_be_who_they_say() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let service = Service::tls(&certificates, false, |exchange| exchange.ok("hello"));
    let url = service.url().to_owned();
    let by_address = url.replace("localhost", "127.0.0.1");
    for (case, url, files, keys, status) in [
        ("the system's authorities", &url, &certificates, "", 502),
        ("another authority", &url, &others, "ca_file = \"ca.pem\"", 502),
        ("another name", &url, &certificates, "ca_file = \"ca.pem\"\nserver_name = \"other.test\"", 502),
        ("its address", &by_address, &certificates, "ca_file = \"ca.pem\"", 200),
        (
            "the right name",
            &by_address,
            &certificates,
            "ca_file = \"ca.pem\"\nserver_name = \"localhost\"",
            200,
        ),
    ] {
        let before = service.requests().len();
        let setup = Setup::new(url).upstream(&format!("[upstreams.app.tls]\n{keys}")).with(PUBLIC);
        let gate = with_files(setup, files).start();
        let reply = get("/").send(&gate).expect(status, case);
        if status == 502 {
            assert_eq!(gate.reason(&reply), "upstream_unreachable", "{case}");
            assert_eq!(service.requests().len(), before, "{case}");
        }
    }
}

#[test]
fn services_may_want_to_see_a_certificate() {
    let certificates = Certificates::new();
    let service = Service::tls(&certificates, true, |exchange| exchange.ok("hello"));
    let own = "cert_file = \"client.pem\"\nkey_file = \"client.key\"\n";
    for (case, own, status) in [("shown", own, 200), ("not shown", "", 502)] {
        let tls = format!("[upstreams.app.tls]\nca_file = \"ca.pem\"\n{own}");
        let gate = with_files(Setup::new(service.url()).upstream(&tls).with(PUBLIC), &certificates).start();
        get("/").send(&gate).expect(status, case);
    }
    service.only();
}

#[test]
fn services_are_reached_over_unix_sockets() {
    let service = Service::unix(|exchange| exchange.ok("hello"));
    let idp = Idp::start();
    let gate = Setup::guarded(&service, &idp).start();
    let reply = get("/a?b").bearer(&idp.token().build()).send(&gate).expect(200, "unix");
    assert_eq!(reply.text(), "hello");
    let seen = service.only();
    assert_eq!(
        (seen.target.as_str(), seen.header("host"), seen.header("x-customer-id")),
        ("/a?b", Some("gate.test"), Some("user-1"))
    );
}

#[test]
fn certificates_that_cannot_be_right_are_refused_at_start() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    for (case, cert, key) in [
        ("no certificate", "", certificates.server_key.as_str()),
        ("no key", certificates.server.as_str(), ""),
        ("another key", certificates.server.as_str(), others.server_key.as_str()),
        (
            "garbage",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            certificates.server_key.as_str(),
        ),
    ] {
        let setup = Setup::new("http://127.0.0.1:1").with(PUBLIC).server(SERVER);
        let refusal = setup.file("server.pem", cert).file("server.key", key).refused();
        assert_eq!(refusal.code, Some(78), "{case}: {refusal:?}");
        assert!(refusal.text.contains("server.tls"), "{case}: {refusal:?}");
    }
}

#[test]
fn a_half_written_pair_changes_nothing() {
    let (service, old, new) = (Service::ok("hello"), Certificates::new(), Certificates::new());
    let gate = with_files(Setup::public(&service).server(SERVER), &old).start();
    gate.setup.dir.write("server.pem", &new.server);
    until_true("it is noticed", || {
        gate.log_lines().iter().any(|line| line.contains("the old certificate stays"))
    });
    get("/").on(&mut Client::tls(gate.address(), &old, false)).expect(200, "the old pair");
    gate.setup.dir.write("server.key", &new.server_key);
    until_true("the other half", || {
        let mut client = Client::tls(gate.address(), &new, false);
        client.send_anyway(get("/").bytes());
        client.try_reply("GET").is_ok()
    });
}

#[test]
fn silent_handshakes_hold_no_places() {
    let (service, certificates) = (Service::ok("hello"), Certificates::new());
    let limits = "[server.limits]\nheader_timeout = \"500ms\"\nconnections = 3\n";
    let gate = with_files(Setup::public(&service).server(SERVER).with(limits), &certificates).start();
    let mut silent: Vec<Client> = (0..12).map(|_| gate.connect()).collect();
    // The beginning of a handshake is as good as none.
    silent.iter_mut().skip(6).for_each(|client| client.send_anyway(b"\x16\x03\x01\x02\x00\x01"));
    let begin = Instant::now();
    get("/").on(&mut Client::tls(gate.address(), &certificates, false)).expect(200, "behind them");
    assert!((400..8000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    for client in &mut silent {
        client.assert_closed("silent");
    }
    gate.wait_metric("connections_refused_total", &[("reason", "tls_handshake")], 12);
}

#[test]
fn the_protocol_is_the_one_agreed_upon() {
    let (service, certificates) = (Service::ok("hello"), Certificates::new());
    let gate = with_files(Setup::public(&service).server(SERVER), &certificates).start();
    for (offered, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
        (&[b"spdy/3", b"http/1.1"], Some(b"http/1.1")),
    ] {
        let config = certificates.client_config(false, offered);
        let connection = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let socket = std::net::TcpStream::connect(gate.address()).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        stream.conn.complete_io(&mut stream.sock).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), agreed, "{offered:?}");
    }
    // Nothing that both speak: no connection (RFC 7301 §3.2).
    let config = certificates.client_config(false, &[b"spdy/3"]);
    let mut connection = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(gate.address()).unwrap();
    assert!(connection.complete_io(&mut socket).is_err());
}

#[test]
fn a_client_gets_the_certificate_that_bears_the_name_it_asks_for() {
    let (service, first, second) = (Service::ok("hello"), Certificates::new(), Certificates::new());
    let gate = with_files(
        Setup::public(&service)
            .server(SERVER)
            .with("[[server.tls.certificates]]\ncert_file = \"second.pem\"\nkey_file = \"second.key\""),
        &first,
    );
    // Both are for localhost: the first one keeps the name that both bear, the second has one of its own.
    let (chain, key) = second.another(&["second.test", "*.wild.test", "localhost"]);
    gate.dir.write("second.pem", &chain);
    gate.dir.write("second.key", &key);
    let gate = gate.start();
    for (name, whose) in
        [("localhost", &first), ("second.test", &second), ("SECOND.test", &second), ("a.wild.test", &second)]
    {
        assert!(whose.shown(gate.address(), name), "{name}");
    }
    // A name that nobody bears gets the first one, which does not bear it.
    assert!(!first.shown(gate.address(), "other.test") && !second.shown(gate.address(), "a.b.wild.test"));
    // Read again as the first one is, and only as a whole.
    let (chain, key) = second.another(&["third.test"]);
    gate.setup.dir.write("second.pem", &chain);
    until_true("it is noticed", || {
        gate.log_lines().iter().any(|line| line.contains("the old certificate stays"))
    });
    assert!(second.shown(gate.address(), "second.test"));
    gate.setup.dir.write("second.key", &key);
    until_true("the new one is shown", || second.shown(gate.address(), "third.test"));
}

#[test]
fn a_further_certificate_must_bear_a_name() {
    let (service, certificates) = (Service::ok(""), Certificates::new());
    let setup = with_files(
        Setup::public(&service)
            .server(SERVER)
            .with("[[server.tls.certificates]]\ncert_file = \"second.pem\"\nkey_file = \"second.key\""),
        &certificates,
    );
    let (chain, key) = certificates.another(&["127.0.0.1"]);
    setup.dir.write("second.pem", &chain);
    setup.dir.write("second.key", &key);
    let refusal = setup.refused();
    assert!(refusal.text.contains("second.pem: the certificate bears no DNS name"), "{}", refusal.text);
}
