//! What a test says of a text, and of what a guard lets pass of it.

use kairos_pipeline::policy::{Direction, Origin, Passage, PolicyError, Verdict};

use super::super::expect::{self, Names, Reason};
use super::super::table::{Read, Table, Value, wrong};
use crate::aside::{Judging, Released};
use crate::question::{Inspected, What};

/// Bytes that a text comes in, at a time, beside as a whole.
const PARTS: [usize; 3] = [3, 17, 64];

/// What a test says of a text, not yet read.
pub(in super::super) struct Beside<'a> {
    text: Option<Value<'a>>,
    origin: Option<Value<'a>>,
    direction: Option<Value<'a>>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { text: test.take("text"), origin: test.take("origin"), direction: test.take("direction") }
    }

    pub(super) fn read(self, at: usize) -> Read<What> {
        let Some(text) = self.text else { return wrong(at, "a guard's test needs a `text`") };
        let (origins, directions) = (Origin::ALL.map(Origin::name), Direction::ALL.map(Direction::name));
        let origin = self.origin.map(|value| value.one_of(&origins)).transpose()?;
        let direction = self.direction.map(|value| value.one_of(&directions)).transpose()?;
        let direction = direction.map_or(Direction::Input, |place| Direction::ALL[place]);
        let origin = origin.map_or(Origin::User, |place| Origin::ALL[place]);
        let passage = Passage { direction, origin, index: 0 };
        Ok(What::Inspect(Inspected { passage, state: Vec::new(), text: text.text()?.to_owned(), last: true }))
    }
}

/// What passes of a text, in what the test says of it.
pub(in super::super) struct ReleasedLike {
    text: Option<String>,
    /// All that is found: names, or codes, and how often.
    found: Option<Vec<(String, u64)>>,
    blocked: Option<Reason>,
}

/// Reads what is expected to pass; nothing: it says nothing of that.
pub(super) fn expected(table: &mut Table<'_>) -> Read<Option<ReleasedLike>> {
    let text = table.read("text", |value| value.text().map(str::to_owned))?;
    let found = table.read("found", |value| {
        let count = |(name, value): (String, Value<'_>)| Ok((name, value.short()?.into()));
        value.table()?.entries().map(count).collect::<Read<Vec<(String, u64)>>>()
    })?;
    let blocked = table.read("blocked", |value| expect::reason(&value))?;
    let is_said = text.is_some() || found.is_some() || blocked.is_some();
    Ok(is_said.then_some(ReleasedLike { text, found, blocked }))
}

/// A verdict, for people.
pub(super) fn in_words(verdict: &Verdict, names: &Names<'_>) -> String {
    let blocked = verdict.blocked.map_or(String::new(), |code| format!("; blocked, {}", names.reason(code)));
    format!("the verdict: {} bytes decided, {} replaced{blocked}", verdict.decided, verdict.replacements.len())
}

/// What passed, for people.
pub(in super::super) fn released_in_words(released: &Released, names: &Names<'_>) -> String {
    if let Some(failure) = &released.failure {
        return names.answer(&Err(failure.clone()));
    }
    if released.declined {
        return names.answer(&Err(PolicyError::Declined));
    }
    let mut words = format!("passes: {:?}", released.text);
    if !released.findings.is_empty() {
        words.push_str(&format!("; found: {}", found(&released.findings, names)));
    }
    if let Some(code) = released.blocked {
        words.push_str(&format!("; blocked, {}", names.reason(code)));
    }
    words
}

fn found(findings: &[(u32, u64)], names: &Names<'_>) -> String {
    if findings.is_empty() {
        return "nothing".to_owned();
    }
    let name = |code: u32| names.identity.reason(code).map_or_else(|| code.to_string(), |name| name.to_string());
    findings.iter().map(|(code, count)| format!("{count} {}", name(*code))).collect::<Vec<_>>().join(", ")
}

/// Has a text judged, as a whole and in parts, which must give the same. Gives what became of it, or why
/// the parts give something else.
pub(in super::super) fn judge(with: &Judging, Inspected { passage, text, .. }: &Inspected) -> Result<Released, String> {
    let whole = with.whole(*passage, text);
    for bytes in PARTS {
        let parts = with.in_parts(*passage, text, bytes);
        if parts != whole {
            return Err(differs(&whole, &parts, bytes));
        }
    }
    Ok(whole)
}

/// How what passes of a text depends on how it comes.
pub(crate) fn differs(whole: &Released, parts: &Released, bytes: usize) -> String {
    let lets = |released: &Released| match &released.failure {
        Some(failure) => format!("fails ({failure})"),
        None => format!("lets {:?} pass, and finds {:?}", released.text, released.findings),
    };
    format!("{} of a whole text, and {} of the same in parts of {bytes} bytes", lets(whole), lets(parts))
}

impl ReleasedLike {
    /// What is not as expected.
    pub(in super::super) fn wrong_with(&self, released: &Released, names: &Names<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(expected) = self.text.as_ref().filter(|expected| **expected != released.text) {
            wrong.push(format!("text: {:?}, expected {expected:?}", released.text));
        }
        if let Some(expected) = &self.found {
            let name =
                |code: u32| names.identity.reason(code).map_or_else(|| code.to_string(), |name| name.to_string());
            let mut is: Vec<_> = released.findings.iter().map(|(code, count)| (name(*code), *count)).collect();
            let mut expected = expected.clone();
            is.sort_unstable();
            expected.sort_unstable();
            if is != expected {
                let list = |all: &[(String, u64)]| {
                    let each: Vec<_> = all.iter().map(|(name, count)| format!("{count} {name}")).collect();
                    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
                };
                wrong.push(format!("found: {}, expected {}", list(&is), list(&expected)));
            }
        }
        match (&self.blocked, released.blocked) {
            (Some(expected), Some(code)) => wrong.extend(expected.wrong_with(code, names)),
            (Some(_), None) => wrong.push("blocked: it passes".to_owned()),
            // What is said of the text alone is said of one that passes.
            (None, Some(code)) => wrong.push(format!("blocked, {}; nothing was expected to block", names.reason(code))),
            (None, None) => {}
        }
        wrong
    }
}
