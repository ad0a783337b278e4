//! PROXY headers in front of connections: whose address counts, and who is not let in.

use crate::support::certificates::Certificates;
use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::temp::TempDir;
use crate::support::wait::let_pass;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SPOKEN: &str = "proxy_protocol = true";
const LINE: &str = "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

/// What the service is told about the client of a connection that begins so.
fn told(gate: &Gate, service: &Service, header: &[u8], extra: &str) -> String {
    let mut client = gate.connect();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{extra}\r\n");
    client.send([header, request.as_bytes()].concat());
    client.reply().expect(200, extra);
    service.last().header("x-forwarded-for").unwrap().to_owned()
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server(SPOKEN).start();
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 1, 187];
    let mut six = [0; 36];
    six[..16].copy_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    for (header, address) in [
        (LINE.as_bytes().to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.8 ::1 4711 443\r\n".to_vec(), "203.0.113.8"),
        (b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), "127.0.0.1"),
        (binary(0x21, 0x11, &four), "192.0.2.1"),
        (binary(0x21, 0x11, &[&four[..], &[0x20; 3000]].concat()), "192.0.2.1"),
        (binary(0x21, 0x21, &six), "2001:db8::1"),
        (binary(0x21, 0x31, &[b'/'; 216]), "unknown"),
        (binary(0x20, 0x11, &four), "127.0.0.1"),
        (binary(0x21, 0x00, &[]), "127.0.0.1"),
    ] {
        assert_eq!(told(&gate, &service, &header, ""), address, "{header:?}");
    }
    // The log has it too, and a second request on the connection.
    let mut client = gate.connect();
    client.send(LINE);
    for _ in 0..2 {
        let reply = get("/").on(&mut client).expect(200, "after the header");
        assert_eq!(gate.access(&reply)["client"], "203.0.113.7");
    }
    // HTTP/2 with prior knowledge begins behind it as well.
    let mut client = gate.connect();
    client.send([LINE.as_bytes(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"].concat());
    assert_eq!(client.wire().exactly(4).unwrap()[3], 4, "SETTINGS");
}

#[test]
fn a_header_may_come_in_pieces() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server(SPOKEN).start();
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 1, 187];
    for header in [LINE.as_bytes().to_vec(), binary(0x21, 0x11, &four)] {
        let mut client = gate.connect();
        for byte in &header {
            client.send([*byte]);
            let_pass(Duration::from_millis(1));
        }
        get("/").on(&mut client).expect(200, "in pieces");
    }
    assert_eq!(service.requests().len(), 2);
}

#[test]
fn a_connection_without_a_header_is_closed() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server(SPOKEN).start();
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let cases = [
        "",
        "PROXY TCP4 1.2.3 10.0.0.1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 10.0.0.1 1 2\n",
        "\r\n\r\n\0\r\nQUIT\n\x31\x11",
        &long,
    ];
    for case in cases {
        let mut client = gate.connect();
        client.send_anyway(format!("{case}{request}"));
        client.assert_closed(case);
    }
    gate.wait_metric("connections_refused_total", &[("reason", "proxy_protocol")], cases.len());
    // A probe of the port is none of them.
    drop(gate.connect());
    // A second header is no request, and changes nothing.
    let mut client = gate.connect();
    client.send_anyway(format!("{LINE}PROXY TCP4 9.9.9.9 10.0.0.1 1 2\r\n{request}"));
    client.reply().expect(400, "a second header");
    service.assert_untouched("no header");
    gate.wait_metric("connections_refused_total", &[("reason", "proxy_protocol")], 5);
}

#[test]
fn a_slow_header_holds_its_place_no_longer_than_a_slow_head() {
    let service = Service::ok("");
    let limits = "[server.limits]\nheader_timeout = \"500ms\"\nconnections = 2\n";
    let gate = Setup::public(&service).server(SPOKEN).with(limits).start();
    let mut slow = [gate.connect(), gate.connect()];
    slow[0].send("PROXY TCP4 1.2.");
    let begin = Instant::now();
    assert_eq!(told(&gate, &service, LINE.as_bytes(), ""), "203.0.113.7");
    assert!(begin.elapsed() > Duration::from_millis(300), "{:?}", begin.elapsed());
    for slow in &mut slow {
        slow.assert_closed("slow");
    }
}

#[test]
fn only_load_balancers_may_send_headers() {
    let service = Service::ok("");
    let strangers = format!("{SPOKEN}\nproxy_protocol_from = [\"10.0.0.0/8\"]");
    let gate = Setup::public(&service).server(&strangers).start();
    let mut client = gate.connect();
    client.send_anyway(format!("{LINE}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.assert_closed("a stranger");
    service.assert_untouched("a stranger");
    let known = format!("{SPOKEN}\nproxy_protocol_from = [\"127.0.0.0/8\"]");
    let gate = Setup::public(&service).server(&known).start();
    assert_eq!(told(&gate, &service, LINE.as_bytes(), ""), "203.0.113.7");
    let idle = Setup::public(&service).server("proxy_protocol_from = [\"10.0.0.0/8\"]").refused();
    assert!(idle.text.contains("proxy_protocol_from"), "{idle:?}");
}

#[test]
fn trust_goes_by_the_address_in_the_header() {
    let service = Service::ok("");
    let claim = "X-Forwarded-For: 6.6.6.6\r\n";
    // The load balancer passes on what clients write: that it came through it makes it no truer.
    let gate = Setup::public(&service).server(SPOKEN).server("trusted_proxies = [\"127.0.0.1\"]").start();
    assert_eq!(told(&gate, &service, LINE.as_bytes(), claim), "203.0.113.7");
    assert_eq!(told(&gate, &service, b"PROXY UNKNOWN\r\n", claim), "6.6.6.6, 127.0.0.1");
    // A CDN in front of the load balancer is believed by its own address.
    let gate =
        Setup::public(&service).server(SPOKEN).server("trusted_proxies = [\"203.0.113.0/24\"]").start();
    assert_eq!(told(&gate, &service, LINE.as_bytes(), claim), "6.6.6.6, 203.0.113.7");
    assert_eq!(told(&gate, &service, b"PROXY UNKNOWN\r\n", claim), "127.0.0.1");
}

#[test]
fn nobody_is_introduced_unless_it_is_configured() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server("trusted_proxies = [\"127.0.0.1\"]").start();
    let mut client = gate.connect();
    client.send_anyway(format!("{LINE}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.reply().expect(400, "not spoken");
    service.assert_untouched("not spoken");
}

#[test]
fn tls_begins_behind_the_header() {
    let (service, certificates) = (Service::ok("hello"), Certificates::new());
    let tls = format!("{SPOKEN}\n[server.tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\n");
    let setup = Setup::public(&service).server(&tls);
    certificates.write_to(&setup.dir);
    let gate = setup.start();
    let config = certificates.client_config(false, &[b"http/1.1"]);
    let mut connection = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(gate.address()).unwrap();
    // In one piece with the beginning of the handshake.
    let mut hello = LINE.as_bytes().to_vec();
    connection.write_tls(&mut hello).unwrap();
    socket.write_all(&hello).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = service.only();
    assert_eq!(
        (seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")),
        (Some("203.0.113.7"), Some("https"))
    );
}

#[test]
fn clients_on_unix_sockets_are_introduced_too() {
    let (service, dir) = (Service::ok(""), TempDir::new());
    let path = dir.file("gate.sock");
    let listen = format!("unix:{}", path.display());
    let gate = Setup::public(&service).listen(&listen).server(SPOKEN).start();
    for (header, address) in [(LINE, "203.0.113.7"), ("PROXY UNKNOWN\r\n", "unknown")] {
        let mut client = Client::unix(&path);
        client.send(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.reply().expect(200, header);
        assert_eq!(service.last().header("x-forwarded-for"), Some(address));
    }
    let mut client = Client::unix(&path);
    client.send_anyway("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.assert_closed("no header");
    assert_eq!(service.requests().len(), 2);
    drop(gate);
}
