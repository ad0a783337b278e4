//! The `Date` of responses (RFC 9110 §6.6.1), made once a second.

use crate::clock::UnixTime;
use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

thread_local! {
    static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Appends the date as HTTP writes it.
pub fn append(out: &mut Vec<u8>, now: UnixTime) {
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.seconds() {
            *second = now.seconds();
            let time = UNIX_EPOCH.checked_add(Duration::from_secs(now.seconds())).unwrap_or(UNIX_EPOCH);
            *text = httpdate::fmt_http_date(time);
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::append;
    use crate::clock::UnixTime;

    #[test]
    fn a_date_is_what_the_rfc_shows() {
        for _ in 0..2 {
            let mut out = Vec::new();
            append(&mut out, UnixTime::from_millis(784_111_777_999));
            assert_eq!(out, b"Sun, 06 Nov 1994 08:49:37 GMT");
        }
        let mut out = Vec::new();
        append(&mut out, UnixTime::from_seconds(784_111_778));
        assert_eq!(out, b"Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
