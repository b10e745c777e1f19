//! A prompter's call, its edits, and the request that it reads.

use std::sync::Arc;

use kairos_pipeline::policy::{
    Answer, Draft, DraftMessage, Edit, Edits, Piece, Place, PromptInput, Shown, Speaker, SystemEdit, TextEdit,
};
use wasmtime::component::Resource;
use wasmtime::{Result, Store};

use super::super::bindings::kairos::plugin::drafts;
use super::super::bindings::{FeaturesRow, ModelRow, prompting, same_order};
use super::super::host::DraftHandle;
use super::super::typed::{Exported, Function};
use super::{HostState, PluginError, Request, shown};

/// `render`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/prompting@0.1.0";
    const NAME: &'static str = "render";
    type Parameters<'a> = (Request, FeaturesRow, &'a [ModelRow], u32, Resource<DraftHandle>);
    type Answer = std::result::Result<prompting::Edits, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: PromptInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let (features, models) = shown(store, input.features, input.models);
    store.data_mut().draft = Some(Arc::clone(input.draft));
    // There is one request in a call, as there is one handle of it.
    let decided = exported.call(store, (request, features, &models, input.first, Resource::new_borrow(0)));
    let state = store.data_mut();
    (state.draft, state.rows) = (None, models);
    Ok(decided?.map(|decided| Answer::Edits(Box::new(edits(decided)))))
}

fn edits(edits: prompting::Edits) -> Edits {
    let change = |(place, change): (prompting::Place, prompting::TextChange)| {
        let place = Place { message: place.message, piece: place.piece };
        let change = match change {
            prompting::TextChange::Replace(text) => TextEdit::Replace(text),
            prompting::TextChange::Before(text) => TextEdit::Before(text),
            prompting::TextChange::After(text) => TextEdit::After(text),
            prompting::TextChange::Remove => TextEdit::Remove,
        };
        (place, change)
    };
    Edits {
        system: match edits.system {
            prompting::SystemChange::Keep => SystemEdit::Keep,
            prompting::SystemChange::Replace(text) => SystemEdit::Replace(text),
            prompting::SystemChange::Remove => SystemEdit::Remove,
        },
        system_before: edits.system_before,
        system_after: edits.system_after,
        examples: edits.examples,
        keep_last: edits.keep_last,
        texts: edits.texts.into_iter().map(change).collect(),
        max_output_tokens: edits.max_output_tokens,
        temperature: number(edits.temperature),
        top_p: number(edits.top_p),
        stop: match edits.stop {
            prompting::StopChange::Keep => Edit::Keep,
            prompting::StopChange::Unset => Edit::Unset,
            prompting::StopChange::Set(texts) => Edit::Set(texts),
        },
        reason: edits.reason,
        settings: edits.settings,
    }
}

fn number(change: prompting::NumberChange) -> Edit<f64> {
    match change {
        prompting::NumberChange::Keep => Edit::Keep,
        prompting::NumberChange::Unset => Edit::Unset,
        prompting::NumberChange::Set(number) => Edit::Set(number),
    }
}

impl HostState {
    fn draft(&self) -> Result<&Arc<Draft>> {
        self.draft.as_ref().ok_or_else(|| wasmtime::Error::msg("a draft was asked for outside of a prompter's call"))
    }
}

impl drafts::Host for HostState {}

impl drafts::HostDraft for HostState {
    fn system(&mut self, _: Resource<DraftHandle>) -> Result<Vec<drafts::Passage>> {
        Ok(self.draft()?.system.iter().map(passage).collect())
    }

    fn messages(&mut self, _: Resource<DraftHandle>) -> Result<u32> {
        let draft = self.draft()?;
        Ok(draft.earlier.saturating_add(u32::try_from(draft.messages.len()).unwrap_or(u32::MAX)))
    }

    fn message(&mut self, _: Resource<DraftHandle>, index: u32) -> Result<Option<drafts::Message>> {
        Ok(self.draft()?.message(index).map(message))
    }

    fn tools(&mut self, _: Resource<DraftHandle>) -> Result<Vec<String>> {
        Ok(self.draft()?.tools.clone())
    }

    fn parameters(&mut self, _: Resource<DraftHandle>) -> Result<drafts::Parameters> {
        let parameters = &self.draft()?.parameters;
        Ok(drafts::Parameters {
            max_output_tokens: parameters.max_output_tokens,
            temperature: parameters.temperature,
            top_p: parameters.top_p,
            stop: parameters.stop.clone(),
        })
    }

    fn template(&mut self, _: Resource<DraftHandle>) -> Result<Option<drafts::Template>> {
        let template = self.draft()?.template.clone();
        Ok(template.map(|(name, version)| drafts::Template { name, version }))
    }

    fn drop(&mut self, _: Resource<DraftHandle>) -> Result<()> {
        Ok(())
    }
}

fn passage(shown: &Shown) -> drafts::Passage {
    drafts::Passage { text: shown.text.clone(), bytes: shown.bytes }
}

fn role(role: Speaker) -> drafts::Role {
    same_order!(role, drafts::Role, [User, Assistant, System])
}

fn message(message: &DraftMessage) -> drafts::Message {
    let piece = |piece: &Piece| match piece {
        Piece::Text(shown) => drafts::Piece::Text(passage(shown)),
        Piece::Image => drafts::Piece::Image,
        Piece::Document => drafts::Piece::Document,
        Piece::Video => drafts::Piece::Video,
        Piece::Audio => drafts::Piece::Audio,
        Piece::ToolUse(name) => drafts::Piece::ToolUse(name.clone()),
        Piece::ToolResult => drafts::Piece::ToolResult,
        Piece::Reasoning => drafts::Piece::Reasoning,
        Piece::CachePoint => drafts::Piece::CachePoint,
        Piece::Other => drafts::Piece::Other,
    };
    drafts::Message { role: role(message.role), pieces: message.pieces.iter().map(piece).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_in_the_contracts_order() {
        for each in Speaker::ALL {
            assert_eq!(format!("{:?}", role(each)), format!("Role::{each:?}"));
        }
    }
}
