//! Claude: Anthropic's Messages in and out.
//!
//! Sources: fixtures `im_claude`, `is_claude`; AWS's "Anthropic Claude Messages API". Only for a
//! successor of another family: one of Claude's own takes the body as it is. Images, documents,
//! thinking, cache control and beta switches are refused.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fields::{Fields, is_empty, not_carried};
use super::request::{Asked, inference};
use super::shape::{Codec, Head};
use super::stream::Open;
use crate::answer::{Answer, AnswerBlock, Event, StopReason};
use crate::bedrock::short;
use crate::canonical::{
    Block, InputSchema, Message, Request, Role, SystemBlock, Tool, ToolChoice, ToolConfig, ToolResult, ToolResultBlock,
    ToolSpec, ToolUse,
};
use crate::invalid::Invalid;
use crate::usage::Usage;

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    body.text("anthropic_version")?;
    body.only("anthropic_beta", is_empty)?;
    body.only("thinking", |thinking| thinking["type"] == "disabled")?;
    let limit = body.count("max_tokens")?;
    let limit = limit.ok_or_else(|| Invalid::value("max_tokens", "a whole number of at least 1 is needed"))?;
    let (temperature, top_p) = (body.fraction("temperature")?, body.fraction("top_p")?);
    let mut request = Request {
        inference_config: inference(Some(limit), temperature, top_p, body.texts("stop_sequences")?),
        ..Request::default()
    };
    let top_k = body.count("top_k")?.map(|top_k| ("top_k", top_k));
    if let Some(system) = body.take("system") {
        request.system = texts("system", system)?.into_iter().map(|text| SystemBlock::Text(text.into())).collect();
    }
    for (index, message) in body.list("messages")?.into_iter().enumerate() {
        read_message(&format!("messages[{index}]"), message, &mut request.messages)?;
    }
    if request.messages.first().is_none_or(|message| message.role != Role::User) {
        return Err(Invalid::value("messages", "a conversation starts with a message of the user"));
    }
    request.tool_config = read_tools(&mut body)?;
    body.finish()?;
    Ok(Asked { top_k, ..Asked::new(&request, Codec::Claude) })
}

fn read_message(path: &str, message: Value, into: &mut Vec<Message<'static>>) -> Result<(), Invalid> {
    let mut message = Fields::object_at(path, message)?;
    let role = match message.needed_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let says = format!("{:?} is not a role; there are user and assistant", short(other));
            return Err(Invalid::value(message.at("role"), says));
        }
    };
    let at = message.at("content");
    let content = match message.take("content") {
        Some(Value::String(text)) if !text.trim().is_empty() => vec![Block::Text(text.into())],
        Some(Value::Array(blocks)) if !blocks.is_empty() => {
            let block = |(index, block)| read_block(&format!("{at}[{index}]"), block);
            blocks.into_iter().enumerate().map(block).collect::<Result<_, _>>()?
        }
        _ => return Err(Invalid::value(at, "a text, or a list of blocks, is needed")),
    };
    message.finish()?;
    match into.last_mut() {
        Some(last) if last.role == role => last.content.extend(content),
        _ => into.push(Message { role, content }),
    }
    Ok(())
}

fn read_block(path: &str, block: Value) -> Result<Block<'static>, Invalid> {
    let mut block = Fields::object_at(path, block)?;
    let kind = block.needed_text("type")?;
    let read = match kind.as_str() {
        "text" => Block::Text(block.needed_text("text")?.into()),
        "tool_use" => {
            let input = block.take("input").filter(Value::is_object);
            let input = input.ok_or_else(|| Invalid::value(block.at("input"), "an object is needed"))?;
            let (id, name) = (block.needed_text("id")?, block.needed_text("name")?);
            Block::ToolUse(ToolUse { tool_use_id: id.into(), name: name.into(), input: raw(&input) })
        }
        "tool_result" => {
            block.only("is_error", |value| *value == Value::Bool(false))?;
            let id = block.needed_text("tool_use_id")?;
            let at = block.at("content");
            let mut content: Vec<_> = match block.take("content") {
                Some(content) => texts(&at, content)?,
                None => Vec::new(),
            };
            if content.is_empty() {
                content.push(String::new());
            }
            let content = content.into_iter().map(|text| ToolResultBlock::Text(text.into())).collect();
            Block::ToolResult(ToolResult { tool_use_id: id.into(), content })
        }
        _ => return Err(not_carried(block.at("type"))),
    };
    block.finish()?;
    Ok(read)
}

/// A text, or a list of text blocks.
fn texts(path: &str, value: Value) -> Result<Vec<String>, Invalid> {
    let blocks = match value {
        Value::String(text) => return Ok(vec![text]),
        Value::Array(blocks) => blocks,
        _ => return Err(Invalid::value(path, "a text, or a list of text blocks, is needed")),
    };
    let text = |(index, block)| {
        let mut block = Fields::object_at(&format!("{path}[{index}]"), block)?;
        if block.needed_text("type")? != "text" {
            return Err(not_carried(block.at("type")));
        }
        let text = block.needed_text("text")?;
        block.finish().map(|()| text)
    };
    blocks.into_iter().enumerate().map(text).collect()
}

fn read_tools(body: &mut Fields) -> Result<Option<ToolConfig<'static>>, Invalid> {
    let tool = |(index, tool)| {
        let mut tool = Fields::object_at(&format!("tools[{index}]"), tool)?;
        tool.only("type", |kind| kind == "custom")?;
        let name = tool.needed_text("name")?;
        let description = tool.text("description")?.map(Cow::Owned);
        let schema = tool.take("input_schema").filter(Value::is_object);
        let schema = schema.ok_or_else(|| Invalid::value(tool.at("input_schema"), "a JSON schema is needed"))?;
        tool.finish()?;
        let input_schema = InputSchema { json: Cow::Owned(raw(&schema)) };
        Ok(Tool::ToolSpec(ToolSpec { name: name.into(), description, input_schema, strict: false }))
    };
    let tools: Vec<_> = body.list("tools")?.into_iter().enumerate().map(tool).collect::<Result<_, Invalid>>()?;
    let mut none = false;
    let mut tool_choice = None;
    if let Some(mut choice) = body.object("tool_choice")? {
        choice.only("disable_parallel_tool_use", |value| *value == Value::Bool(false))?;
        tool_choice = match choice.needed_text("type")?.as_str() {
            "auto" => Some(ToolChoice::Auto {}),
            "any" => Some(ToolChoice::Any {}),
            "tool" => Some(ToolChoice::Tool { name: choice.needed_text("name")?.into() }),
            "none" => {
                none = true;
                None
            }
            _ => return Err(Invalid::value("tool_choice.type", "there are auto, any, tool and none")),
        };
        choice.finish()?;
    }
    Ok((!tools.is_empty() && !none).then_some(ToolConfig { tools, tool_choice }))
}

fn raw(value: &Value) -> Box<RawValue> {
    // A value that was parsed can be written.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

fn reason(stop: &StopReason) -> &str {
    match stop {
        StopReason::ContentFiltered => "refusal",
        StopReason::GuardrailIntervened | StopReason::MalformedModelOutput | StopReason::MalformedToolUse => "end_turn",
        stop => stop.as_converse(),
    }
}

fn usage(usage: Option<Usage>) -> Value {
    let Some(usage) = usage else { return Value::Null };
    let mut stated = json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    });
    if usage.cache_write() > 0 && usage.cache_write_unknown == 0 {
        stated["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        });
    }
    stated
}

fn message(head: Head<'_>, content: &[Value], stop_reason: Option<&str>, usage: &Value) -> Value {
    json!({
        "id": format!("msg_bdrk_{}", head.request_id),
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        "stop_reason": stop_reason,
        // Converse does not say which sequence it was.
        "stop_sequence": null,
        "usage": usage,
    })
}

pub(super) fn answer(head: Head<'_>, answer: &Answer<'_>) -> Value {
    let block = |block: &AnswerBlock<'_>| match block {
        AnswerBlock::Text(text) => json!({"type": "text", "text": text}),
        AnswerBlock::ToolUse { id, name, input } => {
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
        }
    };
    let content: Vec<_> = answer.blocks.iter().map(block).collect();
    message(head, &content, Some(reason(&answer.stop_reason)), &usage(answer.served.usage))
}

/// The event that opens a stream. What the input came to is not known before its end.
pub(super) fn start(head: Head<'_>) -> Value {
    let usage = json!({"input_tokens": 0, "output_tokens": 0});
    json!({"type": "message_start", "message": message(head, &[], None, &usage)})
}

/// What an event of the answer comes to. `open` numbers blocks anew: some are not carried over.
pub(super) fn event(event: &Event<'_>, open: &mut Open, out: &mut Vec<Value>) {
    match event {
        Event::Text { block, text } => {
            let (index, new) = open.index(*block);
            if new {
                let block = json!({"type": "text", "text": ""});
                out.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            }
            let delta = json!({"type": "text_delta", "text": text});
            out.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        Event::ToolStart { block, id, name } => {
            let (index, _) = open.index(*block);
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            out.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        }
        Event::ToolInput { block, json } => {
            let (index, _) = open.index(*block);
            let delta = json!({"type": "input_json_delta", "partial_json": json});
            out.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        Event::BlockStop { block } => {
            if let Some(index) = open.close(*block) {
                out.push(json!({"type": "content_block_stop", "index": index}));
            }
        }
        Event::MessageStart | Event::MessageStop(_) | Event::Metadata(_) | Event::Other { .. } => {}
    }
}

/// The events that end a stream.
pub(super) fn last(stop: &StopReason, stated: Option<Usage>) -> [Value; 2] {
    let delta = json!({"stop_reason": reason(stop), "stop_sequence": null});
    let mut ends = json!({"type": "message_delta", "delta": delta});
    if stated.is_some() {
        ends["usage"] = usage(stated);
    }
    [ends, json!({"type": "message_stop"})]
}
