//! A guard's call, and its verdict.

use kairos_pipeline::policy::{Answer, InspectInput, Origin, Passage, Replacement, Verdict};
use wasmtime::{Result, Store};

use super::super::bindings::{guarding, same_order};
use super::super::typed::{Exported, Function};
use super::{HostState, PluginError, Request};

/// `inspect`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/guarding@0.1.0";
    const NAME: &'static str = "inspect";
    type Parameters<'a> = (Request, guarding::Passage, &'a [u8], &'a str, bool);
    type Answer = std::result::Result<guarding::Verdict, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: InspectInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let InspectInput { passage, state, text, last, .. } = input;
    let decided = exported.call(store, (request, self::passage(passage), state, text, last))?;
    Ok(decided.map(|decided| Answer::Verdict(verdict(decided))))
}

fn passage(passage: Passage) -> guarding::Passage {
    let direction = same_order!(passage.direction, guarding::Direction, [Input, Output]);
    guarding::Passage { direction, origin: origin(passage.origin), index: passage.index }
}

fn origin(origin: Origin) -> guarding::Origin {
    same_order!(
        origin,
        guarding::Origin,
        [System, User, Assistant, Reasoning, ToolInput, ToolResult, ToolDefinition, Document, Citation, Other,]
    )
}

fn verdict(verdict: guarding::Verdict) -> Verdict {
    let replacement = |guarding::Replacement { start, end, text }| Replacement { start, end, text: text.into() };
    Verdict {
        state: verdict.state,
        decided: verdict.decided,
        replacements: verdict.replacements.into_iter().map(replacement).collect(),
        findings: verdict.findings,
        blocked: verdict.blocked,
        settings: verdict.settings,
    }
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::Direction;

    use super::*;

    #[test]
    fn directions_and_origins_are_in_the_contracts_order() {
        for each in Origin::ALL {
            assert_eq!(format!("{:?}", origin(each)), format!("Origin::{each:?}"));
        }
        for direction in Direction::ALL {
            let shown = passage(Passage { direction, origin: Origin::User, index: 3 });
            assert_eq!((format!("{:?}", shown.direction), shown.index), (format!("Direction::{direction:?}"), 3));
        }
    }
}
