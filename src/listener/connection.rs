//! One client connection from its first byte: TLS, then whichever HTTP it speaks.

use super::context::Context;
use super::http1::{self, Settings};
use super::http2;
use crate::denial::Reason;
use crate::stream::Stream;
use crate::wire::inbound::Inbound;
use arc_swap::ArcSwap;
use bytes::BytesMut;
use rustls::ServerConfig;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};

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
    let (stream, negotiated) = match (accepted, &options.tls) {
        (Accepted::Tcp(tcp), None) => (Stream::Tcp(tcp), None),
        (Accepted::Unix(unix), _) => (Stream::Unix(unix), None),
        (Accepted::Tcp(tcp), Some(tls)) => {
            let acceptor = TlsAcceptor::from(tls.load_full());
            // A handshake that fails or drags on ends here: there is nobody to answer.
            let Ok(Ok(stream)) = timeout(settings.timeouts.head, Box::pin(acceptor.accept(tcp))).await else {
                return;
            };
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Stream::Tls(Box::new(TlsStream::Server(stream))), Some(h2))
        }
    };
    let mut inbound = Inbound::new(stream, BytesMut::new());
    let multiplexed = match negotiated {
        Some(multiplexed) => multiplexed,
        None => match Box::pin(sniff(&mut inbound, &context, settings)).await {
            Sniffed::Http1 => false,
            Sniffed::Http2 => true,
            Sniffed::Slow => return http1::refuse(inbound.stream, Reason::HeadTimeout, &context).await,
            Sniffed::Gone => return,
        },
    };
    // In boxes, so that a connection is as large as what it speaks, and not as the largest it could.
    if multiplexed {
        Box::pin(http2::serve(inbound, context, settings, options.streams)).await;
    } else {
        Box::pin(http1::serve(inbound, context, settings)).await;
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
async fn sniff(inbound: &mut Inbound, context: &Context, settings: Settings) -> Sniffed {
    let silent = tokio::select! {
        biased;
        read = timeout(settings.timeouts.idle, poll_fn(|cx| inbound.poll_fill(cx))) => {
            !matches!(read, Ok(Ok(1..)))
        }
        () = out_of_patience(context) => true,
    };
    if silent {
        return Sniffed::Gone;
    }
    let decided = async {
        loop {
            match is_http2_preface(&inbound.unread) {
                Some(true) => return Sniffed::Http2,
                Some(false) => return Sniffed::Http1,
                None => {
                    if !matches!(poll_fn(|cx| inbound.poll_fill(cx)).await, Ok(1..)) {
                        return Sniffed::Gone;
                    }
                }
            }
        }
    };
    timeout(settings.timeouts.head, decided).await.unwrap_or(Sniffed::Slow)
}

async fn out_of_patience(context: &Context) {
    context.drain.begun().await;
    sleep_until(context.drain.patience()).await;
}

/// Whether a connection begins with the preface of HTTP/2 (RFC 9113 §3.4); none if more bytes are needed to tell.
///
/// To be asked of the first bytes of a connection only: later on, the preface is a malformed head.
fn is_http2_preface(bytes: &[u8]) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if bytes.len() >= PREFACE.len() {
        Some(bytes.starts_with(PREFACE))
    } else if PREFACE.starts_with(bytes) {
        None
    } else {
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::is_http2_preface;

    #[test]
    fn the_preface_of_http2_is_told_from_its_first_bytes() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for length in 0..preface.len() {
            assert_eq!(is_http2_preface(&preface[..length]), None);
        }
        assert_eq!(is_http2_preface(preface), Some(true));
        assert_eq!(is_http2_preface(&[&preface[..], b"\0\0"].concat()), Some(true));
        for other in ["G", "PRI * HTTP/1", "PRI * HTTP/2.0\r\n\r\nSX", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            assert_eq!(is_http2_preface(other.as_bytes()), Some(false), "{other:?}");
        }
    }
}
