//! What observers are told of on trial: requests that ended in each way, a rating, and what is at the edge of
//! what there can be.

use std::sync::Arc;

use kairos_pipeline::policy::{
    Ending, Event, EventKind, FailureKind, MOST_HEALER_MODELS, Outcome, Rating, SeenAttempt, Stop,
};

use super::{Golden, golden, plain};
use crate::question::{Observed, What};

/// Some time in 2026.
const AT_MS: u64 = 1_795_000_000_000;
/// Integers of the contract are below 2⁵³.
const MOST: u64 = (1 << 53) - 1;

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: String, models: usize, at_ms: u64, missed: u32, change: &dyn Fn(&mut Event)| {
        let mut golden = golden(about, models, plain(), What::Route);
        let mut event = Event {
            request: Arc::clone(&golden.question.request),
            kind: EventKind::Ended,
            features: plain(),
            models: golden.question.models.clone(),
            policy: "trial@0".into(),
            reason: Some(1),
            first: Some((0, 1.0)),
            attempts: vec![attempt(0, Outcome::Answered)],
            ending: Ending::Answered,
            stop: Some(Stop::End),
            duration_ms: 430,
            began_at_ms: at_ms.saturating_sub(430),
            rating: None,
        };
        change(&mut event);
        let learned = Arc::default();
        golden.question.what = What::Observe(Observed { event: Arc::new(event), at_ms, missed, learned });
        questions.push(golden);
    };
    ask("a request that was answered".to_owned(), 3, AT_MS, 0, &|_| {});
    for ending in Ending::ALL {
        let failed = !matches!(ending, Ending::Answered | Ending::Cached | Ending::Local | Ending::Blocked);
        ask(format!("a request that ended as {}", ending.name()), 3, AT_MS, 0, &|event| {
            let outcomes = [Outcome::Failed(FailureKind::Throttled), Outcome::Failed(FailureKind::Server)];
            event.ending = ending;
            event.stop = event.stop.filter(|_| !failed);
            event.attempts = outcomes.into_iter().zip(0..).map(|(outcome, model)| attempt(model, outcome)).collect();
            if !failed {
                event.attempts.push(attempt(2, Outcome::Answered));
            }
        });
    }
    ask("a request for which nothing was tried".to_owned(), 1, AT_MS, 0, &|event| {
        (event.first, event.ending, event.stop) = (None, Ending::Refused, None);
        event.attempts.clear();
    });
    ask("a rating".to_owned(), 3, AT_MS, 2, &|event| {
        event.kind = EventKind::Rated;
        event.rating = Some(Rating { metric: "quality".to_owned(), value: 0.75 });
    });
    let most = MOST_HEALER_MODELS;
    ask(format!("{most} models, many attempts and the greatest numbers"), most, MOST, u32::MAX, &|event| {
        let one = |place: u32| SeenAttempt {
            status: Some(u16::MAX),
            retry_after_ms: Some(u32::MAX),
            cost: MOST,
            settled: false,
            duration_ms: u32::MAX,
            waited_ms: u32::MAX,
            first_content_ms: Some(u32::MAX),
            input_tokens: Some(u32::MAX),
            output_tokens: Some(u32::MAX),
            cache_read_tokens: Some(u32::MAX),
            cache_write_tokens: Some(u32::MAX),
            text_tokens: u32::MAX,
            ..attempt(place % most as u32, Outcome::Failed(FailureKind::Other))
        };
        event.attempts = (0..100).map(one).collect();
        (event.reason, event.duration_ms, event.began_at_ms) = (Some(u32::MAX), u32::MAX, MOST);
    });
    questions
}

fn attempt(model: u32, outcome: Outcome) -> SeenAttempt {
    let answered = outcome == Outcome::Answered;
    let tokens = |count| answered.then_some(count);
    SeenAttempt {
        model,
        outcome,
        status: (!answered).then_some(500),
        retry_after_ms: None,
        may_be_billed: answered,
        cost: if answered { 4_200_000 } else { 0 },
        settled: true,
        duration_ms: 420,
        waited_ms: 0,
        first_content_ms: tokens(180),
        input_tokens: tokens(8),
        output_tokens: tokens(30),
        cache_read_tokens: tokens(0),
        cache_write_tokens: tokens(0),
        text_tokens: 8,
    }
}
