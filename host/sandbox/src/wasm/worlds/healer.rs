//! A healer's call, and its remedy.

use kairos_pipeline::policy::{Abilities, Action, Answer, FailedAttempt, FailureFacts, HealInput, Remedy, Wait};
use wasmtime::{Result, Store};

use super::super::bindings::{FeaturesRow, ModelRow, healing};
use super::super::typed::{Exported, Function};
use super::{HostState, PluginError, Request, failure_kind, shown};

/// `heal`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/healing@0.1.0";
    const NAME: &'static str = "heal";
    type Parameters<'a> = (Request, FeaturesRow, &'a healing::Failure, &'a [healing::Attempt], &'a [ModelRow]);
    type Answer = std::result::Result<healing::Remedy, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: HealInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let (features, models) = shown(store, input.features, input.models);
    let failure = failure(input.failure);
    let history: Vec<_> = input.history.iter().map(attempt).collect();
    let decided = exported.call(store, (request, features, &failure, &history, &models))?;
    store.data_mut().rows = models;
    Ok(decided.map(|decided| Answer::Remedy(remedy(decided))))
}

fn failure(facts: &FailureFacts) -> healing::Failure {
    healing::Failure {
        attempt: attempt(&facts.attempt),
        left: facts.left.clone(),
        max_cost: facts.max_cost,
        attempts_left: facts.attempts_left,
        time_left_ms: facts.time_left_ms,
        can: abilities(facts.can),
    }
}

fn attempt(attempt: &FailedAttempt) -> healing::Attempt {
    healing::Attempt {
        model: attempt.model,
        kind: failure_kind(attempt.kind),
        status: attempt.status,
        retry_after_ms: attempt.retry_after_ms,
        may_be_billed: attempt.may_be_billed,
        cost: attempt.cost,
        duration_ms: attempt.duration_ms,
        waited_ms: attempt.waited_ms,
        refreshed: attempt.refreshed,
        text_tokens: attempt.text_tokens,
    }
}

fn abilities(can: Abilities) -> healing::Abilities {
    use healing::Abilities as Flags;
    let flags = [
        (Abilities::REFRESH_CREDENTIALS, Flags::REFRESH_CREDENTIALS),
        (Abilities::SHORTEN_PROMPT, Flags::SHORTEN_PROMPT),
        (Abilities::ANSWER_LOCALLY, Flags::ANSWER_LOCALLY),
    ];
    let known = flags.into_iter().filter(|(ability, _)| can.has(*ability));
    known.fold(Flags::empty(), |all, (_, flag)| all | flag)
}

fn remedy(remedy: healing::Remedy) -> Remedy {
    Remedy {
        action: match remedy.action {
            healing::Action::Next => Action::Next,
            healing::Action::Retry => Action::Retry,
            healing::Action::Switch(model) => Action::Switch(model),
            healing::Action::RefreshCredentials => Action::RefreshCredentials,
            healing::Action::ShortenPrompt(tokens) => Action::ShortenPrompt(tokens),
            healing::Action::AnswerLocally => Action::AnswerLocally,
            healing::Action::GiveUp(attempt) => Action::GiveUp(attempt),
        },
        wait: remedy.wait.map(|healing::Wait { least, base, cap }| Wait { least, base, cap }),
        max_output_tokens: remedy.max_output_tokens,
        reason: remedy.reason,
        settings: remedy.settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_are_in_the_contracts_order() {
        for (bit, name) in Abilities::NAMES.iter().enumerate() {
            let written = format!("({})", name.replace('-', "_").to_uppercase());
            assert_eq!(format!("{:?}", abilities(Abilities(1 << bit))), written);
        }
    }
}
