//! How a service is reached: its address, its TLS, its limits.

use crate::stream::{Stream, tune};
use http::uri::Scheme;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsConnector;

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// TLS towards a service.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What is trusted, and what we show.
    pub config: Arc<ClientConfig>,
    /// The name that the service's certificate must bear.
    pub server_name: ServerName<'static>,
}

/// A bound on connections that all workers share.
#[derive(Debug)]
pub struct ConnectionLimit {
    /// One permit a connection.
    pub permits: Arc<Semaphore>,
    /// How long a request waits.
    pub queue_timeout: Duration,
    /// Asks every worker to give up an unused connection.
    wanted: Notify,
    waiting: AtomicUsize,
}

/// Somebody waits for a permit.
#[derive(Debug)]
pub struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLimit {
    /// At most `connections` at once.
    #[must_use]
    pub fn new(connections: usize, queue_timeout: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            queue_timeout,
            wanted: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Tells every worker, until the answer is dropped, that a connection is wanted.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_waiters();
        Waiting(&self.waiting)
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Ends when somebody begins to wait.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// A service, compiled from `[upstreams.NAME]`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name, for metrics.
    pub name: Arc<str>,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// TLS, for an https url.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// How long establishing a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the head of the response.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// The bound on connections, if there is one.
    pub limit: Option<ConnectionLimit>,
}

impl Upstream {
    /// The scheme of its URIs.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `TimedOut` after `connect_timeout`, else whatever the operating system or TLS says.
    pub async fn connect(&self) -> io::Result<Stream> {
        match tokio::time::timeout(self.connect_timeout, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within connect_timeout")),
        }
    }

    async fn open(&self) -> io::Result<Stream> {
        let tcp = match &self.endpoint {
            Endpoint::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
            Endpoint::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).await?,
        };
        tune(&tcp);
        let Some(tls) = &self.tls else { return Ok(Stream::Tcp(tcp)) };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = connector.connect(tls.server_name.clone(), tcp).await?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the service does not offer HTTP/2 by ALPN",
            ));
        }
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}
