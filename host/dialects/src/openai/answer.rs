//! Writes a whole answer as a chat completion.

use bytes::Bytes;
use serde::Serialize;

use super::finish_reason;
use crate::answer::{Answer, AnswerBlock};
use crate::json;
use crate::usage::Usage;

/// Who answers, and when: what every chunk of an answer repeats.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Kairos's request id.
    pub request_id: &'a str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answers.
    pub model: &'a str,
}

/// About what an answer takes but for what the model says, in bytes.
const APART_FROM_TEXT: usize = 512;

/// The prefix that makes a request id a completion's id.
pub(super) const ID_PREFIX: &str = "chatcmpl-";

#[derive(Serialize)]
struct Completion<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: MessageOut<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// OpenAI counts cached tokens among the prompt's; Bedrock counts them apart.
#[derive(Clone, Copy, Serialize)]
pub(super) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
}

#[derive(Clone, Copy, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

impl From<Usage> for UsageOut {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.all_input(),
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cache_read },
        }
    }
}

/// Writes the answer.
pub fn completion(head: Head<'_>, answer: &Answer<'_>) -> Bytes {
    let mut text: Option<String> = None;
    let mut tool_calls = Vec::new();
    for block in &answer.blocks {
        match block {
            AnswerBlock::Text(part) => text.get_or_insert_default().push_str(part),
            AnswerBlock::ToolUse { id, name, input } => {
                tool_calls.push(ToolCall { id, kind: "function", function: Function { name, arguments: input.get() } });
            }
        }
    }
    if tool_calls.is_empty() {
        text.get_or_insert_default();
    }
    let completion = Completion {
        id: format!("{ID_PREFIX}{}", head.request_id),
        object: "chat.completion",
        created: head.created,
        model: head.model,
        choices: [Choice {
            index: 0,
            message: MessageOut { role: "assistant", content: text, refusal: None, tool_calls },
            logprobs: None,
            finish_reason: finish_reason(&answer.stop_reason),
        }],
        usage: answer.served.usage.map(Into::into),
        service_tier: answer.served.tier.map(|tier| tier.as_bedrock()),
    };
    let about = completion.choices[0].message.content.as_ref().map_or(0, String::len) + APART_FROM_TEXT;
    json(&completion, about).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bedrock::parse_answer;

    const HEAD: Head<'_> = Head { request_id: "r", created: 1, model: "m" };

    fn write(body: &str) -> String {
        String::from_utf8(completion(HEAD, &parse_answer(body.as_bytes()).unwrap()).to_vec()).unwrap()
    }

    #[test]
    fn text() {
        let body = r#"{"output":{"message":{"content":[{"text":"a"},{"text":"b"}]}},"stopReason":"max_tokens","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":15,"cacheReadInputTokens":10},"metrics":{"latencyMs":1},"serviceTier":{"type":"flex"}}"#;
        insta::assert_snapshot!(write(body), @r#"{"id":"chatcmpl-r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ab","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":13,"completion_tokens":2,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":10}},"service_tier":"flex"}"#);
    }

    #[test]
    fn tool_calls() {
        let body = r#"{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"n","input":{"a":[1,2.50]}}}]}},"stopReason":"tool_use","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}"#;
        insta::assert_snapshot!(write(body), @r#"{"id":"chatcmpl-r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"n","arguments":"{\"a\":[1,2.50]}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0}}}"#);
    }
}
