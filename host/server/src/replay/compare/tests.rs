//! Which records say something of another policy, and which do not.

use std::sync::Arc;

use kairos_pipeline::policy::{Candidate, FaultKind, Features, Offer, Undecided, World};
use kairos_pipeline::record::InsteadOf;
use kairos_sandbox::golden;

use super::*;

/// A question with three models, of which a request can cost 1, 2 and 4 dollars at most.
fn question() -> Question {
    let mut questions = golden::questions(World::Router).into_iter();
    let of_three =
        questions.find(|question| question.asked().about().is_some_and(|(_, models)| models.len() == 3)).unwrap();
    let (request, (features, models)) = (of_three.asked().request(), of_three.asked().about().unwrap());
    let worst = |(dollars, offer): (u64, &Offer)| Offer { worst_case_cost: dollars * 1_000_000_000_000, ..*offer };
    Question {
        policy: "p@1".into(),
        setting: "{}".into(),
        before: None,
        request: Arc::clone(request),
        features: Features { named: None, ..*features },
        models: [1, 2, 4].into_iter().zip(models).map(worst).collect(),
        given: Given::Refused(0),
        draw: None,
        withheld: false,
        redacted: false,
        reads: Default::default(),
        more_judgements: false,
        kairos: "0".into(),
        catalogue: "0".into(),
        as_of: String::new(),
        region: "us-east-1".into(),
    }
}

fn plan(candidates: &[(u32, f64)]) -> Given {
    let candidate = |&(model, probability)| Candidate { model, probability };
    Given::Plan(Plan { candidates: candidates.iter().map(candidate).collect(), ..Plan::default() })
}

const ANSWERED: Outcome = Outcome { cost: 1.0, error: 0.0, latency: 10.0, at_once: true, as_drawn: true, left: false };

/// What is known where one plan was followed with this outcome, and another would have been now.
fn known(then: &Given, order: &[u32], outcome: &Outcome, now: &Given) -> Known {
    let question = question();
    let possible = actions(then, &question);
    let then = Then { possible: &possible, taken: taken(&possible, order) };
    compare(&actions(now, &question), &then, &question, outcome)
}

#[test]
fn the_same_is_observed_whatever_came_of_it() {
    let failed = Outcome { error: 1.0, at_once: false, ..ANSWERED };
    let explores = plan(&[(0, 0.5), (1, 0.5), (2, 0.0)]);
    for outcome in [&ANSWERED, &failed] {
        assert_eq!(
            known(&plan(&[(0, 1.0), (1, 0.0)]), &[0, 1], outcome, &plan(&[(0, 1.0), (1, 0.0)])),
            Known::Observed
        );
        assert_eq!(known(&explores, &[1, 0, 2], outcome, &explores), Known::Observed);
    }
    assert_eq!(known(&Given::Refused(1), &[], &failed, &Given::Refused(2)), Known::Observed);
}

#[test]
fn others_behind_the_first_matter_only_where_it_failed() {
    let (then, now) = (plan(&[(0, 1.0), (1, 0.0)]), plan(&[(0, 1.0), (2, 0.0)]));
    assert_eq!(known(&then, &[0, 1], &ANSWERED, &now), Known::Observed);
    let healed = Outcome { at_once: false, ..ANSWERED };
    assert_eq!(known(&then, &[0, 1], &healed, &now), Known::Unknown);
    // Another limit may cut an answer off.
    let Given::Plan(limited) = now else { unreachable!() };
    let limited = Given::Plan(Plan { max_output_tokens: Some(5), ..limited });
    assert_eq!(known(&then, &[0, 1], &ANSWERED, &limited), Known::Unknown);
}

#[test]
fn what_could_have_been_done_is_estimated_by_its_chances() {
    let then = plan(&[(0, 0.9), (1, 0.1)]);
    let now = plan(&[(1, 1.0), (0, 0.0)]);
    let Known::Estimated(weighed) = known(&then, &[1, 0], &ANSWERED, &now) else { panic!() };
    assert_eq!(
        weighed,
        [
            Weighed { first: 1, now: 1.0, then: 0.1, is_taken: true },
            Weighed { first: 0, now: 0.0, then: 0.9, is_taken: false },
        ]
    );
    // What was drawn otherwise counts as well: its weight is 0.
    assert!(matches!(known(&then, &[0, 1], &ANSWERED, &now), Known::Estimated(_)));
    // So does what the caller did not wait for: one model may make more of them leave.
    assert!(matches!(known(&then, &[1, 0], &Outcome { left: true, ..ANSWERED }, &now), Known::Estimated(_)));
    // One that was never tried, or hardly ever, is unknown.
    assert_eq!(known(&then, &[1, 0], &ANSWERED, &plan(&[(2, 1.0)])), Known::Unknown);
    assert_eq!(known(&plan(&[(0, 0.99), (1, 0.01)]), &[0, 1], &ANSWERED, &now), Known::Unknown);
    // An order that the plan cannot have given has another cause.
    assert_eq!(known(&then, &[2, 0], &ANSWERED, &now), Known::Unknown);
}

#[test]
fn what_was_decided_by_chance_of_another_kind_is_unknown() {
    let question = Question {
        before: Some((InsteadOf { policy: "p@1".into(), outcome: Undecided::Fault(FaultKind::Deadline) }, "{}".into())),
        ..question()
    };
    let (then, now) = (plan(&[(0, 0.5), (1, 0.5)]), plan(&[(1, 1.0), (0, 0.0)]));
    let (then, now) = (actions(&then, &question), actions(&now, &question));
    let then = Then { possible: &then, taken: taken(&then, &[1, 0]) };
    assert_eq!(compare(&now, &then, &question, &ANSWERED), Known::Unknown);
}

#[test]
fn a_refusal_is_known_and_the_rest_has_bounds() {
    let then = plan(&[(0, 1.0), (1, 0.0)]);
    assert_eq!(known(&then, &[0, 1], &ANSWERED, &Given::Refused(3)), Known::Refused);
    let question = question();
    let now = actions(&plan(&[(2, 1.0), (1, 0.0)]), &question);
    assert_eq!(bounds(&now, &question, &ANSWERED), [(-1.0, 5.0), (0.0, 1.0)]);
    // No model that could be paid is a refusal, too.
    let Given::Plan(poor) = then else { unreachable!() };
    let poor = Given::Plan(Plan { max_cost: Some(1), ..poor });
    assert_eq!(actions(&poor, &question), [(None, 1.0)]);
}

#[test]
fn either_arm_of_an_experiment_could_have_decided() {
    let question = question();
    let (baseline, canary) = (plan(&[(0, 1.0), (1, 0.0)]), plan(&[(1, 1.0), (0, 0.0)]));
    let [baseline, canary] = [baseline, canary].map(|given| actions(&given, &question));
    let possible = mixed(baseline.clone(), canary.clone(), 0.25);
    assert_eq!(possible, [(baseline[0].0.clone(), 0.75), (canary[0].0.clone(), 0.25)]);
    // Whichever was drawn, the record says something of the canary.
    for order in [[0, 1], [1, 0]] {
        let then = Then { possible: &possible, taken: taken(&possible, &order) };
        assert!(matches!(compare(&canary, &then, &question, &ANSWERED), Known::Estimated(_)));
    }
    // Where both do the same there was nothing to draw.
    assert_eq!(mixed(baseline.clone(), baseline.clone(), 0.25), baseline);
}
