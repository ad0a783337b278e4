//! Tracing: which spans a collector gets, what the service is told of the trace, and that no collector holds up a request.

use crate::support::frames::{Frame, Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::http2::{Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::Setup;
use crate::support::wait::{until, until_true};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn sent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn tracing(collector: &str) -> String {
    format!("[tracing]\notlp_endpoint = \"{collector}\"\nservice_name = \"front door\"")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Takes everything.
fn collector() -> Service {
    Service::raw("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
}

/// All spans so far.
fn spans(collector: &Service) -> Vec<Span> {
    let messages = collector.requests().into_iter().filter(|request| request.complete).map(|request| {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap()
    });
    messages
        .flat_map(|message| message.resource_spans)
        .flat_map(|from| from.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

/// The value of an attribute, as a text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// Waits for the spans of the request to this path: what was served, and the call to the service if there was one.
#[track_caller]
fn spans_of(collector: &Service, path: &str) -> (Span, Option<Span>) {
    let served = until(&format!("the span of {path}"), || {
        spans(collector).into_iter().find(|span| attribute(span, "url.path").as_deref() == Some(path))
    });
    let call = spans(collector).into_iter().find(|span| span.parent_span_id == served.span_id);
    (served, call)
}

#[test]
fn a_request_becomes_two_spans_of_the_callers_trace() {
    let (collector, service, idp) = (collector(), Service::ok("hello"), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .with(&tracing(collector.url()))
        .with("[tracing.attributes]\n\"deployment.environment.name\" = \"test\"")
        .route("/orders/{id}", "")
        .start();
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let reply = get("/orders/7?secret=1")
        .bearer(&idp.token().build())
        .header("traceparent", &sent("01"))
        .header("tracestate", "vendor=opaque")
        .send(&gate)
        .expect(200, "a traced request");
    let (served, call) = spans_of(&collector, "/orders/7");
    let call = call.expect("a span of the call");
    assert_eq!((served.kind, call.kind), (SERVER, CLIENT));
    for span in [&served, &call] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "vendor=opaque");
        assert!(before <= span.start_time_unix_nano.into(), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    assert!(served.start_time_unix_nano <= call.start_time_unix_nano);
    assert!(call.end_time_unix_nano <= served.end_time_unix_nano);
    assert_eq!(hex(&served.parent_span_id), CALLER);
    assert_eq!(served.name, "GET /orders/{id}");
    let request_id = reply.request_id();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("server.address", "gate.test"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("sidegate.route", "/orders/{id}"),
        ("sidegate.decision", "allow"),
        ("sidegate.reason", "allowed"),
        ("sidegate.authenticator", "main"),
        ("sidegate.request_id", request_id.as_str()),
    ] {
        assert_eq!(attribute(&served, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&call, "sidegate.upstream").as_deref(), Some("app"));
    assert!(served.status.is_none() && call.status.is_none());
    // The service is below our call, and nobody is told the query.
    let seen = service.only();
    assert_eq!(seen.header("traceparent"), Some(format!("00-{TRACE}-{}-01", hex(&call.span_id)).as_str()));
    assert_eq!(seen.header("tracestate"), Some("vendor=opaque"));
    assert_eq!(gate.access(&reply)["trace_id"], TRACE);
    let posted = collector.requests();
    assert!(posted.iter().all(|request| !String::from_utf8_lossy(&request.body).contains("secret")));
    let message = ExportTraceServiceRequest::decode(posted[0].body.as_slice()).unwrap();
    let from = message.resource_spans[0].resource.clone().unwrap().attributes;
    let names: Vec<&str> = from.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(names, ["service.name", "deployment.environment.name"]);
}

#[test]
fn a_refusal_is_a_span_without_a_call() {
    let (collector, service, idp) = (collector(), Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(&tracing(collector.url())).start();
    ask("DELETE", "/refused").send(&gate).expect(401, "nobody");
    let (served, call) = spans_of(&collector, "/refused");
    assert!(call.is_none());
    assert_eq!(attribute(&served, "sidegate.reason").as_deref(), Some("credential_missing"));
    assert_eq!(attribute(&served, "http.response.status_code").as_deref(), Some("401"));
    assert!(served.parent_span_id.is_empty() && served.status.is_none());
    service.assert_untouched("a refusal");
}

#[test]
fn a_service_that_fails_is_an_error_of_both_spans() {
    let (collector, closed) = (collector(), ClosedPort::new());
    let gate = Setup::new(&format!("http://{}", closed.address()))
        .with("[policy]\naccess = \"public\"")
        .with(&tracing(collector.url()))
        .start();
    get("/gone").send(&gate).expect(502, "no service");
    let (served, call) = spans_of(&collector, "/gone");
    for span in [served, call.expect("a span of the call")] {
        assert_eq!(attribute(&span, "error.type").as_deref(), Some("upstream_unreachable"));
        assert_eq!(span.status.expect("a status").code, 2);
    }
}

#[test]
fn what_is_not_recorded_leaves_no_span_and_keeps_its_caller() {
    let (collector, service) = (collector(), Service::ok(""));
    let gate = Setup::public(&service).with(&tracing(collector.url())).start();
    get("/unrecorded").header("traceparent", &sent("00")).send(&gate).expect(200, "not recorded");
    assert_eq!(service.last().header("traceparent"), Some(sent("00").as_str()));
    assert_eq!(gate.access_to("/unrecorded")["trace_id"], TRACE);
    get("/recorded").header("traceparent", &sent("01")).send(&gate).expect(200, "recorded");
    spans_of(&collector, "/recorded");
    assert_eq!(spans(&collector).len(), 2);
}

#[test]
fn only_trusted_proxies_make_a_gate_record_what_it_would_not() {
    let (collector, service) = (collector(), Service::ok(""));
    let none = format!("{}\nsample_one_in = 0", tracing(collector.url()));
    let gate = Setup::public(&service).with(&none).start();
    get("/anybody").header("traceparent", &sent("01")).send(&gate).expect(200, "anybody");
    assert_eq!(service.last().header("traceparent"), Some(sent("00").as_str()));
    let trusting = Setup::public(&service).server("trusted_proxies = [\"127.0.0.1\"]").with(&none).start();
    get("/proxy").header("traceparent", &sent("01")).send(&trusting).expect(200, "a proxy");
    let (served, _) = spans_of(&collector, "/proxy");
    assert_eq!(hex(&served.trace_id), TRACE);
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(spans(&collector).iter().all(|span| attribute(span, "url.path").as_deref() != Some("/anybody")));
}

#[test]
fn a_client_cannot_speak_of_a_trace_in_any_other_way() {
    let (collector, service) = (collector(), Service::ok(""));
    let gate = Setup::public(&service).with(&tracing(collector.url())).start();
    for (name, ask) in [
        ("nonsense", get("/").header("traceparent", "nonsense").header("tracestate", "a=b")),
        (
            "two of them",
            get("/")
                .header("traceparent", &sent("01"))
                .header("Traceparent", &sent("01"))
                .header("tracestate", "a=b"),
        ),
        ("state alone", get("/").header("tracestate", "a=b")),
    ] {
        ask.send(&gate).expect(200, name);
        let seen = service.last();
        let told = seen.header("traceparent").expect("one traceparent").to_owned();
        assert!(told.starts_with("00-") && told.ends_with("-01") && !told.contains(TRACE), "{name}: {told}");
        assert_eq!(seen.header("tracestate"), None, "{name}");
    }
    // Nor in trailers.
    let before = service.requests().len();
    let mut client = gate.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ntraceparent: late\r\ntracestate: a=b\r\nX-Sum: 1\r\n\r\n",
    );
    client.reply().expect(200, "trailers");
    assert_eq!(service.request(before).trailers.names(), ["x-sum"]);
    // A field of ours is not the client's to remove.
    get("/")
        .header("traceparent", &sent("01"))
        .header("Connection", "traceparent")
        .send(&gate)
        .expect(200, "hop");
    assert!(service.last().header("traceparent").is_some_and(|told| told.contains(TRACE)));
}

#[test]
fn what_a_client_says_does_not_fill_the_memory() {
    let (closed, service) = (ClosedPort::new(), Service::ok(""));
    let gate = Setup::public(&service).with(&tracing(&format!("http://{}", closed.address()))).start();
    let (long, mut client) = ("x".repeat(30_000), gate.connect());
    let ask = get(&format!("/{long}")).header("traceparent", &sent("01")).header("tracestate", &long);
    ask.on(&mut client).expect(200, "long words");
    let before = gate.memory();
    for _ in 0..1500 {
        ask.on(&mut client).expect(200, "long words");
    }
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "the gate grew by {grown} bytes");
}

#[test]
fn without_a_table_the_words_of_the_client_pass() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let reply = get("/").header("traceparent", "any words").header("tracestate", "a=b").send(&gate);
    assert_eq!(service.only().header("traceparent"), Some("any words"));
    assert_eq!(service.only().header("tracestate"), Some("a=b"));
    assert!(gate.access(&reply).get("trace_id").is_none());
}

#[test]
fn http2_and_tunnels_are_traced_alike() {
    let (collector, service) = (collector(), Http2Service::start(|_| crate::support::http2::Answer::ok("")));
    let gate = Setup::new(service.url())
        .upstream("http2 = true")
        .with("[policy]\naccess = \"public\"")
        .with(&tracing(collector.url()))
        .start();
    Http2::connect(gate.address()).get("/two", &[("traceparent", &sent("01"))]);
    let (served, call) = spans_of(&collector, "/two");
    assert_eq!(attribute(&served, "network.protocol.version").as_deref(), Some("2"));
    let told = format!("00-{TRACE}-{}-01", hex(&call.expect("a call").span_id));
    assert_eq!(service.only().header("traceparent"), Some(told.as_str()));

    let service = Service::start(echo);
    let gate = Setup::public(&service).with(&tracing(collector.url())).start();
    let mut socket = Socket::open(&gate, &handshake("/ws").header("traceparent", &sent("01")));
    socket.echo("hello");
    assert!(service.begun(0).header("traceparent").is_some_and(|told| told.contains(TRACE)));
    socket.send(Frame::close(1000).masked());
    drop(socket);
    let (served, _) = spans_of(&collector, "/ws");
    assert_eq!(attribute(&served, "http.response.status_code").as_deref(), Some("101"));
}

#[test]
fn a_collector_that_is_away_or_silent_holds_nobody_up_and_costs_counted_spans() {
    let (closed, service) = (ClosedPort::new(), Service::ok(""));
    let away = Setup::public(&service).with(&tracing(&format!("http://{}", closed.address()))).start();
    let refusing = Service::raw("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let refused = Setup::public(&service).with(&tracing(refusing.url())).start();
    for gate in [&away, &refused] {
        for _ in 0..20 {
            let before = Instant::now();
            get("/").send(gate).expect(200, "a request beside a collector that is away");
            assert!(before.elapsed() < Duration::from_secs(2));
        }
        gate.wait_metric("spans_total", &[("result", "error")], 40);
        let told = gate.log().iter().filter(|line| line.to_string().contains("does not take spans")).count();
        assert_eq!(told, 1, "it is said once");
    }
    assert!(away.metric("spans_total", &[("result", "success")]) < 1.0);
}

fn delivered(gate: &Gate, collector: &Service) {
    get("/last").send(gate).expect(200, "the last request");
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(spans(collector).iter().any(|span| attribute(span, "url.path").as_deref() == Some("/last")));
}

#[test]
fn the_last_spans_are_delivered_before_the_end_and_before_a_reload() {
    let (first, second, service) = (collector(), collector(), Service::ok(""));
    let gate = Setup::public(&service).with(&tracing(first.url())).start();
    get("/before").send(&gate).expect(200, "before");
    gate.reload(|text| text.replace(first.url(), second.url()));
    get("/after").send(&gate).expect(200, "after");
    spans_of(&first, "/before");
    spans_of(&second, "/after");
    delivered(&gate, &second);
    until_true("nothing of the rest came to the first", || spans(&first).len() == 2);
}

#[test]
fn a_token_is_shown_to_the_collector_and_to_nobody_else() {
    let (collector, service) = (collector(), Service::ok(""));
    let gate = Setup::public(&service)
        .with(&format!("{}\ntoken_env = \"OTLP_TOKEN\"", tracing(collector.url())))
        .env("OTLP_TOKEN", "a-token-for-the-collector")
        .start();
    get("/").send(&gate).expect(200, "a request");
    spans_of(&collector, "/");
    assert_eq!(collector.only().header("authorization"), Some("Bearer a-token-for-the-collector"));
    assert!(!gate.log_lines().join("\n").contains("a-token-for-the-collector"));
}

#[test]
fn what_cannot_be_a_collector_is_said_by_check() {
    let service = Service::ok("");
    for (endpoint, word) in [
        ("collector:4318", "it is no http or https URL"),
        ("http://user:secret@collector:4318", "it is no http or https URL"),
        ("http://collector:4318/?a=b", "it has a query"),
    ] {
        let refusal = Setup::public(&service).with(&tracing(endpoint)).refused();
        assert!(
            refusal.text.contains("tracing.otlp_endpoint") && refusal.text.contains(word),
            "{}",
            refusal.text
        );
    }
}
