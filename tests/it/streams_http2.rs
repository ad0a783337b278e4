//! Streams of HTTP/2, frame by frame: bytes pass as they come, a client that goes away takes its request along, and large
//! bodies take no memory. Towards services of both versions.

use crate::support::gate::Gate;
use crate::support::http2::runtime;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::PATIENCE;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;

/// What became of the streams of a service.
type Fates = Arc<Mutex<Vec<Option<Reason>>>>;

/// An HTTP/2 service that sends back every piece at once; for `/hold` it sends one byte and waits.
fn echo() -> (String, Fates) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fates = Fates::default();
    let seen = Arc::clone(&fates);
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let seen = Arc::clone(&seen);
                        tokio::spawn(async move {
                            let holds = request.uri().path() == "/hold";
                            let mut out = respond.send_response(http::Response::new(()), false).unwrap();
                            if holds {
                                send(&mut out, Bytes::from_static(b"x"), false).await;
                            }
                            let mut body = request.into_body();
                            loop {
                                match next(&mut body).await {
                                    Some(Ok(piece)) => send(&mut out, piece, false).await,
                                    Some(Err(error)) => return seen.lock().unwrap().push(error.reason()),
                                    None if holds => break,
                                    None => return send(&mut out, Bytes::new(), true).await,
                                }
                            }
                            let reason = std::future::poll_fn(|cx| out.poll_reset(cx)).await;
                            seen.lock().unwrap().push(reason.ok());
                        });
                    }
                });
            }
        });
    });
    (url, fates)
}

/// An HTTP/1.1 service that does the same.
fn echo_http1() -> Service {
    Service::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        if exchange.target() == "/hold" {
            exchange.write("1\r\nx\r\n")?;
            return exchange.hold();
        }
        while let Some(piece) = exchange.piece()? {
            exchange.write([format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat())?;
        }
        exchange.write("0\r\n\r\n")
    })
}

/// Sends all of it, as far as the other end takes it.
async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes, end: bool) {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let part = piece.split_to(room.min(piece.len()));
        if stream.send_data(part, false).is_err() {
            return;
        }
    }
    if end {
        stream.send_data(Bytes::new(), true).ok();
    }
}

/// The next piece, which makes room for another one.
async fn next(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = body.data().await?;
    if let Ok(piece) = &piece {
        body.flow_control().release_capacity(piece.len()).ok();
    }
    Some(piece)
}

async fn connect(gate: &Gate) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let stream = TcpStream::connect(gate.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(async move {
        connection.await.ok();
    });
    (client.ready().await.unwrap(), driver)
}

/// Begins a request with a body.
fn begin(client: &mut SendRequest<Bytes>, path: &str) -> (SendStream<Bytes>, h2::client::ResponseFuture) {
    let request = http::Request::post(format!("http://gate.test{path}")).body(()).unwrap();
    let (response, body) = client.send_request(request, false).unwrap();
    (body, response)
}

async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Gates in front of the two services.
fn gates(http1: &Service, http2: &str) -> [(Gate, &'static str); 2] {
    let public = "[policy]\naccess = \"public\"";
    let second = Setup::new(http2).upstream("http2 = true").with(public).start();
    [(Setup::public(http1).start(), "to HTTP/1.1"), (second, "to HTTP/2")]
}

#[test]
fn every_byte_passes_as_it_comes() {
    let (http1, (http2, _)) = (echo_http1(), echo());
    for (gate, case) in gates(&http1, &http2) {
        runtime().block_on(patiently(case, async {
            let (mut client, _) = connect(&gate).await;
            let (mut up, response) = begin(&mut client, "/echo");
            let mut down = response.await.unwrap().into_body();
            for byte in b"slowly" {
                // The next one is not sent before this one is back.
                send(&mut up, Bytes::copy_from_slice(&[*byte]), false).await;
                assert_eq!(next(&mut down).await.unwrap().unwrap(), [*byte].as_slice(), "{case}");
            }
            send(&mut up, Bytes::new(), true).await;
            while let Some(piece) = next(&mut down).await {
                assert!(piece.unwrap().is_empty(), "{case}");
            }
        }));
    }
}

#[test]
fn who_goes_away_takes_the_request_along_within_a_second() {
    let (http1, (http2, fates)) = (echo_http1(), echo());
    let mut expected = 0;
    let [first, second] = gates(&http1, &http2);
    for ((gate, case), is_first) in [(first, true), (second, false)] {
        for (how, path) in
            [("a reset", "/hold"), ("a reset", "/echo"), ("the end", "/hold"), ("the end", "/echo")]
        {
            let what = format!("{case}, {path}, {how}");
            runtime().block_on(patiently(&what, async {
                let (mut client, driver) = connect(&gate).await;
                let (mut up, response) = begin(&mut client, path);
                send(&mut up, Bytes::from_static(b"x"), false).await;
                let mut down = response.await.unwrap().into_body();
                assert_eq!(next(&mut down).await.unwrap().unwrap(), "x", "{what}");
                let gone = Instant::now();
                if how == "a reset" {
                    up.send_reset(Reason::CANCEL);
                    tokio::task::yield_now().await;
                } else {
                    driver.abort();
                }
                tokio::spawn(async move {
                    // The connection of a client that has only reset a stream stays.
                    tokio::time::sleep(PATIENCE).await;
                    drop((client, down));
                });
                expected += 1;
                loop {
                    let cancelled = if is_first {
                        http1.connections().iter().filter(|connection| connection.closed).count()
                    } else {
                        fates.lock().unwrap().len() + 4
                    };
                    if cancelled >= expected {
                        break;
                    }
                    assert!(gone.elapsed() < Duration::from_secs(1), "{what}: {cancelled} of {expected}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }));
        }
    }
    assert_eq!(*fates.lock().unwrap(), [Some(Reason::CANCEL); 4]);
}

#[test]
fn large_bodies_take_no_memory() {
    const SIZE: usize = 64 * MIB;
    let (http1, (http2, _)) = (echo_http1(), echo());
    for (gate, case) in gates(&http1, &http2) {
        runtime().block_on(patiently(case, async {
            let (mut client, _) = connect(&gate).await;
            let piece = Bytes::from(vec![7; 1 << 16]);
            let mut before = 0;
            for size in [4 * MIB, SIZE] {
                let (mut up, response) = begin(&mut client, "/echo");
                let sending = async {
                    for _ in 0..size / piece.len() {
                        send(&mut up, piece.clone(), false).await;
                    }
                    send(&mut up, Bytes::new(), true).await;
                };
                let receiving = async {
                    let (mut down, mut length) = (response.await.unwrap().into_body(), 0);
                    while let Some(piece) = next(&mut down).await {
                        length += piece.unwrap().len();
                    }
                    length
                };
                let ((), length) = tokio::join!(sending, receiving);
                assert_eq!(length, size, "{case}");
                if before == 0 {
                    before = gate.peak_memory();
                }
            }
            let grown = gate.peak_memory().saturating_sub(before);
            assert!(grown < 4 * MIB as u64, "{case}: grew by {grown} bytes");
        }));
    }
}
