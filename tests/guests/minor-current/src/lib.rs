//! The dearest last, easy answers kept short: as `minor-earlier` and `minor-later` decide, each written apart
//! and against another version of the contract.

use guest_kit::{Plan, PluginError};

guest_kit::router!("minor", |ctx, features, models| {
    if ctx.model_ids().len() != models.len() {
        return Err(PluginError::Internal("as many ids as models are expected".into()));
    }
    let mut order: Vec<u32> = (0..models.len() as u32).collect();
    order.sort_by_key(|index| {
        let model = &models[*index as usize];
        (model.worst_case_cost, model.latency_ms)
    });
    let plan = Plan::new(order, 1 + features.complexity as u32);
    let short = features.complexity as u32 == 0 && features.estimated_tokens < 1_000;
    Ok(Plan { max_output_tokens: short.then_some(256), ..plan })
});
