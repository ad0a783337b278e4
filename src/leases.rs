//! What lasts longer than its judgement: tunnels and long responses, and whether they still may.
//!
//! A credential can lose its worth while something that it opened goes on: it is revoked, its key leaves the key set, its entry
//! leaves the key file. A worker looks through its leases every now and then, and ends those whose footing is gone.

use crate::sessions::Footing;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Leave to go on, as long as the credential is worth something.
#[derive(Debug)]
pub struct Lease {
    footing: Footing,
    over: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Lease {
    /// Ready when it is over before its time.
    pub fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends when it is over before its time.
    pub async fn over(&self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }

    fn end(&self) {
        self.over.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// The leases of one worker.
#[derive(Debug, Default)]
pub struct Leases {
    open: RefCell<Vec<Weak<Lease>>>,
    /// How many of them may be gone before they are swept out.
    swept: Cell<usize>,
}

impl Leases {
    /// A new one.
    pub fn open(&self, footing: Footing) -> Rc<Lease> {
        let lease = Rc::new(Lease { footing, over: Cell::default(), waiting: RefCell::default() });
        let mut open = self.open.borrow_mut();
        if open.len() >= self.swept.get() {
            open.retain(|lease| lease.strong_count() > 0);
            self.swept.set(open.len().saturating_mul(2).max(64));
        }
        open.push(Rc::downgrade(&lease));
        lease
    }

    /// Ends those whose footing does not stand any more.
    pub fn review(&self, stands: impl Fn(&Footing) -> bool) {
        let ended: Vec<Rc<Lease>> = {
            let open = self.open.borrow();
            let alive = open.iter().filter_map(Weak::upgrade);
            alive.filter(|lease| !lease.over.get() && !stands(&lease.footing)).collect()
        };
        ended.iter().for_each(|lease| lease.end());
    }
}

#[cfg(test)]
mod tests {
    use super::Leases;
    use crate::sessions::Footing;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::{Context, Waker};

    #[test]
    fn a_lease_ends_with_its_footing_and_is_forgotten_when_nobody_holds_it() {
        let leases = Leases::default();
        let lease = leases.open(Footing::none());
        let mut cx = Context::from_waker(Waker::noop());
        leases.review(|_| true);
        assert!(lease.poll_over(&mut cx).is_pending());
        leases.review(|_| false);
        assert!(lease.poll_over(&mut cx).is_ready());
        let asked = Cell::new(0);
        let count = || {
            asked.set(0);
            leases.review(|_| {
                asked.set(asked.get() + 1);
                true
            });
            asked.get()
        };
        assert_eq!(count(), 0, "it is over already");
        let held: Vec<Rc<_>> = (0..3).map(|_| leases.open(Footing::none())).collect();
        assert_eq!(count(), 3);
        drop(held);
        assert_eq!(count(), 0);
        for _ in 0..1000 {
            drop(leases.open(Footing::none()));
        }
        assert!(leases.open.borrow().len() <= 64);
    }
}
