//! Amazon Nova's own body: Converse's messages, under Nova's names for the settings and the counts.
//!
//! Sources: fixture `im_nova`, and the "Complete request schema" of Amazon Nova's user guide. The events
//! of its stream are named like ConverseStream's and stand one in each chunk.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::{Fields, Result, malformed};
use super::shared::{Answered, chunk, finish, push_text};
use crate::catalogue::Model;
use crate::conversation::Conversation;
use crate::converse::{self, arguments};
use crate::reply::Said;
use crate::script::{Frame, Frames, Part};

const SETTINGS: [&str; 9] = [
    "maxTokens",
    "max_new_tokens",
    "reasoningConfig",
    "stopSequences",
    "temperature",
    "topK",
    "topP",
    "top_k",
    "top_p",
];

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let known = ["inferenceConfig", "messages", "schemaVersion", "system", "toolConfig"];
    let fields = Fields::of(body, &known)?;
    fields.word("schemaVersion", &["messages-v1"])?;
    if !fields.has("messages") {
        return Err(fields.missing("messages"));
    }
    if fields.list("messages")?.is_empty() {
        return Err(fields.wrong("messages", "expected minimum item count: 1, found: 0"));
    }
    let mut request = converse::Request::deserialize(body).map_err(|error| malformed(format_args!("#: {error}")))?;
    // Its settings are read here, since they have other names and their own bounds.
    request.inference_config = None;
    let (mut conversation, _) = converse::from_wire(request)?;
    if let Some(settings) = fields.object("inferenceConfig")? {
        self::settings(&settings, model, &mut conversation)?;
    }
    Ok(conversation)
}

fn settings<'a>(fields: &Fields<'a>, model: &Model, into: &mut Conversation<'a>) -> Result<()> {
    fields.only(&SETTINGS)?;
    let most = fields.integer("maxTokens", 1..=model.max_out)?;
    into.max_tokens = most.or(fields.integer("max_new_tokens", 1..=model.max_out)?);
    for (name, most) in [("temperature", 1.0), ("topP", 1.0), ("top_p", 1.0), ("topK", 128.0), ("top_k", 128.0)] {
        fields.number(name, 0.0..=most)?;
    }
    into.stop = fields.texts("stopSequences", 4)?.into_iter().map(Into::into).collect();
    if let Some(config) = fields.get("reasoningConfig") {
        converse::read_additional(&json!({"reasoningConfig": config}), into)?;
    }
    Ok(())
}

fn usage(answered: &Answered<'_>) -> Value {
    let usage = answered.generation.usage();
    json!({
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.tokens_in().saturating_add(usage.output),
        "cacheReadInputTokenCount": usage.cache_read,
        "cacheWriteInputTokenCount": usage.cache_write(),
    })
}

fn block(said: &Said) -> Value {
    match said {
        Said::Text(text) => json!({"text": text}),
        Said::Reasoning { text, .. } => json!({"reasoningContent": {"reasoningText": {"text": text}}}),
        Said::Tool { serial, name, input } => {
            // Made by us, so it is JSON.
            let input: Value = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
            json!({"toolUse": {"toolUseId": converse::tool_use_id(*serial), "name": name, "input": input}})
        }
    }
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    let reply = &answered.generation.reply;
    let content: Vec<Value> = reply.blocks.iter().map(block).collect();
    json!({
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": reply.stop.name(),
        "usage": usage(answered),
    })
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    let reply = &answered.generation.reply;
    let mut frames = Frames::new(reply.tokens);
    frames.push(Part::Structure, chunk(&json!({"messageStart": {"role": "assistant"}})), 0);
    for (index, said) in reply.blocks.iter().enumerate() {
        let delta = |delta: Value| json!({"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}});
        match said {
            Said::Text(text) => push_text(&mut frames, text, |piece, _| delta(json!({"text": piece}))),
            Said::Reasoning { text, .. } => {
                push_text(&mut frames, text, |piece, _| delta(json!({"reasoningContent": {"text": piece}})));
            }
            Said::Tool { serial, name, input } => {
                let tool = json!({"toolUse": {"toolUseId": converse::tool_use_id(*serial), "name": name}});
                let start = json!({"contentBlockStart": {"start": tool, "contentBlockIndex": index}});
                let pieces: Vec<(&str, u32)> = arguments(input).collect();
                let counted = pieces.iter().fold(0u32, |sum, (_, tokens)| sum.saturating_add(*tokens));
                frames.push(Part::Structure, chunk(&start), said.tokens().saturating_sub(counted));
                for (piece, tokens) in pieces {
                    frames.push(Part::Content, chunk(&delta(json!({"toolUse": {"input": piece}}))), tokens);
                }
            }
        }
        let stop = json!({"contentBlockStop": {"contentBlockIndex": index}});
        frames.push(Part::Structure, chunk(&stop), 0);
    }
    frames.push(Part::Structure, chunk(&json!({"messageStop": {"stopReason": reply.stop.name()}})), 0);
    finish(frames, answered, json!({"metadata": {"usage": usage(answered), "metrics": {}, "trace": {}}}))
}
