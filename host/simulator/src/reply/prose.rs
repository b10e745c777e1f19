//! Sentences: pleasant, plausible in length, and plainly a simulation.
//!
//! It must not know tools beyond their names, nor how long a reply may be.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Draw, Heard};
use crate::tokens;

/// How much of the end of a message is searched for topics.
const SEARCHED: usize = 2_000;
/// Topics taken up.
const TOPICS: usize = 3;
/// The longest quotation that is repeated, in bytes: long enough for an answer of any length to be
/// asked for.
const LONGEST_QUOTATION: usize = 4_000_000;
/// How much of a tool's result is repeated, in characters.
const QUOTED: usize = 200;
/// Replies aim for this many tokens, plus up to [`SPREAD`].
const SHORTEST: usize = 20;
const SPREAD: usize = 101;

const COMMON: &[&str] = &[
    "about", "after", "again", "also", "because", "been", "before", "being", "could", "does", "explain", "from",
    "give", "have", "hello", "here", "into", "just", "like", "make", "more", "much", "only", "over", "please",
    "should", "some", "tell", "than", "that", "their", "them", "then", "there", "these", "they", "this", "what",
    "when", "where", "which", "will", "with", "would", "write", "your",
];

/// Of [`COMMON`].
const LONGEST_COMMON: usize = 7;

/// The words of a message that a reply takes up: its longest, in the order they came.
pub(super) fn topics(text: &str) -> Vec<String> {
    let mut from = text.len().saturating_sub(SEARCHED);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let part_of_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut best: Vec<(usize, usize, &str)> = Vec::with_capacity(TOPICS + 1);
    for (place, word) in text[from..].split(|c| !part_of_word(c)).enumerate() {
        let word = word.trim_matches('-');
        let length = word.chars().count();
        // The longest first; of equals the one that came first.
        let at = best.iter().position(|(l, ..)| *l < length).unwrap_or(best.len());
        let known = |other: &str| word.eq_ignore_ascii_case(other);
        if at == TOPICS
            || !(4..=40).contains(&length)
            || (length <= LONGEST_COMMON && COMMON.iter().any(|common| known(common)))
            || best.iter().any(|(_, _, other)| known(other))
        {
            continue;
        }
        best.insert(at, (length, place, word));
        best.truncate(TOPICS);
    }
    best.sort_unstable_by_key(|(_, place, _)| *place);
    best.into_iter().map(|(_, _, word)| word.to_owned()).collect()
}

/// "a", "a and b", "a, b and c".
fn list(words: &[String]) -> Cow<'_, str> {
    match words {
        [] => "your message".into(),
        [one] => one.as_str().into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")).into(),
    }
}

/// The first text in double quotes.
fn quotation(text: &str) -> Option<&str> {
    let inside = [('"', '"'), ('“', '”')].into_iter().filter_map(|(open, close)| {
        let start = text.find(open)? + open.len_utf8();
        let length = text[start..].find(close)?;
        Some((start, &text[start..start + length]))
    });
    let (_, quoted) = inside.min_by_key(|(start, _)| *start)?;
    (!quoted.trim().is_empty() && quoted.len() <= LONGEST_QUOTATION).then_some(quoted)
}

fn beginning(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// An answer in words.
pub(super) fn answer(model: &str, heard: &Heard<'_>, topics: &[String], draw: &mut Draw) -> String {
    let target = u32::try_from(SHORTEST + draw.below(SPREAD)).unwrap_or(u32::MAX);
    let mut out = String::with_capacity(512);
    out.push_str("[simulated] ");
    out.push_str(model);
    out.push_str(draw.pick(&[
        " here, by way of the Kairos simulator.",
        ", as played by the Kairos simulator.",
        " would answer here; this is the Kairos simulator.",
    ]));
    for (tool, result) in &heard.results {
        out.push_str(" The result of ");
        out.push_str(tool.unwrap_or("the tool"));
        out.push_str(" is in: ");
        out.push_str(&beginning(result));
        out.push('.');
    }
    if heard.results.is_empty() || heard.text.is_some() {
        let (before, after) =
            [(" You asked about ", "."), (" This seems to be about ", "."), (" So, ", ": let me see.")][draw.below(3)];
        out.push_str(before);
        out.push_str(&list(topics));
        out.push_str(after);
    }
    if let Some(quoted) = heard.text.as_deref().and_then(quotation) {
        out.push_str(" In your words: \"");
        out.push_str(quoted);
        out.push_str("\".");
    }
    for (count, what) in [(heard.images, "image"), (heard.documents, "document")] {
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            out.push_str(&format!(" I took in {count} {what}{plural}."));
        }
    }
    ramble(&mut out, topics, target, draw);
    out
}

/// Adds sentences while they fit into the length aimed for.
fn ramble(out: &mut String, topics: &[String], target: u32, draw: &mut Draw) {
    const OPENERS: &[&str] = &[
        " A real model would weigh",
        " It helps to begin with",
        " Most of it comes down to",
        " In practice one looks at",
        " Two things matter about",
        " It is worth a second look at",
    ];
    const MIDDLES: &[&str] = &[
        " and what depends on it",
        " before anything else",
        " from more than one side",
        " with the costs in view",
        " and the case where it fails",
        " step by step",
    ];
    const ENDINGS: &[&str] = &[
        ", and then say so plainly.",
        "; the rest follows.",
        ", which takes a moment.",
        " and keep it short.",
        ", as far as that can be known.",
        "; nothing here was computed by it.",
    ];
    let mut length = tokens::count(out);
    while length < target {
        let start = out.len();
        out.push_str(draw.pick(OPENERS));
        out.push(' ');
        match topics.len() {
            0 => out.push_str("the question"),
            n => out.push_str(&topics[draw.below(n)]),
        }
        out.push_str(draw.pick(MIDDLES));
        out.push_str(draw.pick(ENDINGS));
        length += tokens::count(&out[start..]);
        if length > target {
            out.truncate(start);
            return;
        }
    }
}

/// Thoughts before an answer.
pub(super) fn reasoning(topics: &[String], draw: &mut Draw) -> String {
    let opening = draw.pick(&[
        "[simulated reasoning] The user wants to know about ",
        "[simulated reasoning] This turns on ",
        "[simulated reasoning] First, what is known of ",
    ]);
    let closing = draw.pick(&[
        ". I will answer briefly.",
        ". A short answer will do, since nothing here is real.",
        ". I should not claim more than a simulator can.",
    ]);
    format!("{opening}{}{closing}", list(topics))
}

/// A signature as opaque as the real ones.
pub(super) fn signature(draw: &mut Draw) -> String {
    let bytes: Vec<u8> = (0..6).flat_map(|_| draw.next().to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Said before tools are called.
pub(super) fn announcement(model: &str, tools: &[&str]) -> String {
    let tools: Vec<String> = tools.iter().map(|t| (*t).to_owned()).collect();
    format!("[simulated] {model} is calling {}.", list(&tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words_are_no_longer_than_is_said() {
        assert_eq!(COMMON.iter().map(|word| word.len()).max(), Some(LONGEST_COMMON));
    }

    #[test]
    fn topics_are_the_longest_words_in_their_order() {
        for (text, expected) in [
            ("", vec![]),
            ("hi you", vec![]),
            ("What is an inference gateway written in Rust?", vec!["inference", "gateway", "written"]),
            ("budgets, Budgets and BUDGETS", vec!["budgets"]),
            ("mention forbidden-topic in your answer", vec!["mention", "forbidden-topic", "answer"]),
            ("größer schöner weiter länger", vec!["größer", "schöner", "weiter"]),
        ] {
            assert_eq!(topics(text), expected, "{text:?}");
        }
        let long = format!("{} gateway", "é".repeat(5_000));
        assert_eq!(topics(&long), ["gateway"]);
    }

    #[test]
    fn quotations() {
        for (text, expected) in [
            ("say \"END\" now", Some("END")),
            ("say “so” or \"no\"", Some("so")),
            ("say \"open", None),
            ("say \"\" now", None),
            ("nothing", None),
        ] {
            assert_eq!(quotation(text), expected, "{text:?}");
        }
    }
}
