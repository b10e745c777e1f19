//! Ids: of requests, of messages, of calls of tools.
//!
//! Request ids are unique; the others come from what they name.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes request ids that no other simulator makes.
pub(crate) struct RequestIds {
    seed: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::new(), next: AtomicU64::new(0) }
    }

    /// A fresh id, in the form of a UUID.
    pub(crate) fn fresh(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (self.seed.hash_one((n, 0)), self.seed.hash_one((n, 1)));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        uuid(bytes)
    }
}

/// As UUIDs are written.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

/// A prefix and 22 characters that only depend on `serial`.
pub(crate) fn named(prefix: &str, serial: u64) -> String {
    let mut out = String::with_capacity(prefix.len() + 22);
    out.push_str(prefix);
    let mut state = serial;
    for _ in 0..22 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let digit = usize::try_from((state >> 33) % 62).unwrap_or(0);
        out.push(char::from(DIGITS[digit]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids_and_differ() {
        let ids = RequestIds::new();
        let (a, b) = (ids.fresh(), ids.fresh());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
        assert!(matches!(a.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn other_ids_are_what_their_serial_makes_them() {
        assert_eq!(named("tooluse_", 7), named("tooluse_", 7));
        assert_ne!(named("tooluse_", 7), named("tooluse_", 8));
        assert_eq!(named("tooluse_", 7).len(), 30);
    }
}
