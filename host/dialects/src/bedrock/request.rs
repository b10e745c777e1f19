//! Reads what the gateway needs of a Converse body; the body itself goes upstream as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::invalid::Invalid;
use crate::outline::{Needs, Outline, ServiceTier};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a Converse request")]
struct View<'a> {
    #[serde(default, borrow)]
    messages: Option<Vec<MessageView<'a>>>,
    #[serde(default, borrow)]
    system: Option<Vec<BlockView<'a>>>,
    #[serde(default)]
    inference_config: Option<InferenceView>,
    #[serde(default)]
    tool_config: Option<ToolConfigView>,
    #[serde(default)]
    guardrail_config: Option<IgnoredAny>,
    #[serde(default)]
    prompt_variables: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    service_tier: Option<TierView<'a>>,
    #[serde(default)]
    output_config: Option<OutputView>,
    #[serde(default, borrow)]
    performance_config: Option<PerformanceView<'a>>,
    #[serde(default)]
    additional_model_request_fields: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct PerformanceView<'a> {
    #[serde(default, borrow)]
    latency: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(expecting = "a message")]
struct MessageView<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Vec<BlockView<'a>>,
}

/// A content block of any kind: one of these is present.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a content block")]
struct BlockView<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default)]
    image: Option<MediaView>,
    #[serde(default)]
    document: Option<MediaView>,
    #[serde(default)]
    video: Option<MediaView>,
    #[serde(default)]
    audio: Option<MediaView>,
    #[serde(default, borrow)]
    tool_use: Option<ToolUseView<'a>>,
    #[serde(default, borrow)]
    tool_result: Option<ToolResultView<'a>>,
    #[serde(default, borrow)]
    guard_content: Option<GuardView<'a>>,
    #[serde(default, borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(default)]
    cache_point: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct MediaView {}

#[derive(Deserialize)]
#[serde(expecting = "a tool use")]
struct ToolUseView<'a> {
    #[serde(default, borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tool result")]
struct ToolResultView<'a> {
    #[serde(default, borrow)]
    content: Vec<ToolResultBlockView<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a content block")]
struct ToolResultBlockView<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    json: Option<&'a RawValue>,
    #[serde(default)]
    image: Option<MediaView>,
    #[serde(default)]
    document: Option<MediaView>,
    #[serde(default)]
    video: Option<MediaView>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct GuardView<'a> {
    #[serde(default, borrow)]
    text: Option<GuardTextView<'a>>,
    #[serde(default)]
    image: Option<MediaView>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct GuardTextView<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an inference configuration")]
struct InferenceView {
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    stop_sequences: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tool configuration")]
struct ToolConfigView {
    tools: Vec<ToolView>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a tool")]
struct ToolView {
    #[serde(default)]
    cache_point: Option<IgnoredAny>,
    #[serde(default)]
    system_tool: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct TierView<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an output configuration")]
struct OutputView {
    #[serde(default)]
    text_format: Option<IgnoredAny>,
}

/// Reads a Converse or ConverseStream body. What is wrong with it is said before it costs a call;
/// what only Bedrock can judge is left to Bedrock.
pub fn outline(body: &[u8], streaming: bool) -> Result<Outline, Invalid> {
    let view: View<'_> = Invalid::parse(body)?;
    let messages = view.messages.unwrap_or_default();
    if messages.is_empty() && view.prompt_variables.is_none() {
        return Err(Invalid::value("messages", "at least one message is needed"));
    }
    let mut outline = Outline {
        turns: u32::try_from(messages.len()).unwrap_or(u32::MAX),
        unbounded_input: view.prompt_variables.is_some(),
        ..Outline::default()
    };
    if streaming {
        outline.needs.add(Needs::STREAMING);
    }
    for block in view.system.iter().flatten() {
        outline.needs.add(Needs::SYSTEM_PROMPT);
        outline.read_block(block, Text::System);
    }
    outline.read_messages(&messages)?;
    if let Some(inference) = view.inference_config {
        inference.check()?;
        outline.max_output_tokens = inference.max_tokens;
    }
    if let Some(tools) = view.tool_config {
        outline.needs.add(Needs::TOOLS);
        if tools.tools.iter().any(|tool| tool.cache_point.is_some()) {
            outline.needs.add(Needs::PROMPT_CACHING);
        }
        if tools.tools.iter().any(|tool| tool.system_tool.is_some()) {
            outline.needs.add(Needs::SERVER_TOOLS);
            outline.unbounded_input = true;
        }
    }
    if let Some(fields) = &view.additional_model_request_fields {
        outline.read_additional(fields);
    }
    outline.optimized_latency = view.performance_config.is_some_and(|config| config.latency == "optimized");
    if view.guardrail_config.is_some() {
        outline.needs.add(Needs::GUARDRAILS);
    }
    if view.output_config.is_some_and(|output| output.text_format.is_some()) {
        outline.needs.add(Needs::STRUCTURED_OUTPUT);
    }
    if let Some(tier) = view.service_tier {
        outline.service_tier = ServiceTier::from_bedrock(&tier.kind).ok_or_else(|| {
            Invalid::value(
                "serviceTier.type",
                format!(
                    "{:?} is not a service tier; there are default, priority, flex and reserved",
                    short(&tier.kind)
                ),
            )
        })?;
    }
    Ok(outline)
}

impl MessageView<'_> {
    fn has_text(&self) -> bool {
        self.content.iter().any(|block| block.text.as_ref().is_some_and(|text| !text.is_empty()))
    }
}

/// Fields of `additionalModelRequestFields` that raise neither input nor output: sampling,
/// penalties, reasoning effort (which the output limit bounds).
const HARMLESS_FIELDS: [&str; 11] = [
    "top_k",
    "topK",
    "temperature",
    "top_p",
    "stop_sequences",
    "thinking",
    "reasoning_config",
    "reasoning_effort",
    "reasoningConfig",
    "output_config",
    "inferenceConfig",
];

/// Where a block's text belongs.
#[derive(Clone, Copy)]
enum Text {
    System,
    Prompt,
    Elsewhere,
}

impl Outline {
    fn read_messages(&mut self, messages: &[MessageView<'_>]) -> Result<(), Invalid> {
        let last_user = messages.iter().rposition(|message| message.role == "user" && message.has_text());
        for (index, message) in messages.iter().enumerate() {
            if !matches!(&*message.role, "user" | "assistant" | "system") {
                return Err(Invalid::value(
                    format!("messages[{index}].role"),
                    format!("{:?} is not a role; there are user, assistant and system", short(&message.role)),
                ));
            }
            if message.content.is_empty() {
                return Err(Invalid::value(
                    format!("messages[{index}].content"),
                    "at least one content block is needed",
                ));
            }
            let text = if Some(index) == last_user { Text::Prompt } else { Text::Elsewhere };
            for block in &message.content {
                self.read_block(block, text);
            }
        }
        Ok(())
    }

    fn read_block(&mut self, block: &BlockView<'_>, place: Text) {
        if let Some(text) = &block.text {
            self.read_text(text, place);
        }
        for (media, need) in [
            (&block.image, Needs::IMAGES),
            (&block.document, Needs::DOCUMENTS),
            (&block.video, Needs::VIDEO),
            (&block.audio, Needs::AUDIO),
        ] {
            self.read_media(media.as_ref(), need);
        }
        if let Some(input) = block.tool_use.as_ref().and_then(|call| call.input) {
            self.text_bytes += input.get().len() as u64;
        }
        for result in block.tool_result.iter().flat_map(|result| &result.content) {
            self.text_bytes += result.text.as_ref().map_or(0, |text| text.len() as u64);
            self.text_bytes += result.json.map_or(0, |json| json.get().len() as u64);
            self.read_media(result.image.as_ref(), Needs::IMAGES);
            self.read_media(result.document.as_ref(), Needs::DOCUMENTS);
            self.read_media(result.video.as_ref(), Needs::VIDEO);
        }
        if let Some(guarded) = &block.guard_content {
            if let Some(text) = &guarded.text {
                self.read_text(&text.text, place);
            }
            self.read_media(guarded.image.as_ref(), Needs::IMAGES);
        }
        if let Some(reasoning) = block.reasoning_content {
            self.text_bytes += reasoning.get().len() as u64;
        }
        if block.cache_point.is_some() {
            self.needs.add(Needs::PROMPT_CACHING);
        }
    }

    fn read_additional(&mut self, fields: &serde_json::Value) {
        let Some(fields) = fields.as_object() else { return };
        for (name, value) in fields {
            match name.as_str() {
                "thinking" | "reasoning_config" | "reasoningConfig" => self.needs.add(Needs::REASONING),
                "inferenceConfig" if value.as_object().is_none_or(|map| map.keys().any(|key| key != "topK")) => {
                    self.unbounded_output = true;
                }
                "anthropic_beta" => self.wide_context = true,
                name if !HARMLESS_FIELDS.contains(&name) => {
                    self.unbounded_input = true;
                    self.unbounded_output = true;
                }
                _ => {}
            }
        }
    }

    fn read_text(&mut self, text: &str, place: Text) {
        match place {
            Text::System => Self::push_text(&mut self.system, &mut self.text_bytes, text),
            Text::Prompt => Self::push_text(&mut self.prompt, &mut self.text_bytes, text),
            Text::Elsewhere => self.text_bytes += text.len() as u64,
        }
    }

    fn read_media(&mut self, media: Option<&MediaView>, need: Needs) {
        if media.is_some() {
            self.needs.add(need);
            self.unbounded_input = true;
            self.images = self.images.saturating_add(u32::from(need == Needs::IMAGES));
        }
    }
}

impl InferenceView {
    fn check(&self) -> Result<(), Invalid> {
        if self.max_tokens == Some(0) {
            return Err(Invalid::value("inferenceConfig.maxTokens", "at least 1 is needed"));
        }
        for (name, value) in [("temperature", self.temperature), ("topP", self.top_p)] {
            if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
                return Err(Invalid::value(format!("inferenceConfig.{name}"), "a number from 0 to 1 is needed"));
            }
        }
        if self.stop_sequences.as_ref().is_some_and(|list| list.len() > 2500) {
            return Err(Invalid::value("inferenceConfig.stopSequences", "at most 2,500 are allowed"));
        }
        Ok(())
    }
}

/// The start of a caller's value, short enough for an error message.
pub(crate) fn short(value: &str) -> &str {
    &value[..value.floor_char_boundary(40)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_routing_and_pricing_need() {
        let body = br#"{"system":[{"text":"be terse"},{"cachePoint":{"type":"default"}}],
            "messages":[{"role":"user","content":[{"text":"one"},{"image":{"format":"png","source":{"s3Location":{"uri":"s3://b/k"}}}}]},
                {"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"n","input":{"a":1}}}]},
                {"role":"user","content":[{"toolResult":{"toolUseId":"t","content":[{"json":{"c":2}},{"text":"r"}]}},{"text":"two"},{"text":"three"}]}],
            "inferenceConfig":{"maxTokens":7},"toolConfig":{"tools":[{"toolSpec":{}}]},
            "serviceTier":{"type":"flex"},"guardrailConfig":{},"unknown":[1]}"#;
        let outline = outline(body, true).unwrap();
        assert_eq!((&*outline.prompt, &*outline.system), ("two\nthree", "be terse"));
        assert_eq!(outline.text_bytes, 8 + 3 + 7 + 7 + 1 + 3 + 5);
        assert_eq!((outline.turns, outline.max_output_tokens), (3, Some(7)));
        assert!(outline.unbounded_input && !outline.unbounded_output);
        assert_eq!(outline.service_tier, ServiceTier::Flex);
        let needs: Vec<_> = outline.needs.names().collect();
        assert_eq!(needs, ["system-prompt", "tools", "streaming", "images", "prompt-caching", "guardrails"]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let cases: &[(&str, &str)] = &[
            ("{}", "messages: at least one message is needed"),
            (r#"{"messages":[]}"#, "messages: at least one message is needed"),
            (
                r#"{"messages":[{"role":"user","content":[]}]}"#,
                "messages[0].content: at least one content block is needed",
            ),
            (
                r#"{"messages":[{"role":"tool","content":[{"text":"x"}]}]}"#,
                "messages[0].role: \"tool\" is not a role; there are user, assistant and system",
            ),
            (
                r#"{"messages":[{"role":"user","content":"x"}]}"#,
                "messages[0].content: invalid type: string, expected a sequence at line 1 column 41",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":5}]}]}"#,
                "messages[0].content[0].text: invalid type: integer, expected a string at line 1 column 48",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"maxTokens":"9"}}"#,
                "inferenceConfig.maxTokens: invalid type: string, expected u32 at line 1 column 89",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"temperature":1.5}}"#,
                "inferenceConfig.temperature: a number from 0 to 1 is needed",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"serviceTier":{"type":"best"}}"#,
                "serviceTier.type: \"best\" is not a service tier; there are default, priority, flex and reserved",
            ),
            ("5", "invalid type: integer, expected a Converse request at line 1 column 1"),
        ];
        for (body, expected) in cases {
            assert_eq!(outline(body.as_bytes(), false).unwrap_err().text(), *expected, "{body}");
        }
    }
}
