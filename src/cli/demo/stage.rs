//! What stands behind the gate: one thread that carries the issuer and the service until it is told to stop.

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A listener on loopback: at `port`, or wherever there is room.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// An address on loopback that is free at this moment: at `port`, or wherever there is room.
pub(super) fn free_address(port: u16) -> io::Result<SocketAddr> {
    listen(port)?.local_addr()
}

/// Answers everything that comes in at `listener`, over HTTP/1.1.
pub(super) async fn serve<F, A, B>(listener: TcpListener, answer: F) -> io::Result<Infallible>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: more will come free.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let response = answer(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        drop(tokio::spawn(connection.with_upgrades()));
    }
}

/// A thread with a runtime of its own.
pub(super) struct Stage {
    stop: oneshot::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Stage {
    /// Starts `work`, which goes on until [`Stage::clear`].
    pub(super) fn set<W: Future + Send + 'static>(work: W) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = work => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops the work and waits until it has gone.
    pub(super) fn clear(self) {
        drop(self.stop);
        drop(self.thread.join());
    }
}
