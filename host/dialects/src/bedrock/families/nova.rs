//! Nova: a body much like Converse's, with names of its own for limits and cached tokens.
//!
//! Sources: fixture `im_nova`; AWS's "Complete request schema" of the Amazon Nova user guide. Messages,
//! system prompts and tools have Converse's shape and are carried over as they are, images included.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::request::{Asked, inference};
use super::shape::Codec;
use crate::answer::{Answer, AnswerBlock, Event, StopReason};
use crate::invalid::Invalid;
use crate::usage::Usage;

/// What has Converse's shape.
const SHARED: [&str; 3] = ["messages", "system", "toolConfig"];

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    body.only("schemaVersion", |version| version == "messages-v1")?;
    let mut converse = Map::new();
    for name in SHARED {
        if let Some(value) = body.take(name) {
            converse.insert(name.to_owned(), value);
        }
    }
    let mut top_k = None;
    if let Some(mut config) = body.object("inferenceConfig")? {
        let (limit, older) = (config.count("maxTokens")?, config.count("max_new_tokens")?);
        if limit.is_some() && older.is_some() {
            return Err(Invalid::value("inferenceConfig.maxTokens", "give this or max_new_tokens, not both"));
        }
        let temperature = config.fraction("temperature")?;
        let (top_p, older_top_p) = (config.fraction("topP")?, config.fraction("top_p")?);
        let (k, older_k) = (config.count("topK")?, config.count("top_k")?);
        top_k = k.or(older_k).map(|top_k| ("inferenceConfig.topK", top_k));
        let stop = config.texts("stopSequences")?;
        config.finish()?;
        let inference = inference(limit.or(older), temperature, top_p.or(older_top_p), stop);
        converse.insert("inferenceConfig".to_owned(), serde_json::to_value(inference).unwrap_or_default());
    }
    body.finish()?;
    Ok(Asked { converse: Value::Object(converse), codec: Codec::Nova, top_k, warnings: Vec::new() })
}

fn usage(usage: Option<Usage>) -> Value {
    usage.map_or(Value::Null, |usage| {
        json!({
            "inputTokens": usage.input,
            "outputTokens": usage.output,
            "totalTokens": usage.total(),
            "cacheReadInputTokenCount": usage.cache_read,
            "cacheWriteInputTokenCount": usage.cache_write(),
        })
    })
}

pub(super) fn answer(answer: &Answer<'_>) -> Value {
    let block = |block: &AnswerBlock<'_>| match block {
        AnswerBlock::Text(text) => json!({"text": text}),
        AnswerBlock::ToolUse { id, name, input } => json!({"toolUse": {"toolUseId": id, "name": name, "input": input}}),
    };
    let content: Vec<_> = answer.blocks.iter().map(block).collect();
    json!({
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": answer.stop_reason.as_converse(),
        "usage": usage(answer.served.usage),
    })
}

/// The event that opens a stream.
pub(super) fn start() -> Value {
    json!({"messageStart": {"role": "assistant"}})
}

/// What an event of the answer comes to.
pub(super) fn event(event: &Event<'_>, out: &mut Vec<Value>) {
    out.push(match event {
        Event::Text { block, text } => {
            json!({"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": block}})
        }
        Event::ToolStart { block, id, name } => {
            let start = json!({"toolUse": {"toolUseId": id, "name": name}});
            json!({"contentBlockStart": {"start": start, "contentBlockIndex": block}})
        }
        Event::ToolInput { block, json } => {
            let delta = json!({"toolUse": {"input": json}});
            json!({"contentBlockDelta": {"delta": delta, "contentBlockIndex": block}})
        }
        Event::BlockStop { block } => json!({"contentBlockStop": {"contentBlockIndex": block}}),
        Event::MessageStart | Event::MessageStop(_) | Event::Metadata(_) | Event::Other { .. } => return,
    });
}

/// The events that end a stream.
pub(super) fn last(stop: &StopReason, stated: Option<Usage>) -> [Value; 2] {
    [
        json!({"messageStop": {"stopReason": stop.as_converse()}}),
        json!({"metadata": {"usage": usage(stated), "metrics": {}, "trace": {}}}),
    ]
}
