//! Every answer that sidegate gives in its own name: one table of reasons, statuses and OAuth errors.
//!
//! A reason is a log field and a metric label, hence public API: renaming one is a breaking change.

use http::StatusCode;
use std::fmt;

/// The OAuth 2.0 error code of a bearer challenge (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// `invalid_request`: the credential is malformed or repeated.
    InvalidRequest,
    /// `invalid_token`: expired, forged, revoked, for somebody else.
    InvalidToken,
    /// `insufficient_scope`: the token is good, but does not suffice.
    InsufficientScope,
}

impl BearerError {
    /// The code as RFC 6750 spells it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// How a reason is answered: one row of the table below.
#[derive(Clone, Copy, Debug)]
struct Row {
    label: &'static str,
    status: StatusCode,
    error: Option<BearerError>,
    detail: &'static str,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal, $status:ident, $error:expr, $detail:literal;)*) => {
        /// Why a request was admitted or refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        label: $label, status: StatusCode::$status, error: $error, detail: $detail,
                    },)*
                }
            }
        }
    };
}

use BearerError::{InsufficientScope, InvalidRequest, InvalidToken};

reasons! {
    /// Admitted; the answer is the service's own, or that to a preflight.
    Allowed = "allowed", OK, None, "";
    /// No rule admits the request.
    RouteDenied = "route_denied", FORBIDDEN, None, "Access to this resource is not allowed";
    /// The path has a form that could be read in two ways.
    PathRefused = "path_refused", BAD_REQUEST, None, "The request path is not acceptable";
    /// Host, framing or handshake of the request head are malformed; the connection is closed.
    HeadMalformed = "head_malformed", BAD_REQUEST, None, "The request head is malformed";
    /// CONNECT and TRACE are never forwarded.
    MethodRefused = "method_refused", METHOD_NOT_ALLOWED, None, "The request method is not allowed";
    /// No credential where one is needed.
    CredentialMissing = "credential_missing", UNAUTHORIZED, None, "Missing credentials";
    /// The credential is not of the form `Scheme token`.
    CredentialMalformed = "credential_malformed", BAD_REQUEST, Some(InvalidRequest), "The credential is malformed";
    /// More than one credential was sent.
    CredentialRepeated = "credential_repeated", BAD_REQUEST, Some(InvalidRequest), "More than one credential was sent";
    /// No compact JWS, or its parts are not strictly what RFC 7515 and RFC 7519 say.
    TokenMalformed = "token_malformed", UNAUTHORIZED, Some(InvalidToken), "The access token is malformed";
    /// The signature does not verify.
    TokenSignature = "token_signature", UNAUTHORIZED, Some(InvalidToken), "The access token could not be verified";
    /// The algorithm is not one that is accepted.
    TokenAlgorithm = "token_algorithm", UNAUTHORIZED, Some(InvalidToken), "The access token could not be verified";
    /// No key of that id.
    TokenKeyUnknown = "token_key_unknown", UNAUTHORIZED, Some(InvalidToken), "The access token could not be verified";
    /// `exp` has passed.
    TokenExpired = "token_expired", UNAUTHORIZED, Some(InvalidToken), "The access token has expired";
    /// `nbf` or `iat` lies in the future.
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED, Some(InvalidToken), "The access token is not yet valid";
    /// `iss` is not one that is trusted here.
    TokenIssuer = "token_issuer", UNAUTHORIZED, Some(InvalidToken), "The access token's issuer is not accepted";
    /// `aud` does not name this service.
    TokenAudience = "token_audience", UNAUTHORIZED, Some(InvalidToken), "The access token's audience is not accepted";
    /// A claim is missing or has a value that cannot be used.
    TokenClaim = "token_claim", UNAUTHORIZED, Some(InvalidToken), "The access token lacks a usable claim";
    /// Introspection says that the token is not active.
    TokenInactive = "token_inactive", UNAUTHORIZED, Some(InvalidToken), "The access token is not active";
    /// The token was revoked.
    TokenRevoked = "token_revoked", UNAUTHORIZED, Some(InvalidToken), "The access token was revoked";
    /// No such API key.
    ApiKeyUnknown = "api_key_unknown", UNAUTHORIZED, Some(InvalidToken), "The API key is not accepted";
    /// The API key is past its date.
    ApiKeyExpired = "api_key_expired", UNAUTHORIZED, Some(InvalidToken), "The API key has expired";
    /// The API key may not be used from this address.
    ApiKeyAddress = "api_key_address", UNAUTHORIZED, Some(InvalidToken), "The API key is not accepted from this address";
    /// A role lacks.
    RoleMissing = "role_missing", FORBIDDEN, Some(InsufficientScope), "Missing roles";
    /// A scope lacks.
    ScopeMissing = "scope_missing", FORBIDDEN, Some(InsufficientScope), "Missing scopes";
    /// A permission lacks.
    PermissionMissing = "permission_missing", FORBIDDEN, Some(InsufficientScope), "Missing permissions";
    /// A capability lacks.
    CapabilityMissing = "capability_missing", FORBIDDEN, Some(InsufficientScope), "Missing capabilities";
    /// A quota is too low.
    QuotaTooLow = "quota_too_low", FORBIDDEN, Some(InsufficientScope), "A quota is too low";
    /// The rule's expression is false.
    ExpressionFalse = "expression_false", FORBIDDEN, Some(InsufficientScope), "The request does not satisfy the policy";
    /// A WebSocket handshake or a preflight from an origin that is not allowed.
    OriginRefused = "origin_refused", FORBIDDEN, None, "The origin is not allowed";
    /// Too many requests.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, None, "Too many requests";
    /// Keys, introspection or entitlements cannot be had.
    AuthorityUnavailable = "authority_unavailable", SERVICE_UNAVAILABLE, None, "The authority that must be asked is unavailable";
    /// The service does not accept connections.
    UpstreamUnreachable = "upstream_unreachable", BAD_GATEWAY, None, "The service is unreachable";
    /// The service broke the connection or answered with what is no HTTP.
    UpstreamFailed = "upstream_failed", BAD_GATEWAY, None, "The service failed to answer";
    /// The service did not answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, None, "The service did not answer in time";
    /// No connection to the service became free in time.
    UpstreamOverloaded = "upstream_overloaded", SERVICE_UNAVAILABLE, None, "The service is overloaded";
    /// The request head is larger than the limits allow.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, None, "The request head is too large";
    /// The request body is larger than the limit allows.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, None, "The request body is too large";
    /// The request head did not arrive in time.
    HeadTimeout = "head_timeout", REQUEST_TIMEOUT, None, "The request head did not arrive in time";
    /// The request body stopped arriving.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, None, "The request body did not arrive in time";
}

impl Reason {
    /// The public name: log field and metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// The HTTP status that answers it (RFC 9110 §15).
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// The code of the bearer challenge, where there is one.
    #[must_use]
    pub const fn bearer_error(self) -> Option<BearerError> {
        self.row().error
    }

    /// What the client reads when a denial says nothing more exact.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        self.row().detail
    }

    /// Its place in [`Reason::ALL`], for arrays of counters.
    #[must_use]
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|reason| *reason == self).unwrap_or_default()
    }
}

/// A refusal: the reason, and what may be said about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Denial {
    reason: Reason,
    detail: Option<String>,
    scope: Option<String>,
    source: Option<String>,
    departure: bool,
}

impl Denial {
    /// A refusal that says no more than its reason does.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, detail: None, scope: None, source: None, departure: false }
    }

    /// No refusal at all: the client went away in the middle of its request, and there is nobody to be answered.
    #[must_use]
    pub fn departed() -> Self {
        Self { departure: true, ..Self::new(Reason::HeadMalformed) }
    }

    /// Whether it only says that the client went away.
    #[must_use]
    pub const fn is_departure(&self) -> bool {
        self.departure
    }

    /// Replaces the text that the client reads. It must hold nothing from the token.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The scopes that lack, for the challenge's `scope` (RFC 6750 §3).
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// What went wrong inside, for the log only; never a token or a claim that was not verified.
    #[must_use]
    pub fn because(mut self, source: impl fmt::Display) -> Self {
        self.source = Some(source.to_string());
        self
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What the client reads.
    #[must_use]
    pub fn text(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.reason.detail())
    }

    /// The scopes that lack.
    #[must_use]
    pub fn missing_scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// What the log reads.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }
}

impl fmt::Debug for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Denial({}", self.reason.label())?;
        if let Some(source) = &self.source {
            write!(formatter, ": {source}")?;
        }
        formatter.write_str(")")
    }
}
