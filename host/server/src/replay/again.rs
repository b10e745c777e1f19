//! Whether a policy decides the same again.

use kairos_pipeline::policy::{PolicyError, Undecided};
use kairos_pipeline::record::{Given, InsteadOf};
use kairos_pipeline::route::{Drawn, triable};
use kairos_store::records::Question;
use serde_json::Value;

use super::past::Past;

/// What came of deciding again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Again {
    /// The same plan, the same order, the same chance.
    Identical,
    /// Something else: what.
    Differs(String),
    /// It was not decided again: why.
    NotExecuted(String),
}

/// Asks the policy that decided once more, and before it the one that did not decide, where there was
/// one. `decision` is what the record says of it.
pub(crate) fn again(past: &mut Past, question: &mut Question, decision: &Value) -> Again {
    let stepped_aside = question.before.take();
    if let Some((before, setting)) = &stepped_aside {
        let found = aside(past, question, before, setting);
        if found != Again::Identical {
            return found;
        }
    }
    let decider = match past.policy(&question.policy, &question.setting) {
        Ok(decider) => decider,
        Err(why) => return Again::NotExecuted(why),
    };
    let now = decider.decide(question);
    if let Some(withheld) = withheld(question) {
        return withheld;
    }
    match now {
        Ok(now) if now == question.given => same_order(question, decision),
        Ok(now) => differs(question, &format!("then {}, now {}", told(&question.given), told(&now))),
        Err(PolicyError::NotRun(why)) => Again::NotExecuted(why),
        Err(error) => differs(question, &format!("then {}, now it fails: {error}", told(&question.given))),
    }
}

/// Whether a policy does not decide again, for the same reason.
fn aside(past: &mut Past, question: &mut Question, before: &InsteadOf, setting: &str) -> Again {
    let InsteadOf { policy, outcome } = before;
    if !outcome.is_of_the_question() {
        let why = "and that is no matter of its input: the native default decided";
        return Again::NotExecuted(format!("{policy} did not decide ({}), {why}", outcome.name()));
    }
    let decider = match past.policy(policy, setting) {
        Ok(decider) => decider,
        Err(why) => return Again::NotExecuted(format!("{policy} did not decide ({}): {why}", outcome.name())),
    };
    let now = decider.decide(question);
    if let Some(withheld) = withheld(question) {
        return withheld;
    }
    let now = match now {
        Err(error) if Undecided::of(&error) == *outcome => return Again::Identical,
        Err(error) => Undecided::of(&error).name().to_owned(),
        Ok(given) => told(&given),
    };
    differs(question, &format!("{policy} did not decide then ({}), now: {now}", outcome.name()))
}

/// What was said is not kept as it was, and was asked for; or what was learned then.
fn withheld(question: &Question) -> Option<Again> {
    if let Some(why) = question.lacks_reads() {
        return Some(Again::NotExecuted(format!(
            "the policy reads what was learned, and not all of it is kept: {why}"
        )));
    }
    question.was_withheld().then(|| {
        let kept = if question.redacted { "kept redacted only" } else { "not kept" };
        let setting = "`content` under [records] in kairos.toml";
        Again::NotExecuted(format!("the policy reads what was said, and that is {kept} ({setting})"))
    })
}

fn differs(question: &Question, what: &str) -> Again {
    differs_since(&question.kairos, what)
}

/// Something else than what Kairos of this version was told.
pub(super) fn differs_since(then: &str, what: &str) -> Again {
    let now = env!("CARGO_PKG_VERSION");
    let other = if then == now { String::new() } else { format!(" (Kairos {then} asked then, {now} asks now)") };
    Again::Differs(format!("{what}{other}"))
}

/// Whether the plan that was recorded gives the order and the chance that were recorded.
fn same_order(question: &Question, decision: &Value) -> Again {
    let Given::Plan(plan) = &question.given else { return Again::Identical };
    let Some(candidates) = triable(plan, question.features.named, &question.models) else {
        // Nothing was tried, then as now.
        return if decision.is_null() { Again::Identical } else { Again::Differs("no model can be tried".to_owned()) };
    };
    let drawn = Drawn::of(&candidates, || question.draw.unwrap_or(0.0));
    let now: Vec<&str> = drawn.order.iter().map(|index| &*question.request.model_ids[*index as usize]).collect();
    let then: Vec<&str> = decision["order"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if now != then {
        return Again::Differs(format!("the order was {}, and is {}", then.join(", "), now.join(", ")));
    }
    // What the record shows of the chance has as many digits as a number of JSON.
    let chance = decision["propensity"].as_f64().unwrap_or(f64::NAN);
    if (chance - drawn.propensity).abs() <= f64::EPSILON {
        Again::Identical
    } else {
        Again::Differs(format!("the first had the chance {chance}, and has {}", drawn.propensity))
    }
}

/// An answer, in a few words.
fn told(given: &Given) -> String {
    match given {
        Given::Refused(reason) => format!("refused for reason {reason}"),
        Given::Plan(plan) => {
            let order: Vec<_> =
                plan.candidates.iter().map(|one| format!("{} ({})", one.model, one.probability)).collect();
            let limits = [
                plan.max_output_tokens.map(|most| format!(", at most {most} output tokens")),
                plan.max_cost.map(|most| format!(", at most {most} picodollars")),
            ];
            format!(
                "models {}, reason {}{}",
                order.join(", "),
                plan.reason,
                limits.into_iter().flatten().collect::<String>()
            )
        }
    }
}
