//! `[redis]`: what replicas share.

use super::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

fn one_second() -> Period {
    Period(Duration::from_secs(1))
}

fn a_quarter_of_a_second() -> Period {
    Period(Duration::from_millis(250))
}

fn prefix() -> String {
    "sidegate:".to_owned()
}

/// Where replicas share what they must know of each other: revocations and rate limits. Absent = kept in this process.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://host:6379/0`, `rediss://host:6379/0` (TLS) or `unix:///run/redis.sock`, without a password.
    pub url: Option<String>,
    /// The environment variable that holds the URL, which may have a user and a password: `rediss://user:password@host:6379/0`.
    #[schemars(extend("format" = "variable"))]
    pub url_env: Option<String>,
    /// The file that holds the URL; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// PEM file with the authorities to trust instead of the system's, for `rediss://`.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
    /// How long establishing a connection may take, TLS and login included.
    #[serde(default = "one_second")]
    #[schemars(extend("minimum" = "1ms", "maximum" = "1m"))]
    pub connect_timeout: Period,
    /// How long an answer is waited for. A request that needs one never waits longer.
    #[serde(default = "a_quarter_of_a_second")]
    #[schemars(extend("minimum" = "1ms", "maximum" = "10s"))]
    pub timeout: Period,
    /// What the names of all keys begin with. Gates that share a prefix share revocations and rate limits.
    #[serde(default = "prefix")]
    pub prefix: String,
}
