//! The decision about one request as it is told: the members of `explain --json`, which are public API.

use serde::Serialize;
use serde_json::{Map, Value};

/// What was decided about a request, and why.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// The request.
    pub request: Request,
    /// Its canonical path, without the query; none if it is refused before there is one.
    pub path: Option<String>,
    /// The rule that holds; none if the request is refused before one is looked for.
    pub rule: Option<Rule>,
    /// The other rules whose paths fit.
    pub passed_over: Vec<PassedOver>,
    /// The credential; none where none is wanted.
    pub credential: Option<Credential>,
    /// Who judged the credential.
    pub authenticator: Option<Authenticator>,
    /// The attributes of the identity.
    pub identity: Option<Map<String, Value>>,
    /// What is known about the customer besides.
    pub entitlements: Entitlements,
    /// Everything that the rule requires, in the order in which it is checked.
    pub requirements: Vec<Requirement>,
    /// What the service gets; none if it gets nothing.
    pub forward: Option<Forward>,
    /// What comes of it.
    pub verdict: Verdict,
    /// What was assumed, and not checked.
    pub notes: Vec<String>,
}

/// A request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// The host that it is for.
    pub host: String,
    /// The path as it was given, without the query.
    pub path: String,
    /// Whether it is a WebSocket handshake.
    pub websocket: bool,
    /// From where the connection comes.
    pub client: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its key in the file, such as `routes[2]`.
    pub key: String,
    /// The line where it begins.
    pub line: usize,
    /// The paths that it is for; none = all.
    pub path: Option<String>,
    /// The methods that it is for; none = any.
    pub methods: Option<Vec<String>>,
    /// The hosts that it is for; none = any.
    pub hosts: Option<Vec<String>>,
    /// Who is let in.
    pub access: String,
    /// Whether its verdicts hold.
    pub mode: String,
}

/// A rule that was not chosen.
#[derive(Clone, Debug, Serialize)]
pub struct PassedOver {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Why: `host`, `method`, `names_no_host` or `less_specific`.
    pub why: &'static str,
}

/// Where a credential was looked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Credential {
    /// The places.
    pub places: Vec<String>,
    /// Where it was found; none = there is none.
    pub found: Option<String>,
}

/// Who judged a credential.
#[derive(Clone, Debug, Serialize)]
pub struct Authenticator {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// `accepted`, `assumed`, or the reason of the refusal.
    pub result: String,
}

/// What is known about the customer besides the identity.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entitlements {
    /// Whether the rule or a header depends on it.
    pub needed: bool,
    /// What the customer may do; none = nothing is known.
    pub capabilities: Option<Vec<String>>,
    /// How much of it; null = unlimited.
    pub quotas: Option<Map<String, Value>>,
}

/// One thing that is required.
#[derive(Clone, Debug, Serialize)]
pub struct Requirement {
    /// What.
    pub text: String,
    /// Whether it is met; none = it was not checked.
    pub met: Option<bool>,
    /// The reason of a refusal, if it is not met.
    pub reason: Option<&'static str>,
}

/// What the service gets.
#[derive(Clone, Debug, Serialize)]
pub struct Forward {
    /// The upstream's name.
    pub upstream: String,
    /// Where it is.
    pub url: String,
    /// The path, rewritten, without the query.
    pub path: String,
    /// The client's fields that it does not get as they were sent.
    pub removed: Vec<Removed>,
    /// The fields that it gets from sidegate.
    pub set: Vec<Set>,
    /// All fields that it gets; they may hold credentials, and are not told.
    #[serde(skip)]
    pub headers: Vec<Set>,
}

/// A client's field that is not passed on as it was sent.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// A field that comes from sidegate.
#[derive(Clone, Debug, Serialize)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What comes of a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// `allow`, `deny`, or `would_deny` in shadow mode.
    pub decision: &'static str,
    /// The status of the answer; none = the service's own.
    pub status: Option<u16>,
    /// What the status would be, but for shadow mode.
    pub would_be: Option<u16>,
    /// The reason, as in the log.
    pub reason: &'static str,
    /// What a client that is refused reads.
    pub text: Option<String>,
    /// What the log says besides.
    pub cause: Option<String>,
}
