//! A small HTTP/1.1 server for the control thread: what answers there has no way to a service.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// How long whoever asks may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// How long accepting rests after it has failed.
const REST: Duration = Duration::from_millis(100);

/// Answers requests for as long as it is polled.
pub async fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<Full<Bytes>>> + 'static,
{
    let answer = Rc::new(answer);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(spawn_local(connection(stream, Rc::clone(&answer)))),
            Err(error) => {
                tracing::warn!(%error, "a listener of the control thread cannot accept");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn connection<F, A>(stream: TcpStream, answer: Rc<F>)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    // Whoever goes away has its answer or does not want one.
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}
