//! What an observer sees of an event, and what it has written, as scripts do it.

use std::sync::Arc;

use kairos_pipeline::policy::{Event, ObserveInput, Offer, Outcome, SeenAttempt, Written};
use rhai::{Array, Dynamic, ImmutableString};

use super::super::api::{Ctx, FeaturesView, amount, option};
use super::super::models::Models;
use super::super::policy::{Script, learned};
use super::super::table::{Api, Fallible};
use super::{Judgement, shown};

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "observe",
    parameters: 4,
    hint: "an observer has `fn observe(ctx, at, missed, event) { … }`, which writes by kv_set(key, value)",
};

/// An event, and its models as the observer is shown them.
#[derive(Clone)]
struct Seen {
    event: Arc<Event>,
    models: Arc<[Offer]>,
}

/// One attempt.
#[derive(Clone)]
struct Attempt(SeenAttempt);

pub(super) fn call(script: &Script, input: ObserveInput<'_>, ctx: Ctx) -> Fallible<Written> {
    let seen = Seen { event: Arc::clone(input.event), models: input.models.into() };
    let (at, missed) = (amount(input.at_ms), i64::from(input.missed));
    // What it gives does not matter: it may end with any call.
    let _: Dynamic = script.call(JUDGEMENT.function, (ctx, at, missed, seen))?;
    Ok(learned(std::mem::take).written())
}

pub(super) fn register(api: &mut Api<'_>) {
    register_event(api);
    register_attempt(api);
}

fn register_event(api: &mut Api<'_>) {
    api.section(
        "`event`: what happened",
        "Of an observer. `at` is when it came to the gateway's notice, in milliseconds since 1970; `missed` how many \
         events were left out since the last call.",
    )
    .of::<Seen>("Event", "event")
    .property("kind: string", "`ended`, or `rated`: of a rating.", |seen: &mut Seen| -> ImmutableString {
        seen.event.kind.name().into()
    })
    .property("features: features", "What the host knew when the router was asked.", |seen: &mut Seen| {
        FeaturesView(seen.event.features)
    })
    .property(
        "models: models",
        "Those that the router was given, then the operator's fallbacks; `ctx` speaks of them.",
        |seen: &mut Seen| -> Models {
            let (_, models) = shown(&seen.event.request, &seen.event.features, &seen.models);
            models
        },
    )
    .property("policy: string", "Who decided: `name@digest`.", |seen: &mut Seen| seen.event.policy.to_string())
    .property("reason: int?", "The reason that was given.", |seen: &mut Seen| option(seen.event.reason))
    .property("first: int?", "Index of the model that was drawn to be tried first.", |seen: &mut Seen| {
        option(seen.event.first.map(|(model, _)| model))
    })
    .property("chance: float?", "The chance that it had.", |seen: &mut Seen| {
        seen.event.first.map_or(Dynamic::UNIT, |(_, chance)| Dynamic::from_float(chance))
    })
    .property("attempts: array", "The attempts, the oldest first: see the next table.", |seen: &mut Seen| -> Array {
        seen.event.attempts.iter().map(|attempt| Dynamic::from(Attempt(*attempt))).collect()
    })
    .property(
        "ending: string",
        "`answered`, `cut`, `failed`, `refused`, `blocked`, `client-left`, … as in observer.wit.",
        |seen: &mut Seen| -> ImmutableString { seen.event.ending.name().into() },
    )
    .property(
        "stop: string?",
        "Why the model stopped: `end`, `length`, `stop-text`, `tool-use`, `filtered` or `other`.",
        |seen: &mut Seen| word(seen.event.stop.map(|stop| stop.name())),
    )
    .property("duration_ms: int", "From the request's arrival to its end.", |seen: &mut Seen| {
        i64::from(seen.event.duration_ms)
    })
    .property("began_at: int", "When the request arrived, in milliseconds since 1970.", |seen: &mut Seen| {
        amount(seen.event.began_at_ms)
    })
    .property("metric: string?", "Of `rated`: what was measured. The caller's own word.", |seen: &mut Seen| {
        word(seen.event.rating.as_ref().map(|rating| rating.metric.as_str()))
    })
    .property("value: float?", "Of `rated`: from 0, the worst, to 1, the best.", |seen: &mut Seen| {
        seen.event.rating.as_ref().map_or(Dynamic::UNIT, |rating| Dynamic::from_float(rating.value))
    });
}

fn register_attempt(api: &mut Api<'_>) {
    api.section("An attempt `a` that was seen", "Each of `event.attempts`.")
        .of::<Attempt>("SeenAttempt", "a")
        .property("model: int", "Index in `event.models`.", |attempt: &mut Attempt| i64::from(attempt.0.model))
        .property(
            "outcome: string",
            "`answered`, `failed` or `abandoned`.",
            |attempt: &mut Attempt| -> ImmutableString { attempt.0.outcome.name().into() },
        )
        .property(
            "failure: string?",
            "What went wrong where it failed: `throttled`, `server`, … as in types.wit.",
            |attempt: &mut Attempt| match attempt.0.outcome {
                Outcome::Failed(kind) => word(Some(kind.name())),
                Outcome::Answered | Outcome::Abandoned => Dynamic::UNIT,
            },
        )
        .property("status: int?", "The HTTP status of Bedrock's answer, where it failed.", |attempt: &mut Attempt| {
            option(attempt.0.status)
        })
        .property("retry_after_ms: int?", "How long it was asked to wait.", |attempt: &mut Attempt| {
            option(attempt.0.retry_after_ms)
        })
        .property("may_be_billed: bool", "Whether AWS may charge for it.", |attempt: &mut Attempt| {
            attempt.0.may_be_billed
        })
        .property("cost: int", "What was charged for it at most, in picodollars.", |attempt: &mut Attempt| {
            amount(attempt.0.cost)
        })
        .property("settled: bool", "Whether that is exact.", |attempt: &mut Attempt| attempt.0.settled)
        .property("duration_ms: int", "From its beginning to its end.", |attempt: &mut Attempt| {
            i64::from(attempt.0.duration_ms)
        })
        .property("waited_ms: int", "The wait before it.", |attempt: &mut Attempt| i64::from(attempt.0.waited_ms))
        .property("first_content_ms: int?", "To the first content of its stream.", |attempt: &mut Attempt| {
            option(attempt.0.first_content_ms)
        })
        .property("input_tokens: int?", "Where the answer says.", |attempt: &mut Attempt| {
            option(attempt.0.input_tokens)
        })
        .property("output_tokens: int?", "Likewise.", |attempt: &mut Attempt| option(attempt.0.output_tokens))
        .property("cache_read_tokens: int?", "Likewise.", |attempt: &mut Attempt| option(attempt.0.cache_read_tokens))
        .property("cache_write_tokens: int?", "Likewise.", |attempt: &mut Attempt| option(attempt.0.cache_write_tokens))
        .property("text_tokens: int", "Tokens of the text that it was sent with.", |attempt: &mut Attempt| {
            i64::from(attempt.0.text_tokens)
        });
}

fn word(word: Option<&str>) -> Dynamic {
    word.map_or(Dynamic::UNIT, |word| ImmutableString::from(word).into())
}
