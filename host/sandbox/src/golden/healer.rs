//! What healers are asked on trial: each kind of failure, while there is much that can be done and when
//! hardly anything is left; and what is at the edge of what there can be.

use kairos_pipeline::policy::{Abilities, FailedAttempt, FailureFacts, FailureKind, MOST_HEALER_MODELS};

use super::{Golden, golden, plain};
use crate::question::What;

/// All that the host may be able to do.
const ALL: Abilities =
    Abilities(Abilities::REFRESH_CREDENTIALS.0 | Abilities::SHORTEN_PROMPT.0 | Abilities::ANSWER_LOCALLY.0);

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: String, models, failure, history| {
        questions.push(golden(about, models, plain(), What::Heal(Box::new(failure), history)));
    };
    for kind in FailureKind::ALL {
        let name = kind.name();
        let first = failure(attempt(0, kind));
        ask(format!("{name} and two models left"), 3, FailureFacts { left: vec![1, 2], can: ALL, ..first }, vec![]);
        let last = FailureFacts { attempts_left: 1, time_left_ms: 1_000, ..failure(attempt(1, kind)) };
        let before = vec![attempt(0, FailureKind::Server), attempt(1, FailureKind::Throttled)];
        ask(format!("{name}, none left and nothing else possible"), 2, last, before);
    }
    let only_local = FailureFacts {
        attempts_left: 0,
        time_left_ms: 0,
        can: Abilities::ANSWER_LOCALLY,
        ..failure(attempt(0, FailureKind::Unavailable))
    };
    ask("only a local answer possible".to_owned(), 1, only_local, Vec::new());
    let most = MOST_HEALER_MODELS as u32;
    let edge = FailureFacts {
        attempt: FailedAttempt {
            status: Some(u16::MAX),
            retry_after_ms: Some(u32::MAX),
            may_be_billed: true,
            cost: u64::MAX,
            duration_ms: u32::MAX,
            waited_ms: u32::MAX,
            refreshed: true,
            text_tokens: 0,
            ..attempt(most - 1, FailureKind::Throttled)
        },
        max_cost: Some(0),
        attempts_left: u32::MAX,
        time_left_ms: u32::MAX,
        can: ALL,
        ..failure(attempt(most - 1, FailureKind::Throttled))
    };
    let long = (0..64).map(|place| attempt(place % most, FailureKind::Throttled)).collect();
    ask(format!("{most} models, a long history and the greatest numbers"), MOST_HEALER_MODELS, edge, long);
    questions
}

fn failure(attempt: FailedAttempt) -> FailureFacts {
    FailureFacts {
        attempt,
        left: Vec::new(),
        max_cost: None,
        attempts_left: 6,
        time_left_ms: 30_000,
        can: Abilities::default(),
    }
}

fn attempt(model: u32, kind: FailureKind) -> FailedAttempt {
    use FailureKind::{BrokenAnswer, Budget, ModelError, ModelTimeout, Overloaded, Resting, Server, Timeout};
    let may_be_billed = matches!(kind, ModelError | ModelTimeout | Server | Timeout | BrokenAnswer);
    let was_sent = !matches!(kind, Overloaded | Resting | Budget);
    FailedAttempt {
        model,
        kind,
        status: status(kind),
        retry_after_ms: (kind == FailureKind::Throttled).then_some(2_000),
        may_be_billed,
        cost: if may_be_billed { 1_000_000 } else { 0 },
        duration_ms: if was_sent { 120 } else { 0 },
        waited_ms: 0,
        refreshed: false,
        text_tokens: 8,
    }
}

/// The status that Bedrock answers with; none where there is no answer.
fn status(kind: FailureKind) -> Option<u16> {
    Some(match kind {
        FailureKind::Throttled | FailureKind::ModelNotReady => 429,
        FailureKind::Quota | FailureKind::Rejected | FailureKind::TooLong | FailureKind::Conflict => 400,
        FailureKind::Credentials | FailureKind::AccessDenied => 403,
        FailureKind::ModelNotFound => 404,
        FailureKind::ModelTimeout => 408,
        FailureKind::ModelError => 424,
        FailureKind::Server => 500,
        FailureKind::Unavailable => 503,
        FailureKind::Filtered | FailureKind::BrokenAnswer => 200,
        FailureKind::Timeout
        | FailureKind::Network
        | FailureKind::Overloaded
        | FailureKind::Resting
        | FailureKind::Budget
        | FailureKind::Other => return None,
    })
}
