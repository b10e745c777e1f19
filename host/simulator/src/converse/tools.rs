//! The tools of a request, and which of them has to be called.

use std::borrow::Cow;

use serde_json::Value;

use super::blocks::cache_point_ttl;
use super::complaint::{absent, constraint};
use super::wire;
use crate::conversation::{Choice, Conversation, Tool};
use crate::error::ApiError;

type Result<T> = std::result::Result<T, ApiError>;

pub(super) fn check_name(name: &str, place: &dyn Fn() -> String) -> Result<()> {
    let fits =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits {
        return Ok(());
    }
    let what = "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]{1,64}";
    Err(constraint(&format!("'{name}'"), &place(), what))
}

pub(super) fn tool_config<'a>(config: wire::Tools<'a>, into: &mut Conversation<'a>) -> Result<()> {
    let tools = config.tools.ok_or_else(|| absent("toolConfig.tools"))?;
    if tools.is_empty() {
        let what = "Member must have length greater than or equal to 1";
        return Err(constraint("'[]'", "toolConfig.tools", what));
    }
    for (at, tool) in tools.into_iter().enumerate() {
        into.tools.push(one_tool(tool, at)?);
    }
    let mut names: Vec<&str> = into.tool_names().collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ApiError::validation(format!(
            "The tool {} is already defined at toolConfig.tools. Tool names must be unique.",
            pair[0]
        )));
    }
    let Some(choice) = config.choice else {
        return Ok(());
    };
    into.choice = match (choice.auto, choice.any, choice.tool) {
        (Some(_), None, None) => Choice::Auto,
        (None, Some(_), None) => Choice::Any,
        (None, None, Some(tool)) => {
            let name = tool.name.ok_or_else(|| absent("toolConfig.toolChoice.tool.name"))?;
            if !into.tool_names().any(|known| known == &*name) {
                return Err(ApiError::validation(format!(
                    "The tool {} named at toolConfig.toolChoice.tool.name is not defined in \
                     toolConfig.tools.",
                    &*name
                )));
            }
            Choice::Named(name.0)
        }
        _ => {
            return Err(ApiError::validation(
                "The ToolChoice object at toolConfig.toolChoice must set one of the following \
                 keys: auto, any, tool.",
            ));
        }
    };
    Ok(())
}

fn one_tool<'a>(tool: wire::Tool<'a>, at: usize) -> Result<Tool<'a>> {
    let place = format!("toolConfig.tools.{at}");
    match (tool.tool_spec, tool.system_tool, tool.cache_point) {
        (Some(spec), None, None) => {
            let name = spec.name.ok_or_else(|| absent(&format!("{place}.toolSpec.name")))?;
            check_name(&name, &|| format!("{place}.toolSpec.name"))?;
            let schema = spec.input_schema.and_then(|mut schema| schema.remove("json"));
            let schema = schema.ok_or_else(|| absent(&format!("{place}.toolSpec.inputSchema.json")))?;
            if schema.get("type").and_then(Value::as_str) != Some("object") {
                return Err(ApiError::validation(format!(
                    "The value at {place}.toolSpec.inputSchema.json.type must be one of the \
                     following: object."
                )));
            }
            let description = spec.description.map(|d| d.0).unwrap_or_default();
            Ok(Tool::Spec { name: name.0, description, schema })
        }
        (None, Some(tool), None) => {
            let name = tool.name.ok_or_else(|| absent(&format!("{place}.systemTool.name")))?;
            let schema = serde_json::json!({"type": "object"});
            Ok(Tool::Spec { name: name.0, description: Cow::Borrowed(""), schema })
        }
        (None, None, Some(point)) => cache_point_ttl(&point, &place).map(Tool::CachePoint),
        _ => Err(ApiError::validation(format!(
            "The Tool object at {place} must set one of the following keys: toolSpec, systemTool, \
             cachePoint."
        ))),
    }
}
