//! Counts how requests end, by the model that was tried last: `MODEL/answered` has how many it answered.

use kairos_plugin::{Context, Event, EventKind, Observer, Outcome, PluginError, export};

struct MyPlugin;
export!(MyPlugin as observer);

impl Observer for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const KV_SCHEMA: u32 = 1;

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn observe(&self, ctx: &Context, _: u64, _: u32, event: &Event) -> Result<(), PluginError> {
        if event.kind() != EventKind::Ended {
            return Ok(());
        }
        let Some(last) = event.attempts().pop() else { return Ok(()) };
        let how = match last.outcome {
            Outcome::Answered => "answered",
            Outcome::Failed(_) => "failed",
            Outcome::Abandoned => return Ok(()),
        };
        let key = format!("{}/{how}", ctx.model_ids()[last.model as usize]);
        let before = ctx.learned(&key).and_then(|value| String::from_utf8(value).ok()?.parse().ok());
        let count: u64 = before.unwrap_or(0) + 1;
        // Where the space is full, what is new is not counted.
        let _ = ctx.learn(&key, count.to_string().as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Context, ended, models, seen};

    use super::*;

    #[test]
    fn requests_are_counted_by_what_came_of_them() {
        let ctx = Context::default().ids(&["a", "b"]).having_learned("a/answered", b"41");
        let event = ended(models(2), vec![seen(0, Outcome::Answered, 300)]);
        MyPlugin.observe(&ctx, 0, 0, &event).unwrap();
        assert_eq!(ctx.learned("a/answered").unwrap(), b"42");
        assert_eq!(ctx.learned("a/failed"), None);
    }
}
