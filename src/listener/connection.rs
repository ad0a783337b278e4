//! One client connection from its first byte: TLS, then whichever HTTP it speaks.

use super::context::Context;
use super::http1::{self, Settings};
use super::http2;
use super::inspect::is_http2_preface;
use crate::denial::Reason;
use crate::stream::Stream;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::ready;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

thread_local! {
    static SCRATCH: RefCell<[u8; 4096]> = const { RefCell::new([0; 4096]) };
}

/// How connections of a listener are served.
#[derive(Debug)]
pub struct Options {
    /// Bounds and time-outs.
    pub settings: Settings,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// TLS, unless the listener speaks in the clear; swapped when the files change.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
}

/// What was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection on a unix socket.
    Unix(tokio::net::UnixStream),
}

/// Serves one accepted connection to its end.
pub async fn serve(accepted: Accepted, context: Rc<Context>, options: Rc<Options>) {
    let settings = options.settings;
    let (mut stream, negotiated) = match (accepted, &options.tls) {
        (Accepted::Tcp(tcp), None) => (Stream::Tcp(tcp), None),
        (Accepted::Unix(unix), _) => (Stream::Unix(unix), None),
        (Accepted::Tcp(tcp), Some(tls)) => {
            let acceptor = TlsAcceptor::from(tls.load_full());
            // A handshake that fails or drags on ends here: there is nobody to answer.
            let Ok(Ok(stream)) = timeout(settings.timeouts.head, acceptor.accept(tcp)).await else { return };
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Stream::Tls(Box::new(TlsStream::Server(stream))), Some(h2))
        }
    };
    let mut first = Vec::new();
    let multiplexed = match negotiated {
        Some(multiplexed) => multiplexed,
        None => match sniff(&mut stream, &mut first, &context, settings).await {
            Sniffed::Http1 => false,
            Sniffed::Http2 => true,
            Sniffed::Slow => return http1::refuse(stream, Reason::HeadTimeout, &context).await,
            Sniffed::Gone => return,
        },
    };
    // In boxes, so that a connection is as large as what it speaks, and not as the largest it could.
    if multiplexed {
        Box::pin(http2::serve(stream, first, context, settings, options.streams)).await;
    } else {
        Box::pin(http1::serve(stream, first, context, settings)).await;
    }
}

enum Sniffed {
    Http1,
    Http2,
    /// It began to say something, and stopped.
    Slow,
    /// It has closed, never said anything, or is not wanted any more.
    Gone,
}

/// Waits for the bytes that tell HTTP/1.1 from HTTP/2; until the first one comes, a connection costs no buffer.
async fn sniff(stream: &mut Stream, first: &mut Vec<u8>, context: &Context, settings: Settings) -> Sniffed {
    let silent = tokio::select! {
        biased;
        read = timeout(settings.timeouts.idle, read_some(stream, first)) => !matches!(read, Ok(Ok(1..))),
        () = context.drain.patience() => true,
    };
    if silent {
        return Sniffed::Gone;
    }
    let decided = async {
        loop {
            match is_http2_preface(first) {
                Some(true) => return Sniffed::Http2,
                Some(false) => return Sniffed::Http1,
                None => {
                    if !matches!(read_some(stream, first).await, Ok(1..)) {
                        return Sniffed::Gone;
                    }
                }
            }
        }
    };
    timeout(settings.timeouts.head, decided).await.unwrap_or(Sniffed::Slow)
}

async fn read_some(stream: &mut Stream, into: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            into.extend_from_slice(read.filled());
            std::task::Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}
