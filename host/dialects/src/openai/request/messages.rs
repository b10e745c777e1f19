//! Messages: system prompts apart, neighbours of one role joined, as Converse wants them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::refuse_rest;
use super::shape::{Content, MessageIn, ToolCallIn};
use crate::bedrock::short;
use crate::canonical::{Block, Message, Role, SystemBlock, ToolResult, ToolResultBlock, ToolUse};
use crate::invalid::Invalid;

/// Collects messages: system prompts apart, neighbours of one role joined, as Converse wants them.
#[derive(Default)]
pub(super) struct Reader<'a> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) system: Vec<SystemBlock<'a>>,
    pub(super) tools_used: BTreeSet<String>,
    pub(super) warnings: Vec<String>,
    /// System messages that stood within the conversation.
    moved: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn message(&mut self, index: usize, message: MessageIn<'a>) -> Result<(), Invalid> {
        let path = format!("messages[{index}]");
        refuse_rest(&format!("{path}."), &message.rest)?;
        if message.annotations.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Invalid::unsupported(
                format!("{path}.annotations"),
                "annotations are not carried out; leave them out",
            ));
        }
        let role = &*message.role;
        for (name, present, fits) in [
            ("tool_calls", message.tool_calls.is_some(), role == "assistant"),
            ("tool_call_id", message.tool_call_id.is_some(), role == "tool"),
            ("refusal", message.refusal.is_some(), role == "assistant"),
        ] {
            if present && !fits {
                return Err(Invalid::value(
                    format!("{path}.{name}"),
                    format!("a message of role {:?} has none", short(role)),
                ));
            }
        }
        let texts = message.content.map_or(Ok(Vec::new()), |content| texts(&path, content))?;
        match role {
            "system" | "developer" => self.system_message(&path, texts),
            "user" => {
                if texts.is_empty() {
                    return Err(Invalid::value(format!("{path}.content"), "text is needed"));
                }
                self.push(Role::User, texts.into_iter().map(Block::Text));
                Ok(())
            }
            "assistant" => {
                let refusal = message.refusal.filter(|text| !text.is_empty());
                self.assistant_message(&path, texts, refusal, message.tool_calls.unwrap_or_default())
            }
            "tool" => {
                let id = message.tool_call_id.filter(|id| !id.is_empty());
                let id =
                    id.ok_or_else(|| Invalid::value(format!("{path}.tool_call_id"), "the id of the call is needed"))?;
                // Bedrock wants at least one block; a tool may well have nothing to say.
                let mut content: Vec<_> = texts.into_iter().map(ToolResultBlock::Text).collect();
                if content.is_empty() {
                    content.push(ToolResultBlock::Text(Cow::Borrowed("")));
                }
                self.push(Role::User, [Block::ToolResult(ToolResult { tool_use_id: id, content })]);
                Ok(())
            }
            "function" => Err(Invalid::unsupported(
                format!("{path}.role"),
                "messages of role \"function\" are not carried out; use \"tool\"",
            )),
            other => Err(Invalid::value(
                format!("{path}.role"),
                format!("{:?} is not a role; there are system, developer, user, assistant and tool", short(other)),
            )),
        }
    }

    fn system_message(&mut self, path: &str, texts: Vec<Cow<'a, str>>) -> Result<(), Invalid> {
        if texts.is_empty() {
            return Err(Invalid::value(format!("{path}.content"), "text is needed"));
        }
        if !self.messages.is_empty() {
            self.moved += 1;
        }
        self.system.extend(texts.into_iter().map(SystemBlock::Text));
        Ok(())
    }

    fn assistant_message(
        &mut self,
        path: &str,
        texts: Vec<Cow<'a, str>>,
        refusal: Option<Cow<'a, str>>,
        calls: Vec<ToolCallIn<'a>>,
    ) -> Result<(), Invalid> {
        let mut blocks: Vec<_> = texts.into_iter().chain(refusal).map(Block::Text).collect();
        for (index, call) in calls.into_iter().enumerate() {
            let path = format!("{path}.tool_calls[{index}]");
            if call.kind.as_deref().is_some_and(|kind| kind != "function") {
                return Err(Invalid::unsupported(format!("{path}.type"), "only calls of functions are carried out"));
            }
            let Some(function) = call.function else {
                return Err(Invalid::value(format!("{path}.function"), "the function that was called is needed"));
            };
            let arguments = if function.arguments.trim().is_empty() { "{}" } else { &*function.arguments };
            let input = serde_json::from_str::<Map<String, Value>>(arguments)
                .ok()
                .and_then(|_| RawValue::from_string(arguments.to_owned()).ok())
                .ok_or_else(|| {
                    Invalid::value(format!("{path}.function.arguments"), "a JSON object, as text, is needed")
                })?;
            self.tools_used.insert(function.name.to_string());
            blocks.push(Block::ToolUse(ToolUse { tool_use_id: call.id, name: function.name, input }));
        }
        if blocks.is_empty() {
            return Err(Invalid::value(format!("{path}.content"), "text or tool calls are needed"));
        }
        self.push(Role::Assistant, blocks);
        Ok(())
    }

    fn push(&mut self, role: Role, blocks: impl IntoIterator<Item = Block<'a>>) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => self.messages.push(Message { role, content: blocks.into_iter().collect() }),
        }
    }

    pub(super) fn finish(&mut self) {
        if self.moved > 0 {
            let moved = self.moved;
            self.warnings
                .push(format!("messages: system messages within the conversation were moved to its start: {moved}"));
        }
    }
}

/// The texts of a message's content. Empty ones are left out: Bedrock refuses them.
fn texts<'a>(path: &str, content: Content<'a>) -> Result<Vec<Cow<'a, str>>, Invalid> {
    let parts = match content {
        Content::Text(text) => return Ok(if text.is_empty() { Vec::new() } else { vec![text] }),
        Content::Parts(parts) => parts,
    };
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let path = format!("{path}.content[{index}]");
        let text = match &*part.kind {
            "text" => part.text,
            "refusal" => part.refusal,
            other => {
                return Err(Invalid::unsupported(
                    format!("{path}.type"),
                    format!("parts of type {:?} are not carried out; text is", short(other)),
                ));
            }
        };
        refuse_rest(&format!("{path}."), &part.rest)?;
        let text = text.ok_or_else(|| Invalid::value(format!("{path}.{}", part.kind), "text is needed"))?;
        if !text.is_empty() {
            texts.push(text);
        }
    }
    Ok(texts)
}
