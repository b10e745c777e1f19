//! Numbers with a check of their own: payment cards, national ids, bank accounts.

use super::{Kind, Match, ends_number};

/// What begins with a digit.
pub(super) fn digits(text: &[u8]) -> Option<Match> {
    card(text).or_else(|| social_security(text)).or_else(|| steuer_id(text))
}

/// What begins with a letter.
pub(super) fn lettered(text: &[u8]) -> Option<Match> {
    match text {
        [b'A'..=b'Z', b'A'..=b'Z', ..] => iban(text).or_else(|| national_insurance(text)),
        _ => None,
    }
}

const LEAST_CARD: usize = 13;
const MOST_CARD: usize = 19;

/// A payment card: 13 to 19 digits of an issuer's range, which pass the check of Luhn: together, or in groups
/// with one space, or one dash, between them; the first of four digits, the others of four or six, the last
/// of up to six. Of several ends the last counts.
fn card(text: &[u8]) -> Option<Match> {
    let (mut digits, mut count, mut at, mut longest) = ([0; MOST_CARD], 0, 0, None);
    let (mut group, mut separator) = (0, None);
    while count < MOST_CARD {
        let Some(digit) = text.get(at).copied().filter(u8::is_ascii_digit) else { break };
        digits[count] = digit - b'0';
        (count, group, at) = (count + 1, group + 1, at + 1);
        if count == 4 && !is_issued(&digits[..4]) || separator.is_some() && group > 6 {
            return longest;
        }
        if count >= LEAST_CARD && ends_number(&text[at..]) && luhn(&digits[..count]) {
            longest = Some(Match::new(Kind::Card, at));
        }
        let Some(next) = text.get(at).copied().filter(|next| matches!(next, b' ' | b'-')) else { continue };
        if group != 4 && (separator.is_none() || group != 6) || separator.is_some_and(|before| before != next) {
            break;
        }
        (group, separator, at) = (0, Some(next), at + 1);
    }
    longest
}

/// Whether cards begin with these four digits.
fn is_issued(first: &[u8]) -> bool {
    let number = first.iter().fold(0, |number, digit| number * 10 + u32::from(*digit));
    matches!(number, 2200..=2204 | 2221..=2720 | 3000..=3059 | 3400..=5899 | 6000..=6999)
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit }))
        .sum();
    sum.is_multiple_of(10)
}

/// A social security number of the United States: `ddd-dd-dddd`, both separators dashes or both spaces.
fn social_security(text: &[u8]) -> Option<Match> {
    let number = text.get(..11)?;
    let separator = number[3];
    let is_shaped = number.iter().enumerate().all(|(place, byte)| match place {
        3 | 6 => *byte == separator && matches!(separator, b'-' | b' '),
        _ => byte.is_ascii_digit(),
    });
    let (area, group, serial) = (&number[..3], &number[4..6], &number[7..]);
    let is_given = area != b"000" && area != b"666" && area[0] != b'9' && group != b"00" && serial != b"0000";
    let rest = &text[11..];
    let goes_on = matches!(rest, [b'-', next, ..] if next.is_ascii_digit());
    (is_shaped && is_given && ends_number(rest) && !goes_on).then(|| Match::new(Kind::NationalId, 11))
}

/// Places in front of which a space may be in a Steuer-ID.
const STEUER_GROUPS: [usize; 3] = [2, 5, 8];

/// A German Steuer-ID: eleven digits, together or as `dd ddd ddd ddd`. Of the first ten one digit is there
/// two or three times, the others at most once; the last is a check by ISO 7064, MOD 11,10.
fn steuer_id(text: &[u8]) -> Option<Match> {
    let is_grouped = text.get(2) == Some(&b' ');
    let (mut at, mut seen, mut product) = (0, [0; 10], 10);
    for place in 0..10 {
        if is_grouped && STEUER_GROUPS.contains(&place) {
            (text.get(at) == Some(&b' ')).then_some(())?;
            at += 1;
        }
        let digit = text.get(at).filter(|byte| byte.is_ascii_digit())? - b'0';
        (at, seen[usize::from(digit)]) = (at + 1, seen[usize::from(digit)] + 1);
        let sum = match (u32::from(digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        product = 2 * sum % 11;
    }
    let check = text.get(at).filter(|byte| byte.is_ascii_digit())? - b'0';
    let several: Vec<_> = seen.into_iter().filter(|times| *times > 1).collect();
    let is_given = text[0] != b'0' && matches!(several[..], [2 | 3]) && (11 - product) % 10 == u32::from(check);
    (is_given && ends_number(&text[at + 1..])).then(|| Match::new(Kind::NationalId, at + 1))
}

/// A national insurance number of the United Kingdom: `AB 12 34 56 C`, each space there or not.
fn national_insurance(text: &[u8]) -> Option<Match> {
    let prefix = &text[..2];
    if prefix.iter().any(|letter| b"DFIQUV".contains(letter)) || prefix[1] == b'O' {
        return None;
    }
    if [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].iter().any(|never| *never == prefix) {
        return None;
    }
    let mut at = 2;
    for _ in 0..3 {
        at += usize::from(text.get(at) == Some(&b' '));
        text.get(at..at + 2)?.iter().all(u8::is_ascii_digit).then_some(())?;
        at += 2;
    }
    at += usize::from(text.get(at) == Some(&b' '));
    let is_given = matches!(text.get(at), Some(b'A'..=b'D')) && ends_number(&text[at + 1..]);
    is_given.then(|| Match::new(Kind::NationalId, at + 1))
}

const LEAST_IBAN: usize = 15;
const MOST_IBAN: usize = 34;

/// An international bank account number: two capital letters, two digits, capital letters and digits, 15 to
/// 34 together, with the remainder 1 by 97 (ISO 7064). One space may be between two of them. Of several
/// ends the last counts.
fn iban(text: &[u8]) -> Option<Match> {
    let [first, second, tens, ones, ..] = *text else { return None };
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then_some(())?;
    let front = [first, second, tens, ones].into_iter().fold(0, append);
    let (mut at, mut count, mut sum, mut longest) = (4, 4, 0, None);
    while count < MOST_IBAN {
        at += usize::from(text.get(at) == Some(&b' '));
        let Some(byte) = text.get(at).copied().filter(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) else {
            break;
        };
        (sum, at, count) = (append(sum, byte) % 97, at + 1, count + 1);
        // The country and the check digits count behind the rest: six digits of theirs.
        if count >= LEAST_IBAN && ends_number(&text[at..]) && (sum * 1_000_000 + front) % 97 == 1 {
            longest = Some(Match::new(Kind::Iban, at));
        }
    }
    longest
}

/// Appends a digit, or the two digits of a letter, to a number.
fn append(number: u64, byte: u8) -> u64 {
    match byte {
        b'0'..=b'9' => number * 10 + u64::from(byte - b'0'),
        _ => number * 100 + u64::from(byte - b'A') + 10,
    }
}
