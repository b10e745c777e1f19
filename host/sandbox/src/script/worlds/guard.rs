//! What a guard sees of a text, and its verdict, as scripts make it. All offsets are bytes of UTF-8.

use kairos_pipeline::policy::{InspectInput, MOST_REPLACED, MOST_SHOWN, Passage, Replacement, Verdict};
use rhai::{Dynamic, ImmutableString};

use super::super::api::{Ctx, code, option};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::Judgement;

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "inspect",
    parameters: 5,
    hint: "a guard has `fn inspect(ctx, passage, state, text, last) { … }`, which gives pass(text), \
           hold(text, bytes) or another verdict",
};

/// What of a passage is not decided yet.
#[derive(Clone)]
struct Text(ImmutableString);

pub(super) fn call(script: &Script, input: InspectInput<'_>, ctx: Ctx) -> Fallible<Verdict> {
    let InspectInput { passage, state, text, last, .. } = input;
    // A script's state is text: what it gave comes back.
    let state: ImmutableString = String::from_utf8_lossy(state).into_owned().into();
    script.call(JUDGEMENT.function, (ctx, passage, state, Text(text.into()), last))
}

pub(super) fn register(api: &mut Api<'_>) {
    register_passage(api);
    register_text(api);
    register_verdict(api);
    register_changes(api);
}

fn register_passage(api: &mut Api<'_>) {
    api.section(
        "`passage`: the text that is looked at on its own",
        "Of a guard, as are the next tables. `state` is the text that the last call for this passage kept, empty at \
         first; `last` says that nothing of the passage follows.",
    )
    .of::<Passage>("Passage", "passage")
    .property(
        "direction: string",
        "`input`, from the caller to the model, or `output`.",
        |passage: &mut Passage| -> ImmutableString { passage.direction.name().into() },
    )
    .property(
        "origin: string",
        "What the text is: `system`, `user`, `assistant`, `tool-result`, … as in guard.wit.",
        |passage: &mut Passage| -> ImmutableString { passage.origin.name().into() },
    )
    .property("index: int", "Its place among the texts of its direction, from 0.", |passage: &mut Passage| {
        i64::from(passage.index)
    });
}

fn register_text(api: &mut Api<'_>) {
    api.section(
        "`text`: what of the passage is not decided yet",
        "8,192 bytes at most. Offsets are bytes of its UTF-8, not characters. A `set` is of ASCII characters, with \
         ranges: `a-z0-9_`; a `-` at its end stands for itself.",
    )
    .of::<Text>("Text", "text")
    .property("len: int", "Its bytes.", |text: &mut Text| int(text.0.len()))
    .property("string: string", "All of it, as a string of Rhai's, which counts characters.", |text: &mut Text| {
        text.0.clone()
    })
    .function(
        "find(part: string, from: int) -> int?",
        "Where `part` is first found, at or behind `from`.",
        |text: &mut Text, part: &str, from: i64| -> Fallible<Dynamic> {
            let from = text.at(from)?;
            let rest = text.0.get(from..).ok_or_else(|| within(from))?;
            Ok(option(rest.find(part).map(|at| int(from + at))))
        },
    )
    .function(
        "find_of(set: string, from: int) -> int?",
        "Where the first character of the set is, at or behind `from`.",
        |text: &mut Text, set: &str, from: i64| -> Fallible<Dynamic> {
            let (from, set) = (text.at(from)?, Set::read(set)?);
            let found = text.0.as_bytes()[from..].iter().position(|byte| set.has(*byte));
            Ok(option(found.map(|at| int(from + at))))
        },
    )
    .function(
        "find_token(part: string, set: string, least: int, from: int) -> int?",
        "Where `part` is first found, at or behind `from`, with neither letter nor digit right before it, and with \
         at least so many characters of the set behind it. One call instead of a loop, which a text of many \
         beginnings would make long.",
        find_token,
    )
    .function(
        "run(set: string, from: int) -> int",
        "Where the characters of the set that begin at `from` end.",
        |text: &mut Text, set: &str, from: i64| -> Fallible<i64> {
            let (from, set) = (text.at(from)?, Set::read(set)?);
            let run = text.0.as_bytes()[from..].iter().take_while(|byte| set.has(**byte)).count();
            Ok(int(from + run))
        },
    )
    .function(
        "run_before(set: string, end: int) -> int",
        "Where the characters of the set that end before `end` begin.",
        |text: &mut Text, set: &str, end: i64| -> Fallible<i64> {
            let (end, set) = (text.at(end)?, Set::read(set)?);
            let run = text.0.as_bytes()[..end].iter().rev().take_while(|byte| set.has(**byte)).count();
            Ok(int(end - run))
        },
    )
    .function(
        "slice(start: int, end: int) -> string",
        "The text from `start` to before `end`.",
        |text: &mut Text, start: i64, end: i64| -> Fallible<ImmutableString> {
            let (start, end) = (text.at(start)?, text.at(end)?);
            let part = text.0.get(start..end);
            part.map(Into::into)
                .ok_or_else(|| format!("{start} to {end} is not from one character to a later one").into())
        },
    );
}

fn find_token(text: &mut Text, part: &str, set: &str, least: i64, from: i64) -> Fallible<Dynamic> {
    let (from, set, least) = (text.at(from)?, Set::read(set)?, code(least)? as usize);
    let (all, bytes) = (&text.0, text.0.as_bytes());
    let mut rest = all.get(from..).ok_or_else(|| within(from))?;
    while let Some(place) = rest.find(part) {
        let at = all.len() - rest.len() + place;
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let behind = &bytes[at + part.len()..];
        if begins && behind.len() >= least && behind[..least].iter().all(|byte| set.has(*byte)) {
            return Ok(option(Some(int(at))));
        }
        let Some(next) = all[at..].chars().next() else { break };
        rest = &all[at + next.len_utf8()..];
    }
    Ok(Dynamic::UNIT)
}

fn register_verdict(api: &mut Api<'_>) {
    api.section("A guard's answer", "A verdict `v`: at the end of a passage, all of the text is to be decided.")
        .function("pass(text: text) -> verdict", "All of it passes, but for what is replaced.", |text: Text| {
            Verdict::pass(&text.0)
        })
        .function(
            "hold(text: text, bytes: int) -> verdict",
            "All but the last so many bytes passes; those come again, in front of what follows. Up to the \
             `hold_back` that `describe` names.",
            |text: Text, bytes: i64| -> Fallible<Verdict> {
                let decided = text.0.len().saturating_sub(code(bytes)? as usize);
                Ok(Verdict { decided: code(int(text.0.ceil_char_boundary(decided)))?, ..Verdict::default() })
            },
        )
        .function(
            "block(reason: int) -> verdict",
            "Nothing passes, and nothing that follows. `reason` is a code that `describe` names.",
            |reason: i64| -> Fallible<Verdict> { Ok(Verdict::block(code(reason)?)) },
        )
        .of::<Verdict>("Verdict", "v")
        .property("decided: int", "Bytes of the text that are decided.", |verdict: &mut Verdict| {
            i64::from(verdict.decided)
        });
}

fn register_changes(api: &mut Api<'_>) {
    api.function(
        "replace(start: int, end: int, with: string)",
        "Puts `with` in the place of the bytes from `start` to before `end`, behind what was replaced before. All up \
         to `end` is decided then.",
        replace,
    )
    .function(
        "found(code: int)",
        "Counts something that was found, by a code that `describe` names.",
        |verdict: &mut Verdict, found: i64| count(verdict, found, 1),
    )
    .function("found(code: int, count: int)", "Counts several.", |verdict: &mut Verdict, found: i64, times: i64| {
        count(verdict, found, times)
    })
    .function(
        "block_at(at: int, reason: int)",
        "Nothing passes from `at` on. Of a request nothing does at all.",
        |verdict: &mut Verdict, at: i64, reason: i64| -> Fallible<()> {
            (verdict.decided, verdict.blocked) = (code(at)?, Some(code(reason)?));
            Ok(())
        },
    )
    .setter(
        "state = string",
        "What the next call for this passage is to know, 1,024 bytes at most.",
        |verdict: &mut Verdict, state: ImmutableString| -> Fallible<()> {
            verdict.state = state.as_bytes().to_vec();
            Ok(())
        },
    );
}

fn replace(verdict: &mut Verdict, start: i64, end: i64, with: &str) -> Fallible<()> {
    let (start, end) = (code(start)?, code(end)?);
    // What is more cannot be right, and would only be kept.
    if verdict.replacements.len() >= MOST_SHOWN || with.len() > MOST_REPLACED {
        return Err("more is replaced than a text can hold".into());
    }
    verdict.decided = verdict.decided.max(end);
    verdict.replacements.push(Replacement { start, end, text: with.to_owned().into() });
    Ok(())
}

/// Findings that a verdict may have: as many as `describe` may name.
const MOST_FINDINGS: usize = 64;

fn count(verdict: &mut Verdict, found: i64, times: i64) -> Fallible<()> {
    let (found, times) = (code(found)?, code(times)?);
    if let Some((_, sum)) = verdict.findings.iter_mut().find(|(known, _)| *known == found) {
        *sum = sum.saturating_add(times);
    } else if verdict.findings.len() < MOST_FINDINGS {
        verdict.findings.push((found, times));
    } else {
        return Err("more codes are found than `describe` can name".into());
    }
    Ok(())
}

impl Text {
    /// An offset that a script gives.
    fn at(&self, offset: i64) -> Fallible<usize> {
        let at = usize::try_from(offset).ok().filter(|at| *at <= self.0.len());
        at.ok_or_else(|| format!("{offset} is no offset of a text of {} bytes", self.0.len()).into())
    }
}

fn within(at: usize) -> String {
    format!("{at} is within a character")
}

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A set of ASCII characters.
struct Set(u128);

impl Set {
    fn read(text: &str) -> Fallible<Self> {
        let (mut set, mut rest) = (0u128, text.as_bytes());
        if !text.is_ascii() {
            return Err(format!("{text:?} is not a set: it is not of ASCII characters only").into());
        }
        while let [first, others @ ..] = rest {
            let (last, behind) = match others {
                [b'-', last, behind @ ..] => (last, behind),
                _ => (first, others),
            };
            if last < first {
                return Err(format!("{text:?} is not a set: a range goes from a later character to an earlier").into());
            }
            (*first..=*last).for_each(|byte| set |= 1 << byte);
            rest = behind;
        }
        Ok(Self(set))
    }

    fn has(&self, byte: u8) -> bool {
        byte.is_ascii() && self.0 & (1 << byte) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_ranges() {
        let members = |set: &str| -> String {
            let set = Set::read(set).unwrap_or_else(|error| panic!("{error}"));
            (0..=u8::MAX).filter(|byte| set.has(*byte)).map(char::from).collect()
        };
        for (set, expected) in [("", ""), ("a", "a"), ("c-ea", "acde"), ("a-", "-a"), ("-a", "-a"), ("a-a", "a")] {
            assert_eq!(members(set), expected, "{set}");
        }
        for wrong in ["ä", "z-a"] {
            assert!(Set::read(wrong).is_err(), "{wrong}");
        }
    }
}
