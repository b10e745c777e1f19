//! What a test says of a failure, and of a healer's remedy.

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{Abilities, Action, FailedAttempt, FailureFacts, FailureKind, Features, Remedy, Wait};

use super::super::expect::{self, Names, Reason, or_none};
use super::super::offers::{self, Chosen, MOST};
use super::super::table::{Read, Table, Value, wrong};
use crate::question::What;

/// Attempts before the one that failed.
const HISTORY: usize = 64;
/// What is left, where a test does not say.
const ATTEMPTS_LEFT: u32 = 5;
const TIME_LEFT_MS: u32 = 30_000;

/// What a test says of a failure, not yet read.
pub(in super::super) struct Beside<'a> {
    failure: Option<Value<'a>>,
    history: Option<Value<'a>>,
    can: Option<Value<'a>>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { failure: test.take("failure"), history: test.take("history"), can: test.take("can") }
    }

    pub(super) fn read(self, at: usize, features: &Features, chosen: &[Chosen], catalogue: &Catalogue) -> Read<What> {
        let Some(failure) = self.failure else { return wrong(at, "a healer's test needs a `failure`") };
        let index = |name: Value<'_>| offers::index(&name, chosen, catalogue);
        let mut table = failure.table()?;
        let left = table.read("left", |list| list.list()?.map(index).collect::<Read<Vec<u32>>>())?;
        let max_cost = table.read("max_cost", |value| value.whole(MOST))?;
        let attempts_left = table.read("attempts_left", |value| value.short())?;
        let time_left_ms = table.read("time_left_ms", |value| value.short())?;
        let attempt = attempt(table, features, chosen, catalogue)?;
        let mut history = Vec::new();
        for earlier in self.history.map(Value::list).transpose()?.into_iter().flatten() {
            if history.len() == HISTORY {
                return earlier.wrong(format_args!("more than {HISTORY} attempts"));
            }
            history.push(self::attempt(earlier.table()?, features, chosen, catalogue)?);
        }
        let can = self.can.map(|value| value.bits(&Abilities::NAMES)).transpose()?.unwrap_or_default();
        let failure = FailureFacts {
            attempt,
            left: left.unwrap_or_default(),
            max_cost,
            attempts_left: attempts_left.unwrap_or(ATTEMPTS_LEFT),
            time_left_ms: time_left_ms.unwrap_or(TIME_LEFT_MS),
            can: Abilities(u8::try_from(can).unwrap_or_default()),
        };
        Ok(What::Heal(Box::new(failure), history))
    }
}

/// Reads an attempt. What is not said of it is nothing, and it was sent with all of the text.
fn attempt(mut table: Table<'_>, features: &Features, chosen: &[Chosen], catalogue: &Catalogue) -> Read<FailedAttempt> {
    let at = table.at;
    let kinds = FailureKind::ALL.map(FailureKind::name);
    let kind = table.read("kind", |value| Ok(FailureKind::ALL[value.one_of(&kinds)?]))?;
    let model = table.read("model", |name| offers::index(&name, chosen, catalogue))?;
    let mut short = |key| table.read(key, |value| value.short());
    let (retry_after_ms, duration_ms) = (short("retry_after_ms")?, short("duration_ms")?);
    let (waited_ms, text_tokens) = (short("waited_ms")?, short("text_tokens")?);
    let status = table.read("status", |value| value.whole(u16::MAX.into()))?;
    let cost = table.read("cost", |value| value.whole(MOST))?;
    let may_be_billed = table.read("may_be_billed", |value| value.flag())?;
    let refreshed = table.read("refreshed", |value| value.flag())?;
    table.finish()?;
    let (Some(kind), Some(model)) = (kind, model) else {
        return wrong(at, "an attempt needs its `kind` and its `model`");
    };
    Ok(FailedAttempt {
        model,
        kind,
        status: status.and_then(|status| u16::try_from(status).ok()),
        retry_after_ms,
        may_be_billed: may_be_billed.unwrap_or_default(),
        cost: cost.unwrap_or_default(),
        duration_ms: duration_ms.unwrap_or_default(),
        waited_ms: waited_ms.unwrap_or_default(),
        refreshed: refreshed.unwrap_or_default(),
        text_tokens: text_tokens.unwrap_or_else(|| features.text_bytes.div_ceil(4)),
    })
}

/// A remedy, in what the test says of it.
pub(in super::super) struct RemedyLike {
    action: Option<&'static str>,
    /// Where it goes on: of `switch`.
    model: Option<u32>,
    /// Of `shorten-prompt`.
    tokens: Option<u32>,
    /// The place in `history`: of `give-up`.
    attempt: Option<u32>,
    wait: Option<WaitLike>,
    /// There is no wait.
    at_once: bool,
    reason: Option<Reason>,
    max_output_tokens: Option<u32>,
}

/// A wait, in what the test says of it.
struct WaitLike {
    least: Option<u32>,
    base: Option<u32>,
    cap: Option<u32>,
}

/// The names of actions.
const ACTIONS: [&str; 7] =
    ["next", "retry", "switch", "refresh-credentials", "shorten-prompt", "answer-locally", "give-up"];

/// Reads what is expected of a remedy; nothing: it says nothing of one.
pub(super) fn expected(table: &mut Table<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<Option<RemedyLike>> {
    let action = table.read("action", |value| Ok(ACTIONS[value.one_of(&ACTIONS)?]))?;
    let model = table.read("model", |name| offers::index(&name, chosen, catalogue))?;
    let tokens = table.read("tokens", |value| value.short())?;
    let attempt = table.read("attempt", |value| value.short())?;
    let wait = table.read("wait", wait)?;
    let at_once = table.read("at_once", |value| match value.flag()? {
        true => Ok(true),
        false => value.wrong("leave it out, and say what is expected of `wait`"),
    })?;
    let reason = table.read("reason", |value| expect::reason(&value))?;
    let max_output_tokens = table.read("max_output_tokens", |value| value.short())?;
    if wait.is_some() && at_once.is_some() {
        return wrong(table.at, "expect: `wait` and `at_once` exclude one another");
    }
    let is_said = action.is_some() || model.is_some() || tokens.is_some() || attempt.is_some() || wait.is_some();
    let is_said = is_said || at_once.is_some() || reason.is_some() || max_output_tokens.is_some();
    let at_once = at_once.unwrap_or_default();
    Ok(is_said.then_some(RemedyLike { action, model, tokens, attempt, wait, at_once, reason, max_output_tokens }))
}

fn wait(value: Value<'_>) -> Read<WaitLike> {
    let mut table = value.table()?;
    let at = table.at;
    let mut short = |key| table.read(key, |value| value.short());
    let like = WaitLike { least: short("least")?, base: short("base")?, cap: short("cap")? };
    table.finish()?;
    if like.least.is_none() && like.base.is_none() && like.cap.is_none() {
        return wrong(at, "expect.wait: it is empty; say `least`, `base` or `cap`");
    }
    Ok(like)
}

/// The remedy, for people.
pub(super) fn in_words(remedy: &Remedy, names: &Names<'_>) -> String {
    let mut text = format!("the remedy: {}", remedy.action.name());
    match remedy.action {
        Action::Switch(model) => text.push_str(&format!(" to {}", names.id(model))),
        Action::ShortenPrompt(tokens) => text.push_str(&format!(" to {tokens} tokens")),
        Action::GiveUp(Some(attempt)) => text.push_str(&format!(" with the failure of attempt {attempt}")),
        _ => {}
    }
    if let Some(Wait { least, base, cap }) = remedy.wait {
        text.push_str(&format!("; wait least {least}, base {base}, cap {cap}"));
    }
    if let Some(limit) = remedy.max_output_tokens {
        text.push_str(&format!("; max_output_tokens {limit}"));
    }
    text.push_str(&format!("; reason {}", names.reason(remedy.reason)));
    text
}

impl RemedyLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, remedy: &Remedy, names: &Names<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut compare = |what: &str, is: String, expected: Option<String>| {
            if let Some(expected) = expected.filter(|expected| *expected != is) {
                wrong.push(format!("{what}: {is}, expected {expected}"));
            }
        };
        let (model, tokens, attempt) = match remedy.action {
            Action::Switch(model) => (Some(model), None, None),
            Action::ShortenPrompt(tokens) => (None, Some(tokens), None),
            Action::GiveUp(attempt) => (None, None, attempt),
            _ => (None, None, None),
        };
        let id = |model: u32| names.id(model).to_owned();
        let text = |number: Option<u32>| number.map(|number| number.to_string());
        compare("action", remedy.action.name().to_owned(), self.action.map(str::to_owned));
        compare("model", or_none(model.map(id)), self.model.map(id));
        compare("tokens", or_none(tokens), text(self.tokens));
        compare("attempt", or_none(attempt), text(self.attempt));
        compare("max_output_tokens", or_none(remedy.max_output_tokens), text(self.max_output_tokens));
        let of_wait = |part: fn(Wait) -> u32| or_none(remedy.wait.map(part));
        if let Some(expected) = &self.wait {
            compare("wait.least", of_wait(|wait| wait.least), text(expected.least));
            compare("wait.base", of_wait(|wait| wait.base), text(expected.base));
            compare("wait.cap", of_wait(|wait| wait.cap), text(expected.cap));
        }
        if self.at_once && remedy.wait.is_some() {
            wrong.push("at_once: there is a wait".to_owned());
        }
        wrong.extend(self.reason.as_ref().and_then(|reason| reason.wrong_with(remedy.reason, names)));
        wrong
    }
}
