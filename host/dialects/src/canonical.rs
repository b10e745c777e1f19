//! A request in the canonical form: Bedrock's Converse request, as far as other dialects reach it.
//!
//! Serialising a [`Request`] gives a Converse body. Bedrock's own callers never pass through here:
//! their bytes go upstream as they came.

use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::invalid::Invalid;
use crate::outline::{Needs, Outline, ServiceTier};

/// A Converse request.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// The conversation; roles alternate, the first is the user's.
    pub messages: Vec<Message<'a>>,
    /// The system prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<SystemBlock<'a>>,
    /// Limits and sampling.
    #[serde(skip_serializing_if = "Inference::is_empty")]
    pub inference_config: Inference<'a>,
    /// Tools that the model may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig<'a>>,
    /// Labels for Bedrock's invocation logs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_metadata: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// The service tier, where it is not the standard one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Tier>,
    /// The form of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_config: Option<OutputConfig<'a>>,
}

/// One message.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    /// Whose it is.
    pub role: Role,
    /// Its blocks, in order.
    pub content: Vec<Block<'a>>,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user's, tool results included.
    User,
    /// The model's.
    Assistant,
}

/// A block of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Block<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A tool that the model called.
    ToolUse(ToolUse<'a>),
    /// What the tool gave.
    ToolResult(ToolResult<'a>),
}

/// A call of a tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUse<'a> {
    /// Pairs the call with its result.
    pub tool_use_id: Cow<'a, str>,
    /// The tool.
    pub name: Cow<'a, str>,
    /// Its arguments: a JSON object.
    pub input: Box<RawValue>,
}

/// The result of a tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResult<'a> {
    /// The call that this answers.
    pub tool_use_id: Cow<'a, str>,
    /// What it gave.
    pub content: Vec<ToolResultBlock<'a>>,
}

/// A block of a tool's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ToolResultBlock<'a> {
    /// Text.
    Text(Cow<'a, str>),
}

/// A block of the system prompt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SystemBlock<'a> {
    /// Text.
    Text(Cow<'a, str>),
}

/// Limits and sampling.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inference<'a> {
    /// Most output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// In [0, 1]. The caller's own digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<serde_json::Number>,
    /// In [0, 1]. The caller's own digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<serde_json::Number>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<Cow<'a, str>>,
}

impl Inference<'_> {
    fn is_empty(&self) -> bool {
        self.max_tokens.is_none()
            && self.temperature.is_none()
            && self.top_p.is_none()
            && self.stop_sequences.is_empty()
    }
}

/// Tools and how to choose among them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolConfig<'a> {
    /// At least one.
    pub tools: Vec<Tool<'a>>,
    /// Left to the model when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
}

/// A tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tool<'a> {
    /// A function with a JSON schema.
    ToolSpec(ToolSpec<'a>),
}

/// A function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec<'a> {
    /// 1 to 64 characters `a–z A–Z 0–9 _ -`.
    pub name: Cow<'a, str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    /// Its parameters.
    pub input_schema: InputSchema<'a>,
    /// Whether the model must keep to the schema.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// A JSON schema.
#[derive(Debug, Serialize)]
pub struct InputSchema<'a> {
    /// The schema, as the caller wrote it.
    pub json: Cow<'a, RawValue>,
}

/// How to choose among tools.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ToolChoice<'a> {
    /// The model may call one.
    Auto {},
    /// The model calls one.
    Any {},
    /// The model calls this one.
    Tool {
        /// The tool.
        name: Cow<'a, str>,
    },
}

/// A service tier.
#[derive(Debug, Serialize)]
pub struct Tier {
    /// Bedrock's name of it.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl From<ServiceTier> for Tier {
    fn from(tier: ServiceTier) -> Self {
        Self { kind: tier.as_bedrock() }
    }
}

/// The form of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputConfig<'a> {
    /// JSON that keeps to a schema.
    pub text_format: TextFormat<'a>,
}

/// A JSON schema for the answer.
#[derive(Debug, Serialize)]
pub struct TextFormat<'a> {
    /// Always `json_schema`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The schema.
    pub structure: Structure<'a>,
}

/// Wraps the schema, as Converse does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Structure<'a> {
    /// The schema.
    pub json_schema: JsonSchema<'a>,
}

/// A named schema; Converse takes it as text.
#[derive(Debug, Serialize)]
pub struct JsonSchema<'a> {
    /// The schema as JSON text.
    pub schema: Cow<'a, str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
}

impl Request<'_> {
    /// Whether what is said begins as a conversation does: with the user.
    pub fn begins(&self) -> Result<(), Invalid> {
        match self.messages.first().map(|message| message.role) {
            None => Err(Invalid::value("messages", "at least one message of the user is needed")),
            Some(Role::Assistant) => Err(Invalid::value("messages[0].role", "a conversation starts with the user")),
            Some(Role::User) => Ok(()),
        }
    }

    /// What the gateway needs to know of this request. `streaming` is how the answer is wanted.
    pub fn outline(&self, streaming: bool) -> Outline {
        let mut outline = Outline {
            turns: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            max_output_tokens: self.inference_config.max_tokens,
            ..Outline::default()
        };
        for block in &self.system {
            let SystemBlock::Text(text) = block;
            Outline::push_text(&mut outline.system, &mut outline.text_bytes, text);
        }
        let has_text = |block: &Block<'_>| matches!(block, Block::Text(text) if !text.is_empty());
        let last_user = self
            .messages
            .iter()
            .rposition(|message| message.role == Role::User && message.content.iter().any(has_text));
        for (index, message) in self.messages.iter().enumerate() {
            for block in &message.content {
                match block {
                    Block::Text(text) if Some(index) == last_user => {
                        Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, text);
                    }
                    Block::Text(text) => outline.text_bytes += text.len() as u64,
                    Block::ToolUse(call) => outline.text_bytes += call.input.get().len() as u64,
                    Block::ToolResult(result) => {
                        for ToolResultBlock::Text(text) in &result.content {
                            outline.text_bytes += text.len() as u64;
                        }
                    }
                }
            }
        }
        if !self.system.is_empty() {
            outline.needs.add(Needs::SYSTEM_PROMPT);
        }
        if self.tool_config.is_some() {
            outline.needs.add(Needs::TOOLS);
        }
        if self.output_config.is_some() {
            outline.needs.add(Needs::STRUCTURED_OUTPUT);
        }
        if streaming {
            outline.needs.add(Needs::STREAMING);
        }
        if let Some(tier) = self.service_tier.as_ref().and_then(|tier| ServiceTier::from_bedrock(tier.kind)) {
            outline.service_tier = tier;
        }
        outline
    }
}
