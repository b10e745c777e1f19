//! Writes stream events as chat completion chunks, in server-sent events.

use serde::Serialize;

use super::answer::{Head, ID_PREFIX, UsageOut};
use super::{error, finish_reason};
use crate::answer::Event;
use crate::failure::Failure;
use crate::usage::Usage;

/// The content type of a stream of server-sent events.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// A comment that keeps the connection open. Clients skip it.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Null in every chunk but the last, where usage was asked for; absent where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageOut>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// A tool call that is being written.
struct OpenTool {
    block: u32,
    index: u32,
    has_arguments: bool,
}

/// Writes the chunks of one answer.
pub struct ChunkWriter {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
    started: bool,
    tools: u32,
    /// Most models write one after the other; nothing says that all do.
    open: Vec<OpenTool>,
}

impl ChunkWriter {
    /// A writer for one answer.
    pub fn new(head: Head<'_>, include_usage: bool) -> Self {
        Self {
            id: format!("{ID_PREFIX}{}", head.request_id),
            created: head.created,
            model: head.model.to_owned(),
            include_usage,
            started: false,
            tools: 0,
            open: Vec::new(),
        }
    }

    /// Appends what an event comes to. Several chunks, or none.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Text { text, .. } => self.delta(Delta { content: Some(text), ..Delta::default() }, out),
            Event::ToolStart { block, id, name } => {
                let index = self.tools;
                self.open.push(OpenTool { block: *block, index, has_arguments: false });
                self.tools += 1;
                let function = Function { name: Some(name), arguments: "" };
                self.tool(ToolCall { index, id: Some(id), kind: Some("function"), function }, out);
            }
            Event::ToolInput { block, json } => {
                let Some(open) = self.open.iter_mut().find(|open| open.block == *block) else { return };
                if !json.is_empty() {
                    open.has_arguments = true;
                    let index = open.index;
                    self.arguments(index, json, out);
                }
            }
            Event::BlockStop { block } => {
                if let Some(place) = self.open.iter().position(|open| open.block == *block) {
                    let open = self.open.remove(place);
                    // A tool without parameters: the whole answer says `{}`, so the stream does.
                    if !open.has_arguments {
                        self.arguments(open.index, "{}", out);
                    }
                }
            }
            Event::MessageStop(reason) => {
                self.start(out);
                self.choice(Delta::default(), Some(finish_reason(reason)), out);
            }
            Event::MessageStart | Event::Metadata(_) | Event::Other { .. } => {}
        }
    }

    /// Appends the end of a stream that is complete: usage where it was asked for and is known, a
    /// comment for whoever reads the wire, and OpenAI's end mark.
    pub fn finish(&mut self, usage: Option<Usage>, comment: &str, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.include_usage, usage) {
            self.chunk(&[], Some(Some(usage.into())), out);
        }
        out.extend_from_slice(b": ");
        out.extend(comment.bytes().filter(|byte| !byte.is_ascii_control()));
        out.extend_from_slice(b"\n\ndata: [DONE]\n\n");
    }

    /// Appends a failure. No end mark follows: the answer is not complete.
    pub fn fail(failure: &Failure, comment: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error::body(failure));
        out.extend_from_slice(b"\n\n: ");
        out.extend(comment.bytes().filter(|byte| !byte.is_ascii_control()));
        out.extend_from_slice(b"\n\n");
    }

    fn arguments(&mut self, index: u32, json: &str, out: &mut Vec<u8>) {
        let function = Function { name: None, arguments: json };
        self.tool(ToolCall { index, id: None, kind: None, function }, out);
    }

    fn tool(&mut self, call: ToolCall<'_>, out: &mut Vec<u8>) {
        self.delta(Delta { tool_calls: Some([call]), ..Delta::default() }, out);
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        self.start(out);
        self.choice(delta, None, out);
    }

    /// The first chunk says whose message it is.
    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            self.choice(Delta { role: Some("assistant"), content: Some(""), tool_calls: None }, None, out);
        }
    }

    fn choice(&self, delta: Delta<'_>, finish_reason: Option<&'static str>, out: &mut Vec<u8>) {
        let choice = Choice { index: 0, delta, logprobs: None, finish_reason };
        self.chunk(&[choice], self.include_usage.then_some(None), out);
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Option<UsageOut>>, out: &mut Vec<u8>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        out.extend_from_slice(b"data: ");
        // Serialising plain structs into memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, &chunk);
        out.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Served, StopReason};

    fn write(events: &[Event<'_>], include_usage: bool) -> String {
        let mut writer = ChunkWriter::new(Head { request_id: "r", created: 1, model: "m" }, include_usage);
        let mut out = Vec::new();
        for event in events {
            writer.event(event, &mut out);
        }
        writer.finish(Some(Usage { input: 3, output: 2, ..Usage::default() }), "cost_usd=0.1\n", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text() {
        let events = [
            Event::MessageStart,
            Event::Text { block: 0, text: "a\n".into() },
            Event::Other { content: true },
            Event::Text { block: 0, text: "b".into() },
            Event::BlockStop { block: 0 },
            Event::MessageStop(StopReason::EndTurn),
            Event::Metadata(Served::default()),
        ];
        insta::assert_snapshot!(write(&events, true), @r#"
        data: {"id":"chatcmpl-r","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-r","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-r","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-r","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

        data: {"id":"chatcmpl-r","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0}}}

        : cost_usd=0.1

        data: [DONE]
        "#);
    }

    /// Nothing says that a model writes its calls one after the other.
    #[test]
    fn tools_that_are_written_side_by_side() {
        let input = |block, json: &'static str| Event::ToolInput { block, json: json.into() };
        let start = |block, id: &'static str| Event::ToolStart { block, id: id.into(), name: "f".into() };
        let stop = |block| Event::BlockStop { block };
        let written = write(
            &[start(0, "a"), start(1, "b"), input(0, "{0"), input(1, "{1"), stop(0), input(1, "}"), stop(1)],
            false,
        );
        for call in [
            r#"{"index":0,"function":{"arguments":"{0"}}"#,
            r#"{"index":1,"function":{"arguments":"{1"}}"#,
            r#"{"index":1,"function":{"arguments":"}"}}"#,
        ] {
            assert!(written.contains(call), "{call}: {written}");
        }
        assert!(!written.contains("{}"), "{written}");
    }

    #[test]
    fn tools() {
        let events = [
            Event::MessageStart,
            Event::Text { block: 0, text: "let me see".into() },
            Event::BlockStop { block: 0 },
            Event::ToolStart { block: 1, id: "t1".into(), name: "weather".into() },
            Event::ToolInput { block: 1, json: "".into() },
            Event::ToolInput { block: 1, json: "{\"c\"".into() },
            Event::ToolInput { block: 1, json: ":1}".into() },
            Event::BlockStop { block: 1 },
            Event::ToolStart { block: 2, id: "t2".into(), name: "now".into() },
            Event::BlockStop { block: 2 },
            Event::MessageStop(StopReason::ToolUse),
        ];
        let written = write(&events, false);
        let deltas: Vec<serde_json::Value> = written
            .split("\n\n")
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line.strip_prefix("data: ")?).ok())
            .map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].clone())
            .filter(|call| !call.is_null())
            .collect();
        let said: Vec<String> = deltas.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"{"index":0,"id":"t1","type":"function","function":{"name":"weather","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{\"c\""}}"#,
                r#"{"index":0,"function":{"arguments":":1}"}}"#,
                r#"{"index":1,"id":"t2","type":"function","function":{"name":"now","arguments":""}}"#,
                r#"{"index":1,"function":{"arguments":"{}"}}"#,
            ]
        );
        assert!(written.contains(r#""finish_reason":"tool_calls""#) && !written.contains("\"usage\""));
    }
}
