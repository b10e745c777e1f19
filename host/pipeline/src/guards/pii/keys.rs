//! Secret keys: by their prefix, by the name that they are given to, and private keys.

use super::{Kind, MOST_PEM, Match, Mode};

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Charset {
    /// ASCII letters and digits.
    Alphanumeric,
    /// These, and `_`.
    Word,
    /// These, and `-`.
    Token,
    /// What a value is made of that is not quoted.
    Value,
}

impl Charset {
    const ALL: [Self; 4] = [Self::Alphanumeric, Self::Word, Self::Token, Self::Value];

    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Token => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Value => byte.is_ascii_graphic() && !b"\"'`,;<>()[]{}|\\&".contains(&byte),
        }
    }
}

/// Bytes of a key that are looked at for a digit and a letter.
const LOOKED_AT: usize = 64;

/// Keys by their prefix: how many bytes of which kind follow at least, and whether a digit must be among
/// the first of them.
const PREFIXES: [(&[u8], usize, Charset, bool); 17] = [
    (b"sk-", 20, Charset::Token, true),
    (b"sk_live_", 16, Charset::Word, false),
    (b"sk_test_", 16, Charset::Word, false),
    (b"rk_live_", 16, Charset::Word, false),
    (b"rk_test_", 16, Charset::Word, false),
    (b"ghp_", 30, Charset::Alphanumeric, false),
    (b"gho_", 30, Charset::Alphanumeric, false),
    (b"ghu_", 30, Charset::Alphanumeric, false),
    (b"ghs_", 30, Charset::Alphanumeric, false),
    (b"ghr_", 30, Charset::Alphanumeric, false),
    (b"github_pat_", 22, Charset::Word, false),
    (b"glpat-", 20, Charset::Token, false),
    (b"xoxa-", 10, Charset::Token, true),
    (b"xoxb-", 10, Charset::Token, true),
    (b"xoxp-", 10, Charset::Token, true),
    (b"xoxs-", 10, Charset::Token, true),
    (b"AIza", 35, Charset::Token, false),
];

/// A key that is known by how it begins.
pub(super) fn token(text: &[u8]) -> Option<Match> {
    match text {
        [b'A', b'K' | b'S', b'I', b'A', rest @ ..] => {
            let key = rest.iter().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
            let ends = rest.get(key).is_none_or(|next| !next.is_ascii_lowercase());
            return (key == 16 && ends).then(|| Match::new(Kind::Key, 20));
        }
        [b'e', b'y', b'J', ..] => return web_token(text),
        [b's' | b'r' | b'g' | b'x' | b'A', ..] => {}
        _ => return None,
    }
    let prefixed = PREFIXES.iter().find(|(prefix, ..)| text.starts_with(prefix));
    let &(prefix, least, charset, digit) = prefixed?;
    let rest = &text[prefix.len()..];
    let run = rest.iter().take(LOOKED_AT).take_while(|byte| charset.has(**byte)).count();
    let has_digit = rest[..run].iter().any(u8::is_ascii_digit);
    let found = Match { then: Mode::Run(charset), ..Match::new(Kind::Key, prefix.len() + run) };
    (run >= least && (has_digit || !digit)).then_some(found)
}

/// Bytes of the first part of a JSON web token, at least; and as many as make one of what has no second.
const LEAST_HEAD: usize = 12;
const MOST_HEAD: usize = 256;
/// Bytes of the second part that are looked at.
const SECOND: usize = 8;

fn web_token(text: &[u8]) -> Option<Match> {
    let is_of = |byte: &&u8| Charset::Token.has(**byte);
    let head = text.iter().take(MOST_HEAD).take_while(is_of).count();
    let second = text[head..].iter().skip(1).take(SECOND).take_while(is_of).count();
    let has_second = head >= LEAST_HEAD && text.get(head) == Some(&b'.') && second == SECOND;
    let len = if head == MOST_HEAD { head } else { head + 1 + second };
    (has_second || head == MOST_HEAD).then(|| Match { then: Mode::Jwt, ..Match::new(Kind::Key, len) })
}

/// Whether a JSON web token goes on with the first byte.
pub(super) fn is_of_jwt(text: &[u8]) -> bool {
    match text {
        [b'.', next, ..] => Charset::Token.has(*next),
        [byte, ..] => Charset::Token.has(*byte),
        [] => false,
    }
}

/// Names of secrets: a word, or two with `_`, `-` or nothing between them.
const NAMES: [(&[u8], &[u8]); 13] = [
    (b"password", b""),
    (b"passwd", b""),
    (b"passphrase", b""),
    (b"pwd", b""),
    (b"secret", b""),
    (b"token", b""),
    (b"api", b"key"),
    (b"access", b"key"),
    (b"secret", b"key"),
    (b"private", b"key"),
    (b"auth", b"key"),
    (b"signing", b"key"),
    (b"encryption", b"key"),
];

/// Blanks in a row around what stands between a name and its value.
const MOST_BLANKS: usize = 3;
/// Bytes of a value, at least.
const LEAST_VALUE: usize = 8;

/// A value that looks secret and is given to the name of a secret.
pub(super) fn assigned(text: &[u8]) -> Option<Match> {
    // The first two letters of all of them.
    let [first, second, ..] = *text else { return None };
    match [first.to_ascii_lowercase(), second.to_ascii_lowercase()] {
        [b'p', b'a' | b'w' | b'r']
        | [b's', b'e' | b'i']
        | [b'a', b'p' | b'c' | b'u']
        | [b't', b'o']
        | [b'e', b'n']
        | [b'b', b'e'] => {}
        _ => return None,
    }
    let at = match after_word(text, b"bearer") {
        Some(at) => Some(at + blanks(&text[at..])).filter(|value| *value > at)?,
        None => NAMES.iter().find_map(|name| value_of(text, name))?,
    };
    let value = &text[at..];
    let run = value.iter().take(LOOKED_AT).take_while(|byte| Charset::Value.has(**byte)).count();
    let value = &value[..run];
    let looks_secret =
        run >= LEAST_VALUE && value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
    let found = Match { kind: Kind::Key, before: at, len: at + run, then: Mode::Run(Charset::Value) };
    looks_secret.then_some(found)
}

/// Where the value begins that is given to this name, at the beginning of the text.
fn value_of(text: &[u8], (first, second): &(&[u8], &[u8])) -> Option<usize> {
    let mut at = after_word(text, first)?;
    if !second.is_empty() {
        at += usize::from(matches!(text.get(at), Some(b'_' | b'-')));
        at += after_word(&text[at..], second)?;
    }
    at += quote(&text[at..]);
    at += blanks(&text[at..]);
    at += match &text[at..] {
        [b':' | b'=', b'=', ..] | [b'=', b'>', ..] => 2,
        [b':' | b'=', ..] => 1,
        _ => return None,
    };
    at += blanks(&text[at..]);
    Some(at + quote(&text[at..]))
}

fn after_word(text: &[u8], word: &[u8]) -> Option<usize> {
    text.get(..word.len()).filter(|begin| begin.eq_ignore_ascii_case(word)).map(<[u8]>::len)
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take(MOST_BLANKS).take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Bytes of a quote, one within a quoted text included.
fn quote(text: &[u8]) -> usize {
    match text {
        [b'\\', b'"' | b'\'' | b'`', ..] => 2,
        [b'"' | b'\'' | b'`', ..] => 1,
        _ => 0,
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Bytes of what a key is called between the dashes, at most.
const MOST_LABEL: usize = 48;

/// The first line of a private key, where something follows that can be its body.
pub(super) fn private_key(text: &[u8]) -> Option<Match> {
    let len = line(text, BEGIN)?;
    let is_private = text[..len].windows(11).any(|part| part == b"PRIVATE KEY");
    let has_body = text.get(len).is_some_and(|next| {
        next.is_ascii_alphanumeric() || matches!(next, b'+' | b'/' | b'\\' | b' ' | b'\t' | b'\r' | b'\n')
    });
    let found = Match { then: Mode::Pem(MOST_PEM), ..Match::new(Kind::Key, len) };
    (is_private && has_body).then_some(found)
}

/// Bytes of the last line of a key, where the text begins with one.
pub(super) fn end_of_private_key(text: &[u8]) -> Option<usize> {
    line(text, END)
}

fn line(text: &[u8], begin: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(begin)?;
    let is_of = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
    let label = rest.iter().take(MOST_LABEL).take_while(is_of).count();
    rest[label..].starts_with(DASHES).then_some(begin.len() + label + DASHES.len())
}
