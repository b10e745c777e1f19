//! How soon memory that is free goes back to the system.
#![allow(unsafe_code, reason = "the allocator has no safe form of it")]

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of `mimalloc.h`, version 3: the milliseconds for which free memory is kept.
const PURGE_DELAY: c_int = 15;

/// While it lives, memory goes back as it becomes free.
///
/// What a start needs once (files that are parsed, code that is compiled) would stay otherwise: the allocator looks
/// at what was free for long enough only when more becomes free, and a gateway that waits for its first request frees
/// nothing. Afterwards it would cost: what one request frees, the next one needs.
#[must_use]
pub(crate) struct GivenBackAtOnce {
    /// The delay before.
    before: c_long,
}

impl GivenBackAtOnce {
    /// From now on.
    pub(crate) fn begin() -> Self {
        let before = delay();
        // Who says that nothing is ever given back means it.
        if before > 0 {
            set_delay(0);
        }
        Self { before }
    }
}

impl Drop for GivenBackAtOnce {
    fn drop(&mut self) {
        set_delay(self.before);
    }
}

fn delay() -> c_long {
    // SAFETY: it reads a number. No other thread writes it while the gateway starts, or begins to serve.
    unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
}

fn set_delay(millis: c_long) {
    // SAFETY: it stores an aligned number, which other threads may read meanwhile, before or after.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, millis) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The binding does not name the option: its number is told by its default, which no other option has.
    #[test]
    fn the_delay_is_none_for_a_while() {
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_some() {
            return;
        }
        assert_eq!(delay(), 1_000);
        let starting = GivenBackAtOnce::begin();
        assert_eq!(delay(), 0);
        drop(starting);
        assert_eq!(delay(), 1_000);
    }
}
