//! Whoever looks on while a decision is made.

use super::manner::Manner;
use crate::allowance::Allowance;
use crate::denial::Denial;
use crate::facts::Facts;
use crate::generation::Candidate;
use crate::policy::rate::RateLimit;
use crate::policy::{Asking, Route};
use crate::rates::Charge;
use crate::sessions::Session;
use crate::target::Target;

/// Who looks on while a decision is made. It cannot change anything.
pub trait Observer {
    /// What the request is aimed at.
    fn target(&mut self, _: &Target) {}
    /// The rule that holds, and its place in the policy.
    fn route(&mut self, _place: usize, _: &Route) {}
    /// The manner of the request.
    fn manner(&mut self, _: &Manner) {}
    /// The rule wants a credential, and this was found.
    fn credential(&mut self, _: Option<&Candidate<'_>>) {}
    /// The place of the authenticator that judged the credential.
    fn authenticator(&mut self, _place: usize) {}
    /// Who is asking.
    fn identified(&mut self, _: &Session) {}
    /// Facts were asked for; none if it goes on without them.
    fn facts(&mut self, _: Option<&Facts>) {}
    /// The rule is about to judge this.
    fn asking(&mut self, _: &Route, _: &Asking<'_>) {}
    /// The request counts against that limit of the rule.
    fn counted(&mut self, _: &RateLimit, _: &Charge) {}
    /// What is left of the tightest limit.
    fn limited(&mut self, _: &Allowance) {}
    /// The request may pass.
    fn allowed(&mut self) {}
    /// The request would be refused for that, but passes in shadow mode.
    fn would_deny(&mut self, _: &Denial) {}
}
