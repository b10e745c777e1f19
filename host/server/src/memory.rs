//! How soon memory that is free goes back to the system.
#![allow(unsafe_code, reason = "the allocator has no safe form of it")]

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of `mimalloc.h`, version 3: the milliseconds for which free memory is kept.
const PURGE_DELAY: c_int = 15;

/// Gives memory back as it becomes free.
///
/// What a start needs once (files that are parsed, code that is compiled) would stay otherwise: the allocator looks
/// at what was free for long enough only when more becomes free, and a gateway that has started does nothing.
pub(crate) fn give_back_at_once() {
    set_delay(0);
}

/// Gives back what was free for a second: what one request frees, the next one needs.
pub(crate) fn give_back_after_a_while() {
    set_delay(1_000);
}

fn set_delay(millis: c_long) {
    // SAFETY: it stores a number, and any thread may.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, millis) }
}
