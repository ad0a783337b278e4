//! One byte stream to a client or a service, whatever it runs over.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A byte stream; an enum rather than a trait object, so that the hot path has no indirect calls.
#[derive(Debug)]
pub enum Stream {
    /// TCP in the clear.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A unix socket.
    Unix(UnixStream),
    /// A stream of an HTTP/2 connection.
    Multiplexed(Box<TokioIo<Upgraded>>),
}

impl Stream {
    /// Makes the coming close a reset, for a peer that would take an orderly one for the end of a whole message.
    pub fn reset_on_close(&self) {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
            // It knows no resets; a stream is no socket.
            Self::Unix(_) | Self::Multiplexed(_) => return,
        };
        // A socket that is gone already needs none.
        socket.set_linger(Some(std::time::Duration::ZERO)).ok();
    }

    /// Whether the peer has neither sent anything nor closed, as the kernel sees it now; what the runtime knows may be
    /// a moment old.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            // It is a client's, and never waits in a pool.
            Self::Multiplexed(_) => return false,
        };
        match peeked {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            // What a TLS session says to itself, such as a ticket, is nothing said.
            Ok(count) => count > 0 && matches!(self, Self::Tls(_)),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $call,
            Self::Tls($stream) => $call,
            Self::Unix($stream) => $call,
            Self::Multiplexed($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Multiplexed(stream) => stream.is_write_vectored(),
        }
    }
}

/// Sets what every TCP connection here wants: no delay of small writes, and probes that find a dead peer.
pub fn tune(stream: &TcpStream) {
    let probes = socket2::TcpKeepalive::new()
        .with_time(std::time::Duration::from_secs(60))
        .with_interval(std::time::Duration::from_secs(15))
        .with_retries(4);
    // A socket that refuses an option still carries bytes.
    stream.set_nodelay(true).ok();
    SockRef::from(stream).set_tcp_keepalive(&probes).ok();
}
