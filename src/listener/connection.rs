//! One client connection from its first byte: the PROXY protocol and TLS where they are spoken, then whichever HTTP it speaks.

use super::accepted::Accepted;
use super::context::{Context, Drain};
use super::http1::{self, Settings};
use super::http2;
use super::proxy_protocol::{Introduced, Refused, introduce};
use crate::certificate::Certificate;
use crate::clock::after;
use crate::denial::Reason;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::peer::{Peer, Scheme};
use crate::stream::Stream;
use crate::wire::inbound::Inbound;
use arc_swap::ArcSwap;
use bytes::BytesMut;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// How connections of a listener are served.
#[derive(Debug)]
pub struct Options {
    /// Bounds and time-outs.
    pub settings: Settings,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// Who introduces clients with the PROXY protocol, which is then in front of every connection: these, or anybody if there
    /// is none. `None` = it is not spoken.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// TLS, unless the listener speaks in the clear; swapped when the files change.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
}

/// What connections are served by from their first byte to their last.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose word about the way of a request is believed.
    pub generation: Arc<Generation>,
    /// Bounds, time-outs, TLS.
    pub options: Rc<Options>,
    /// The worker's draining.
    pub drain: Rc<Drain>,
}

/// A connection of which the client is known, and TLS spoken where it is to be.
struct Opened {
    inbound: Inbound,
    context: Rc<Context>,
    /// Whether HTTP/2 was agreed upon; none in the clear.
    negotiated: Option<bool>,
}

/// Serves one accepted connection to its end; `address` is that of whoever has connected, none on a unix socket.
pub async fn serve(accepted: Accepted, address: Option<SocketAddr>, gateway: Rc<Gateway>, terms: Terms) {
    let (settings, streams) = (terms.options.settings, terms.options.streams);
    // In a box, so that a connection does not carry along what only its beginning needs.
    let opened = Box::pin(open(accepted, address, gateway, terms)).await;
    let Some(Opened { mut inbound, context, negotiated }) = opened else { return };
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
        Box::pin(http2::serve(inbound, context, settings, streams)).await;
    } else {
        Box::pin(http1::serve(inbound, context, settings)).await;
    }
}

/// Finds out who the client is. A connection that does not say so as it must, and a handshake that fails or drags on, end
/// here: there is nobody to answer.
async fn open(
    mut accepted: Accepted,
    mut address: Option<SocketAddr>,
    gateway: Rc<Gateway>,
    terms: Terms,
) -> Option<Opened> {
    let Terms { generation, options, drain } = terms;
    let deadline = after(Instant::now(), options.settings.timeouts.head);
    let mut first = BytesMut::new();
    if let Some(speakers) = &options.proxy_protocol {
        let introduced = timeout_at(deadline, introduce(&mut accepted, address, speakers)).await;
        let introduced = introduced.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        match introduced {
            Ok(Introduced { client, first: read }) => (address, first) = (client, read),
            // A probe of the port is nothing to worry about.
            Err(Refused::Silent) => return None,
            Err(error @ (Refused::Stranger | Refused::Malformed | Refused::Failed(_))) => {
                gateway.recorder().tally.unintroduced.increment();
                tracing::debug!(?address, %error, "a connection without a PROXY header was closed");
                return None;
            }
        }
    }
    let mut certificate = None;
    let (stream, negotiated) = match (accepted, &options.tls) {
        (Accepted::Tcp(tcp), None) => (Stream::Tcp(tcp), None),
        (Accepted::Unix(unix), _) => (Stream::Unix(unix), None),
        (Accepted::Tcp(tcp), Some(tls)) => {
            let acceptor = TlsAcceptor::from(tls.load_full());
            let accepted = timeout_at(deadline, acceptor.accept(tcp)).await;
            let Ok(Ok(stream)) = accepted else {
                gateway.recorder().tally.handshakes_failed.increment();
                if let Ok(Err(error)) = accepted {
                    tracing::debug!(?address, %error, "a TLS handshake has failed");
                }
                return None;
            };
            let (_, session) = stream.get_ref();
            let h2 = session.alpn_protocol() == Some(b"h2");
            // There are none unless they are asked for.
            let leaf = session.peer_certificates().and_then(<[_]>::first);
            certificate = leaf.map(|leaf| Box::new(Certificate::read(leaf)));
            (Stream::Tls(Box::new(TlsStream::Server(stream))), Some(h2))
        }
    };
    let trusted = address.is_some_and(|address| generation.trusts(address.ip().to_canonical()));
    let scheme = if negotiated.is_some() { Scheme::Https } else { Scheme::Http };
    let context = Rc::new(Context::new(gateway, drain, (Peer { address, scheme, trusted }, certificate)));
    Some(Opened { inbound: Inbound::of_client(stream, first), context, negotiated })
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
    // What came along with the PROXY header has been said.
    let silent = inbound.unread.is_empty()
        && tokio::select! {
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
