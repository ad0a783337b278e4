//! The end of a long response before its own: its credential has expired, or is not worth anything any more.

use crate::leases::Lease;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// Why something is ended that was allowed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// Its time has come.
    #[error("the token has expired")]
    Expired,
    /// It was revoked, or lost what it rested on.
    #[error("the credential was revoked")]
    Revoked,
}

/// Watches for the end.
#[derive(Debug)]
pub struct Ending {
    timer: Option<Pin<Box<Sleep>>>,
    lease: Option<Rc<Lease>>,
    grpc: bool,
}

impl Ending {
    /// At that time, or with that lease, whichever comes first; a gRPC call is told so in trailers.
    #[must_use]
    pub fn new(until: Option<Instant>, lease: Option<Rc<Lease>>, grpc: bool) -> Self {
        Self { timer: until.map(|until| Box::pin(sleep_until(until))), lease, grpc }
    }

    /// Ready when it is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.lease.as_ref().is_some_and(|lease| lease.poll_over(cx).is_ready()) {
            return Poll::Ready(Over::Revoked);
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Over::Expired),
            None => Poll::Pending,
        }
    }

    /// Whether the client speaks gRPC.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.grpc
    }
}
