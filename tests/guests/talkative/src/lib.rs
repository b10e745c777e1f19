//! Asks for every capability that a router may have, and uses each.

use kairos_plugin::Level;

guest_kit::router!("talkative", |ctx, _, models| {
    let known = ctx.learned("anything").is_some();
    let line = format!("{} models, prompt of {} bytes, known: {known}", models.len(), ctx.prompt().len());
    ctx.log(Level::Info, &line);
    ctx.count("calls", 1);
    ctx.gauge("models", models.len() as f64);
    Ok(guest_kit::only(0, 1))
});
