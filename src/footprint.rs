//! What values occupy in memory, for the bounds of caches.

/// The two counters in front of what an [`Arc`](std::sync::Arc) or an [`Rc`](std::rc::Rc) shares.
pub const ARC_BYTES: usize = 16;

/// What an allocation of `bytes` really takes: glibc adds eight bytes, hands out multiples of sixteen and never fewer than
/// 32; musl's are much the same.
#[must_use]
pub const fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let least = if bytes < 24 { 24 } else { bytes };
    least.saturating_add(8).saturating_add(15) & !15
}
