//! What a model cannot take, said as AWS says it, before anything is generated.
//!
//! It must not know dialects beyond whether an answer is streamed.

use crate::catalogue::{Family, Features, Model};
use crate::conversation::{Block, Choice, Conversation, MediaKind, Role};
use crate::error::ApiError;

/// Refuses what the model has no feature for.
pub(crate) fn check(model: &Model, conversation: &Conversation<'_>, streamed: bool) -> Result<(), ApiError> {
    let lacks = |feature| !model.has(feature);
    let refuse = |why: &'static str| Err(ApiError::validation(why));
    if streamed && lacks(Features::STREAM) {
        return refuse("The model is unsupported for streaming.");
    }
    if !conversation.system.is_empty() && lacks(Features::SYSTEM) {
        return refuse(
            "This model doesn't support system messages. Try again without a system message or use \
             a model that supports system messages.",
        );
    }
    if conversation.turns.len() > 1 && lacks(Features::MULTI_TURN) {
        return refuse("This model doesn't support conversation history. Try again with a single user message.");
    }
    tools(model, conversation)?;
    turns(model, conversation)?;
    media(model, conversation)?;
    if conversation.schema.is_some() && lacks(Features::JSON_SCHEMA) {
        return refuse(
            "This model doesn't support the outputConfig.textFormat field. Remove \
             outputConfig.textFormat and try again.",
        );
    }
    if conversation.sampling && lacks(Features::SAMPLING) {
        return refuse(
            "The model returned the following errors: `temperature`, `top_p` and `top_k` are not \
             supported for this model.",
        );
    }
    // Other families ignore the fields that would ask for it.
    if conversation.reasoning && lacks(Features::REASONING) && model.family == Family::Claude {
        return refuse("The model returned the following errors: thinking is not supported for this model.");
    }
    limit(model, conversation)
}

fn tools(model: &Model, conversation: &Conversation<'_>) -> Result<(), ApiError> {
    if conversation.tools.is_empty() {
        return Ok(());
    }
    if !model.has(Features::TOOLS) {
        return Err(ApiError::validation("This model doesn't support tool use."));
    }
    let field = match &conversation.choice {
        Choice::Any => "any",
        Choice::Named(_) => "tool",
        Choice::Auto | Choice::Never => return Ok(()),
    };
    if !model.has(Features::FORCED_TOOLS) {
        return Err(ApiError::validation(format!(
            "This model doesn't support the toolConfig.toolChoice.{field} field. Remove \
             toolConfig.toolChoice.{field} and try again."
        )));
    }
    if conversation.reasoning && model.family == Family::Claude {
        return Err(ApiError::validation(
            "The model returned the following errors: Thinking may not be enabled when tool_choice \
             forces tool use.",
        ));
    }
    Ok(())
}

fn turns(model: &Model, conversation: &Conversation<'_>) -> Result<(), ApiError> {
    let mid_system = conversation.turns.iter().any(|turn| turn.role == Role::System);
    if mid_system && !model.has(Features::MID_SYSTEM) {
        return Err(ApiError::validation(
            "This model doesn't support messages of the system role. Use the system field instead.",
        ));
    }
    let ends_with_assistant = conversation.turns.last().is_some_and(|turn| turn.role == Role::Assistant);
    if !ends_with_assistant || model.has(Features::PREFILL) {
        return Ok(());
    }
    Err(ApiError::validation(if model.family == Family::Claude {
        "This model does not support assistant message prefill. The conversation must end with a \
         user message."
    } else {
        "A conversation must end with a user message. Try again with a conversation that ends with \
         a user message."
    }))
}

fn media(model: &Model, conversation: &Conversation<'_>) -> Result<(), ApiError> {
    fn first_missing(model: &Model, block: &Block<'_>) -> Option<&'static str> {
        let media = match block {
            Block::Media(media) => media,
            Block::ToolResult { parts, .. } => {
                return parts.iter().find_map(|part| first_missing(model, part));
            }
            _ => return None,
        };
        let (feature, name) = match media.kind {
            MediaKind::Image => (Features::IMAGES, "image"),
            MediaKind::Document => (Features::DOCUMENTS, "document"),
            MediaKind::Video => (Features::VIDEO, "video"),
            MediaKind::Audio => (Features::AUDIO, "audio"),
            MediaKind::Redacted => return None,
        };
        (!model.has(feature)).then_some(name)
    }
    match conversation.blocks().find_map(|block| first_missing(model, block)) {
        None => Ok(()),
        Some(name) => Err(ApiError::validation(format!(
            "This model doesn't support the {name} content block that you provided. Specify a \
             different content block or use a model that supports it."
        ))),
    }
}

fn limit(model: &Model, conversation: &Conversation<'_>) -> Result<(), ApiError> {
    match conversation.max_tokens {
        Some(asked) if asked > model.max_out => Err(ApiError::validation(format!(
            "The maximum tokens you requested exceeds the model limit of {most}. Try again with a \
             maximum tokens value that is lower than {most}.",
            most = model.max_out
        ))),
        _ => Ok(()),
    }
}
