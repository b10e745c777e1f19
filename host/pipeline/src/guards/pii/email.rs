//! Addresses of e-mail.

use memchr::memchr;

/// Bytes in front of the `@`, at most.
const MOST_LOCAL: usize = 64;
/// Bytes behind it, at most.
const MOST_DOMAIN: usize = 253;
/// Bytes of a part of a domain, at most.
const MOST_LABEL: usize = 63;

/// What was found out further up in the text, so that it is not found out again.
#[derive(Default)]
pub(super) struct Seen {
    /// Up to here the text has been looked through for an `@`, and where one was found.
    looked: usize,
    sign: Option<usize>,
    /// All bytes from where it was last looked to here can be in front of an `@`.
    local_end: usize,
    /// Where the domain of the last `@` ends.
    domain: Option<(usize, Option<usize>)>,
}

impl Seen {
    /// Bytes of the address that begins at `at`, where one does.
    pub(super) fn address(&mut self, text: &[u8], at: usize) -> Option<usize> {
        if self.looked <= at {
            self.sign = memchr(b'@', &text[at..]).map(|found| at + found);
            self.looked = self.sign.unwrap_or(text.len()) + 1;
        }
        self.sign.filter(|sign| sign - at <= MOST_LOCAL)?;
        if self.local_end <= at {
            self.local_end = at + text[at..].iter().take_while(|byte| is_local(**byte)).count();
        }
        let sign = self.local_end;
        if sign - at > MOST_LOCAL || text.get(sign) != Some(&b'@') {
            return None;
        }
        let end = match self.domain {
            Some((of, end)) if of == sign => end,
            _ => domain(&text[sign + 1..]).map(|len| sign + 1 + len),
        };
        self.domain = Some((sign, end));
        end.map(|end| end - at)
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
}

/// Bytes of the longest domain that the text begins with: parts with points between them, the last of two
/// letters or more.
fn domain(text: &[u8]) -> Option<usize> {
    let (mut start, mut longest) = (0, None);
    loop {
        let rest = &text[start..text.len().min(MOST_DOMAIN + 1)];
        let label = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        let label = &rest[..label];
        if label.is_empty() || label.len() > MOST_LABEL || label[0] == b'-' {
            return longest;
        }
        let top = start + top(label);
        if start > 0 && top > start && top <= MOST_DOMAIN {
            longest = Some(top);
        }
        if label.ends_with(b"-") || rest.get(label.len()) != Some(&b'.') {
            return longest;
        }
        start += label.len() + 1;
    }
}

/// Bytes of a part of a domain that can be its last; 0 where none can.
fn top(label: &[u8]) -> usize {
    if label.len() > 4 && label[..4].eq_ignore_ascii_case(b"xn--") {
        return label.len() - label.iter().rev().take_while(|byte| **byte == b'-').count();
    }
    let letters = label.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let ends = label.get(letters).is_none_or(|next| *next == b'-');
    if letters >= 2 && ends { letters } else { 0 }
}
