//! The simulator's own tokenizer, the same for what goes in and what comes out.
//!
//! A token is, greedily from the left:
//!  - up to six letters or digits in a row, or
//!  - up to sixteen white-space characters in a row, or
//!  - any other single character (punctuation, an ideograph, an emoji);
//!
//! a single space in front belongs to what follows it. English comes to about 1.3 tokens a word.
//! Cutting a text after its n-th token leaves a text of n tokens, so limits and streams agree with
//! whole replies. It must not know models: all of them count alike here.

/// Letters and digits that share a token.
const WORD_CHARS: usize = 6;
/// White-space characters that share a token.
const SPACE_CHARS: usize = 16;

/// What an image costs at most, as large pictures are scaled down.
const IMAGE_MOST: u32 = 1_600;
/// What media cost whose bytes lie in S3, where the simulator cannot look.
pub(crate) const ELSEWHERE: u32 = 1_600;

fn is_wordy(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { c < '\u{2E80}' && c.is_alphanumeric() }
}

/// Where the run of characters that satisfy `of`, at most `most`, ends.
fn run(text: &str, at: usize, most: usize, of: impl Fn(char) -> bool) -> usize {
    text[at..]
        .char_indices()
        .take(most)
        .find(|(_, c)| !of(*c))
        .map_or_else(|| end_of(text, at, most), |(offset, _)| at + offset)
}

/// The end of `count` characters from `at`, or of the text.
fn end_of(text: &str, at: usize, count: usize) -> usize {
    text[at..].char_indices().nth(count).map_or(text.len(), |(offset, _)| at + offset)
}

/// The end of the token that starts at `at`, which is before the end of the text.
fn token_end(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut start = at;
    // Nearly all text is ASCII words, each behind one space.
    if bytes[at] == b' ' && bytes.get(at + 1).is_some_and(|b| !b.is_ascii_whitespace()) {
        let next = text[at + 1..].chars().next();
        if next.is_some_and(|c| !c.is_whitespace()) {
            start = at + 1;
        }
    }
    let mut end = start;
    while end < bytes.len() && end - start < WORD_CHARS && bytes[end].is_ascii_alphanumeric() {
        end += 1;
    }
    if end > start && (end == bytes.len() || bytes[end].is_ascii() || end - start == WORD_CHARS) {
        return end;
    }
    match text[start..].chars().next() {
        Some(c) if is_wordy(c) => run(text, start, WORD_CHARS, is_wordy),
        Some(c) if c.is_whitespace() => run(text, start, SPACE_CHARS, char::is_whitespace),
        Some(c) => start + c.len_utf8(),
        None => text.len(),
    }
}

/// How many tokens a text is.
pub(crate) fn count(text: &str) -> u32 {
    let (mut at, mut tokens) = (0, 0u32);
    while at < text.len() {
        at = token_end(text, at);
        tokens = tokens.saturating_add(1);
    }
    tokens
}

/// The first `most` tokens of a text.
pub(crate) fn first(text: &str, most: u32) -> &str {
    let (mut at, mut tokens) = (0, 0);
    while at < text.len() && tokens < most {
        at = token_end(text, at);
        tokens += 1;
    }
    &text[..at]
}

/// A text in pieces of so many tokens, each with its count.
pub(crate) fn pieces(text: &str, tokens: u32) -> impl Iterator<Item = (&str, u32)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let piece = first(rest, tokens.max(1));
        rest = &rest[piece.len()..];
        Some((piece, count(piece)))
    })
}

/// What an image of so many bytes costs.
pub(crate) fn image(bytes: usize) -> u32 {
    saturating(bytes / 512).saturating_add(85).min(IMAGE_MOST)
}

/// What a document costs that is not plain text.
pub(crate) fn binary_document(bytes: usize) -> u32 {
    saturating(bytes / 12).saturating_add(1)
}

/// What sound or moving pictures cost.
pub(crate) fn recording(bytes: usize) -> u32 {
    saturating(bytes / 256).saturating_add(32)
}

fn saturating(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        pieces(text, 1).map(|(piece, _)| piece).collect()
    }

    #[test]
    fn tokens_of() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("hi", &["hi"]),
            ("hello world", &["hello", " world"]),
            ("gateways", &["gatewa", "ys"]),
            ("a, b!", &["a", ",", " b", "!"]),
            ("a  b", &["a", "  ", "b"]),
            ("line\n\nnext", &["line", "\n\n", "next"]),
            ("trailing ", &["traili", "ng", " "]),
            ("wörld 🌍", &["wörld", " 🌍"]),
            ("日本語", &["日", "本", "語"]),
            ("a日", &["a", "日"]),
            ("{\"a\":1}", &["{", "\"", "a", "\"", ":", "1", "}"]),
            (" \u{3000}x", &[" \u{3000}", "x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), *expected, "{text:?}");
            assert_eq!(count(text) as usize, expected.len(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_text_counts_what_was_kept(text in "[a-zA-Z0-9 ,.\n\"{}éß日🌍]{0,80}", n in 0u32..40) {
            let kept = first(&text, n);
            prop_assert!(text.starts_with(kept));
            prop_assert_eq!(count(kept), n.min(count(&text)));
        }

        #[test]
        fn pieces_are_the_text(text in any::<String>(), n in 1u32..7) {
            let all: Vec<(&str, u32)> = pieces(&text, n).collect();
            prop_assert_eq!(all.iter().map(|(p, _)| *p).collect::<String>(), text.clone());
            prop_assert_eq!(all.iter().map(|(_, c)| c).sum::<u32>(), count(&text));
        }
    }
}
