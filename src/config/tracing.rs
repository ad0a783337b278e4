//! `[tracing]`: spans of requests, for a collector.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

fn service_name() -> String {
    "sidegate".to_owned()
}

const fn every() -> u32 {
    1
}

/// Where spans of requests are sent: OTLP over HTTP, in protobuf. `traceparent` of clients is continued, and the service gets ours.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The collector, `http://127.0.0.1:4318`; `/v1/traces` is added unless it ends so.
    pub otlp_endpoint: String,
    /// The environment variable that holds a token for the collector, sent as `Authorization: Bearer`.
    #[schemars(extend("format" = "variable"))]
    pub token_env: Option<String>,
    /// The file that holds it; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub token_file: Option<PathBuf>,
    /// `service.name` of the spans.
    #[serde(default = "service_name")]
    pub service_name: String,
    /// What else the spans say of where they come from: `deployment.environment.name`, `k8s.pod.name`, …
    #[serde(default)]
    pub attributes: IndexMap<String, String>,
    /// Of so many traces that begin here, or come from anybody but `server.trusted_proxies`, one is recorded; 0 = none of them.
    /// Trusted proxies are followed, and what its caller does not record is not recorded.
    #[serde(default = "every")]
    pub sample_one_in: u32,
}
