//! From an answer to the body that a family's callers read.

use bytes::Bytes;
use serde_json::{Value, json};

use super::chat::Style;
use super::{chat, claude, command, deepseek, jurassic, llama, mistral, nova, titan};
use crate::answer::{Answer, AnswerBlock, StopReason};
use crate::usage::Usage;

/// How an answer is to be given: the family's shape, and what of the request it repeats.
#[derive(Debug)]
pub struct Shape {
    pub(super) codec: Codec,
    /// Whether a guardrail was asked for, so that the answer says what it did.
    pub(super) guarded: bool,
}

/// A family's way to write an answer.
#[derive(Debug)]
pub(super) enum Codec {
    Claude,
    Nova,
    Titan,
    Llama,
    MistralText,
    Chat(Style),
    Jurassic { prompt: String },
    Command { history: Vec<Value> },
    DeepseekText { thinks: bool },
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Kairos's request id.
    pub request_id: &'a str,
    /// The model that answers.
    pub model: &'a str,
}

/// An answer's text and calls, apart.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) stop: &'a StopReason,
    pub(super) usage: Option<Usage>,
}

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    /// The block it was written in.
    pub(super) block: u32,
    pub(super) id: String,
    pub(super) name: String,
    /// Arguments, as JSON text.
    pub(super) input: String,
}

impl<'a> Said<'a> {
    fn of(answer: &'a Answer<'_>) -> Self {
        let mut said =
            Self { text: String::new(), calls: Vec::new(), stop: &answer.stop_reason, usage: answer.served.usage };
        for block in &answer.blocks {
            match block {
                AnswerBlock::Text(text) => said.text.push_str(text),
                AnswerBlock::ToolUse { id, name, input } => said.calls.push(Call {
                    block: 0,
                    id: id.to_string(),
                    name: name.to_string(),
                    input: input.get().to_owned(),
                }),
            }
        }
        said
    }
}

impl Shape {
    /// Writes a whole answer.
    pub fn answer(&self, head: Head<'_>, answer: &Answer<'_>) -> Bytes {
        let said = Said::of(answer);
        let mut body = match &self.codec {
            Codec::Claude => claude::answer(head, answer),
            Codec::Nova => nova::answer(answer),
            Codec::Titan => titan::answer(&said),
            Codec::Llama => llama::answer(&said),
            Codec::MistralText => mistral::answer(&said),
            Codec::Chat(style) => chat::answer(*style, head, &said),
            Codec::Jurassic { prompt } => jurassic::answer(head, prompt, &said),
            Codec::Command { history } => command::answer(head, history, &said),
            Codec::DeepseekText { thinks } => deepseek::answer(*thinks, &said),
        };
        self.add_guardrail(&answer.stop_reason, &mut body);
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Says what a guardrail did, as Bedrock adds it to any body.
    pub(super) fn add_guardrail(&self, stop: &StopReason, body: &mut Value) {
        if self.guarded {
            let action = if *stop == StopReason::GuardrailIntervened { "INTERVENED" } else { "NONE" };
            body["amazon-bedrock-guardrailAction"] = json!(action);
        }
    }
}

/// `stop` or `length`, as several families call it.
pub(super) fn stop_or_length(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => "length",
        _ => "stop",
    }
}

/// What a count in a body is where nothing was stated: null rather than a guess.
pub(super) fn all_input(usage: Option<Usage>) -> Value {
    usage.map_or(Value::Null, |usage| json!(usage.all_input()))
}

/// The same, of the output.
pub(super) fn output(usage: Option<Usage>) -> Value {
    usage.map_or(Value::Null, |usage| json!(usage.output))
}
