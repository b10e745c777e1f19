//! Short requests and short answers while the budget is nearly used up. Defined in `policies/PROMPTING.md`,
//! prompter `thrift`.

use kairos_plugin::{Context, Draft, Edits, Features, Model, PluginError, Prompter, export};

struct Thrift;
export!(Thrift as prompter);

/// The part of the budget from which on requests are shortened, and from which on even more.
const SCARCE: f64 = 0.8;
const LAST: f64 = 0.95;

impl Prompter for Thrift {
    const NAME: &'static str = "thrift";
    const REASONS: &'static [&'static str] = &["plenty", "scarce", "last"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn render(
        &self,
        _: &Context,
        features: &Features,
        _: &[Model],
        _: u32,
        draft: &Draft,
    ) -> Result<Edits, PluginError> {
        let (reason, turns, limit, plea) = match features.budget_used {
            used if used >= LAST => (3, 3, 256, "Answer in one sentence."),
            used if used >= SCARCE => (2, 7, 1_024, "Answer briefly."),
            _ => return Ok(Edits::new(1)),
        };
        let mut edits = Edits::new(reason);
        if draft.messages() > turns {
            edits.keep_last = Some(turns);
        }
        if draft.parameters().max_output_tokens.is_none_or(|asked| asked > limit) {
            edits.max_output_tokens = Some(limit);
        }
        edits.system_after = Some(plea.to_owned());
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Context, Draft, features, models};

    use super::*;

    #[test]
    fn the_scarcer_the_shorter() {
        let draft = (0..9).fold(Draft::default(), |draft, turn| draft.said(turn % 2 == 0, "text"));
        for (used, keep_last, limit) in [(0.5, None, None), (0.8, Some(7), Some(1_024)), (1.0, Some(3), Some(256))] {
            let features = Features { budget_used: used, ..features() };
            let edits = Thrift.render(&Context::default(), &features, &models(1), 0, &draft).unwrap();
            assert_eq!((edits.keep_last, edits.max_output_tokens), (keep_last, limit));
        }
    }
}
