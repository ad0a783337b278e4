//! Random bytes for ids, drawn from the system in batches: for what must not repeat, not for what must be secret.

use std::cell::RefCell;

/// Pieces that one call to the random generator is good for.
const BATCH: usize = 64;

/// One thread's store of random pieces of `N` bytes.
#[derive(Debug, Default)]
pub struct Random<const N: usize>(RefCell<Vec<[u8; N]>>);

impl<const N: usize> Random<N> {
    /// A piece that nobody has had before; zeros should the system have nothing random.
    #[must_use]
    pub fn next(&self) -> [u8; N] {
        let mut pool = self.0.borrow_mut();
        if pool.is_empty() {
            let mut pieces = [[0_u8; N]; BATCH];
            // Not from AWS-LC, whose own generator takes tens of milliseconds to start, in the middle of a thread's first
            // request.
            getrandom::fill(pieces.as_flattened_mut()).ok();
            pool.extend(pieces);
        }
        pool.pop().unwrap_or([0; N])
    }
}
