//! `[server]` and `[admin]`: where requests come in, and within which bounds.

use super::units::{OneOrMany, Period, Size};
use crate::target::PathRules;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

const fn seconds(seconds: u64) -> Period {
    Period(Duration::from_secs(seconds))
}

/// The listener that clients reach.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to listen: `host:port`, a list of them, or `unix:/path/to/socket`.
    pub listen: OneOrMany<String>,
    /// Threads that carry traffic; 0 = the CPUs this process may use (cgroup-aware).
    pub workers: u16,
    /// CIDRs of the proxies whose `X-Forwarded-*` and `X-Request-Id` are believed; default: nobody.
    pub trusted_proxies: Vec<Network>,
    /// Every connection begins with a PROXY header (version 1 or 2) that says whose it is; one without is closed.
    pub proxy_protocol: bool,
    /// CIDRs of the load balancers that may send PROXY headers; empty = whoever can connect.
    pub proxy_protocol_from: Vec<Network>,
    /// Serve TLS; absent = plain HTTP/1.1 and h2c with prior knowledge.
    pub tls: Option<ServerTls>,
    /// Bounds on what a client may send and hold.
    pub limits: Limits,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Which unusual paths are tolerated; by default none.
    pub paths: Paths,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned().into(),
            workers: 0,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            proxy_protocol_from: Vec::new(),
            tls: None,
            limits: Limits::default(),
            shutdown: Shutdown::default(),
            paths: Paths::default(),
        }
    }
}

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl std::str::FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        whole.map(Self).map_err(|_| "write an address or a network in CIDR notation, such as \"10.0.0.0/8\"")
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "network" })
    }
}

/// TLS towards clients.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the certificate chain, leaf first; read again when it changes.
    #[schemars(extend("format" = "path"))]
    pub cert_file: PathBuf,
    /// PEM file with the private key; read again when it changes.
    #[schemars(extend("format" = "path"))]
    pub key_file: PathBuf,
    /// Further certificates: a client that asks for a name which one of them bears gets that one (SNI), all others the one above.
    #[serde(default)]
    pub certificates: Vec<KeyPair>,
    /// PEM file with the authorities that client certificates are checked against; present = mutual TLS.
    #[schemars(extend("format" = "path"))]
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must show a certificate.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// PEM file with the certificate chain, leaf first; read again when it changes.
    #[schemars(extend("format" = "path"))]
    pub cert_file: PathBuf,
    /// PEM file with the private key; read again when it changes.
    #[schemars(extend("format" = "path"))]
    pub key_file: PathBuf,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// No certificate, no connection.
    #[default]
    Required,
    /// A certificate that is shown must be good; none is tolerated.
    Optional,
}

/// Bounds on what a client may send and hold.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open client connections; more wait in the kernel's backlog.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Bytes of a request head; 431 beyond.
    #[schemars(extend("minimum" = "1KiB", "maximum" = "1MiB"))]
    pub header_bytes: Size,
    /// Header fields of a request; 431 beyond.
    #[schemars(range(min = 1, max = 1000))]
    pub headers: u16,
    /// From the first byte of a request head to its last; then 408 and close.
    #[schemars(extend("minimum" = "1ms"))]
    pub header_timeout: Period,
    /// How long a connection may stay without a request.
    #[schemars(extend("minimum" = "1ms"))]
    pub idle_timeout: Period,
    /// How long a client may send nothing of a request body that is waited for; 408 then. Not once the response has begun.
    #[schemars(extend("minimum" = "1ms"))]
    pub body_timeout: Period,
    /// How long a client may take nothing of a response that is there for it; then it is cut off. Tunnels are exempt.
    #[schemars(extend("minimum" = "1ms"))]
    pub write_timeout: Period,
    /// Bytes of a request body; "0" = unlimited (bodies are streamed, never buffered); 413 beyond.
    pub body_bytes: Size,
    /// Concurrent streams of one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: Size(64 << 10),
            headers: 100,
            header_timeout: seconds(10),
            idle_timeout: seconds(75),
            body_timeout: seconds(60),
            write_timeout: seconds(60),
            body_bytes: Size(0),
            streams: 256,
        }
    }
}

/// How the process ends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long `/readyz` answers 503 while requests are still taken, for load balancers to notice.
    pub delay: Period,
    /// How long requests in flight may take after that; tunnels are then closed with 1001.
    pub grace: Period,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: seconds(0), grace: seconds(30) }
    }
}

/// Which unusual paths are tolerated; each default is the strict one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// What becomes of `.` and `..` segments, however they are spelled.
    pub dot_segments: DotSegments,
    /// What becomes of `//`.
    pub slashes: Slashes,
    /// What becomes of `%2F` and `%5C` inside a segment.
    pub encoded_slash: Keep,
    /// What becomes of `;` and `%3B` inside a segment.
    pub semicolon: Keep,
}

/// What becomes of `.` and `..` segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DotSegments {
    /// Refused with 400.
    #[default]
    Refuse,
    /// Resolved as in RFC 3986 §5.2.4, before rules are looked at; a path that climbs above the root is refused.
    Resolve,
}

/// What becomes of `//`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Slashes {
    /// Refused with 400.
    #[default]
    Refuse,
    /// Merged into one `/`, before rules are looked at.
    Merge,
}

/// What becomes of a character that some services read as structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Refused with 400.
    #[default]
    Refuse,
    /// Kept as it is, as part of the segment.
    Keep,
}

impl From<Paths> for PathRules {
    fn from(paths: Paths) -> Self {
        Self {
            resolve_dot_segments: paths.dot_segments == DotSegments::Resolve,
            merge_slashes: paths.slashes == Slashes::Merge,
            keep_encoded_slash: paths.encoded_slash == Keep::Keep,
            keep_semicolon: paths.semicolon == Keep::Keep,
        }
    }
}

/// The listener for probes and metrics; nothing of it can be reached through `[server]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen: `host:port`. Serves /livez (= /healthz), /readyz and /metrics.
    pub listen: String,
    /// Whether /readyz is 503 until every jwt authenticator has once had keys.
    pub ready_requires_keys: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9090".to_owned(), ready_requires_keys: true }
    }
}
