//! Where a credential stands in a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `Authorization: Bearer …`, where a credential is looked for by default.
pub(super) fn bearer_header() -> Vec<CredentialPlace> {
    vec![CredentialPlace::Header(HeaderPlace {
        header: "authorization".to_owned(),
        scheme: Some("Bearer".to_owned()),
        prefix: None,
    })]
}

/// Where a credential stands in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CredentialPlace {
    /// In a header field.
    Header(HeaderPlace),
    /// In a cookie.
    Cookie(CookiePlace),
    /// In the query.
    Query(QueryPlace),
    /// In `Sec-WebSocket-Protocol`, after this word.
    Subprotocol(SubprotocolPlace),
}

/// A credential in a header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderPlace {
    /// The field's name.
    pub header: String,
    /// The scheme in front of the token, such as "Bearer"; absent = the value is the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// What the key begins with, such as "sb_": it tells API keys from other tokens in the same place (only for kind `api_key`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A credential in a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CookiePlace {
    /// The cookie's name.
    pub cookie: String,
}

/// A credential in the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryPlace {
    /// The parameter's name.
    pub query: String,
    /// Look there only in a WebSocket handshake, since URLs end up in logs and histories.
    #[serde(default = "yes")]
    pub websocket_only: bool,
}

const fn yes() -> bool {
    true
}

/// A credential among the WebSocket subprotocols, the only header that browsers let a script set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubprotocolPlace {
    /// The word after which the token stands: `Sec-WebSocket-Protocol: bearer, <token>`.
    pub subprotocol: String,
}
