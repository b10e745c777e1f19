//! What a healer sees of failures, and its remedy, as scripts make it.

use std::sync::Arc;

use kairos_pipeline::policy::{Abilities, Action, FailedAttempt, FailureFacts, HealInput, Remedy, Wait};
use rhai::{Array, Dynamic, ImmutableString};

use super::super::api::{Ctx, amount, bit, code, option};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::{Judgement, shown};

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "heal",
    parameters: 5,
    hint: "a healer has `fn heal(ctx, features, failure, history, models) { … }`, which gives next(reason), \
           retry(least, base, cap, reason) or another remedy",
};

/// The attempt that failed, and what is left to do.
#[derive(Clone)]
struct Failure(Arc<FailureFacts>);

/// One attempt that failed.
#[derive(Clone)]
struct Attempt(FailedAttempt);

pub(super) fn call(script: &Script, input: HealInput<'_>, ctx: Ctx) -> Fallible<Remedy> {
    let (features, models) = shown(input.request, input.features, input.models);
    let failure = Failure(Arc::new(input.failure.clone()));
    let history: Array = input.history.iter().map(|attempt| Dynamic::from(Attempt(*attempt))).collect();
    script.call(JUDGEMENT.function, (ctx, features, failure, history, models))
}

pub(super) fn register(api: &mut Api<'_>) {
    register_failure(api);
    register_attempt(api);
    register_remedy(api);
}

fn register_failure(api: &mut Api<'_>) {
    api.section(
        "`failure`: the attempt that failed, and what is left to do",
        "Of a healer. `failure.attempt` and each of `history` are attempts: see the next table.",
    )
    .of::<Failure>("Failure", "failure")
    .property("attempt: attempt", "The attempt that just failed.", |failure: &mut Failure| Attempt(failure.0.attempt))
    .property(
        "left: array",
        "Indices of the candidates that were not tried, in the order in which they would be.",
        |failure: &mut Failure| -> Array { failure.0.left.iter().map(|model| int(*model)).collect() },
    )
    .property(
        "max_cost: int?",
        "The most that a candidate may cost, by the plan, in picodollars.",
        |failure: &mut Failure| option(failure.0.max_cost.map(amount)),
    )
    .property("attempts_left: int", "Attempts that the request may still make.", |failure: &mut Failure| {
        i64::from(failure.0.attempts_left)
    })
    .property("time_left_ms: int", "How long further attempts may begin.", |failure: &mut Failure| {
        i64::from(failure.0.time_left_ms)
    })
    .function(
        "can(ability: string) -> bool",
        "Whether the host can `refresh-credentials`, `shorten-prompt` or `answer-locally`.",
        |failure: &mut Failure, name: &str| -> Fallible<bool> {
            let bit = bit(&Abilities::NAMES, "ability", name)?;
            Ok(u32::from(failure.0.can.0) & bit != 0)
        },
    );
}

fn register_attempt(api: &mut Api<'_>) {
    api.section("An attempt `a` that failed", "`failure.attempt`, and each of `history`, the oldest first.")
        .of::<Attempt>("Attempt", "a")
        .property("model: int", "Index in `models`.", |attempt: &mut Attempt| i64::from(attempt.0.model))
        .property(
            "kind: string",
            "What went wrong: `throttled`, `server`, `timeout`, … as in healer.wit.",
            |attempt: &mut Attempt| -> ImmutableString { attempt.0.kind.name().into() },
        )
        .property(
            "status: int?",
            "The HTTP status of Bedrock's answer, where there was one.",
            |attempt: &mut Attempt| option(attempt.0.status),
        )
        .property("retry_after_ms: int?", "How long it is asked to wait.", |attempt: &mut Attempt| {
            option(attempt.0.retry_after_ms)
        })
        .property("may_be_billed: bool", "Whether AWS may charge for it all the same.", |attempt: &mut Attempt| {
            attempt.0.may_be_billed
        })
        .property("cost: int", "What was charged for it at most, in picodollars.", |attempt: &mut Attempt| {
            amount(attempt.0.cost)
        })
        .property("duration_ms: int", "From its beginning to its failure.", |attempt: &mut Attempt| {
            i64::from(attempt.0.duration_ms)
        })
        .property("waited_ms: int", "The wait before it.", |attempt: &mut Attempt| i64::from(attempt.0.waited_ms))
        .property("refreshed: bool", "Whether credentials were fetched anew before it.", |attempt: &mut Attempt| {
            attempt.0.refreshed
        })
        .property("text_tokens: int", "Tokens of the text that it was sent with.", |attempt: &mut Attempt| {
            i64::from(attempt.0.text_tokens)
        });
    api.section(
        "`history`: the attempts before it",
        "An array of attempts: `history.len`, `history[i]`, `for a in history`.",
    )
    .function(
        "attempts_on(history: array, model: int) -> int",
        "How many of them were on this model.",
        |history: Array, model: i64| {
            let on = |attempt: &Dynamic| {
                attempt.read_lock::<Attempt>().is_some_and(|attempt| i64::from(attempt.0.model) == model)
            };
            history.iter().filter(|attempt| on(attempt)).count() as i64
        },
    );
}

fn register_remedy(api: &mut Api<'_>) {
    let plain = |action: Action, reason: i64| -> Fallible<Remedy> { Ok(Remedy::new(action, code(reason)?)) };
    api.section(
        "A healer's answer",
        "A remedy `r`. `reason` is a code that `describe` names. Waits are in milliseconds.",
    )
    .function("next(reason: int) -> remedy", "Try the first of `failure.left`.", move |reason: i64| {
        plain(Action::Next, reason)
    })
    .function(
        "retry(least: int, base: int, cap: int, reason: int) -> remedy",
        "Try the same model again, after a wait: see `r.wait`.",
        move |least: i64, base: i64, cap: i64, reason: i64| -> Fallible<Remedy> {
            Ok(Remedy { wait: Some(wait(least, base, cap)?), ..plain(Action::Retry, reason)? })
        },
    )
    .function(
        "switch_to(model: int, reason: int) -> remedy",
        "Try this model: an index in `models`, whether or not the plan has it.",
        move |model: i64, reason: i64| plain(Action::Switch(code(model)?), reason),
    )
    .function(
        "refresh_credentials(reason: int) -> remedy",
        "Fetch credentials anew, and try the same model again.",
        move |reason: i64| plain(Action::RefreshCredentials, reason),
    )
    .function(
        "shorten_prompt(tokens: int, reason: int) -> remedy",
        "Leave the oldest turns out, down to about so many tokens, and try the same model again.",
        move |tokens: i64, reason: i64| plain(Action::ShortenPrompt(code(tokens)?), reason),
    )
    .function("answer_locally(reason: int) -> remedy", "Let the local model answer.", move |reason: i64| {
        plain(Action::AnswerLocally, reason)
    })
    .function("give_up(reason: int) -> remedy", "The request fails, with this failure.", move |reason: i64| {
        plain(Action::GiveUp(None), reason)
    })
    .of::<Remedy>("Remedy", "r")
    .function(
        "wait(least: int, base: int, cap: int) -> remedy",
        "The same after a wait: `least`, and a number that the host draws below `base` x 2ⁿ, `cap` at most.",
        |remedy: &mut Remedy, least: i64, base: i64, cap: i64| -> Fallible<Remedy> {
            remedy.wait = Some(wait(least, base, cap)?);
            Ok(remedy.clone())
        },
    )
    .function(
        "max_output_tokens(limit: int) -> remedy",
        "The same with a lower output limit from now on; it is never raised.",
        |remedy: &mut Remedy, limit: i64| -> Fallible<Remedy> {
            remedy.max_output_tokens = Some(code(limit)?);
            Ok(remedy.clone())
        },
    )
    .function(
        "with_failure_of(attempt: int) -> remedy",
        "Of `give_up`: the request fails with the failure of this attempt of `history`.",
        |remedy: &mut Remedy, attempt: i64| -> Fallible<Remedy> {
            let Action::GiveUp(with) = &mut remedy.action else {
                let action = remedy.action.name();
                return Err(format!("with_failure_of is of give_up; this is {action}").into());
            };
            *with = Some(code(attempt)?);
            Ok(remedy.clone())
        },
    );
}

fn int(value: u32) -> Dynamic {
    Dynamic::from_int(value.into())
}

fn wait(least: i64, base: i64, cap: i64) -> Fallible<Wait> {
    Ok(Wait { least: code(least)?, base: code(base)?, cap: code(cap)? })
}
