//! The pieces of the demo over real sockets; the whole of it is tested through the command.

use super::scenario::{self, Addresses, Finding};
use super::{AUDIENCE, CONFIGURATION, Stage, echo, issuer::Issuer, set_stage, stage, tokens};
use crate::config::load::parse;
use std::net::SocketAddr;
use std::sync::Arc;

const URL: &str = "http://127.0.0.1:9100";

fn with_stage<T>(test: impl AsyncFnOnce(SocketAddr, SocketAddr) -> T) -> T {
    let (at_issuer, at_echo) = (stage::listen(0).unwrap(), stage::listen(0).unwrap());
    let addresses = (at_issuer.local_addr().unwrap(), at_echo.local_addr().unwrap());
    let stage: Stage = set_stage(at_issuer, Arc::new(Issuer::new(URL).unwrap()), at_echo).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(test(addresses.0, addresses.1));
    stage.clear();
    assert!(std::net::TcpStream::connect(addresses.1).is_err(), "the service is still there");
    outcome
}

/// Plays the scenario of that title against the service itself, without a gate in between.
async fn play(title: &str, echo: SocketAddr) -> Vec<Finding> {
    let tokens = tokens(&Issuer::new(URL).unwrap(), URL).unwrap();
    let all = scenario::all(&tokens, echo::EVENTS);
    let scenario = all.iter().find(|scenario| scenario.title() == title).unwrap();
    scenario.play(Addresses { gate: echo, admin: echo }).await
}

fn got(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.got.as_str()).collect()
}

#[test]
fn the_service_shows_what_reached_it() {
    with_stage(async |_, echo| {
        let forged = play("A forged x-customer-id beside a good token is replaced", echo).await;
        assert_eq!(got(&forged), ["status 200", "service sees x-customer-id: c-1"]);
        assert!(!forged[1].ok, "nothing stands in between, so the forgery must be seen");
        let posted = play("A request body arrives as it was sent", echo).await;
        assert!(posted.iter().all(|finding| finding.ok), "{:?}", got(&posted));
    });
}

#[test]
fn paths_are_sent_as_they_are_written() {
    with_stage(async |_, echo| {
        let address = Addresses { gate: echo, admin: echo };
        let tokens = tokens(&Issuer::new(URL).unwrap(), URL).unwrap();
        let all = scenario::all(&tokens, echo::EVENTS);
        let climbing = all.iter().find(|one| one.title().starts_with("A path that climbs")).unwrap();
        assert!(climbing.curl(address).contains("--path-as-is 'http://127.0.0.1:"));
        // The service got it, dots and all: only a gate would have refused it.
        assert_eq!(got(&climbing.play(address).await), ["status 200", "service sees the request"]);
    });
}

#[test]
fn events_come_one_by_one() {
    with_stage(async |_, echo| {
        let findings = play("Server-sent events arrive as they are sent", echo).await;
        assert_eq!(got(&findings), ["status 200", "5 events, one by one"]);
    });
}

#[test]
fn a_websocket_greets_and_echoes() {
    with_stage(async |_, echo| {
        let findings = play("A WebSocket", echo).await;
        let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let messages = "messages \"welcome, whoever you are\", \"hello\"";
        assert_eq!(got(&findings), ["status 101", accept, messages]);
    });
}

#[test]
fn the_issuer_publishes_discovery_and_keys() {
    with_stage(async |issuer, _| {
        let runtime = tokio::task::spawn_blocking(move || {
            ["/.well-known/openid-configuration", "/jwks.json"].map(|path| fetch(issuer, path))
        });
        let [discovery, keys] = runtime.await.unwrap();
        assert!(discovery.contains(&format!("\"issuer\":\"{URL}\"")), "{discovery}");
        assert!(discovery.contains(&format!("\"jwks_uri\":\"{URL}/jwks.json\"")), "{discovery}");
        assert!(keys.contains("\"kid\":\"demo-es256\"") && keys.contains("\"kid\":\"demo-rs256\""), "{keys}");
    });
}

fn fetch(address: SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text
}

#[test]
fn nobody_there_is_a_finding() {
    let address = stage::free_address(0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let findings = runtime.block_on(play("No token", address));
    assert!(findings.iter().all(|finding| !finding.ok && finding.got.starts_with("cannot connect")));
}

#[test]
fn a_taken_port_gives_way_to_a_free_one() {
    let taken = stage::listen(0).unwrap().local_addr().unwrap();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    assert_ne!(stage::free_address(taken.port()).unwrap(), taken);
    drop(holder);
}

#[test]
fn the_configuration_can_be_taken_as_it_is() {
    let loaded = parse("demo.toml", CONFIGURATION, |_| None).unwrap();
    assert_eq!(loaded.config.server.listen.0, ["127.0.0.1:8080"]);
    assert_eq!(loaded.config.admin.listen, "127.0.0.1:9090");
    assert!(CONFIGURATION.contains(AUDIENCE));
}
