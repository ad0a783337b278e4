//! The service behind the gate: a raw socket that records every byte and answers as the test says.

use super::certificates::Certificates;
pub use super::exchange::{Connection, Exchange, Request};
use super::exchange::{KEPT, Log};
use super::temp::TempDir;
use super::wait;
use super::wire::{Body, Duplex, Wire, latin1};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// How a request is answered.
pub type Handler = Arc<dyn Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync>;

/// A running service.
#[derive(Debug)]
pub struct Service {
    url: String,
    log: Log,
    _dir: Option<TempDir>,
}

impl Service {
    /// Listens on a port of its own; `handler` answers each request once its head has arrived.
    pub fn start(handler: impl Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    /// Answers everything with 200 and this body.
    pub fn ok(body: &'static str) -> Self {
        Self::start(move |exchange| exchange.ok(body))
    }

    /// Reads each request to its end and answers with exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |exchange| exchange.reply(&bytes))
    }

    /// As [`Service::start`], on this listener.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Log::default();
        let (handler, seen): (Handler, _) = (Arc::new(handler), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).ok();
                serve(stream, &seen, &handler);
            }
        });
        Self { url, log, _dir: None }
    }

    /// As [`Service::start`], on a unix socket.
    pub fn unix(handler: impl Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let dir = TempDir::new();
        let path = dir.file("service.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let log = Log::default();
        let (handler, seen): (Handler, _) = (Arc::new(handler), log.clone());
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| serve(stream, &seen, &handler));
        });
        Self { url: format!("unix:{}", path.display()), log, _dir: Some(dir) }
    }

    /// As [`Service::start`], over TLS with the certificate for `localhost`; `mutual` asks for a client's.
    pub fn tls(
        certificates: &Certificates,
        mutual: bool,
        handler: impl Fn(&mut Exchange<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let config = certificates.server_config(mutual, &[b"http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let log = Log::default();
        let (handler, seen): (Handler, _) = (Arc::new(handler), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                serve(rustls::StreamOwned::new(connection, stream), &seen, &handler);
            }
        });
        Self { url, log, _dir: None }
    }

    /// What an `[upstreams.…] url` says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.split_once("//").map_or(&self.url, |(_, rest)| rest)
    }

    /// Every request so far; fails if anything arrived that was no HTTP.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        let state = self.log.state();
        assert!(state.breaches.is_empty(), "the service received what is no HTTP: {:?}", state.breaches);
        state.requests.clone()
    }

    /// The targets of the requests so far.
    #[track_caller]
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.target).collect()
    }

    /// The request of that number (from 0) as soon as its head has arrived.
    #[track_caller]
    pub fn begun(&self, number: usize) -> Request {
        wait::until("a request at the service", || self.requests().into_iter().nth(number))
    }

    /// The request of that number (from 0) as soon as it has arrived to its end.
    #[track_caller]
    pub fn request(&self, number: usize) -> Request {
        wait::until("a complete request at the service", || {
            self.requests().into_iter().nth(number).filter(|request| request.complete)
        })
    }

    /// The only request so far, once it is complete.
    #[track_caller]
    pub fn only(&self) -> Request {
        let request = self.request(0);
        assert_eq!(self.requests().len(), 1, "{:?}", self.targets());
        request
    }

    /// The latest request that is complete.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().into_iter().rfind(|request| request.complete).expect("no request at the service")
    }

    pub fn connections(&self) -> Vec<Connection> {
        self.log.state().connections.clone()
    }

    /// Bytes that arrived on all connections.
    pub fn received(&self) -> u64 {
        self.log.state().connections.iter().map(|connection| connection.received).sum()
    }

    /// Fails if a single byte arrived.
    #[track_caller]
    pub fn assert_untouched(&self, case: &str) {
        let state = self.log.state();
        let seen: Vec<String> = state.connections.iter().map(|connection| latin1(&connection.raw)).collect();
        assert!(seen.iter().all(String::is_empty), "{case}: the service received {seen:?}");
    }

    /// Waits until the connection of that number has ended.
    #[track_caller]
    pub fn wait_closed(&self, number: usize) {
        wait::until_true("the gate closes its connection", || {
            self.log.state().connections.get(number).is_some_and(|connection| connection.closed)
        });
    }
}

fn serve(stream: impl Duplex + 'static, log: &Log, handler: &Handler) {
    let (log, handler) = (log.clone(), Arc::clone(handler));
    let number = {
        let mut state = log.state();
        state.connections.push(Connection::default());
        state.connections.len() - 1
    };
    std::thread::spawn(move || {
        let seen = log.clone();
        let mut wire = Wire::new(stream).tapped(move |bytes| {
            let connection = &mut seen.state().connections[number];
            connection.received += bytes.len() as u64;
            let room = KEPT.saturating_sub(connection.raw.len()).min(bytes.len());
            connection.raw.extend_from_slice(&bytes[..room]);
        });
        wire.stream().set_patience(None);
        let outcome = converse(&mut wire, number, &log, &handler);
        // First the breach and then the end, or a client could see the end and ask too early.
        if let Err(error) = outcome.as_ref()
            && error.kind() == ErrorKind::InvalidData
            // A handshake that fails is not what a service received.
            && error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_none()
        {
            let mut state = log.state();
            let raw = latin1(&state.connections[number].raw);
            state.breaches.push(format!("{error} in {raw:?}"));
        }
        drop(wire);
        log.state().connections[number].closed = true;
    });
}

fn converse(wire: &mut Wire, connection: usize, log: &Log, handler: &Handler) -> io::Result<()> {
    while let Some(head) = wire.head()? {
        let malformed = || io::Error::new(ErrorKind::InvalidData, format!("malformed line {:?}", head.line));
        let [method, target, version] = *head.line.split(' ').collect::<Vec<_>>() else {
            return Err(malformed());
        };
        let body = Body::of_request(&head.headers)?;
        let request = Request {
            connection,
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers: head.headers.clone(),
            complete: body.ended(),
            ..Request::default()
        };
        let last = request.headers.lists("connection", "close");
        let number = {
            let mut state = log.state();
            state.requests.push(request);
            state.requests.len() - 1
        };
        let mut exchange = Exchange::new(wire, body, number, log, last);
        handler(&mut exchange)?;
        if exchange.ended() {
            return Ok(());
        }
        exchange.finish()?;
    }
    Ok(())
}

/// A port that refuses connections until it is opened; nobody else can get it meanwhile.
pub struct ClosedPort(socket2::Socket);

impl ClosedPort {
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().as_socket().unwrap().to_string()
    }

    /// Listens from now on.
    pub fn open(self) -> TcpListener {
        self.0.listen(128).unwrap();
        self.0.into()
    }
}

/// Whether somebody accepts connections there.
pub fn accepts(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}
