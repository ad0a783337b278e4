//! gRPC from end to end, with tonic on both sides: every kind of call, in clear and over TLS, failures, deadlines,
//! cancellation, and refusals as a client meets them.

use crate::support::certificates::Certificates;
use crate::support::gate::Gate;
use crate::support::grpc::{GrpcService, Plain, client};
use crate::support::http2::runtime;
use crate::support::idp::Idp;
use crate::support::service::ClosedPort;
use crate::support::setup::Setup;
use bytes::Bytes;
use http::uri::PathAndQuery;
use std::time::{Duration, Instant};
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

fn method(name: &str) -> PathAndQuery {
    format!("/pkg.Service/{name}").parse().unwrap()
}

fn request<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request.metadata_mut().insert("x-client", MetadataValue::from_static("tonic"));
    request.metadata_mut().insert_bin("x-raw-bin", MetadataValue::from_bytes(b"\x00\xfe"));
    request
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn unary(
    client: &mut Grpc<Channel>,
    name: &str,
    message: Bytes,
    token: &str,
) -> Result<Response<Bytes>, Status> {
    client.ready().await.unwrap();
    client.unary(request(message, token), method(name), Plain).await
}

async fn list(client: &mut Grpc<Channel>, name: &str, token: &str) -> Result<Streaming<Bytes>, Status> {
    client.ready().await.unwrap();
    let answer = client.server_streaming(request(bytes("first"), token), method(name), Plain).await;
    answer.map(Response::into_inner)
}

/// The token's gate in front of `service`.
fn guarded(service: &GrpcService, idp: &Idp) -> Setup {
    Setup::new(service.url()).upstream("http2 = true").with(&idp.authenticator("main"))
}

/// Runs the same in clear and over TLS.
fn both(setup: impl Fn() -> Setup, test: impl AsyncFn(&Gate, &mut Grpc<Channel>, &str)) {
    let certificates = Certificates::new();
    let clear = setup().start();
    let over_tls = setup().with("[server.tls]\ncert_file = \"server.pem\"\nkey_file = \"server.key\"");
    certificates.write_to(&over_tls.dir);
    let over_tls = over_tls.start();
    runtime().block_on(async {
        let mut inside = client(clear.address(), None).await;
        test(&clear, &mut inside, "in clear").await;
        let mut inside = client(over_tls.address(), Some(&certificates)).await;
        test(&over_tls, &mut inside, "over TLS").await;
    });
}

#[test]
fn every_kind_of_call_goes_through() {
    let (service, idp) = (GrpcService::start(), Idp::start());
    let token = idp.token().build();
    both(
        || guarded(&service, &idp),
        async |_, client, case| {
            let answer = unary(client, "unary_echo", bytes("hello"), &token).await.expect(case);
            assert_eq!(answer.metadata().get("x-service").unwrap(), "tonic", "{case}");
            assert_eq!(
                answer.metadata().get_bin("x-blob-bin").unwrap().to_bytes().unwrap().as_ref(),
                b"\x00\xff\x01"
            );
            assert_eq!(answer.into_inner(), "hello", "{case}");
            let seen = service.seen().calls.pop().unwrap();
            assert_eq!(seen.get("x-client").unwrap(), "tonic", "{case}");
            assert_eq!(
                seen.get_bin("x-raw-bin").unwrap().to_bytes().unwrap().as_ref(),
                b"\x00\xfe",
                "{case}"
            );

            client.ready().await.unwrap();
            let pieces = tokio_stream::iter(["a", "b", "", "c"].map(bytes));
            let collected =
                client.client_streaming(request(pieces, &token), method("collect_all"), Plain).await;
            assert_eq!(collected.expect(case).into_inner(), "abc", "{case}");

            let mut listed = list(client, "list_ticks", &token).await.expect(case);
            for expected in ["first", "tick", "tick"] {
                assert_eq!(listed.message().await.unwrap().unwrap(), expected, "{case}");
            }
            drop(listed);

            // Each message is answered before the next one is sent.
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            client.ready().await.unwrap();
            let talk = client.streaming(request(Taken(receiver), &token), method("talk_echo"), Plain);
            sender.send(bytes("one")).await.unwrap();
            let mut talk = talk.await.expect(case).into_inner();
            assert_eq!(talk.message().await.unwrap().unwrap(), "one", "{case}");
            for word in ["two", "three"] {
                sender.send(bytes(word)).await.unwrap();
                assert_eq!(talk.message().await.unwrap().unwrap(), word, "{case}");
            }
            drop(sender);
            assert_eq!(
                talk.message().await.unwrap(),
                None,
                "{case}: the end of the client's is the end of ours"
            );
            assert!(talk.trailers().await.unwrap().is_some(), "{case}");
        },
    );
}

/// What comes out of a channel, as a stream.
struct Taken(tokio::sync::mpsc::Receiver<Bytes>);

impl tokio_stream::Stream for Taken {
    type Item = Bytes;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn a_failure_of_the_service_arrives_whole() {
    let (service, idp) = (GrpcService::start(), Idp::start());
    let token = idp.token().build();
    let is_whole = |status: Status, case: &str| {
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing: 100 %"), "{case}");
        assert_eq!(status.details(), b"\x08\x05", "{case}");
        assert_eq!(status.metadata().get("x-why").unwrap(), "it is gone", "{case}");
    };
    both(
        || guarded(&service, &idp),
        async |_, client, case| {
            is_whole(unary(client, "unary_fails", bytes("x"), &token).await.unwrap_err(), case);
            let mut listed = list(client, "list_fails", &token).await.expect(case);
            assert_eq!(listed.message().await.unwrap().unwrap(), "first", "{case}");
            is_whole(listed.message().await.unwrap_err(), case);
        },
    );
}

#[test]
fn large_messages_go_both_ways() {
    let (service, idp) = (GrpcService::start(), Idp::start());
    let token = idp.token().build();
    let large = Bytes::from(vec![7; 3 << 20]);
    both(
        || guarded(&service, &idp),
        async |_, client, case| {
            let answer = unary(client, "unary_echo", large.clone(), &token).await.expect(case);
            assert!(answer.into_inner() == large, "{case}");
        },
    );
}

#[test]
fn a_deadline_is_told_and_a_slow_service_is_not_waited_for() {
    let (service, idp) = (GrpcService::start(), Idp::start());
    let token = idp.token().build();
    both(
        || guarded(&service, &idp).upstream("response_timeout = \"300ms\""),
        async |gate, client, case| {
            let mut asked = request(bytes("x"), &token);
            asked.set_timeout(Duration::from_secs(20));
            client.ready().await.unwrap();
            let before = Instant::now();
            let status = client.unary(asked, method("unary_hangs"), Plain).await.unwrap_err();
            assert!(before.elapsed() < Duration::from_secs(10), "{case}");
            assert_eq!(status.code(), Code::Unavailable, "{case}: {status}");
            assert_eq!(gate.access_to("/pkg.Service/unary_hangs")["reason"], "upstream_timeout", "{case}");
            let told = service.seen().calls.pop().unwrap();
            assert_eq!(told.get("grpc-timeout").unwrap(), "20000000u", "{case}");
        },
    );
}

#[test]
fn who_cancels_cancels_the_call_of_the_service_within_a_second() {
    let (service, idp) = (GrpcService::start(), Idp::start());
    let token = idp.token().build();
    both(
        || guarded(&service, &idp),
        async |gate, client, case| {
            let before = service.seen().cancelled;
            let mut listed = list(client, "list_ticks", &token).await.expect(case);
            listed.message().await.unwrap();
            drop(listed);
            let asked = Instant::now();
            while service.seen().cancelled == before {
                assert!(asked.elapsed() < Duration::from_secs(1), "{case}: the service still streams");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(gate.access_to("/pkg.Service/list_ticks")["decision"], "allow", "{case}");
            // The connection goes on.
            unary(client, "unary_echo", bytes("on"), &token).await.expect(case);
        },
    );
}

#[test]
fn refusals_are_statuses_that_a_client_understands() {
    let (service, idp, port) = (GrpcService::start(), Idp::start(), ClosedPort::new());
    let token = idp.token().build();
    let setup = || {
        guarded(&service, &idp)
            .with(&format!("[upstreams.dead]\nurl = \"http://{}\"\nhttp2 = true", port.address()))
            .route("/pkg.Service/unary_admin", "require.roles = [\"admin\"]")
            .route("/pkg.Service/unary_dead", "upstream = \"dead\"")
            .route(
                "/pkg.Service/unary_once",
                "rate_limit = { per = \"subject\", limit = 1, window = \"1h\" }",
            )
            .server("[server.limits]\nbody_bytes = \"64KiB\"")
    };
    both(setup, async |_, client, case| {
        for (name, token, code) in [
            ("unary_echo", "", Code::Unauthenticated),
            ("unary_echo", "nonsense", Code::Unauthenticated),
            ("unary_admin", token.as_str(), Code::PermissionDenied),
            ("unary_dead", token.as_str(), Code::Unavailable),
        ] {
            let status = unary(client, name, bytes("x"), token).await.unwrap_err();
            assert_eq!(status.code(), code, "{case}, {name}: {status}");
            assert!(!status.message().is_empty(), "{case}, {name}");
        }
        unary(client, "unary_once", bytes("x"), &token).await.expect(case);
        let status = unary(client, "unary_once", bytes("x"), &token).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{case}: {status}");
        assert!(status.metadata().get("retry-after").is_some(), "{case}: {:?}", status.metadata());
        let large = Bytes::from(vec![7; 1 << 20]);
        let status = unary(client, "unary_echo", large, &token).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{case}: {status}");
        let status = list(client, "list_ticks", "").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{case}: {status}");
        // Nothing of that has ended the connection.
        unary(client, "unary_echo", bytes("on"), &token).await.expect(case);
    });
    assert!(service.seen().calls.iter().all(|call| call.get("x-client").is_some()));
}
