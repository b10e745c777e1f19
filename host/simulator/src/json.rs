//! Writing JSON straight into bytes, for the answers that are written most.
//!
//! It must not know what is written.

use std::io::Write;

/// Appends a string, quoted and escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector does not fail, and strings always serialise.
    let _ = serde_json::to_writer(&mut *out, text);
}

/// Appends formatted text as it is.
pub(crate) fn raw(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Appends `,"name":value` with a string as the value.
pub(crate) fn field(out: &mut Vec<u8>, name: &str, text: &str) {
    raw(out, format_args!(",\"{name}\":"));
    string(out, text);
}
