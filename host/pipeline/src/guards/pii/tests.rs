//! What is found and what is not, by the table; and that nothing depends on how a text is cut.

use proptest::prelude::*;

use super::*;
use crate::policy::tests::request_info;
use crate::policy::{Direction, Origin, Passage};

/// What passes of a text that comes in these parts, and what was found.
fn passing(parts: &[&str]) -> (String, [u64; Kind::ALL.len()]) {
    let guard = Pii::default();
    let request = request_info();
    let passage = Passage { direction: Direction::Input, origin: Origin::User, index: 0 };
    let (mut state, mut held, mut passing, mut found) = (Vec::new(), String::new(), String::new(), [0; 6]);
    let parts = parts.iter().map(|part| (*part, false)).chain([("", true)]);
    for (part, last) in parts {
        held.push_str(part);
        let input = InspectInput { request: &request, passage, state: &state, text: &held, last };
        let verdict = guard.inspect(input).and_then(|verdict| verdict.checked(&input, &guard)).unwrap();
        verdict.write(&held, &mut passing);
        for (code, count) in &verdict.findings {
            found[*code as usize - 1] += u64::from(*count);
        }
        held.drain(..verdict.decided as usize);
        state = verdict.state;
    }
    (passing, found)
}

const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEowIBAAKCAQEAx1+/abc=\nQUJD\n-----END RSA PRIVATE KEY-----";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

#[test]
fn what_is_found_is_replaced() {
    for (text, expected) in [
        ("Write to jo.doe+x@mail.example.co.uk.", "Write to [EMAIL]."),
        ("<a_b@x.io>,c%d@e-f.museum", "<[EMAIL]>,[EMAIL]"),
        ("mail:bücher@例え.com u@xn--bcher-kva.example!", "mail:bücher@例え.com [EMAIL]!"),
        ("你好user@example.com你好", "你好[EMAIL]你好"),
        ("x@example.com-foo x@example.com.123 a@b.c@d.ef", "[EMAIL]-foo [EMAIL].123 a@[EMAIL]"),
        ("555-123-4567@example.com", "[EMAIL]"),
        ("call +1 (555) 234-5678 or +49 (0)30 1234567, now", "call [PHONE] or [PHONE], now"),
        ("+442079460958", "[PHONE]"),
        ("(555) 234-5678, (555)234.5678", "[PHONE], [PHONE]"),
        ("555-234-5678 555.234.5678 1 555 234 5678", "[PHONE] [PHONE] [PHONE]"),
        ("4111 1111 1111 1111, 4111111111111111", "[CARD], [CARD]"),
        ("card:3782-822463-10005;5555555555554444", "card:[CARD];[CARD]"),
        ("17,4111111111111111,2", "17,[CARD],2"),
        ("30569309025904 6011000990139424 4222222222222", "[CARD] [CARD] [CARD]"),
        ("SSN 123-45-6789 or 123 45 6789.", "SSN [NATIONAL_ID] or [NATIONAL_ID]."),
        ("AB123456C AB 12 34 56 D", "[NATIONAL_ID] [NATIONAL_ID]"),
        ("86095742719, 86 095 742 719", "[NATIONAL_ID], [NATIONAL_ID]"),
        ("DE89 3704 0044 0532 0130 00 GB82WEST12345698765432", "[IBAN] [IBAN]"),
        ("AKIAIOSFODNN7EXAMPLE", "[KEY]"),
        ("sk-proj-abcdefghijkl1234567890-x_y", "[KEY]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789!", "[KEY]!"),
        ("github_pat_11ABCDEFG0abcdefghijklmn_xyz", "[KEY]"),
        ("password = \"hunter2hunter2\";", "password = \"[KEY]\";"),
        ("{\"api_key\":\"abcd1234efgh\"}", "{\"api_key\":\"[KEY]\"}"),
        (r#"{\"apiKey\": \"abcd1234efgh\"}"#, r#"{\"apiKey\": \"[KEY]\"}"#),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfi1 x", "AWS_SECRET_ACCESS_KEY=[KEY] x"),
        ("awsSecretAccessKey: wJalrXUtnFEMI/K7MDENG", "awsSecretAccessKey: [KEY]"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [KEY]"),
        ("?token=abcdef123456&x=1", "?token=[KEY]&x=1"),
    ] {
        assert_eq!(passing(&[text]).0, expected, "{text}");
        assert_eq!(Pii::redacted(text, false), expected);
    }
    assert_eq!(passing(&[&format!("a {JWT}. b")]).0, "a [KEY]. b");
    assert_eq!(passing(&[&format!("a {PEM} b")]).0, "a [KEY] b");
}

#[test]
fn near_misses_pass() {
    for text in [
        "user@localhost @name a@b.c a@.com a@-b.com user@1.2.3.4 x@y",
        &format!("{}@example.com", "a".repeat(65)),
        "+1234567 +0123456789 C++11 a+12345678 +1234567890123456 +12345678x",
        "5552345678 155-234-5678 555-134-5678 911-234-5678 555-911-5678 595-234-5678 555-234-56789 555-234-5678-9",
        "(555) 2345678 (55) 234-5678 555--234-5678",
        "4111 1111 1111 1112 7111111111111111 411111111111 41111111111111111111 x4111111111111111 4111111111111111x",
        "0.6931471805599453 3.4111111111111111 2019 2020 2021 2022",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 123-45 6789 123-45-67890 123-45-6789-1",
        "DF123456C BG123456C AO123456C AB123456E AB12345C ab123456c AB123456CD",
        "86095742718 06095742719 12345678903 86 095 742719",
        "DE88370400440532013000 DE8937040044053201300 de89370400440532013000 GB82",
        "AKIAIOSFODNN7EXAMPL AKIAIOSFODNN7EXAMPLEX xAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEx",
        "sk-learn-is-a-nice-library-for-all sk-short1 ghp_short xoxb-abc eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9.abc",
        "password: required token: string max_tokens=4096 password=short1 tokens: abcdef123456 passwords",
        "the secret is 12345678 password=1234567890 secret_sauce=abcdef123456 bearer of bad news",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "a file that begins with `-----BEGIN PRIVATE KEY-----` is a key",
        "550e8400-e29b-41d4-a716-446655440000 2024-05-01T12:34:56Z 192.168.100.200 1,234,567.89",
        "",
    ] {
        assert_eq!(passing(&[text]), (text.to_owned(), [0; 6]), "{text}");
    }
}

#[test]
fn each_match_is_counted_once_however_long_it_is() {
    let long = format!("ghp_{}", "a1".repeat(5_000));
    let parts: Vec<&str> =
        std::iter::once("x ").chain([&*long]).chain([" ", PEM, " ", JWT, " a@b.cd +4420794609"]).collect();
    let cut: Vec<String> =
        parts.concat().as_bytes().chunks(7).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
    let cut: Vec<&str> = cut.iter().map(String::as_str).collect();
    assert_eq!(passing(&cut), ("x [KEY] [KEY] [KEY] [EMAIL] [PHONE]".to_owned(), [1, 1, 0, 0, 3, 0]));
}

#[test]
fn a_private_key_without_an_end_is_bounded() {
    let most = MOST_PEM as usize;
    let text = format!("-----BEGIN PRIVATE KEY-----{}{} tail", "\n".repeat(most), "b".repeat(9));
    assert_eq!(passing(&[&text]).0, "[KEY]bbbbbbbbb tail");
}

#[test]
fn of_a_text_that_was_cut_the_end_is_left_out() {
    let text = format!("a@b.cd {} c@d", "x ".repeat(500));
    let redacted = Pii::redacted(&text, true);
    assert!(redacted.starts_with("[EMAIL] x x") && !redacted.contains('@'), "{redacted}");
    assert_eq!(redacted.len(), "[EMAIL]".len() + text.len() - "a@b.cd".len() - (WINDOW - 1));
    assert_eq!(Pii::redacted("c@d", true), "");
    assert!(matches!(Pii::redacted("nothing", false), Cow::Borrowed("nothing")));
}

#[test]
fn a_state_of_anothers_is_a_fault() {
    let request = request_info();
    let passage = Passage { direction: Direction::Input, origin: Origin::User, index: 0 };
    for state in [&[0][..], &[0; 6], &[0; 8], &[0, 0, 7, 0, 0, 0, 0]] {
        let input = InspectInput { request: &request, passage, state, text: "x", last: true };
        assert!(matches!(Pii::default().inspect(input), Err(PolicyError::Fault(_))), "{state:?}");
    }
}

/// Text in which nothing is found, beside what is to be found too.
fn harmless() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,12}",
        "[0-9]{1,4}",
        Just("sk-".to_owned()),
        Just("password: ".to_owned()),
        Just("eyJ".to_owned()),
        Just("1. 22-33 44 ".to_owned()),
        Just("-----BEGIN ".to_owned()),
        Just("a@b +1 (555) ".to_owned()),
        Just("ü€🦀 例え".to_owned()),
        Just("@@..--++".to_owned()),
    ]
}

fn secret() -> impl Strategy<Value = String> {
    let card = "4[0-9]{14}".prop_map(|digits| {
        let numbers: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
        let check = (0..10).find(|check| luhn_of(&numbers, *check)).unwrap();
        format!("{digits}{check}")
    });
    let spaced = card.prop_map(|card| format!("{} {} {} {}", &card[..4], &card[4..8], &card[8..12], &card[12..]));
    prop_oneof![
        "[a-z][a-z0-9.]{2,20}[a-z]@[a-z]{3,9}\\.(com|org|co\\.uk)",
        "\\+[1-9][0-9]{9,13}",
        "[2-9][0-8][02-9]-[2-9][02-9][0-9]-[0-9]{4}",
        spaced,
        "[1-5][0-9]{2}-[1-9][0-9]-[1-9][0-9]{3}",
        "AKIA[A-Z0-9]{16}",
        "ghp_[a-zA-Z0-9]{36}",
        "sk-[a-z0-9]{10}7[a-z0-9]{400}",
        "eyJ[a-zA-Z0-9]{20}\\.[a-zA-Z0-9]{50}\\.[a-zA-Z0-9]{43}",
        Just(PEM.to_owned()),
    ]
}

fn luhn_of(digits: &[u8], check: u8) -> bool {
    let all: Vec<u8> = digits.iter().copied().chain([check]).collect();
    let sum: u32 = (0..all.len())
        .map(|from_end| {
            let digit = u32::from(all[all.len() - 1 - from_end]);
            if from_end % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The text in parts, cut at these places or just before, where a character would be cut.
fn cut<'a>(text: &'a str, places: &[prop::sample::Index]) -> Vec<&'a str> {
    let mut places: Vec<usize> =
        places.iter().map(|place| text.floor_char_boundary(place.index(text.len() + 1))).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([text.len()]);
    let starts = [0].into_iter().chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| &text[start..end]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_passes_does_not_depend_on_the_cuts(
        parts in prop::collection::vec(prop_oneof![harmless(), secret()], 0..24),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = parts.concat();
        let whole = passing(&[&text]);
        prop_assert_eq!(&passing(&cut(&text, &places)), &whole);
        prop_assert_eq!(Pii::redacted(&text, false), whole.0);
    }

    #[test]
    fn no_part_of_a_secret_passes(
        words in prop::collection::vec("[g-z]{1,5}", 1..6),
        secret in secret(),
        between in prop_oneof![Just("; "), Just("\n"), Just(" / "), Just("ü"), Just("\""), Just(", ")],
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let at = words.len() / 2;
        let mut parts: Vec<&str> = words.iter().map(String::as_str).collect();
        parts.insert(at, &secret);
        let text = parts.join(between);
        let (passing, found) = passing(&cut(&text, &places));
        prop_assert_eq!(found.iter().sum::<u64>(), 1, "{}", text);
        for part in secret.as_bytes().windows(6) {
            prop_assert!(!passing.as_bytes().windows(6).any(|passed| passed == part), "{text}: {passing}");
        }
        for word in &words {
            prop_assert!(passing.contains(word.as_str()));
        }
    }

    #[test]
    fn text_without_any_is_not_changed(text in "[a-zäöü€🦀 .,;:!?\n()-]{0,600}", places in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        prop_assert_eq!(passing(&cut(&text, &places)), (text, [0; 6]));
    }

    #[test]
    fn anything_is_taken(text in any::<String>(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        prop_assert_eq!(passing(&cut(&text, &places)), passing(&[&text]));
    }
}
