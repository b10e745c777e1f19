//! Draws that callers cannot foresee, and that whoever has the salt can repeat.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A number that follows from these parts, one after the other, and that nobody without the salt foresees.
pub(crate) fn keyed(salt: &[u8; 32], parts: &[&[u8]]) -> u64 {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt) else { return u64::MAX };
    parts.iter().for_each(|part| mac.update(part));
    let digest = mac.finalize().into_bytes();
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

/// The same as a number in [0, 1), one of 2⁵³.
pub(crate) fn fraction(number: u64) -> f64 {
    (number >> 11) as f64 / (1u64 << 53) as f64
}
