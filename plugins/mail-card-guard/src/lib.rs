//! Mail addresses and numbers of payment cards are replaced. Defined in `policies/GUARDING.md`, which has more
//! than these two: of what else is found there, this one knows nothing.

mod card;
mod email;

use kairos_plugin::{Context, Guard, Passage, PluginError, Verdict, export};

struct MailCard;
export!(MailCard as guard);

/// Bytes that a decision looks at.
const WINDOW: usize = 320;

/// Codes of findings.
const EMAIL: u32 = 1;
const CARD: u32 = 2;

impl Guard for MailCard {
    const NAME: &'static str = "mail-card";
    const REASONS: &'static [&'static str] = &["email", "card"];
    const HOLD_BACK: u32 = WINDOW as u32;

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn inspect(&self, _: &Context, _: Passage, state: &[u8], text: &str, last: bool) -> Result<Verdict, PluginError> {
        let wrong = |_| PluginError::Internal("the state is not one of this guard's".to_owned());
        // The two bytes before; 0 where there is none.
        let mut before = if state.is_empty() { [0; 2] } else { state.try_into().map_err(wrong)? };
        let bytes = text.as_bytes();
        // From where on not all that decides is there.
        let undecided = if last { bytes.len() } else { (bytes.len() + 1).saturating_sub(WINDOW) };
        let mut verdict = Verdict::deciding(0);
        let mut at = 0;
        while at < undecided {
            let window = &bytes[at..bytes.len().min(at + WINDOW)];
            let len = match find(before, window) {
                Some((code, len)) => {
                    verdict.replace(at, at + len, if code == EMAIL { "[EMAIL]" } else { "[CARD]" });
                    verdict.found(code);
                    len
                }
                None => text[at..].chars().next().map_or(1, char::len_utf8),
            };
            for byte in &bytes[at..at + len] {
                before = [before[1], *byte];
            }
            at += len;
        }
        verdict.decided = at as u32;
        verdict.state = before.to_vec();
        Ok(verdict)
    }
}

/// What is found at the beginning of a window: its code, and its bytes.
fn find([earlier, before]: [u8; 2], window: &[u8]) -> Option<(u32, usize)> {
    let first = *window.first()?;
    if !first.is_ascii_alphanumeric() || before.is_ascii_alphanumeric() {
        return None;
    }
    if let Some(len) = email::find(window) {
        return Some((EMAIL, len));
    }
    let is_fraction = before == b'.' && earlier.is_ascii_digit();
    if is_fraction { None } else { card::find(window).map(|len| (CARD, len)) }
}

/// So many bytes from the first on are of a kind.
fn run(bytes: &[u8], is_of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_of(**byte)).count()
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::released;

    use super::*;

    const CASES: &[(&str, &str)] = &[
        ("Write to jo.doe+x@mail.example.co.uk.", "Write to [EMAIL]."),
        ("x@example.com-foo x@example.com.123 a@b.c@d.ef", "[EMAIL]-foo [EMAIL].123 a@[EMAIL]"),
        ("mail:bücher@例え.com 你好user@example.com你好", "mail:bücher@例え.com 你好[EMAIL]你好"),
        ("a@xn--bcher-kva.xn--p1ai a@b.xn-- a@b.c", "[EMAIL] [EMAIL]-- a@b.c"),
        ("4111 1111 1111 1111 4111-1111-1111-1111 4111111111111111.", "[CARD] [CARD] [CARD]."),
        ("3782 822463 10005 4111 1111-1111 1111 4111 1111 1111 1112", "[CARD] 4111 1111-1111 1111 4111 1111 1111 1112"),
        ("0.4111111111111111 x4111111111111111 4111111111111111x 4111111111111111.5", ""),
        ("1111 1111 1111 1117 4111 1111 1111 1111 9", "1111 1111 1111 1117 [CARD] 9"),
    ];

    #[test]
    fn what_is_found_is_replaced_however_it_comes() {
        for (text, expected) in CASES {
            let expected = if expected.is_empty() { text } else { expected };
            for bytes in [1, 7, 100, text.len()] {
                assert_eq!(released(&MailCard, text, bytes), *expected, "{bytes}");
            }
        }
    }

    #[test]
    fn a_long_text_is_decided_as_it_comes() {
        let (text, clean) = ("ü word a1@b.org. ".repeat(500), "ü word [EMAIL]. ".repeat(500));
        for bytes in [64, 1_000] {
            assert_eq!(released(&MailCard, &text, bytes), clean);
        }
    }
}
