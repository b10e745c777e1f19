//! Personal data and secrets: what is found is replaced by the name of its kind.
//!
//! What is decided at a byte depends on the two bytes before it, on whether it is inside of a match that
//! began earlier, and on the [`WINDOW`] bytes from there on. It is decided only once these are there or
//! the passage ends. So a passage can be cut anywhere. Nothing is looked at more than a fixed number of
//! times.

mod email;
mod keys;
mod numbers;
mod phone;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::policy::{
    Direction, Fault, FaultKind, Guard, Identity, InspectInput, Origin, Passage, PolicyError, Replacement, Verdict,
};

/// Bytes that a decision looks at: an address has up to 318, and one more says that it ends.
const WINDOW: usize = 320;

/// Bytes that a private key takes behind its header, at most. One of 16,384 bits has some 12,500.
const MOST_PEM: u32 = 16_384;

/// What can be found. The value is the code of its finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Email = 1,
    Phone = 2,
    Card = 3,
    NationalId = 4,
    Key = 5,
    Iban = 6,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Email, Self::Phone, Self::Card, Self::NationalId, Self::Key, Self::Iban];

    fn name(self) -> &'static str {
        ["email", "phone", "card", "national-id", "key", "iban"][self as usize - 1]
    }

    /// What stands in its place.
    fn instead(self) -> &'static str {
        ["[EMAIL]", "[PHONE]", "[CARD]", "[NATIONAL_ID]", "[KEY]", "[IBAN]"][self as usize - 1]
    }
}

/// Something that was found at the beginning of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    kind: Kind,
    /// Bytes in front of it that pass: the name that a secret is given to.
    before: usize,
    /// Bytes up to the end of what of it was recognised, those in front included.
    len: usize,
    /// How it goes on.
    then: Mode,
}

impl Match {
    fn new(kind: Kind, len: usize) -> Self {
        Self { kind, before: 0, len, then: Mode::Text }
    }
}

/// Where the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In no match.
    Text,
    /// In a match, to the first byte that is not one of these.
    Run(keys::Charset),
    /// In a JSON web token.
    Jwt,
    /// In a private key, which takes so many bytes at most from here on.
    Pem(u32),
}

/// What is known of the bytes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// The last two bytes; 0 where there is none.
    before: [u8; 2],
    mode: Mode,
}

impl State {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self { before: [0; 2], mode: Mode::Text });
        }
        let [first, second, mode, count @ ..] = *<&[u8; 7]>::try_from(bytes).ok()?;
        let count = u32::from_le_bytes(count);
        let mode = match mode {
            0 => Mode::Text,
            1 => Mode::Jwt,
            2 => Mode::Pem(count),
            charset => Mode::Run(keys::Charset::of(charset.checked_sub(3)?)?),
        };
        Some(Self { before: [first, second], mode })
    }

    fn write(self) -> Vec<u8> {
        let (mode, count) = match self.mode {
            Mode::Text => (0, 0),
            Mode::Jwt => (1, 0),
            Mode::Pem(count) => (2, count),
            Mode::Run(charset) => (3 + charset as u8, 0),
        };
        let [first, second] = self.before;
        [&[first, second, mode][..], &count.to_le_bytes()].concat()
    }
}

/// The guard that is built in.
pub struct Pii {
    identity: Identity,
}

impl Default for Pii {
    fn default() -> Self {
        let reasons = Kind::ALL.map(|kind| (kind as u32, kind.name().into())).to_vec();
        Self { identity: Identity::new("native-pii", env!("CARGO_PKG_VERSION"), reasons, Vec::new()) }
    }
}

impl Guard for Pii {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hold_back(&self) -> usize {
        WINDOW
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        let state = State::read(input.state)
            .ok_or_else(|| PolicyError::Fault(Fault::new(FaultKind::Error, "the state is not one of this guard's")))?;
        let verdict = Scan::new(input.text.as_bytes(), state).run(input.last);
        let Passage { direction, origin, .. } = input.passage;
        if direction == Direction::Input && origin == Origin::Reasoning && !verdict.replacements.is_empty() {
            // What a model has signed cannot be changed.
            let code = verdict.findings.first().map_or(Kind::Email as u32, |(code, _)| *code);
            return Ok(Verdict { findings: verdict.findings, ..Verdict::block(code) });
        }
        Ok(verdict)
    }
}

impl Pii {
    /// The text with all that is found replaced; borrowed where it stays as it is. Of a text that was
    /// `cut`, and went on, its end is left out: what was found there is not known.
    pub fn redacted(text: &str, cut: bool) -> Cow<'_, str> {
        let start = State { before: [0; 2], mode: Mode::Text };
        let verdict = Scan::new(text.as_bytes(), start).run(!cut);
        if verdict.replacements.is_empty() {
            return text[..verdict.decided as usize].into();
        }
        let mut passing = String::with_capacity(text.len());
        verdict.write(text, &mut passing);
        passing.into()
    }
}

/// A text that is gone through.
struct Scan<'a> {
    text: &'a [u8],
    state: State,
    /// The byte that is looked at: always the first of a character.
    at: usize,
    /// Where what is being replaced begins, and what stands there instead.
    open: Option<(usize, &'static str)>,
    replacements: Vec<Replacement>,
    counts: [u32; Kind::ALL.len()],
    addresses: email::Seen,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8], state: State) -> Self {
        // What is inside of a match that began in an earlier part is replaced by nothing more.
        let open = (state.mode != Mode::Text).then_some((0, ""));
        let addresses = email::Seen::default();
        Self { text, state, at: 0, open, replacements: Vec::new(), counts: [0; Kind::ALL.len()], addresses }
    }

    fn run(mut self, last: bool) -> Verdict {
        let end = if last { self.text.len() } else { (self.text.len() + 1).saturating_sub(WINDOW) };
        while self.at < end {
            match self.state.mode {
                Mode::Text => self.look(),
                mode => self.swallow(mode, end),
            }
        }
        self.close();
        let findings = Kind::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        Verdict {
            decided: u32::try_from(self.at).unwrap_or(u32::MAX),
            findings: findings.map(|(kind, count)| (*kind as u32, count)).collect(),
            state: State { before: [self.before(2), self.before(1)], ..self.state }.write(),
            replacements: self.replacements,
            ..Verdict::default()
        }
    }

    /// The byte so many before the one that is looked at: 1 or 2.
    fn before(&self, back: usize) -> u8 {
        match self.at.checked_sub(back) {
            Some(at) => self.text[at],
            None => self.state.before[1 + self.at - (back - 1)],
        }
    }

    fn window(&self) -> &'a [u8] {
        &self.text[self.at..self.text.len().min(self.at + WINDOW)]
    }

    fn look(&mut self) {
        let byte = self.text[self.at];
        let found = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => self.look_at_word(byte),
            b'+' if !self.before(1).is_ascii_alphanumeric() => phone::international(self.window()),
            b'(' => phone::north_american(self.window()),
            b'-' => keys::private_key(self.window()),
            _ => None,
        };
        match found {
            None => {
                self.at += width(byte);
                // Within a word nothing begins but at a capital.
                if byte.is_ascii_alphanumeric() {
                    let rest = self.text[self.at..].iter();
                    self.at += rest.take_while(|next| matches!(next, b'a'..=b'z' | b'0'..=b'9')).count();
                }
            }
            Some(found) => {
                let count = &mut self.counts[found.kind as usize - 1];
                *count = count.saturating_add(1);
                self.open = Some((self.at + found.before, found.kind.instead()));
                self.at += found.len;
                self.state.mode = found.then;
                if found.then == Mode::Text {
                    self.close();
                }
            }
        }
    }

    /// At a letter or a digit.
    fn look_at_word(&mut self, byte: u8) -> Option<Match> {
        let before = self.before(1);
        if before.is_ascii_alphanumeric() {
            let is_part = before.is_ascii_lowercase() && byte.is_ascii_uppercase();
            return if is_part { keys::assigned(self.window()) } else { None };
        }
        if let Some(len) = self.addresses.address(self.text, self.at) {
            return Some(Match::new(Kind::Email, len));
        }
        let window = self.window();
        if !byte.is_ascii_digit() {
            return keys::token(window).or_else(|| keys::assigned(window)).or_else(|| numbers::lettered(window));
        }
        // The fraction of a decimal number is none of these.
        if before == b'.' && self.before(2).is_ascii_digit() {
            return None;
        }
        numbers::digits(window).or_else(|| phone::north_american(window))
    }

    /// Takes what belongs to a match that has begun.
    fn swallow(&mut self, mode: Mode, end: usize) {
        let text = self.text;
        match mode {
            Mode::Text => return,
            Mode::Run(charset) => {
                self.at += text[self.at..end].iter().take_while(|byte| charset.has(**byte)).count();
                if self.at == end {
                    return;
                }
            }
            Mode::Jwt => {
                while self.at < end && keys::is_of_jwt(&text[self.at..]) {
                    self.at += 1;
                }
                if self.at == end {
                    return;
                }
            }
            Mode::Pem(left) => match (keys::end_of_private_key(self.window()), left) {
                (Some(len), _) => self.at += len,
                (None, 0) => {}
                (None, left) => {
                    let width = width(text[self.at]);
                    self.at += width;
                    self.state.mode = Mode::Pem(left.saturating_sub(width as u32));
                    return;
                }
            },
        }
        self.close();
        self.state.mode = Mode::Text;
    }

    fn close(&mut self) {
        let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        if let Some((start, text)) = self.open.take()
            && start < self.at
        {
            self.replacements.push(Replacement { start: at(start), end: at(self.at), text: text.into() });
        }
    }
}

/// Bytes of a character that begins so.
fn width(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

/// Whether the text begins with something that a number can end before: no letter, no digit, no fraction.
fn ends_number(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] => !next.is_ascii_digit(),
        [next, ..] => !next.is_ascii_alphanumeric(),
        [] => true,
    }
}
