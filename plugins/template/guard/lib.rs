//! Numbers of tickets of your own form, as in TICKET-123456, are replaced, to models and to callers; whatever
//! else there may be in a text passes.

use kairos_plugin::{Context, Guard, Passage, PluginError, Verdict, export};

struct MyPlugin;
export!(MyPlugin as guard);

const PREFIX: &str = "TICKET-";
/// A number is found once it is there with the byte behind it: what may be the beginning of one waits.
const WINDOW: usize = 32;

impl Guard for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const REASONS: &'static [&'static str] = &["ticket"];
    const HOLD_BACK: u32 = WINDOW as u32;

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn inspect(
        &self,
        _: &Context,
        _: Passage,
        _: &[u8],
        text: &str,
        last: bool,
    ) -> Result<Verdict, PluginError> {
        let mut verdict = if last { Verdict::pass(text) } else { Verdict::hold(text, WINDOW) };
        let mut from = 0;
        while let Some(at) = text[from..].find(PREFIX).map(|at| from + at) {
            if at >= verdict.decided as usize {
                break;
            }
            let digits = text[at + PREFIX.len()..].bytes().take_while(u8::is_ascii_digit).count();
            from = at + PREFIX.len() + digits;
            // Longer ones are none, and nobody waits for their end.
            if digits > 0 && from - at < WINDOW {
                verdict.replace(at, from, "[TICKET]");
                verdict.found(1);
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::released;

    use super::*;

    #[test]
    fn a_number_is_replaced_however_it_comes() {
        let text = "See TICKET-123456, and TICKET-7.";
        for bytes in [1, 5, text.len()] {
            assert_eq!(released(&MyPlugin, text, bytes), "See [TICKET], and [TICKET].");
        }
    }
}
