//! Which key signs, and which are published: the change of keys, as services with cached key sets must see it. Pure.
//!
//! A new key is published first, and signs when no cached key set is without it any more. The old one stays published until
//! everything that it signed has ended.

use crate::clock::UnixTime;
use std::sync::Arc;
use std::time::Duration;

/// How long services and proxies may keep the key set.
pub const MAX_AGE: Duration = Duration::from_secs(5);

/// How long a new key is published before it signs. Usual libraries (`PyJWT`, jose) ask again for a key that they do not know, but
/// not within 30 s of the last time, and what they get then may be as old as [`MAX_AGE`].
pub const OVERLAP: Duration = Duration::from_secs(60);

/// How long after the last assertion's end its key stays published, for services whose clocks are behind.
const LINGER: Duration = Duration::from_secs(60);

/// What a key is known by.
pub trait Named {
    /// Its id.
    fn kid(&self) -> &str;
}

/// The keys of one process.
#[derive(Debug)]
pub struct Ring<K> {
    ttl: Duration,
    signing: Arc<K>,
    /// The key that signs from then on.
    next: Option<(Arc<K>, UnixTime)>,
    /// Keys that signed, and until when they are published.
    retired: Vec<(Arc<K>, UnixTime)>,
}

impl<K: Named> Ring<K> {
    /// One key; assertions are good for `ttl`.
    #[must_use]
    pub fn new(key: Arc<K>, ttl: Duration) -> Self {
        Self { ttl, signing: key, next: None, retired: Vec::new() }
    }

    /// Takes the key that is to sign from soon on. One that signs already stays.
    pub fn offer(&mut self, key: Arc<K>, now: UnixTime) {
        let is_next = |next: &(Arc<K>, UnixTime)| next.0.kid() == key.kid();
        if self.next.as_ref().is_some_and(is_next) {
            return;
        }
        self.next = (key.kid() != self.signing.kid()).then(|| (key, now.plus(OVERLAP)));
    }

    /// Does what is due by now.
    pub fn advance(&mut self, now: UnixTime) {
        if let Some((key, _)) = self.next.take_if(|(_, from)| *from <= now) {
            let old = std::mem::replace(&mut self.signing, key);
            self.retired.push((old, now.plus(self.ttl).plus(LINGER)));
        }
        let signing = self.signing.kid();
        self.retired.retain(|(key, until)| now < *until && key.kid() != signing);
    }

    /// The key that signs.
    #[must_use]
    pub const fn signing(&self) -> &Arc<K> {
        &self.signing
    }

    /// Every key that is published, each once.
    #[must_use]
    pub fn published(&self) -> Vec<&K> {
        let mut keys: Vec<&K> = Vec::new();
        let next = self.next.iter().map(|(key, _)| key);
        let retired = self.retired.iter().map(|(key, _)| key);
        for key in std::iter::once(&self.signing).chain(next).chain(retired) {
            if !keys.iter().any(|known| known.kid() == key.kid()) {
                keys.push(key);
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::{LINGER, Named, OVERLAP, Ring};
    use crate::clock::UnixTime;
    use std::sync::Arc;
    use std::time::Duration;

    impl Named for &'static str {
        fn kid(&self) -> &str {
            self
        }
    }

    const TTL: Duration = Duration::from_secs(30);

    fn ring() -> Ring<&'static str> {
        Ring::new(Arc::new("a"), TTL)
    }

    #[track_caller]
    fn assert_keys(ring: &Ring<&'static str>, signing: &str, published: &[&str]) {
        assert_eq!(ring.signing().kid(), signing);
        assert_eq!(ring.published().into_iter().map(Named::kid).collect::<Vec<_>>(), published);
    }

    #[test]
    fn a_new_key_is_published_then_signs_and_the_old_one_stays_while_it_counts() {
        let mut ring = ring();
        let start = UnixTime::from_seconds(1000);
        ring.offer(Arc::new("b"), start);
        ring.advance(start);
        assert_keys(&ring, "a", &["a", "b"]);
        let almost = UnixTime::from_millis(start.plus(OVERLAP).millis() - 1);
        ring.offer(Arc::new("b"), almost);
        ring.advance(almost);
        assert_keys(&ring, "a", &["a", "b"]);
        let switched = start.plus(OVERLAP);
        ring.advance(switched);
        assert_keys(&ring, "b", &["b", "a"]);
        let last = switched.plus(TTL).plus(LINGER);
        ring.advance(UnixTime::from_millis(last.millis() - 1));
        assert_keys(&ring, "b", &["b", "a"]);
        ring.advance(last);
        assert_keys(&ring, "b", &["b"]);
    }

    #[test]
    fn the_same_key_again_changes_nothing() {
        let mut ring = ring();
        ring.offer(Arc::new("a"), UnixTime::default());
        ring.advance(UnixTime::default().plus(OVERLAP));
        assert_keys(&ring, "a", &["a"]);
    }

    #[test]
    fn whoever_changes_their_mind_gets_the_last_word() {
        let (mut ring, now) = (ring(), UnixTime::from_seconds(1000));
        ring.offer(Arc::new("b"), now);
        ring.offer(Arc::new("c"), now.plus(Duration::from_secs(5)));
        assert_keys(&ring, "a", &["a", "c"]);
        ring.advance(now.plus(OVERLAP));
        assert_keys(&ring, "a", &["a", "c"]);
        ring.offer(Arc::new("a"), now.plus(OVERLAP));
        ring.advance(now.plus(OVERLAP).plus(OVERLAP));
        assert_keys(&ring, "a", &["a"]);
    }

    #[test]
    fn back_to_a_key_that_is_still_published() {
        let (mut ring, now) = (ring(), UnixTime::from_seconds(1000));
        ring.offer(Arc::new("b"), now);
        ring.advance(now.plus(OVERLAP));
        ring.offer(Arc::new("a"), now.plus(OVERLAP));
        assert_keys(&ring, "b", &["b", "a"]);
        ring.advance(now.plus(OVERLAP).plus(OVERLAP));
        assert_keys(&ring, "a", &["a", "b"]);
    }
}
