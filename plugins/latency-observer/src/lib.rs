//! Learns how long each model takes and how often it fails, by task. Defined in `policies/OBSERVING.md`.

use kairos_plugin::{Context, Event, EventKind, FailureKind, Observer, Outcome, PluginError, SeenAttempt, export};

struct Latency;
export!(Latency as observer);

/// One, in millionths.
const ALL: i64 = 1_000_000;

/// What is known of a model: attempts, thousandths of a millisecond, millionths of them that went well.
type Known = (i64, i64, i64);

impl Observer for Latency {
    const NAME: &'static str = "latency-observer";
    const KV: Option<&'static str> = Some("latency");
    const KV_SCHEMA: u32 = 1;

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn observe(&self, ctx: &Context, _: u64, _: u32, event: &Event) -> Result<(), PluginError> {
        if event.kind() != EventKind::Ended {
            return Ok(());
        }
        let (task, attempts) = (event.features().task, event.attempts());
        let keys: Vec<_> = ctx.model_ids().iter().map(|id| format!("{}/{id}", task.name())).collect();
        let values = ctx.learned_many(&keys);
        for (index, (model, (key, value))) in (0..).zip(event.models().iter().zip(keys.iter().zip(values))) {
            let before = value.and_then(|value| read(&value));
            let tried = attempts.iter().filter(|attempt| attempt.model == index);
            if let Some((count, time, success)) = after(before, i64::from(model.latency_ms) * 1_000, tried) {
                // Where there is no room, what is new is not learned.
                let _ = ctx.learn(key, format!("{count} {time} {success}").as_bytes());
            }
        }
        Ok(())
    }
}

fn read(value: &[u8]) -> Option<Known> {
    let mut parts = std::str::from_utf8(value).ok()?.split(' ').map(|part| part.parse().ok());
    let known = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(known)
}

/// What is known after these attempts; none: as before. `usual` is the model's time by the catalogue.
fn after<'a>(before: Option<Known>, usual: i64, tried: impl Iterator<Item = &'a SeenAttempt>) -> Option<Known> {
    let (mut count, mut time, mut success) = before.unwrap_or((0, usual, ALL));
    let mut is_tried = false;
    for attempt in tried {
        match attempt.outcome {
            Outcome::Answered => {
                let took = i64::from(attempt.duration_ms) * 1_000;
                time = if count == 0 { took } else { time + (took - time) / 4 };
                success += (ALL - success) / 4;
            }
            Outcome::Failed(kind) if counts(kind) => success -= success / 4,
            Outcome::Failed(_) | Outcome::Abandoned => continue,
        }
        count = (count + 1).min(1_000_000);
        is_tried = true;
    }
    if !is_tried {
        // What is not tried is forgotten slowly, so that it is tried again some day.
        before?;
        time += (usual - time) / 64;
        success += (ALL - success) / 64;
    }
    let now = (count, time, success);
    (Some(now) != before).then_some(now)
}

/// What says something of a model's health.
fn counts(kind: FailureKind) -> bool {
    use FailureKind::{
        BrokenAnswer, ModelError, ModelNotReady, ModelTimeout, Network, Server, Throttled, Timeout, Unavailable,
    };
    matches!(
        kind,
        Throttled | ModelNotReady | ModelError | ModelTimeout | Server | Unavailable | Timeout | Network | BrokenAnswer
    )
}
