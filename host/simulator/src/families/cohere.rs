//! Cohere Command R's own body: a message and the history before it.
//!
//! Sources: fixture `im_cohere_r`, and AWS's page "Cohere Command R and Command R+ models"; the events of
//! its stream are those of Cohere's own chat API, version 1, which Bedrock passes on. With its answers AWS
//! sends no counts in headers, and the body has none either: only a stream counts.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::fields::{Fields, Result, malformed};
use super::shared::{Answered, chunk, finish, push_text, text_of};
use crate::attachment;
use crate::catalogue::Model;
use crate::conversation::{Block, Conversation, Role, Tool, Turn};
use crate::reply::Stop;
use crate::script::{Frame, Frames, Part};

const FIELDS: [&str; 18] = [
    "chat_history",
    "documents",
    "frequency_penalty",
    "k",
    "max_tokens",
    "message",
    "p",
    "preamble",
    "presence_penalty",
    "prompt_truncation",
    "raw_prompting",
    "return_prompt",
    "search_queries_only",
    "seed",
    "stop_sequences",
    "temperature",
    "tool_results",
    "tools",
];

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let fields = Fields::of(body, &FIELDS)?;
    let message = fields.required_text("message")?;
    let mut conversation = Conversation {
        max_tokens: fields.integer("max_tokens", 1..=model.max_out)?,
        stop: fields.texts("stop_sequences", 4)?.into_iter().map(Cow::from).collect(),
        ..Default::default()
    };
    settings(&fields)?;
    if let Some(preamble) = fields.text("preamble")?.filter(|text| !text.is_empty()) {
        conversation.system.push(Block::Text(preamble.into()));
    }
    tools(&fields, &mut conversation)?;
    for said in fields.objects("chat_history")? {
        let text = Block::Text(said.required_text("message")?.into());
        match said.word("role", &["USER", "CHATBOT", "SYSTEM"])? {
            None => return Err(said.missing("role")),
            Some("SYSTEM") => conversation.system.push(text),
            Some("USER") => push(&mut conversation, Role::User, text),
            Some(_) => push(&mut conversation, Role::Assistant, text),
        }
    }
    for document in fields.objects("documents")? {
        let texts = document.entries().filter_map(|(_, value)| value.as_str());
        push(&mut conversation, Role::User, attachment::text(&texts.collect::<Vec<_>>().join("\n")));
    }
    push(&mut conversation, Role::User, Block::Text(message.into()));
    results(&fields, &mut conversation)?;
    match conversation.turns[0].role {
        Role::User => Ok(conversation),
        _ => Err(malformed("#/chat_history: the first message must be of the USER")),
    }
}

fn settings(fields: &Fields<'_>) -> Result<()> {
    fields.number("temperature", 0.0..=1.0)?;
    fields.number("p", 0.0..=0.99)?;
    fields.number("k", 0.0..=500.0)?;
    fields.number("frequency_penalty", 0.0..=1.0)?;
    fields.number("presence_penalty", 0.0..=1.0)?;
    fields.word("prompt_truncation", &["OFF", "AUTO_PRESERVE_ORDER"])?;
    // These change what the answer is made of, which nothing here can do.
    for name in ["raw_prompting", "return_prompt", "search_queries_only"] {
        if fields.flag(name)? {
            return Err(fields.wrong(name, "the simulator does not have this mode of Command R"));
        }
    }
    Ok(())
}

fn push<'a>(into: &mut Conversation<'a>, role: Role, block: Block<'a>) {
    match into.turns.last_mut() {
        Some(last) if last.role == role => last.blocks.push(block),
        _ => into.turns.push(Turn { role, blocks: vec![block] }),
    }
}

/// Tools, whose parameters are defined in Python's words for types.
fn tools<'a>(fields: &Fields<'a>, into: &mut Conversation<'a>) -> Result<()> {
    for tool in fields.objects("tools")? {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        if let Some(definitions) = tool.object("parameter_definitions")? {
            for (name, _) in definitions.entries() {
                let parameter = definitions.object(name)?.ok_or_else(|| definitions.missing(name))?;
                let kind = match parameter.required_text("type")? {
                    "int" | "integer" => "integer",
                    "float" | "number" => "number",
                    "bool" | "boolean" => "boolean",
                    kind if kind.to_ascii_lowercase().starts_with("list") => "array",
                    kind if kind.to_ascii_lowercase().starts_with("dict") => "object",
                    _ => "string",
                };
                let description = parameter.text("description")?.unwrap_or_default();
                properties.insert(name.to_owned(), json!({"type": kind, "description": description}));
                if parameter.flag("required")? {
                    required.push(name);
                }
            }
        }
        let schema = json!({"type": "object", "properties": properties, "required": required});
        let (name, description) = (tool.required_text("name")?, tool.required_text("description")?);
        if into.tool_names().any(|known| known == name) {
            return Err(tool.wrong("name", format_args!("{name} is the name of another tool")));
        }
        into.tools.push(Tool::Spec { name: name.into(), description: description.into(), schema });
    }
    Ok(())
}

/// Results of tools come with the calls they answer, which then count as said.
fn results<'a>(fields: &Fields<'a>, into: &mut Conversation<'a>) -> Result<()> {
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    for (at, result) in fields.objects("tool_results")?.into_iter().enumerate() {
        let call = result.object("call")?.ok_or_else(|| result.missing("call"))?;
        let name = call.required_text("name")?;
        if !into.tool_names().any(|known| known == name) {
            return Err(call.wrong("name", format_args!("no tool is called {name}")));
        }
        let input = call.object("parameters")?.and_then(|_| call.get("parameters")).cloned();
        let id: Cow<'a, str> = at.to_string().into();
        calls.push(Block::ToolUse { id: id.clone(), name: name.into(), input: input.unwrap_or_else(|| json!({})) });
        let parts = result.list("outputs")?.iter().map(|output| Block::Text(output.to_string().into()));
        answers.push(Block::ToolResult { id, parts: parts.collect(), failed: false });
    }
    if !calls.is_empty() {
        into.turns.push(Turn { role: Role::Assistant, blocks: calls });
        into.turns.push(Turn { role: Role::User, blocks: answers });
    }
    Ok(())
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::ToolUse | Stop::Sequence => "COMPLETE",
        Stop::MaxTokens => "MAX_TOKENS",
        Stop::Guardrail => "ERROR_TOXIC",
    }
}

fn calls(answered: &Answered<'_>) -> Vec<Value> {
    let call = |(_, name, input): (u64, &str, &str)| {
        // Made by us, so it is JSON.
        json!({"name": name, "parameters": serde_json::from_str::<Value>(input).unwrap_or_else(|_| json!({}))})
    };
    answered.calls().map(call).collect()
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    let reply = &answered.generation.reply;
    let said = answered.conversation.turns.iter().filter_map(|turn| {
        let (text, role) = (text_of(turn), if turn.role == Role::Assistant { "CHATBOT" } else { "USER" });
        (!text.is_empty()).then(|| json!({"role": role, "message": text}))
    });
    let mut history: Vec<Value> = said.collect();
    history.push(json!({"role": "CHATBOT", "message": reply.text()}));
    let mut body = json!({
        "response_id": answered.request_id,
        "text": reply.text(),
        "generation_id": generation_id(answered),
        "chat_history": history,
        "finish_reason": reason(reply.stop),
    });
    let calls = calls(answered);
    if !calls.is_empty() {
        body["tool_calls"] = json!(calls);
    }
    body
}

/// One more id, made of the request's.
fn generation_id(answered: &Answered<'_>) -> String {
    answered.request_id.chars().rev().collect()
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    let mut frames = Frames::new(answered.generation.reply.tokens);
    let start = json!({"event_type": "stream-start", "is_finished": false, "generation_id": generation_id(answered)});
    frames.push(Part::Structure, chunk(&start), 0);
    push_text(
        &mut frames,
        &answered.generation.reply.text(),
        |piece, _| json!({"event_type": "text-generation", "is_finished": false, "text": piece}),
    );
    let calls = calls(answered);
    if !calls.is_empty() {
        let event = json!({"event_type": "tool-calls-generation", "is_finished": false, "tool_calls": calls});
        let tokens =
            answered.generation.reply.blocks.iter().filter(|said| matches!(said, crate::reply::Said::Tool { .. }));
        let tokens = tokens.fold(0u32, |sum, said| sum.saturating_add(said.tokens()));
        frames.push(Part::Content, chunk(&event), tokens);
    }
    let last = json!({
        "event_type": "stream-end",
        "is_finished": true,
        "finish_reason": reason(answered.generation.reply.stop),
        "response": answer(answered),
    });
    finish(frames, answered, last)
}
