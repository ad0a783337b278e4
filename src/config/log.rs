//! `[denials]` and `[log]`: what clients and operators read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// The least severe events that are logged.
    pub level: LogLevel,
    /// One line a request.
    pub access: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info, access: true }
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
