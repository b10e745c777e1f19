//! Function tools, and the choice among them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::to_raw_value;

use super::refuse_rest;
use super::shape::{NamedChoice, ToolChoiceIn, ToolIn};
use crate::bedrock::short;
use crate::canonical::{InputSchema, Tool, ToolChoice, ToolConfig, ToolSpec};
use crate::invalid::Invalid;

/// The tools of a request, and the choice among them. `used` are those that the conversation called.
pub(super) fn tools<'a>(
    tools: Option<Vec<ToolIn<'a>>>,
    choice: Option<ToolChoiceIn<'a>>,
    used: &BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Option<ToolConfig<'a>>, Invalid> {
    let mut specs = Vec::new();
    for (index, tool) in tools.unwrap_or_default().into_iter().enumerate() {
        specs.push(Tool::ToolSpec(tool_spec(&format!("tools[{index}]"), tool)?));
    }
    let given = !specs.is_empty();
    if !given && !used.is_empty() {
        // Converse refuses a history of tool calls without the tools.
        warnings.push("tools: the tools that the conversation called were added, as Bedrock requires".to_owned());
        for name in used {
            let name = Cow::Owned(name.clone());
            specs.push(Tool::ToolSpec(ToolSpec {
                name,
                description: None,
                input_schema: any_object()?,
                strict: false,
            }));
        }
    }
    let tool_choice = match choice {
        None => None,
        Some(ToolChoiceIn::Mode(mode)) => match &*mode {
            "auto" => given.then_some(ToolChoice::Auto {}),
            "none" if !given => None,
            "none" if used.is_empty() => return Ok(None),
            "none" => {
                return Err(Invalid::unsupported(
                    "tool_choice",
                    "Bedrock cannot forbid tools in a conversation that has called some; leave out tool_choice",
                ));
            }
            "required" if given => Some(ToolChoice::Any {}),
            "required" => return Err(Invalid::value("tool_choice", "\"required\" needs tools")),
            other => {
                return Err(Invalid::value(
                    "tool_choice",
                    format!("{:?} is not a choice; there are none, auto, required, or a named function", short(other)),
                ));
            }
        },
        Some(ToolChoiceIn::Named(named)) => Some(named_choice(named, &specs)?),
    };
    Ok((!specs.is_empty()).then_some(ToolConfig { tools: specs, tool_choice }))
}

fn named_choice<'a>(choice: NamedChoice<'a>, specs: &[Tool<'a>]) -> Result<ToolChoice<'a>, Invalid> {
    let function = match (&*choice.kind, choice.function) {
        ("function", Some(function)) => function,
        ("function", None) => return Err(Invalid::value("tool_choice.function", "the function's name is needed")),
        _ => return Err(Invalid::unsupported("tool_choice.type", "only \"function\" is carried out")),
    };
    if !specs.iter().any(|Tool::ToolSpec(spec)| spec.name == function.name) {
        return Err(Invalid::value("tool_choice.function.name", "no tool of this name is in tools"));
    }
    Ok(ToolChoice::Tool { name: function.name })
}

fn tool_spec<'a>(path: &str, tool: ToolIn<'a>) -> Result<ToolSpec<'a>, Invalid> {
    if tool.kind != "function" {
        return Err(Invalid::unsupported(format!("{path}.type"), "only functions are carried out"));
    }
    refuse_rest(&format!("{path}."), &tool.rest)?;
    let function = tool.function.ok_or_else(|| Invalid::value(format!("{path}.function"), "the function is needed"))?;
    refuse_rest(&format!("{path}.function."), &function.rest)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if function.name.is_empty() || function.name.len() > 64 || !function.name.bytes().all(fits) {
        return Err(Invalid::value(
            format!("{path}.function.name"),
            "1 to 64 characters a–z, A–Z, 0–9, _ or - are needed",
        ));
    }
    let input_schema = match function.parameters {
        None => any_object()?,
        Some(schema) if schema.get().starts_with('{') => InputSchema { json: Cow::Borrowed(schema) },
        Some(_) => {
            return Err(Invalid::value(format!("{path}.function.parameters"), "a JSON schema, an object, is needed"));
        }
    };
    Ok(ToolSpec {
        name: function.name,
        description: function.description.filter(|text| !text.is_empty()),
        input_schema,
        strict: function.strict.unwrap_or(false),
    })
}

/// The schema of a function without parameters.
fn any_object<'a>() -> Result<InputSchema<'a>, Invalid> {
    let schema = to_raw_value(&serde_json::json!({"type": "object", "properties": {}}));
    let schema = schema.map_err(|error| Invalid::value("tools", error.to_string()))?;
    Ok(InputSchema { json: Cow::Owned(schema) })
}
