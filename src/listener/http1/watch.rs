//! The timer of a connection: one, and it is moved only when it fires too early, or late would be too late.

use crate::clock::{TICK, after, lately};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Watches what a connection waits for.
#[derive(Debug)]
pub(super) struct Watch {
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    pub(super) fn new(duration: Duration) -> Self {
        let deadline = after(Instant::now(), duration);
        Self { deadline, sleep: Box::pin(sleep_until(deadline)) }
    }

    /// What begins now may take so long.
    pub(super) fn begin(&mut self, duration: Duration) {
        self.deadline = after(Instant::now(), duration);
        self.keep_up();
    }

    /// The same for what need not be exact: it may take a moment more.
    pub(super) fn begin_lately(&mut self, duration: Duration) {
        let (lately, _) = lately();
        self.deadline = after(after(lately, duration), TICK);
        self.keep_up();
    }

    /// It must end by then, if not before.
    pub(super) fn hurry(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
        self.keep_up();
    }

    /// The timer may fire early, but never late.
    fn keep_up(&mut self) {
        if self.deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Ready when the time is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn what_begins_anew_has_its_whole_time() {
        let begin = Instant::now();
        let seconds = Duration::from_secs;
        let mut watch = Watch::new(seconds(10));
        for _ in 0..3 {
            tokio::time::sleep(seconds(6)).await;
            watch.begin(seconds(10));
        }
        poll_fn(|cx| watch.poll(cx)).await;
        assert_eq!(begin.elapsed().as_secs(), 28);
        watch.begin(seconds(10));
        watch.hurry(begin + seconds(30));
        watch.hurry(begin + seconds(60));
        poll_fn(|cx| watch.poll(cx)).await;
        assert_eq!(begin.elapsed().as_secs(), 30);
    }
}
