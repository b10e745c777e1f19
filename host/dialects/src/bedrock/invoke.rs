//! InvokeModel: bodies in the shape of each model family, passed through as they are.
//!
//! Only what pricing and routing need is read: the output limit, the text, and token counts. The
//! order of trust for counts is AWS's headers (or `amazon-bedrock-invocationMetrics` in a stream),
//! then the family's own body; the split of cache writes by time is only in Claude's body.
//! Shapes: `fixtures/bedrock` `im_*` and `is_*`.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use super::families::Family;
use crate::invalid::{Invalid, InvalidKind};
use crate::outline::{Needs, Outline};
use crate::usage::Usage;

/// Reads what the gateway needs of an InvokeModel body. Where the model's family is known, its own
/// fields say how long and how many the answers may be; else the largest of all families' fields.
pub fn outline(bytes: &[u8], streaming: bool, family: Option<Family>) -> Result<Outline, Invalid> {
    let value: Value = Invalid::parse(bytes)?;
    let Value::Object(body) = &value else {
        return Err(Invalid {
            kind: InvalidKind::Value,
            path: None,
            message: "the body is not a JSON object".to_owned(),
        });
    };
    refuse_duplicates(bytes)?;
    let media = count_media(body);
    // Bodies hold what their family defines: media, tools and fields that are not read here. Only
    // the model's own limits bound what they may cost.
    let mut outline = Outline {
        max_output_tokens: output_limit(&value, family)?,
        completions: completions(body, family),
        unbounded_input: !body.keys().all(|key| TEXT_FIELDS.contains(&key.as_str())) || media > 0,
        images: media,
        wide_context: body.contains_key("anthropic_beta"),
        turns: 1,
        ..Outline::default()
    };
    if streaming {
        outline.needs.add(Needs::STREAMING);
    }
    if let Some(system) = body.get("system") {
        for_each_text(system, &mut |text| Outline::push_text(&mut outline.system, &mut outline.text_bytes, text));
    }
    if let Some(Value::Array(messages)) = body.get("messages") {
        outline.turns = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let last_user = messages.iter().rposition(|message| message["role"] == "user" && has_text(&message["content"]));
        for (index, message) in messages.iter().enumerate() {
            let content = &message["content"];
            if Some(index) == last_user {
                for_each_text(content, &mut |text| {
                    Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, text);
                });
            } else {
                for_each_text(content, &mut |text| outline.text_bytes += text.len() as u64);
            }
        }
    }
    for name in ["inputText", "prompt", "message"] {
        if let Some(Value::String(text)) = body.get(name) {
            Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, text);
        }
    }
    Ok(outline)
}

/// Fields whose text and numbers bound the input by the body's length, in the families' bodies.
const TEXT_FIELDS: [&str; 33] = [
    "anthropic_version",
    "anthropic_beta",
    "max_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
    "maxTokens",
    "textGenerationConfig",
    "inferenceConfig",
    "system",
    "messages",
    "tools",
    "tool_choice",
    "inputText",
    "prompt",
    "message",
    "chat_history",
    "temperature",
    "top_p",
    "topP",
    "top_k",
    "p",
    "k",
    "n",
    "numResults",
    "num_generations",
    "stop",
    "stop_sequences",
    "stopSequences",
    "schemaVersion",
    "thinking",
    "countPenalty",
    "presencePenalty",
    "frequencyPenalty",
];

/// How many answers a body asks for at once.
fn completions(body: &serde_json::Map<String, Value>, family: Option<Family>) -> u32 {
    let names: &[&str] = family.map_or(&["n", "numResults", "num_generations"], Family::completions);
    names
        .iter()
        .filter_map(|name| body.get(*name)?.as_u64())
        .max()
        .map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

/// How many blocks of messages are something other than text and tools.
fn count_media(body: &serde_json::Map<String, Value>) -> u32 {
    fn in_content(content: &Value) -> u32 {
        let blocks = content.as_array().into_iter().flatten().map(|block| {
            let kind = block["type"].as_str();
            let media = matches!(kind, Some(kind) if !matches!(kind, "text" | "tool_use" | "tool_result" | "thinking" | "redacted_thinking"))
                || ["image", "document", "video", "audio"].iter().any(|name| block.get(name).is_some());
            u32::from(media).saturating_add(in_content(&block["content"]))
        });
        blocks.fold(0, u32::saturating_add)
    }
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.map(|message| in_content(&message["content"])).fold(0, u32::saturating_add)
}

/// Refuses a body in which an object names a field twice: what is read here and what the model
/// reads could then differ.
pub(super) fn refuse_duplicates(body: &[u8]) -> Result<(), Invalid> {
    Invalid::parse::<NoDuplicates>(body).map(|_| ())
}

struct NoDuplicates;

impl<'de> Deserialize<'de> for NoDuplicates {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = NoDuplicates;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<NoDuplicates, A::Error> {
                let mut seen = std::collections::BTreeSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    map.next_value::<NoDuplicates>()?;
                    if !seen.insert(key) {
                        return Err(serde::de::Error::custom("a field is named twice"));
                    }
                }
                Ok(NoDuplicates)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<NoDuplicates, A::Error> {
                while list.next_element::<NoDuplicates>()?.is_some() {}
                Ok(NoDuplicates)
            }

            fn visit_bool<E>(self, _: bool) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }

            fn visit_i64<E>(self, _: i64) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }

            fn visit_u64<E>(self, _: u64) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }

            fn visit_f64<E>(self, _: f64) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }

            fn visit_str<E>(self, _: &str) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }

            fn visit_unit<E>(self) -> Result<NoDuplicates, E> {
                Ok(NoDuplicates)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Where the families put their output limit.
const OUTPUT_LIMITS: [&str; 8] = [
    "/max_tokens",
    "/max_tokens_to_sample",
    "/max_completion_tokens",
    "/max_gen_len",
    "/maxTokens",
    "/textGenerationConfig/maxTokenCount",
    "/inferenceConfig/maxTokens",
    "/inferenceConfig/max_new_tokens",
];

fn output_limit(body: &Value, family: Option<Family>) -> Result<Option<u32>, Invalid> {
    let mut most = None;
    for pointer in family.map_or(&OUTPUT_LIMITS[..], Family::output_limits) {
        let Some(value) = body.pointer(pointer).filter(|value| !value.is_null()) else { continue };
        let limit = value.as_u64().and_then(|limit| u32::try_from(limit).ok()).ok_or_else(|| {
            Invalid::value(pointer[1..].replace('/', "."), "a whole number that is not negative is needed")
        })?;
        most = most.max(Some(limit));
    }
    Ok(most)
}

fn has_text(content: &Value) -> bool {
    let mut found = false;
    for_each_text(content, &mut |text| found |= !text.is_empty());
    found
}

/// Visits the texts of a message's content: a string, or blocks with a `text`.
fn for_each_text(content: &Value, visit: &mut impl FnMut(&str)) {
    match content {
        Value::String(text) => visit(text),
        Value::Array(blocks) => {
            for text in blocks.iter().filter_map(|block| block["text"].as_str()) {
                visit(text);
            }
        }
        _ => {}
    }
}

/// Token counts that AWS states beside a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Input tokens that no cache served.
    #[serde(rename = "inputTokenCount")]
    pub input: Option<u64>,
    /// Output tokens.
    #[serde(rename = "outputTokenCount")]
    pub output: Option<u64>,
    /// Input tokens read from the cache.
    #[serde(rename = "cacheReadInputTokenCount")]
    pub cache_read: Option<u64>,
    /// Input tokens written to the cache.
    #[serde(rename = "cacheWriteInputTokenCount")]
    pub cache_write: Option<u64>,
}

impl Counts {
    /// Reads the count that a response header of InvokeModel carries, by the header's lower-case name.
    pub fn read_header(&mut self, name: &str, value: &str) {
        let slot = match name {
            "x-amzn-bedrock-input-token-count" => &mut self.input,
            "x-amzn-bedrock-output-token-count" => &mut self.output,
            "x-amzn-bedrock-cache-read-input-token-count" => &mut self.cache_read,
            "x-amzn-bedrock-cache-write-input-token-count" => &mut self.cache_write,
            _ => return,
        };
        *slot = value.parse().ok();
    }

    /// These counts where they are given, those of `other` elsewhere.
    fn or(self, other: Self) -> Self {
        Self {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cache_read: self.cache_read.or(other.cache_read),
            cache_write: self.cache_write.or(other.cache_write),
        }
    }

    /// Usage, where input and output are both known. `hour` are the cache writes that the body
    /// says were for an hour, `five` those for five minutes.
    fn usage(self, split: Option<CacheSplit>) -> Option<Usage> {
        let written = self.cache_write.unwrap_or(0);
        let split = split.unwrap_or_default();
        Some(Usage {
            input: self.input?,
            output: self.output?,
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: split.five_minutes,
            cache_write_1h: split.hour,
            cache_write_unknown: written.saturating_sub(split.five_minutes.saturating_add(split.hour)),
            guardrail: Default::default(),
            units: Default::default(),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct CacheSplit {
    five_minutes: u64,
    hour: u64,
}

/// Usage of a whole answer.
pub fn usage(headers: Counts, body: &[u8]) -> Option<Usage> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    headers.or(body_counts(&body)).usage(cache_split(&body["usage"]))
}

/// Counts that a family's body states, for the families that do.
fn body_counts(body: &Value) -> Counts {
    let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| body.pointer(pointer)?.as_u64());
    let mut counts = Counts {
        // Claude, Nova, Jamba and other OpenAI-like shapes, Llama, Titan.
        input: first(&[
            "/usage/input_tokens",
            "/usage/inputTokens",
            "/usage/prompt_tokens",
            "/prompt_token_count",
            "/inputTextTokenCount",
        ]),
        output: first(&[
            "/usage/output_tokens",
            "/usage/outputTokens",
            "/usage/completion_tokens",
            "/generation_token_count",
        ]),
        cache_read: first(&["/usage/cache_read_input_tokens", "/usage/cacheReadInputTokenCount"]),
        cache_write: first(&["/usage/cache_creation_input_tokens", "/usage/cacheWriteInputTokenCount"]),
    };
    if let Some(results) = body["results"].as_array() {
        counts.output = results.iter().map(|result| result["tokenCount"].as_u64()).sum();
    }
    // Jurassic-2 lists its tokens instead of counting them.
    if let (Some(prompt), Some(completions)) = (body.pointer("/prompt/tokens"), body["completions"].as_array()) {
        counts.input = prompt.as_array().map(|tokens| tokens.len() as u64);
        counts.output = completions
            .iter()
            .map(|one| one.pointer("/data/tokens")?.as_array().map(|tokens| tokens.len() as u64))
            .sum();
    }
    counts
}

fn cache_split(usage: &Value) -> Option<CacheSplit> {
    let creation = usage.get("cache_creation")?;
    Some(CacheSplit {
        five_minutes: creation["ephemeral_5m_input_tokens"].as_u64().unwrap_or(0),
        hour: creation["ephemeral_1h_input_tokens"].as_u64().unwrap_or(0),
    })
}

/// Follows a stream of InvokeModel chunks for what it says of usage, and of its own end.
#[derive(Debug, Default)]
pub struct ChunkReader {
    counts: Counts,
    from_body: Counts,
    split: Option<CacheSplit>,
    metrics: bool,
    ended: bool,
}

/// What a chunk was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whether it is part of the answer, so that the answer has begun.
    pub content: bool,
}

#[derive(Deserialize)]
struct ChunkView<'a> {
    #[serde(borrow, default)]
    bytes: std::borrow::Cow<'a, str>,
}

impl ChunkReader {
    /// Takes the payload of a `chunk` event.
    pub fn read(&mut self, payload: &[u8]) -> Result<Chunk, Invalid> {
        let view: ChunkView<'_> = Invalid::parse(payload)?;
        let json = base64::engine::general_purpose::STANDARD
            .decode(view.bytes.as_bytes())
            .map_err(|error| Invalid::value("bytes", format!("not base64: {error}")))?;
        // Most chunks hold a piece of text and nothing to count: these are not parsed.
        let tells = [&b"usage"[..], b"oken", b"\"message_st", b"\"ping\"", b"eason\""];
        if !tells.iter().any(|needle| memchr::memmem::find(&json, needle).is_some()) {
            return Ok(Chunk { content: true });
        }
        let Ok(chunk) = serde_json::from_slice::<Value>(&json) else {
            return Ok(Chunk { content: true });
        };
        self.read_json(&chunk);
        let opening = matches!(chunk["type"].as_str(), Some("message_start" | "ping"));
        Ok(Chunk { content: !opening })
    }

    fn read_json(&mut self, chunk: &Value) {
        if let Some(metrics) = chunk.get("amazon-bedrock-invocationMetrics") {
            self.counts = Counts::deserialize(metrics).unwrap_or_default().or(self.counts);
            self.metrics = true;
            self.ended = true;
        }
        // Claude states input in message_start and output in message_delta; others repeat or end.
        // Nova states both in its metadata.
        for part in [chunk, &chunk["message"], &chunk["metadata"]] {
            self.from_body = body_counts(part).or(self.from_body);
            self.split = cache_split(&part["usage"]).or(self.split);
        }
        if let Some(output) = chunk["totalOutputTextTokenCount"].as_u64() {
            self.from_body.output = Some(output);
        }
        let stopped = chunk["type"] == "message_stop"
            || [
                "/completionReason",
                "/stop_reason",
                "/stopReason",
                "/finish_reason",
                "/choices/0/finish_reason",
                "/choices/0/stop_reason",
                "/outputs/0/stop_reason",
                "/messageStop/stopReason",
            ]
            .iter()
            .any(|pointer| chunk.pointer(pointer).is_some_and(|reason| !reason.is_null()));
        self.ended |= stopped;
    }

    /// Whether the model said that it stopped. A stream that ends otherwise broke off.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether AWS's own counts came: nothing does after them.
    pub fn has_metrics(&self) -> bool {
        self.metrics
    }

    /// What the stream said of usage.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.or(self.from_body).usage(self.split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_seen_however_the_json_is_spaced() {
        for end in [r#"{"type": "message_stop"}"#, r#"{"finish_reason" : "COMPLETE"}"#] {
            let mut reader = ChunkReader::default();
            let bytes = base64::engine::general_purpose::STANDARD.encode(end);
            reader.read(format!(r#"{{"bytes":"{bytes}"}}"#).as_bytes()).unwrap();
            assert!(reader.ended(), "{end}");
        }
    }

    #[test]
    fn limits_and_text_are_read_in_every_family() {
        let cases: &[(&str, Option<u32>, &str, &str)] = &[
            (
                r#"{"anthropic_version":"x","max_tokens":64,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#,
                Some(64),
                "hi",
                "s",
            ),
            (
                r#"{"anthropic_version":"x","system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"hi"}]}"#,
                None,
                "hi",
                "s",
            ),
            (r#"{"inputText":"hi","textGenerationConfig":{"maxTokenCount":9}}"#, Some(9), "hi", ""),
            (r#"{"prompt":"hi","maxTokens":3}"#, Some(3), "hi", ""),
            (r#"{"prompt":"hi","max_gen_len":4}"#, Some(4), "hi", ""),
            (r#"{"message":"hi","max_tokens":5}"#, Some(5), "hi", ""),
            (
                r#"{"schemaVersion":"messages-v1","messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"max_new_tokens":6}}"#,
                Some(6),
                "hi",
                "",
            ),
        ];
        for (body, limit, prompt, system) in cases {
            let outline = outline(body.as_bytes(), false, None).unwrap();
            assert_eq!(
                (outline.max_output_tokens, &*outline.prompt, &*outline.system),
                (*limit, *prompt, *system),
                "{body}"
            );
        }
        assert_eq!(outline(b"[1]", false, None).unwrap_err().text(), "the body is not a JSON object");
        assert_eq!(
            outline(br#"{"textGenerationConfig":{"maxTokenCount":-1}}"#, false, None).unwrap_err().text(),
            "textGenerationConfig.maxTokenCount: a whole number that is not negative is needed"
        );
    }

    #[test]
    fn headers_win_and_the_body_splits_cache_writes() {
        let body = br#"{"usage":{"input_tokens":99,"cache_creation_input_tokens":1052,"cache_read_input_tokens":2048,
            "cache_creation":{"ephemeral_5m_input_tokens":28,"ephemeral_1h_input_tokens":1024},"output_tokens":98}}"#;
        let headers = Counts { input: Some(10), output: Some(5), cache_read: Some(2048), cache_write: Some(1052) };
        let expected = Usage {
            input: 10,
            output: 5,
            cache_read: 2048,
            cache_write_5m: 28,
            cache_write_1h: 1024,
            ..Usage::default()
        };
        assert_eq!(usage(headers, body), Some(expected));
        assert_eq!(usage(Counts::default(), body), Some(Usage { input: 99, output: 98, ..expected }));
        // Without the split the writes are there, of unknown time: priced as the dearest, flagged.
        let unsplit = usage(headers, b"{}").unwrap();
        assert_eq!((unsplit.cache_write_unknown, unsplit.cache_write_5m), (1052, 0));
        assert_eq!(usage(Counts::default(), b"{\"text\":\"hello\"}"), None);
        assert_eq!(usage(Counts::default(), b"not json"), None);
    }

    #[test]
    fn bodies_count_in_their_own_words() {
        let cases: &[(&str, u64, u64)] = &[
            (r#"{"inputTextTokenCount":3,"results":[{"tokenCount":7},{"tokenCount":1}]}"#, 3, 8),
            (r#"{"generation":"x","prompt_token_count":3,"generation_token_count":2}"#, 3, 2),
            (r#"{"usage":{"prompt_tokens":3,"completion_tokens":2}}"#, 3, 2),
            (r#"{"usage":{"inputTokens":3,"outputTokens":2,"cacheReadInputTokenCount":0}}"#, 3, 2),
            (
                r#"{"prompt":{"tokens":[1,2]},"completions":[{"data":{"tokens":[1,2,3]}},{"data":{"tokens":[4]}}]}"#,
                2,
                4,
            ),
        ];
        for (body, input, output) in cases {
            let usage = usage(Counts::default(), body.as_bytes()).unwrap();
            assert_eq!((usage.input, usage.output), (*input, *output), "{body}");
        }
    }
}
