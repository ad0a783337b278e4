//! What is put on record while a decision is made.

use crate::allowance::Allowance;
use crate::config::policy::OnDenied;
use crate::decide::{Manner, Observer};
use crate::denial::Denial;
use crate::generation::Generation;
use crate::policy::Route;
use crate::proxy::response_body::ResponseBody;
use crate::sessions::Session;
use crate::target::Target;
use crate::telemetry::record::Record;
use crate::telemetry::tally::RouteTally;
use http::{Response, StatusCode};
use std::sync::Arc;

/// Puts what is decided about a request on its record.
pub(super) struct Recording<'a> {
    pub(super) generation: &'a Generation,
    /// The counters of each rule, in the order of the policy.
    pub(super) tallies: &'a [Arc<RouteTally>],
    pub(super) record: &'a mut Record,
    /// Whether the rule refuses handshakes behind a 101.
    pub(super) closes: bool,
    /// The 101 in front of a refusal.
    pub(super) closing: &'a mut Option<Box<Response<ResponseBody>>>,
}

impl Observer for Recording<'_> {
    fn target(&mut self, target: &Target) {
        self.record.target(target);
    }

    fn route(&mut self, place: usize, route: &Route) {
        self.closes = route.websocket.on_denied == OnDenied::Close;
        if let Some(tally) = self.tallies.get(place) {
            self.record.route(tally);
        }
    }

    fn manner(&mut self, manner: &Manner) {
        if let (true, Manner::WebSocket(handshake)) = (self.closes, manner) {
            let authenticators = &self.generation.authenticators;
            let is_word =
                |name: &str| authenticators.iter().any(|known| known.places.is_subprotocol_word(name));
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.headers_mut() = handshake.accepted(is_word);
            *self.closing = Some(Box::new(response));
        }
    }

    fn authenticator(&mut self, place: usize) {
        if let Some(authenticator) = self.generation.authenticators.get(place) {
            self.record.authenticator(&authenticator.name);
        }
    }

    fn identified(&mut self, session: &Session) {
        self.record.identified(&session.identity, &session.subject);
    }

    fn limited(&mut self, allowance: &Allowance) {
        self.record.limited(*allowance);
    }

    fn allowed(&mut self) {
        self.record.allowed();
    }

    fn would_deny(&mut self, denial: &Denial) {
        self.record.would_deny(denial);
    }
}
