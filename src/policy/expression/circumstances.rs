//! What an expression may look at besides the identity.

use crate::policy::router::Pattern;
use crate::target::Target;
use serde_json::Value;
use std::net::IpAddr;

/// What an expression may look at besides the identity: nothing that a client could say at will.
///
/// Header fields and the query are not among it on purpose: whoever may be let in by them would set them.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What is asked for.
    pub target: &'a Target,
    /// The pattern of the rule that holds; none for the policy itself.
    pub pattern: Option<&'a Pattern>,
    /// Where the request comes from.
    pub client: Option<IpAddr>,
    /// The verified claims, if they were kept.
    pub claims: Option<&'a Value>,
}
