//! Decides, and says far too much: log lines and metrics by the hundred, with control characters in
//! their text and names.

use kairos_plugin::Level;

/// Reports of each kind in a call.
const REPORTS: u32 = 100;

guest_kit::router!("bad-flood", |ctx, _, _| {
    // On trial it is as quiet as any other.
    if ctx.tags().is_empty() {
        let line = format!("flood\n{{\"message\":\"forged\"}}\u{1b}[2J{}", "x".repeat(2_000));
        for place in 0..REPORTS {
            ctx.log(Level::Info, &line);
            ctx.count(&format!("name_{place}"), 1);
            ctx.count("forged\"} 1\nforged", 1);
        }
        ctx.gauge("not_a_number", f64::NAN);
        // As many as a call may read; none is there.
        let keys: Vec<_> = (0..64).map(|place| format!("key {place}")).collect();
        assert!(ctx.learned_many(&keys).iter().all(Option::is_none));
    }
    Ok(guest_kit::only(0, 0))
});
