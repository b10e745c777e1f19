//! What a test says of an event, and of what an observer writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{
    Ending, Event, EventKind, FailureKind, Features, Offer, Outcome, Rating, RequestInfo, SeenAttempt, Stop, Written,
};

use super::super::offers::{self, Chosen, MOST};
use super::super::table::{Read, Table, Value, wrong};
use crate::question::{Observed, What};

/// Attempts of a request.
const ATTEMPTS: usize = 128;

/// What a test says of an event, not yet read.
pub(in super::super) struct Beside<'a> {
    event: Option<Value<'a>>,
    at: Option<Value<'a>>,
    missed: Option<Value<'a>>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { event: test.take("event"), at: test.take("at"), missed: test.take("missed") }
    }

    pub(super) fn read(
        self,
        begin: usize,
        features: &Features,
        (chosen, catalogue): (&[Chosen], &Catalogue),
        (request, models): (&Arc<RequestInfo>, &[Offer]),
    ) -> Read<What> {
        let Some(event) = self.event else { return wrong(begin, "an observer's test needs an `event`") };
        let at_ms = self.at.map(|value| value.whole(MOST)).transpose()?.unwrap_or_default();
        let missed = self.missed.map(|value| value.short()).transpose()?.unwrap_or_default();
        let plain = Event {
            request: Arc::clone(request),
            kind: EventKind::Ended,
            features: *features,
            models: models.to_vec(),
            policy: "test@0".into(),
            reason: None,
            first: None,
            attempts: Vec::new(),
            ending: Ending::Other,
            stop: None,
            duration_ms: 0,
            began_at_ms: at_ms,
            rating: None,
        };
        let event = Arc::new(self::event(event.table()?, plain, chosen, catalogue)?);
        Ok(What::Observe(Observed { event, at_ms, missed, learned: Arc::clone(&request.learned) }))
    }
}

/// Reads an event. What is not said follows from what is: a metric makes it a rating, the last attempt its
/// ending.
fn event(mut table: Table<'_>, plain: Event, chosen: &[Chosen], catalogue: &Catalogue) -> Read<Event> {
    let at = table.at;
    let index = |name: Value<'_>| offers::index(&name, chosen, catalogue);
    let (kinds, endings, stops) =
        (EventKind::ALL.map(EventKind::name), Ending::ALL.map(Ending::name), Stop::ALL.map(Stop::name));
    let kind = table.read("kind", |value| Ok(EventKind::ALL[value.one_of(&kinds)?]))?;
    let policy = table.read("policy", |value| value.text().map(Arc::from))?;
    let reason = table.read("reason", |value| value.short())?;
    let (first, chance) = (table.read("first", index)?, table.read("chance", |value| value.fraction())?);
    let list = table.take("attempts").map(Value::list).transpose()?;
    let mut attempts = Vec::new();
    for one in list.into_iter().flatten() {
        if attempts.len() == ATTEMPTS {
            return one.wrong(format_args!("more than {ATTEMPTS} attempts"));
        }
        attempts.push(attempt(one.table()?, chosen, catalogue)?);
    }
    let ending = table.read("ending", |value| Ok(Ending::ALL[value.one_of(&endings)?]))?;
    let stop = table.read("stop", |value| Ok(Stop::ALL[value.one_of(&stops)?]))?;
    let duration_ms = table.read("duration_ms", |value| value.short())?;
    let began_at_ms = table.read("began_at", |value| value.whole(MOST))?;
    let metric = table.read("metric", |value| value.text().map(str::to_owned))?;
    let value = table.read("value", |value| value.fraction())?;
    table.finish()?;
    let rating = match (metric, value, kind) {
        (None, None, None | Some(EventKind::Ended)) => None,
        (Some(metric), Some(value), None | Some(EventKind::Rated)) => Some(Rating { metric, value }),
        _ => return wrong(at, "event: a rating has `metric` and `value`, and nothing else has them"),
    };
    let from_attempts = match attempts.last() {
        None => Ending::Other,
        Some(SeenAttempt { outcome: Outcome::Answered, .. }) => Ending::Answered,
        Some(_) => Ending::Failed,
    };
    Ok(Event {
        kind: if rating.is_some() { EventKind::Rated } else { EventKind::Ended },
        policy: policy.unwrap_or(plain.policy),
        reason,
        first: first.map(|first| (first, chance.unwrap_or(1.0))),
        attempts,
        ending: ending.unwrap_or(from_attempts),
        stop,
        duration_ms: duration_ms.unwrap_or_default(),
        began_at_ms: began_at_ms.unwrap_or(plain.began_at_ms),
        rating,
        ..plain
    })
}

/// Reads an attempt. What is not said of it is nothing, or not known.
fn attempt(mut table: Table<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<SeenAttempt> {
    let at = table.at;
    let kinds = FailureKind::ALL.map(FailureKind::name);
    let model = table.read("model", |name| offers::index(&name, chosen, catalogue))?;
    let failure = table.read("failure", |value| Ok(FailureKind::ALL[value.one_of(&kinds)?]))?;
    let abandoned = table.read("abandoned", |value| value.flag())?.unwrap_or_default();
    let status = table.read("status", |value| value.whole(u16::MAX.into()))?;
    let cost = table.read("cost", |value| value.whole(MOST))?;
    let may_be_billed = table.read("may_be_billed", |value| value.flag())?;
    let settled = table.read("settled", |value| value.flag())?;
    let mut short = |key| table.read(key, |value| value.short());
    let (retry_after_ms, first_content_ms) = (short("retry_after_ms")?, short("first_content_ms")?);
    let (duration_ms, waited_ms, text_tokens) = (short("duration_ms")?, short("waited_ms")?, short("text_tokens")?);
    let (input_tokens, output_tokens) = (short("input_tokens")?, short("output_tokens")?);
    let (cache_read_tokens, cache_write_tokens) = (short("cache_read_tokens")?, short("cache_write_tokens")?);
    table.finish()?;
    let Some(model) = model else { return wrong(at, "an attempt needs its `model`") };
    let outcome = match (failure, abandoned) {
        (None, false) => Outcome::Answered,
        (Some(kind), false) => Outcome::Failed(kind),
        (None, true) => Outcome::Abandoned,
        (Some(_), true) => return wrong(at, "an attempt that was abandoned has no `failure`"),
    };
    Ok(SeenAttempt {
        model,
        outcome,
        status: status.and_then(|status| u16::try_from(status).ok()),
        retry_after_ms,
        may_be_billed: may_be_billed.unwrap_or(outcome == Outcome::Answered),
        cost: cost.unwrap_or_default(),
        settled: settled.unwrap_or(true),
        duration_ms: duration_ms.unwrap_or_default(),
        waited_ms: waited_ms.unwrap_or_default(),
        first_content_ms,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        text_tokens: text_tokens.unwrap_or_default(),
    })
}

/// All that is to be written: text by key; none: it is deleted.
pub(in super::super) struct WrittenLike(BTreeMap<String, Option<String>>);

/// Reads what is expected to be written; nothing: the test says nothing of that.
pub(super) fn expected(table: &mut Table<'_>) -> Read<Option<WrittenLike>> {
    let writes = table.read("writes", |value| {
        let write = |(key, value): (String, Value<'_>)| {
            if value.is_text() {
                return Ok((key, Some(value.text()?.to_owned())));
            }
            match value.flag() {
                Ok(false) => Ok((key, None)),
                _ => value.wrong("text is needed, or `false` where the key is deleted"),
            }
        };
        value.table()?.entries().map(write).collect::<Read<BTreeMap<_, _>>>()
    })?;
    Ok(writes.map(WrittenLike))
}

/// What is written, for people.
pub(super) fn in_words(written: &Written) -> String {
    if written.0.is_empty() {
        return "writes nothing".to_owned();
    }
    let one = |(key, value): &(Arc<str>, Option<Arc<[u8]>>)| change(key, text(value.as_deref()).as_deref());
    format!("writes {}", written.0.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A value as text; what is none has a mark in its place.
fn text(value: Option<&[u8]>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(value).into_owned())
}

fn change(key: &str, value: Option<&str>) -> String {
    value.map_or_else(|| format!("{key:?} deleted"), |value| format!("{key:?} = {value:?}"))
}

impl WrittenLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, written: &Written) -> Vec<String> {
        let is: BTreeMap<&str, Option<String>> =
            written.0.iter().map(|(key, value)| (&**key, text(value.as_deref()))).collect();
        let mut wrong = Vec::new();
        for (key, expected) in &self.0 {
            let found = is.get(key.as_str());
            if found != Some(expected) {
                let found =
                    found.map_or_else(|| format!("{key:?} is as it was"), |value| change(key, value.as_deref()));
                wrong.push(format!("writes: {found}, expected {}", change(key, expected.as_deref())));
            }
        }
        for (key, value) in is.iter().filter(|(key, _)| !self.0.contains_key(**key)) {
            wrong.push(format!("writes: {}, expected nothing of it", change(key, value.as_deref())));
        }
        wrong
    }
}
