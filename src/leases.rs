//! What long-lived traffic holds: an open tunnel, or a long response, and the credential that it rests on.
//!
//! A request is judged when it arrives; what it opens may outlive its credential. So the worker looks through all leases at
//! every tick of its housekeeping, and ends those whose session is worth nothing any more. A lease has no timer and no
//! task of its own.

use crate::denial::Reason;
use crate::sessions::Session;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use tokio::time::{Instant, timeout_at};

/// Why a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// What the credential vouched for has ended: its `exp`, and the leeway.
    Expired,
    /// The session is worth nothing any more: its key was withdrawn, or itself revoked.
    Revoked,
}

impl Over {
    /// The reason on record, and in an answer where one can still be given.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Expired => Reason::TokenExpired,
            Self::Revoked => Reason::TokenRevoked,
        }
    }
}

/// What an open tunnel or a long response holds.
#[derive(Debug)]
pub struct Lease {
    /// Until when the credential counts; none = as long as the session stands.
    until: Option<Instant>,
    /// Who it was opened for; none where nobody was asked who it is.
    session: Option<Rc<Session>>,
    over: Cell<Option<Over>>,
    /// Wakes the task that waits for the end.
    waiting: RefCell<Option<Waker>>,
}

impl Lease {
    /// Why it is over, if it is, as the last review found.
    #[must_use]
    pub const fn is_over(&self) -> Option<Over> {
        self.over.get()
    }

    /// Ready when it is over, as a review finds: up to one tick late. One task may wait.
    pub fn poll_over(&self, cx: &Context<'_>) -> Poll<Over> {
        if let Some(over) = self.over.get() {
            return Poll::Ready(over);
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends when it is over: to the moment when it expires, and with the next review when it is revoked.
    pub async fn over(&self) -> Over {
        let reviewed = poll_fn(|cx| self.poll_over(cx));
        match self.until {
            Some(until) => timeout_at(until, reviewed).await.unwrap_or(Over::Expired),
            None => reviewed.await,
        }
    }

    /// Looks whether it is over.
    fn review(&self, now: Instant, stands: &impl Fn(&Session) -> bool) {
        let revoked = || self.session.as_deref().is_some_and(|session| !stands(session));
        let over = if self.until.is_some_and(|until| until <= now) {
            Over::Expired
        } else if revoked() {
            Over::Revoked
        } else {
            return;
        };
        if self.over.replace(Some(over)).is_none()
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }
}

/// All leases of one worker.
#[derive(Debug, Default)]
pub struct Leases {
    held: RefCell<Vec<Weak<Lease>>>,
}

impl Leases {
    /// A lease that ends `until` then, or when the session does not stand any more; none if it could never end.
    #[must_use]
    pub fn grant(&self, until: Option<Instant>, session: Option<Rc<Session>>) -> Option<Rc<Lease>> {
        if until.is_none() && session.is_none() {
            return None;
        }
        let lease = Rc::new(Lease { until, session, over: Cell::default(), waiting: RefCell::default() });
        self.held.borrow_mut().push(Rc::downgrade(&lease));
        Some(lease)
    }

    /// Ends the leases that have expired, and those whose session does not stand any more; forgets those that nobody holds.
    pub fn review(&self, now: Instant, stands: impl Fn(&Session) -> bool) {
        let mut held = self.held.borrow_mut();
        held.retain(|lease| match lease.upgrade() {
            Some(lease) => {
                lease.review(now, &stands);
                lease.is_over().is_none()
            }
            None => false,
        });
        // Thousands of tunnels may have gone at once.
        if held.capacity() > held.len().saturating_mul(4).saturating_add(64) {
            held.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Leases, Over};
    use crate::headers::trusted::Prepared;
    use crate::identity::Identity;
    use crate::sessions::Session;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    fn session(subject: &str) -> Rc<Session> {
        Rc::new(Session::assumed(0, Identity::default(), subject.into(), Prepared::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_with_its_session_and_no_other_does() {
        let leases = Leases::default();
        let gone = leases.grant(None, Some(session("gone"))).unwrap();
        let stays = leases.grant(None, Some(session("stays"))).unwrap();
        let (waiting, ()) = tokio::join!(gone.over(), async {
            tokio::task::yield_now().await;
            leases.review(Instant::now(), |session| &*session.subject != "gone");
        });
        assert_eq!(waiting, Over::Revoked);
        assert_eq!((gone.is_over(), stays.is_over()), (Some(Over::Revoked), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_in_time_with_a_review_or_without() {
        let leases = Leases::default();
        let until = Instant::now() + Duration::from_secs(5);
        let lease = leases.grant(Some(until), None).unwrap();
        assert_eq!(lease.over().await, Over::Expired);
        assert_eq!(Instant::now(), until);
        assert_eq!(lease.is_over(), None, "nobody has looked yet");
        sleep(Duration::from_millis(1)).await;
        leases.review(Instant::now(), |_| true);
        assert_eq!(lease.is_over(), Some(Over::Expired));
    }

    #[test]
    fn what_nobody_holds_is_forgotten_and_what_cannot_end_is_no_lease() {
        let leases = Leases::default();
        assert!(leases.grant(None, None).is_none());
        let kept = leases.grant(None, Some(session("a")));
        for _ in 0..1000 {
            drop(leases.grant(None, Some(session("b"))));
        }
        leases.review(Instant::now(), |_| true);
        let held = leases.held.borrow();
        assert_eq!((held.len(), held.capacity() < 100, kept.is_some()), (1, true, true));
    }
}
