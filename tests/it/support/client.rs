//! The client in front of the gate: writes exact bytes, reads exactly one response at a time.

use super::certificates::Certificates;
use super::wait::PATIENCE;
use super::wire::{Body, Headers, Wire};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A response.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub version: String,
    pub status: u16,
    pub reason: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// The statuses of the 1xx responses before it.
    pub interim: Vec<u16>,
}

impl Reply {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.one(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    #[track_caller]
    pub fn request_id(&self) -> String {
        self.header("x-request-id").expect("a response without x-request-id").to_owned()
    }

    /// Fails unless it has this status; says what came instead.
    #[track_caller]
    pub fn expect(self, status: u16, case: &str) -> Self {
        assert_eq!(self.status, status, "{case}: {:?} {:?}", self.headers, self.text());
        self
    }
}

/// A connection to the gate.
pub struct Client {
    wire: Wire,
}

impl Client {
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self { wire: Wire::new(stream) }
    }

    #[track_caller]
    pub fn unix(path: &Path) -> Self {
        Self { wire: Wire::new(UnixStream::connect(path).unwrap()) }
    }

    /// Over TLS to `localhost`, trusting these authorities; `own` shows the client certificate too.
    #[track_caller]
    pub fn tls(address: &str, certificates: &Certificates, own: bool) -> Self {
        let config = certificates.client_config(own, &[b"http/1.1"]);
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(config, name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        Self { wire: Wire::new(rustls::StreamOwned::new(connection, stream)) }
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes.as_ref()).expect("the gate takes the request");
    }

    /// Sends what the gate may refuse by closing at any byte.
    pub fn send_anyway(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes.as_ref()).ok();
    }

    /// The response to a GET.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    /// The response to a request with this method.
    #[track_caller]
    pub fn reply_to(&mut self, method: &str) -> Reply {
        self.try_reply(method).unwrap_or_else(|error| panic!("no whole response: {error}"))
    }

    /// The response, or how it failed; a connection that closes before it is `UnexpectedEof`.
    pub fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        let (mut reply, mut body) = self.try_head(method)?;
        while let Some(piece) = self.wire.piece(&mut body)? {
            reply.body.extend_from_slice(&piece);
        }
        reply.trailers = body.trailers;
        Ok(reply)
    }

    /// The head of the response to a GET, and its body yet to be read.
    #[track_caller]
    pub fn head(&mut self) -> (Reply, Body) {
        self.try_head("GET").unwrap_or_else(|error| panic!("no head of a response: {error}"))
    }

    pub fn try_head(&mut self, method: &str) -> io::Result<(Reply, Body)> {
        let mut interim = Vec::new();
        loop {
            let reply = self.one_head()?;
            if reply.status >= 200 || reply.status == 101 {
                let body = Body::of_response(method, reply.status, &reply.headers)?;
                return Ok((Reply { interim, ..reply }, body));
            }
            interim.push(reply.status);
        }
    }

    /// The next head, a 1xx too.
    pub fn one_head(&mut self) -> io::Result<Reply> {
        let none = || io::Error::new(ErrorKind::UnexpectedEof, "closed before a response");
        let head = self.wire.head()?.ok_or_else(none)?;
        let malformed = || io::Error::new(ErrorKind::InvalidData, head.line.clone());
        let (version, rest) = head.line.split_once(' ').ok_or_else(malformed)?;
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        Ok(Reply {
            version: version.to_owned(),
            status: status.parse().map_err(|_| malformed())?,
            reason: reason.to_owned(),
            headers: head.headers,
            ..Reply::default()
        })
    }

    /// The next piece of a body.
    pub fn piece(&mut self, body: &mut Body) -> io::Result<Option<Vec<u8>>> {
        self.wire.piece(body)
    }

    /// Fails unless the gate closes the connection without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self, case: &str) {
        let end = self.wire.fill();
        let rest = super::wire::latin1(self.wire.buffered());
        assert!(rest.is_empty(), "{case}: more came instead of the end: {rest:?}");
        match end {
            Ok(more) => assert!(!more, "{case}: still open"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{case}: {error}"),
        }
    }

    /// Whether nothing arrives for a while, and the connection stays open.
    pub fn silent_for(&mut self, span: Duration) -> bool {
        self.wire.stream().set_patience(Some(span));
        let outcome = self.wire.fill();
        self.wire.stream().set_patience(Some(PATIENCE));
        outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// Sends these bytes on a connection of their own; none if the gate closed without a response.
pub fn exchange(address: &str, bytes: &[u8]) -> (Option<Reply>, Client) {
    let mut client = Client::connect(address);
    client.send_anyway(bytes);
    (client.try_reply("GET").ok(), client)
}
