//! Requests in the making: exact bytes, with as little ceremony as a table needs.

use super::client::{Client, Reply};
use super::gate::Gate;

/// A request that is put together and sent.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    target: String,
    lines: Vec<u8>,
    host: bool,
    body: Option<Vec<u8>>,
}

/// A request with `Host: gate.test`.
pub fn ask(method: &str, target: &str) -> Ask {
    Ask { method: method.to_owned(), target: target.to_owned(), lines: Vec::new(), host: true, body: None }
}

/// A GET.
pub fn get(target: &str) -> Ask {
    ask("GET", target)
}

impl Ask {
    pub fn header(self, name: &str, value: &str) -> Self {
        self.line(format!("{name}: {value}"))
    }

    /// A whole header line as it stands, without its end.
    pub fn line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.extend_from_slice(line.as_ref());
        self.lines.extend_from_slice(b"\r\n");
        self
    }

    pub fn host(self, host: &str) -> Self {
        self.without_host().header("Host", host)
    }

    pub fn without_host(mut self) -> Self {
        self.host = false;
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if self.host {
            bytes.extend_from_slice(b"Host: gate.test\r\n");
        }
        bytes.extend_from_slice(&self.lines);
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub fn send(&self, gate: &Gate) -> Reply {
        self.on(&mut Client::connect(gate.address()))
    }

    /// Sends it to the listener for probes and metrics.
    #[track_caller]
    pub fn send_admin(&self, gate: &Gate) -> Reply {
        self.on(&mut Client::connect(gate.admin()))
    }

    /// Sends it on this connection and reads the response.
    #[track_caller]
    pub fn on(&self, client: &mut Client) -> Reply {
        client.send(self.bytes());
        client.reply_to(&self.method)
    }
}
