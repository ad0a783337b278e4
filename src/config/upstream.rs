//! `[upstreams.NAME]`: the services behind the gate.

use super::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

fn two_seconds() -> Period {
    Period(Duration::from_secs(2))
}

fn one_second() -> Period {
    Period(Duration::from_secs(1))
}

fn one_minute() -> Period {
    Period(Duration::from_secs(60))
}

/// A service behind the gate.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `http://host:port`, `https://host:port` or `unix:/path/to/socket`; no path.
    pub url: String,
    /// Speak HTTP/2 to it: h2c with prior knowledge (http), or by ALPN (https). Needed for gRPC.
    #[serde(default)]
    pub http2: bool,
    /// How long establishing a connection may take, TLS included.
    #[serde(default = "two_seconds")]
    #[schemars(extend("minimum" = "1ms"))]
    pub connect_timeout: Period,
    /// From the last byte of the request to the head of the response; bodies and tunnels have no deadline.
    #[serde(default = "one_minute")]
    #[schemars(extend("minimum" = "1ms"))]
    pub response_timeout: Period,
    /// How long an unused connection is kept.
    #[serde(default = "one_minute")]
    #[schemars(extend("minimum" = "1ms"))]
    pub idle_timeout: Period,
    /// Connections to the service at once, 0 = unlimited; requests beyond wait up to `queue_timeout`.
    #[serde(default)]
    pub connections: u32,
    /// How long a request waits for a connection before it is refused with 503.
    #[serde(default = "one_second")]
    #[schemars(extend("minimum" = "1ms"))]
    pub queue_timeout: Period,
    /// TLS towards the service, for an https url.
    pub tls: Option<UpstreamTls>,
}

/// TLS towards a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM file with the authorities to trust instead of the system's.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate chain, for mutual TLS.
    #[schemars(extend("format" = "path"))]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key of `cert_file`.
    #[schemars(extend("format" = "path"))]
    pub key_file: Option<PathBuf>,
    /// The name the service's certificate must bear; default: the host of the url.
    pub server_name: Option<String>,
}
