//! `[denials]` and `[log]`: what clients and operators read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How refusals are worded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Denials {
    /// The form of the body.
    pub body: DenialBody,
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DenialBody {
    /// Problem details (RFC 9457).
    #[default]
    Problem,
    /// `{"detail": "…"}`.
    Detail,
    /// `{"error": "…"}`.
    Error,
}

/// What is logged to standard output.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// The least severe events that are logged.
    pub level: LogLevel,
    /// One line a request.
    pub access: bool,
    /// A file with one line for each decision that matters.
    pub audit: Option<Audit>,
}

/// A file with one line for each decision that matters: refusals, mutations, tunnels, revocations, reloads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The file; its folder must be there.
    #[schemars(extend("format" = "path"))]
    pub file: PathBuf,
    /// When it begins anew.
    #[serde(default)]
    pub rotate: Rotate,
    /// How many old files are kept.
    #[serde(default = "keep")]
    #[schemars(range(min = 1, max = 10_000))]
    pub keep: u16,
}

const fn keep() -> u16 {
    30
}

/// When a file begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotate {
    /// Every day at midnight, UTC: `audit.log` of yesterday becomes `audit-2026-11-25.log`.
    #[default]
    Daily,
    /// Never; whoever moves the file away finds a new one a second later.
    Never,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info, access: true, audit: None }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Text for people.
    Pretty,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// The course of things.
    #[default]
    Info,
    /// Details.
    Debug,
    /// Everything.
    Trace,
}
