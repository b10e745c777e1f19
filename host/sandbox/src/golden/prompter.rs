//! What prompters are asked on trial: requests of all kinds, and such as are at the edge of what there can be.

use std::sync::Arc;

use kairos_pipeline::policy::{
    Draft, DraftMessage, DraftParameters, Features, MOST_HEALER_MODELS, Piece, Shown, Speaker,
};

use super::{Golden, golden, plain};
use crate::question::What;

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: &str, models, first, draft: Draft, change: &dyn Fn(&mut Features)| {
        let mut features = plain();
        features.turns = u32::try_from(draft.messages.len()).unwrap_or(u32::MAX).saturating_add(draft.earlier);
        change(&mut features);
        questions.push(golden(about, models, features, What::Render { first, draft: Arc::new(draft) }));
    };
    let none = &|_: &mut Features| {};
    ask("a plain question", 1, 0, plain_draft(), none);
    ask("a long conversation, with tools", 3, 2, conversation(40), none);
    ask("a budget that is used up", 2, 0, conversation(8), &|features| {
        (features.budget_remaining, features.budget_used, features.budget_level) = (Some(0), 1.0, 3);
    });
    ask("a template, and parameters", 2, 1, templated(), none);
    ask(
        "nothing that is text",
        1,
        0,
        Draft { messages: vec![message(Speaker::User, kinds())], ..Draft::default() },
        none,
    );
    ask("texts that are not shown whole", 1, 0, cut(), none);
    ask("no messages that are shown", 1, 0, Draft { earlier: u32::MAX, ..Draft::default() }, none);
    let most = u32::try_from(MOST_HEALER_MODELS).unwrap_or(u32::MAX);
    ask("as many models as there can be", MOST_HEALER_MODELS, most - 1, plain_draft(), none);
    questions
}

fn text(text: &str) -> Piece {
    Piece::Text(whole(text))
}

fn whole(text: &str) -> Shown {
    Shown { text: text.to_owned(), bytes: u32::try_from(text.len()).unwrap_or(u32::MAX) }
}

fn message(role: Speaker, pieces: Vec<Piece>) -> DraftMessage {
    DraftMessage { role, pieces, more: 0 }
}

fn plain_draft() -> Draft {
    let messages = vec![message(Speaker::User, vec![text("What is the capital of Norway?")])];
    Draft { system: vec![whole("Be brief.")], messages, ..Draft::default() }
}

/// A conversation of so many turns, of which some call a tool.
fn conversation(turns: usize) -> Draft {
    let turn = |turn: usize| match turn % 4 {
        0 => message(Speaker::User, vec![text("And what of Sweden? Größe 🦀"), Piece::CachePoint]),
        1 => message(Speaker::Assistant, vec![Piece::Reasoning, Piece::ToolUse("look-up".to_owned())]),
        2 => message(Speaker::User, vec![Piece::ToolResult]),
        _ => message(Speaker::Assistant, vec![text("Stockholm."), text("")]),
    };
    let mut messages: Vec<_> = (0..turns).map(turn).collect();
    messages.push(message(Speaker::User, vec![text("Thanks.")]));
    Draft { messages, tools: vec!["look-up".to_owned()], ..Draft::default() }
}

fn templated() -> Draft {
    let parameters = DraftParameters {
        max_output_tokens: Some(u32::MAX),
        temperature: Some(0.2),
        top_p: Some(1.0),
        stop: vec!["END".to_owned()],
    };
    Draft { template: Some(("support".to_owned(), "2".to_owned())), parameters, ..plain_draft() }
}

fn kinds() -> Vec<Piece> {
    vec![Piece::Image, Piece::Document, Piece::Video, Piece::Audio, Piece::ToolResult, Piece::Other]
}

fn cut() -> Draft {
    let begun = |text: &str| Shown { text: text.to_owned(), bytes: u32::MAX };
    let messages = vec![
        message(Speaker::System, vec![text("Within the conversation.")]),
        message(Speaker::User, vec![Piece::Text(begun("The beginning of")), Piece::Text(begun(""))]),
    ];
    Draft { system: vec![begun("You are")], earlier: 7, messages, ..Draft::default() }
}
