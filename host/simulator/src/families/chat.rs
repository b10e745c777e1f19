//! Bodies in the shape of OpenAI's chat completions, as the families that took it over have it: `messages`
//! with function tools in, `choices` with a message each out.
//!
//! Sources: AWS's pages "Mistral AI chat completion" and "AI21 Labs Jamba models", and fixture
//! `im_jamba`. One answer is made for each request: `n` above 1 is refused.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::fields::{Fields, Result, malformed};
use super::shared::{Answered, chunk, finish, push_text};
use crate::attachment;
use crate::conversation::{Block, Choice, Conversation, MediaKind, Role, Tool, Turn};
use crate::ids;
use crate::reply::Said;
use crate::script::{Frame, Frames, Part};

/// Where the answers of the families differ.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// What the field with the reason to stop is called.
    pub(super) reason: &'static str,
    /// What a streamed choice calls its piece of the message.
    pub(super) delta: &'static str,
    /// Whether the answer names its kind and model, as OpenAI's does.
    pub(super) named: bool,
    /// Whether the answer counts its tokens.
    pub(super) usage: bool,
}

/// OpenAI's own, but for the time of the answer.
pub(super) const OPENAI: Shape = Shape { reason: "finish_reason", delta: "delta", named: true, usage: true };

/// Fields that all of these families know.
pub(super) const FIELDS: &[&str] = &["max_tokens", "messages", "stop", "temperature", "tool_choice", "tools", "top_p"];

/// From a body whose fields were checked to be known ones.
pub(super) fn read<'a>(fields: &Fields<'a>, most: u32) -> Result<Conversation<'a>> {
    let mut conversation = Conversation { max_tokens: fields.integer("max_tokens", 1..=most)?, ..Default::default() };
    fields.number("top_p", 0.0..=1.0)?;
    if fields.integer("n", 1..=16)?.is_some_and(|n| n > 1) {
        return Err(fields.wrong("n", "the simulator gives one answer for each request"));
    }
    conversation.stop = match fields.get("stop") {
        Some(Value::String(stop)) => vec![stop.into()],
        _ => fields.texts("stop", 16)?.into_iter().map(Cow::from).collect(),
    };
    tools(fields, &mut conversation)?;
    if !fields.has("messages") {
        return Err(fields.missing("messages"));
    }
    for message in fields.objects("messages")? {
        push(&message, &mut conversation)?;
    }
    match conversation.turns.first().map(|turn| turn.role) {
        Some(Role::User) => Ok(conversation),
        Some(_) => Err(malformed("#/messages: the first message after the system's must be the user's")),
        None => Err(malformed("#/messages: a message of the user is needed")),
    }
}

fn push<'a>(message: &Fields<'a>, into: &mut Conversation<'a>) -> Result<()> {
    let role = message.word("role", &["system", "user", "assistant", "tool"])?;
    let (role, blocks) = match role.ok_or_else(|| message.missing("role"))? {
        "system" => {
            into.system.extend(content(message, true)?);
            return Ok(());
        }
        "user" => (Role::User, content(message, true)?),
        "assistant" => {
            let mut blocks = content(message, !message.has("tool_calls"))?;
            for call in message.objects("tool_calls")? {
                blocks.push(tool_call(&call)?);
            }
            (Role::Assistant, blocks)
        }
        _ => (Role::User, vec![tool_result(message, into)?]),
    };
    match into.turns.last_mut() {
        // Results of several tools, or a result and what the user says to it, are one message.
        Some(last) if last.role == role => last.blocks.extend(blocks),
        _ => into.turns.push(Turn { role, blocks }),
    }
    Ok(())
}

/// Text, or a list of parts.
fn content<'a>(message: &Fields<'a>, required: bool) -> Result<Vec<Block<'a>>> {
    let blocks: Vec<Block<'a>> = match message.get("content") {
        Some(Value::Array(_)) => message.objects("content")?.iter().map(part).collect::<Result<_>>()?,
        _ => message
            .text("content")?
            .filter(|text| !text.is_empty())
            .map(|text| Block::Text(text.into()))
            .into_iter()
            .collect(),
    };
    if required && blocks.is_empty() {
        return Err(if message.has("content") {
            message.wrong("content", "expected minLength: 1, actual: 0")
        } else {
            message.missing("content")
        });
    }
    Ok(blocks)
}

fn part<'a>(part: &Fields<'a>) -> Result<Block<'a>> {
    match part.word("type", &["text", "image_url"])? {
        None => Err(part.missing("type")),
        Some("text") => Ok(Block::Text(part.required_text("text")?.into())),
        Some(_) => {
            let image = part.object("image_url")?.ok_or_else(|| part.missing("image_url"))?;
            let data =
                image.required_text("url")?.strip_prefix("data:image/").and_then(|url| url.split_once(";base64,"));
            let (format, data) =
                data.ok_or_else(|| image.wrong("url", "expected an image as data:image/…;base64,…"))?;
            let bytes = attachment::decode(data).map_err(|error| image.wrong("url", error.message))?;
            Ok(attachment::block(MediaKind::Image, format, &bytes))
        }
    }
}

fn tool_call<'a>(call: &Fields<'a>) -> Result<Block<'a>> {
    let function = call.object("function")?.ok_or_else(|| call.missing("function"))?;
    let arguments = function.text("arguments")?.unwrap_or("{}");
    let input: Map<String, Value> = serde_json::from_str(arguments)
        .map_err(|error| function.wrong("arguments", format_args!("expected an object as JSON: {error}")))?;
    let (id, name) = (call.required_text("id")?, function.required_text("name")?);
    Ok(Block::ToolUse { id: id.into(), name: name.into(), input: input.into() })
}

fn tool_result<'a>(message: &Fields<'a>, so_far: &Conversation<'_>) -> Result<Block<'a>> {
    let id = message.required_text("tool_call_id")?;
    let called = so_far.blocks().any(|block| matches!(block, Block::ToolUse { id: known, .. } if *known == id));
    if !called {
        return Err(message.wrong("tool_call_id", format_args!("no call before it has the id {id}")));
    }
    Ok(Block::ToolResult { id: id.into(), parts: content(message, false)?, failed: false })
}

fn tools<'a>(fields: &Fields<'a>, into: &mut Conversation<'a>) -> Result<()> {
    for tool in fields.objects("tools")? {
        tool.word("type", &["function"])?;
        let function = tool.object("function")?.ok_or_else(|| tool.missing("function"))?;
        let name = function.required_text("name")?;
        if into.tool_names().any(|known| known == name) {
            return Err(function.wrong("name", format_args!("{name} is the name of another tool")));
        }
        let schema = match function.object("parameters")? {
            Some(_) => function.get("parameters").cloned().unwrap_or_default(),
            None => json!({"type": "object"}),
        };
        let description = function.text("description")?.unwrap_or_default();
        into.tools.push(Tool::Spec { name: name.into(), description: description.into(), schema });
    }
    into.choice = match fields.get("tool_choice") {
        Some(Value::Object(_)) => {
            let choice = fields.object("tool_choice")?.and_then(|choice| choice.object("function").transpose());
            let name = choice.ok_or_else(|| fields.missing("tool_choice/function"))??.required_text("name")?;
            if !into.tool_names().any(|known| known == name) {
                return Err(fields.wrong("tool_choice", format_args!("no tool is called {name}")));
            }
            Choice::Named(name.into())
        }
        _ => match fields.word("tool_choice", &["auto", "any", "required", "none"])? {
            Some("any" | "required") => Choice::Any,
            Some("none") => Choice::Never,
            _ => Choice::Auto,
        },
    };
    Ok(())
}

fn head(answered: &Answered<'_>, shape: Shape, object: &str) -> Value {
    let mut head = json!({});
    if shape.reason == "finish_reason" {
        head["id"] = json!(format!("chatcmpl-{}", answered.request_id));
    }
    if shape.named {
        head["object"] = json!(object);
        head["model"] = json!(answered.model.id.split_once('.').map_or(&*answered.model.id, |(_, name)| name));
    }
    head
}

fn call(serial: u64, name: &str, arguments: &str) -> Value {
    json!({"id": ids::named("call_", serial), "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn usage(answered: &Answered<'_>) -> Value {
    let usage = answered.generation.usage();
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}

/// The answer, whole.
pub(super) fn answer(answered: &Answered<'_>, shape: Shape) -> Value {
    let reply = &answered.generation.reply;
    let calls: Vec<Value> = answered.calls().map(|(serial, name, input)| call(serial, name, input)).collect();
    let text = reply.text();
    let mut message = json!({
        "role": "assistant",
        // A message that only calls tools says nothing.
        "content": if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) },
        "tool_calls": if calls.is_empty() { Value::Null } else { json!(calls) },
    });
    for said in &reply.blocks {
        if let Said::Reasoning { text, .. } = said {
            message["reasoning_content"] = json!(text);
        }
    }
    let mut body = head(answered, shape, "chat.completion");
    body["choices"] = json!([{"index": 0, "message": message, (shape.reason): answered.finish_reason()}]);
    if shape.usage {
        body["usage"] = usage(answered);
    }
    body
}

/// The answer, streamed.
pub(super) fn events(answered: &Answered<'_>, shape: Shape) -> Vec<Frame> {
    let mut frames = Frames::new(answered.generation.reply.tokens);
    let event = |delta: Value, reason: Option<&str>| {
        let mut event = head(answered, shape, "chat.completion.chunk");
        event["choices"] = json!([{"index": 0, (shape.delta): delta, (shape.reason): reason}]);
        event
    };
    frames.push(Part::Structure, chunk(&event(json!({"role": "assistant", "content": ""}), None)), 0);
    let mut calls = 0;
    for said in &answered.generation.reply.blocks {
        match said {
            Said::Text(text) => {
                push_text(&mut frames, text, |piece, _| event(json!({"role": "assistant", "content": piece}), None));
            }
            Said::Reasoning { text, .. } => {
                push_text(&mut frames, text, |piece, _| event(json!({"reasoning_content": piece}), None));
            }
            Said::Tool { serial, name, input } => {
                let mut call = call(*serial, name, input);
                call["index"] = json!(calls);
                calls += 1;
                frames.push(Part::Content, chunk(&event(json!({"tool_calls": [call]}), None)), said.tokens());
            }
        }
    }
    let mut last = event(json!({"content": ""}), Some(answered.finish_reason()));
    if shape.usage {
        last["usage"] = usage(answered);
    }
    finish(frames, answered, last)
}
