//! `additionalModelRequestFields`: what a model's own body has that Converse has no name for.
//!
//! Only what bears on the reply or its price is looked at. The same fields stand at the top of
//! Claude's own body, whose reader shares this.

use serde_json::Value;

use crate::conversation::Conversation;
use crate::error::ApiError;

const LEAST_BUDGET: u64 = 1_024;
const LONG_CONTEXT: &str = "context-1m-2025-08-07";

pub(crate) fn read(fields: &Value, into: &mut Conversation<'_>) -> Result<(), ApiError> {
    if !fields.is_object() {
        return Err(ApiError::serialization("additionalModelRequestFields is not a structure"));
    }
    for name in ["thinking", "reasoning_config", "reasoningConfig", "reasoning"] {
        if let Some(config) = fields.get(name).filter(|config| !config.is_null()) {
            into.reasoning |= reasoning(name, config, into.max_tokens)?;
        }
    }
    into.sampling |= fields.get("top_k").is_some_and(|k| !k.is_null());
    if let Some(Value::Array(betas)) = fields.get("anthropic_beta") {
        into.long_context = betas.iter().any(|beta| beta == LONG_CONTEXT);
    }
    let format = fields.pointer("/output_config/format").or_else(|| fields.get("output_format"));
    if let Some(schema) = format.and_then(|format| format.get("schema")) {
        into.schema = Some(schema.clone());
    }
    Ok(())
}

/// Whether the model is told to think.
fn reasoning(name: &str, config: &Value, max_tokens: Option<u32>) -> Result<bool, ApiError> {
    match config.get("type").and_then(Value::as_str) {
        Some("disabled") => return Ok(false),
        Some("enabled" | "adaptive") => {}
        _ if name == "reasoning" => return Ok(config.as_bool().unwrap_or(config.is_object())),
        _ => {
            return Err(ApiError::validation(format!(
                "{name}.type: Input should be 'enabled', 'adaptive' or 'disabled'"
            )));
        }
    }
    if let Some(budget) = config.get("budget_tokens") {
        let budget = budget.as_u64().filter(|budget| *budget >= LEAST_BUDGET).ok_or_else(|| {
            ApiError::validation(format!("{name}.enabled.budget_tokens: Input should be greater than or equal to 1024"))
        })?;
        if max_tokens.is_some_and(|most| u64::from(most) <= budget) {
            return Err(ApiError::validation(format!(
                "`max_tokens` must be greater than `{name}.budget_tokens`. Please consult our \
                 documentation at https://docs.claude.com/en/docs/build-with-claude/\
                 extended-thinking#max-tokens-and-context-window-size"
            )));
        }
    }
    Ok(true)
}
