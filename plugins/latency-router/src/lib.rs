//! The model that is expected to answer first, by what `latency-observer` has learned. Defined in
//! `policies/OBSERVING.md`.

use kairos_plugin::{Context, Features, Model, Plan, PluginError, Router, export};

struct Latency;
export!(Latency as router);

/// Models that a plan tries.
const MOST: usize = 4;

impl Router for Latency {
    const NAME: &'static str = "latency-router";
    const REASONS: &'static [&'static str] = &["learned", "by-catalogue", "named"];
    const KV: Option<&'static str> = Some("latency");
    const KV_SCHEMA: u32 = 1;

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn route(&self, ctx: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError> {
        let keys: Vec<_> = ctx.model_ids().iter().map(|id| format!("{}/{id}", features.task.name())).collect();
        let learned: Vec<_> =
            ctx.learned_many(&keys).into_iter().map(|value| value.and_then(|value| read(&value))).collect();
        let expected: Vec<_> = models
            .iter()
            .zip(&learned)
            .map(|(model, learned)| {
                let (time, success) = learned.unwrap_or((i64::from(model.latency_ms) * 1_000, 1_000_000));
                time * 1_000_000 / success.max(1_000)
            })
            .collect();
        let mut order: Vec<_> = (0..models.len()).collect();
        // Of equals the lowest index is first: the order is stable.
        order.sort_by_key(|index| (Some(*index as u32) != features.named, expected[*index]));
        order.truncate(MOST);
        let reason = match features.named {
            Some(_) => 3,
            None if learned[order[0]].is_some() => 1,
            None => 2,
        };
        Ok(Plan::new(order.into_iter().map(|index| index as u32), reason))
    }
}

/// Thousandths of a millisecond, and millionths of attempts that went well.
fn read(value: &[u8]) -> Option<(i64, i64)> {
    let mut parts = std::str::from_utf8(value).ok()?.split(' ').map(|part| part.parse::<i64>().ok());
    let (_, time, success) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some((time, success))
}
