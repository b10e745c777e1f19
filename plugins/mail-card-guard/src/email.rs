//! Mail addresses.

use crate::run;

const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 253;
const MOST_PART: usize = 63;

/// The bytes of an address that a window begins with.
pub(crate) fn find(window: &[u8]) -> Option<usize> {
    let local = run(window, |byte| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte));
    if local == 0 || local > MOST_LOCAL || window.get(local) != Some(&b'@') {
        return None;
    }
    domain(&window[local + 1..]).map(|len| local + 1 + len)
}

/// The bytes of a domain: up to the last of the parts that can be the last one.
fn domain(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (0, None);
    for number in 0.. {
        let len = run(&bytes[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let part = &bytes[at..at + len];
        if part.is_empty() || part[0] == b'-' || len > MOST_PART {
            break;
        }
        let end = top(part).map(|len| at + len).filter(|end| number > 0 && *end <= MOST_DOMAIN);
        found = end.or(found);
        if part.ends_with(b"-") || bytes.get(at + len) != Some(&b'.') {
            break;
        }
        at += len + 1;
    }
    found
}

/// The bytes of a part up to where it ends as the last one.
fn top(part: &[u8]) -> Option<usize> {
    let dashes = part.iter().rev().take_while(|byte| **byte == b'-').count();
    if part.len() - dashes > 4 && part[..4].eq_ignore_ascii_case(b"xn--") {
        return Some(part.len() - dashes);
    }
    let letters = run(part, |byte| byte.is_ascii_alphabetic());
    (letters >= 2 && part.get(letters).is_none_or(|byte| *byte == b'-')).then_some(letters)
}
