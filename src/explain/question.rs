//! What is asked: a request, and what stands in for the rest of the world.

use crate::authn::claims::quotas;
use crate::denial::Reason;
use crate::facts::Facts;
use crate::json::{self, Object, Value};
use crate::wire::body::Framing;
use crate::wire::head::Limits;
use crate::wire::request::HeadReader;
use bytes::BytesMut;
use http::request::Parts;
use std::net::IpAddr;

/// The host of a request that names none.
const HOST: &str = "localhost";

/// What makes a WebSocket handshake of a request (RFC 6455 §4.1); the key is the RFC's own.
const HANDSHAKE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

/// A head, and whether no body follows it.
pub(super) type Head = (Parts, bool);

/// What cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A request, and what stands in for the rest of the world.
#[derive(Clone, Debug, Default)]
pub struct Question {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    websocket: bool,
    /// From where the connection comes; none = from a unix socket.
    pub client: Option<IpAddr>,
    /// A JSON object of claims, taken as verified.
    pub claims: Option<String>,
    /// Whose claims they are; none = those of the first authenticator of the rule that has claims.
    pub authenticator: Option<String>,
    /// What is known about the customer.
    pub facts: Option<Facts>,
    /// Whether nobody may be asked over the network.
    pub offline: bool,
}

impl Question {
    /// A request with this method, and a path that may have a query.
    ///
    /// # Errors
    /// What cannot stand in a request line.
    pub fn new(method: &str, path: &str) -> Result<Self, Fault> {
        one_line("the method", method)?;
        one_line("the path", path)?;
        Ok(Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() })
    }

    /// Adds a header field.
    ///
    /// # Errors
    /// What cannot stand in a field.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        one_line("a header", name)?;
        one_line("a header", value)?;
        if name.is_empty() || name.contains(|character: char| character == ':' || character.is_whitespace()) {
            return Err(Fault(format!("{name:?} is not a header name")));
        }
        self.headers.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }

    /// Makes it a WebSocket handshake.
    pub fn upgrade(&mut self) {
        self.websocket = true;
    }

    /// Takes these for the claims of the credential.
    ///
    /// # Errors
    /// What is no JSON object.
    pub fn assume(&mut self, claims: &str) -> Result<(), Fault> {
        json::object(claims.as_bytes()).map_err(|error| Fault(error.to_string()))?;
        self.claims = Some(claims.to_owned());
        Ok(())
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// The path without the query, which may hold a token.
    pub(super) fn path(&self) -> &str {
        self.path.split(['?', '#']).next().unwrap_or_default()
    }

    pub(super) fn host(&self) -> &str {
        self.sent("host").unwrap_or(HOST)
    }

    pub(super) const fn websocket(&self) -> bool {
        self.websocket
    }

    fn sent(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The head, read as the gate reads the bytes of a connection.
    ///
    /// # Errors
    /// What the gate refuses it for.
    pub(super) fn head(&self, limits: Limits) -> Result<Head, Reason> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let mut line = |name: &str, value: &str| {
            bytes.extend([name, ": ", value, "\r\n"]);
        };
        if self.sent("host").is_none() {
            line("host", HOST);
        }
        for (name, value) in HANDSHAKE.into_iter().filter(|_| self.websocket) {
            if self.sent(name).is_none() {
                line(name, value);
            }
        }
        self.headers.iter().for_each(|(name, value)| line(name, value));
        bytes.push_str("\r\n");
        let mut reader = HeadReader::new(limits);
        let head = reader.read(&mut BytesMut::from(bytes.as_str()))?.ok_or(Reason::HeadMalformed)?;
        let is_empty = head.framing == Framing::Empty;
        Ok((head.request.into_parts().0, is_empty))
    }
}

fn one_line(what: &str, text: &str) -> Result<(), Fault> {
    if text.contains(['\r', '\n', '\0']) { Err(Fault(format!("{what} is one line"))) } else { Ok(()) }
}

/// Facts about a customer as a JSON object with `capabilities` (a list, or an object of booleans) and `quotas` (an object of
/// numbers, null being unlimited).
///
/// # Errors
/// What is anything else.
pub fn facts(text: &str) -> Result<Facts, Fault> {
    let object = json::object(text.as_bytes()).map_err(|error| Fault(error.to_string()))?;
    let mut facts = Facts::default();
    for (name, value) in object.iter() {
        match (name, value) {
            ("capabilities", Value::List(list)) => {
                let elements: Option<Vec<&str>> = list.iter().map(Value::as_text).collect();
                let fault = || Fault("`capabilities` has an element that is no text".to_owned());
                facts.capabilities = elements.ok_or_else(fault)?.into_iter().collect();
            }
            ("capabilities", Value::Object(flags)) => {
                facts.capabilities = granted(flags)?.into_iter().collect();
            }
            ("quotas", Value::Object(members)) => {
                facts.quotas = quotas(members).map_err(|why| Fault(format!("`quotas` {why}")))?;
            }
            ("capabilities" | "quotas", _) => return Err(Fault(format!("`{name}` has the wrong type"))),
            _ => return Err(Fault(format!("`{name}` is unknown: there can be `capabilities` and `quotas`"))),
        }
    }
    Ok(facts)
}

fn granted<'a>(flags: &'a Object<'_>) -> Result<Vec<&'a str>, Fault> {
    let mut granted = Vec::new();
    for (name, value) in flags.iter() {
        match value {
            Value::Boolean(true) => granted.push(name),
            Value::Boolean(false) => {}
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
                return Err(Fault(format!("the capability {name:?} is neither true nor false")));
            }
        }
    }
    Ok(granted)
}
