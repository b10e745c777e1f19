//! From a Converse request to a conversation, validated in the order AWS does.
//!
//! What a particular model cannot take is not known here.

use serde_json::Value;

use super::blocks::{Place, content_block, system};
use super::complaint::{absent, constraint, one_of};
use super::tools::tool_config;
use super::{additional_fields, turns, wire};
use crate::conversation::{Conversation, Role, Turn};
use crate::error::ApiError;
use crate::guardrail::Ask;
use crate::wishes::Wishes;

const MOST_STOP_SEQUENCES: usize = 2_500;
const MOST_PATHS: usize = 10;
const MOST_METADATA: usize = 16;

type Result<T> = std::result::Result<T, ApiError>;

/// Reads a whole request.
pub(crate) fn read(body: &[u8]) -> Result<(Conversation<'_>, Wishes)> {
    let request: wire::Request<'_> = serde_json::from_slice(body).map_err(ApiError::serialization)?;
    from_wire(request)
}

pub(crate) fn from_wire(request: wire::Request<'_>) -> Result<(Conversation<'_>, Wishes)> {
    let mut conversation = Conversation::default();
    messages(request.messages.unwrap_or_default(), &mut conversation)?;
    for (at, block) in request.system.unwrap_or_default().into_iter().enumerate() {
        conversation.system.push(system(block, at)?);
    }
    let has_tools = request.tool_config.is_some();
    if let Some(tools) = request.tool_config {
        tool_config(tools, &mut conversation)?;
    }
    turns::check(&conversation, has_tools)?;
    if let Some(config) = request.inference_config {
        inference(config, &mut conversation)?;
    }
    if let Some(fields) = &request.additional_fields {
        additional_fields::read(fields, &mut conversation)?;
    }
    if let Some(format) = request.output_config.and_then(|o| o.text_format) {
        conversation.schema = Some(output_format(format)?);
    }
    if conversation.cache_points().count() > 4 {
        return Err(ApiError::validation("A maximum of 4 cache points may be provided."));
    }
    if request.request_metadata.is_some_and(|map| map.is_empty() || map.len() > MOST_METADATA) {
        let what = "Member must have length between 1 and 16";
        return Err(constraint("'{}'", "requestMetadata", what));
    }
    let guardrail = request.guardrail_config.as_ref().map_or(Ok(None), |config| {
        let [id, version, trace] = [&config.id, &config.version, &config.trace].map(|field| field.as_deref());
        Ask::read(id, version, trace)
    })?;
    let wishes = Wishes {
        guardrail,
        paths: paths(request.response_paths)?,
        tier: Wishes::tier(request.service_tier.and_then(|t| t.kind).as_deref())?,
        latency: Wishes::latency(request.performance_config.and_then(|p| p.latency).as_deref())?,
    };
    Ok((conversation, wishes))
}

fn paths(paths: Option<Vec<wire::Str<'_>>>) -> Result<Vec<String>> {
    let place = "additionalModelResponseFieldPaths";
    let paths: Vec<String> = paths.unwrap_or_default().into_iter().map(|path| path.0.into_owned()).collect();
    if paths.len() > MOST_PATHS {
        return Err(constraint("'[…]'", place, "Member must have length less than or equal to 10"));
    }
    match paths.iter().find(|path| !path.starts_with('/') || path.len() > 256) {
        Some(bad) => Err(ApiError::validation(format!(
            "The JSON pointer {bad:?} in {place} is not valid. It must begin with a slash."
        ))),
        None => Ok(paths),
    }
}

fn messages<'a>(messages: Vec<wire::Message<'a>>, into: &mut Conversation<'a>) -> Result<()> {
    into.turns.reserve_exact(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let place = || format!("messages.{}.member.role", at + 1);
        let role = match message.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some(other) => return Err(one_of(other, &place(), &["user", "assistant", "system"])),
            None => return Err(absent(&place())),
        };
        let content = message.content.ok_or_else(|| absent(&format!("messages.{}.member.content", at + 1)))?;
        if content.is_empty() {
            return Err(ApiError::validation(format!(
                "The content field in the Message object at messages.{at} is empty. Add a \
                 ContentBlock object to the content field and try again."
            )));
        }
        let mut blocks = Vec::with_capacity(content.len());
        for (block_at, block) in content.into_iter().enumerate() {
            let place = Place { message: at, block: block_at };
            blocks.push(content_block(block, place)?);
        }
        into.turns.push(Turn { role, blocks });
    }
    Ok(())
}

fn inference<'a>(config: wire::Inference<'a>, into: &mut Conversation<'a>) -> Result<()> {
    if let Some(most) = config.max_tokens {
        let what = "Member must have value greater than or equal to 1";
        into.max_tokens = Some(
            u32::try_from(most)
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| constraint(&format!("'{most}'"), "inferenceConfig.maxTokens", what))?,
        );
    }
    let fractions = [("temperature", config.temperature, 1.0), ("topP", config.top_p, 0.99)];
    for (name, value, usual) in fractions {
        let Some(value) = value else { continue };
        let what = match value {
            v if v < 0.0 => "Member must have value greater than or equal to 0",
            v if v > 1.0 => "Member must have value less than or equal to 1",
            v => {
                into.sampling |= v < usual;
                continue;
            }
        };
        return Err(constraint(&format!("'{value}'"), &format!("inferenceConfig.{name}"), what));
    }
    let stop = config.stop_sequences.unwrap_or_default();
    let place = "inferenceConfig.stopSequences";
    if stop.len() > MOST_STOP_SEQUENCES {
        return Err(constraint("'[…]'", place, "Member must have length less than or equal to 2500"));
    }
    if stop.iter().any(|s| s.is_empty()) {
        return Err(constraint("''", place, "Member must have length greater than or equal to 1"));
    }
    into.stop = stop.into_iter().map(|s| s.0).collect();
    Ok(())
}

fn output_format(format: wire::TextFormat<'_>) -> Result<Value> {
    match format.kind.as_deref() {
        Some("json_schema") => {}
        Some(other) => {
            return Err(one_of(other, "outputConfig.textFormat.type", &["json_schema"]));
        }
        None => return Err(absent("outputConfig.textFormat.type")),
    }
    let schema = format.structure.and_then(|s| s.json_schema).and_then(|j| j.schema);
    let schema = schema.ok_or_else(|| absent("outputConfig.textFormat.structure.jsonSchema.schema"))?;
    serde_json::from_str(&schema).map_err(|e| {
        ApiError::validation(format!(
            "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON: {e}"
        ))
    })
}
