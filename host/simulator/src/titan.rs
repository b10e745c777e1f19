//! Titan Text's own body.
//!
//! It must not know HTTP or other dialects.

use serde_json::{Value, json};

use crate::conversation::{Block, Conversation, Role, Turn};
use crate::converse::PIECE;
use crate::error::ApiError;
use crate::generation::Generation;
use crate::native;
use crate::reply::Stop;
use crate::script::{Frame, Frames, Part};
use crate::tokens;

fn malformed(what: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!("Malformed input request: {what}, please reformat your input and try again."))
}

/// From a body to a conversation: one message of the user.
pub(crate) fn read(body: &Value) -> Result<Conversation<'_>, ApiError> {
    let Value::Object(fields) = body else {
        return Err(malformed("expected type: JSONObject"));
    };
    for name in fields.keys() {
        if name != "inputText" && name != "textGenerationConfig" {
            return Err(malformed(format_args!("#: extraneous key [{name}] is not permitted")));
        }
    }
    let text = match fields.get("inputText") {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        Some(Value::String(_)) => return Err(malformed("#/inputText: expected minLength: 1")),
        Some(_) => return Err(malformed("#/inputText: expected type: String")),
        None => return Err(malformed("#: required key [inputText] not found")),
    };
    let blocks = vec![Block::Text(text.into())];
    let mut conversation = Conversation { turns: vec![Turn { role: Role::User, blocks }], ..Default::default() };
    match fields.get("textGenerationConfig") {
        None | Some(Value::Null) => {}
        Some(Value::Object(config)) => {
            for (name, value) in config {
                setting(name, value, &mut conversation)?;
            }
        }
        Some(_) => {
            return Err(malformed("#/textGenerationConfig: expected type: JSONObject"));
        }
    }
    Ok(conversation)
}

fn setting<'a>(name: &str, value: &'a Value, into: &mut Conversation<'a>) -> Result<(), ApiError> {
    let wrong = |what: &str| malformed(format_args!("#/textGenerationConfig/{name}: {what}"));
    match name {
        "maxTokenCount" => {
            let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
            into.max_tokens = Some(count.ok_or_else(|| wrong("expected type: Integer"))?);
        }
        "temperature" | "topP" => {
            let within = value.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n));
            within.then_some(()).ok_or_else(|| wrong("expected a number between 0 and 1"))?;
        }
        "stopSequences" => {
            let items = value.as_array().ok_or_else(|| wrong("expected type: JSONArray"))?;
            for item in items {
                let stop = item.as_str().ok_or_else(|| wrong("expected type: String"))?;
                into.stop.push(stop.into());
            }
        }
        _ => {
            return Err(malformed(format_args!("#/textGenerationConfig: extraneous key [{name}] is not permitted")));
        }
    }
    Ok(())
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::ToolUse => "FINISH",
        Stop::MaxTokens => "LENGTH",
        Stop::Sequence => "STOP_CRITERIA_MET",
        Stop::Guardrail => "CONTENT_FILTERED",
    }
}

/// The answer, whole.
pub(crate) fn answer(generation: &Generation) -> Value {
    let mut body = json!({
        "inputTextTokenCount": generation.usage().input,
        "results": [{
            "tokenCount": generation.usage().output,
            "outputText": generation.reply.text(),
            "completionReason": reason(generation.reply.stop),
        }],
    });
    native::add_guardrail(generation, &mut body);
    body
}

/// The answer, streamed.
pub(crate) fn events(generation: &Generation) -> Vec<Frame> {
    let mut frames = Frames::new(generation.reply.tokens);
    let text = generation.reply.text();
    let mut input = json!(generation.usage().input);
    for (piece, tokens) in tokens::pieces(&text, PIECE) {
        let event = json!({
            "outputText": piece,
            "index": 0,
            "totalOutputTextTokenCount": null,
            "completionReason": null,
            "inputTextTokenCount": input.take(),
        });
        frames.push(Part::Content, native::chunk(&event), tokens);
    }
    let mut bare = json!({
        "outputText": "",
        "index": 0,
        "totalOutputTextTokenCount": generation.usage().output,
        "completionReason": reason(generation.reply.stop),
        "inputTextTokenCount": input,
    });
    native::add_guardrail(generation, &mut bare);
    let mut last = bare.clone();
    last["amazon-bedrock-invocationMetrics"] = native::metrics(generation);
    frames.finish(native::chunk(&last), Some(native::chunk(&bare)))
}
