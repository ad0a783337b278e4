//! `[cors]`: preflights that sidegate answers itself, and the fields that browsers look for (Fetch §3.2).

use super::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const fn ten_minutes() -> Period {
    Period(Duration::from_secs(600))
}

fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).into()
}

fn headers() -> Vec<String> {
    ["authorization", "content-type"].map(str::to_owned).into()
}

/// Requests across origins. Absent = the service's own business; present = preflights are answered here, before
/// authentication, and the service's own `Access-Control-*` fields are replaced.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins whose scripts may read answers, as browsers send them; `["*"]` = all, without credentials.
    #[schemars(length(min = 1))]
    pub allowed_origins: Vec<String>,
    /// The methods that preflights allow.
    #[serde(default = "methods")]
    pub allowed_methods: Vec<String>,
    /// The request headers that preflights allow; `["*"]` = those that are asked for.
    #[serde(default = "headers")]
    pub allowed_headers: Vec<String>,
    /// The response headers that scripts may read, besides the few that they always may.
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// Whether browsers may send cookies and the like.
    #[serde(default)]
    pub allow_credentials: bool,
    /// How long browsers may remember the answer to a preflight.
    #[serde(default = "ten_minutes")]
    #[schemars(extend("maximum" = "1d"))]
    pub max_age: Period,
}
