//! The answer of Converse, whole.

use serde_json::{Map, Value, json};

use crate::generation::Generation;
use crate::ids;
use crate::json::{field, raw, string};
use crate::reply::Said;
use crate::usage::Usage;

/// Id of a call of a tool, as Converse makes them.
pub(crate) fn tool_use_id(serial: u64) -> String {
    ids::named("tooluse_", serial)
}

/// The body. `native` is the answer as the model's own dialect has it, for the fields asked for.
pub(crate) fn answer(generation: &Generation, native: Option<&Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    raw(&mut out, format_args!(r#"{{"output":{{"message":{{"role":"assistant","content":["#));
    for (at, said) in generation.reply.blocks.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        block(said, &mut out);
    }
    raw(&mut out, format_args!("]}}}}"));
    field(&mut out, "stopReason", generation.reply.stop.name());
    tail(generation, &mut out);
    if let Some(fields) = additional_fields(generation, native) {
        raw(&mut out, format_args!(r#","additionalModelResponseFields":{fields}"#));
    }
    out.push(b'}');
    out
}

fn block(said: &Said, out: &mut Vec<u8>) {
    match said {
        Said::Text(text) => {
            raw(out, format_args!(r#"{{"text":"#));
            string(out, text);
            out.push(b'}');
        }
        Said::Reasoning { text, signature } => {
            raw(out, format_args!(r#"{{"reasoningContent":{{"reasoningText":{{"text":"#));
            string(out, text);
            if let Some(signature) = signature {
                field(out, "signature", signature);
            }
            raw(out, format_args!("}}}}}}"));
        }
        Said::Tool { serial, name, input } => {
            let id = tool_use_id(*serial);
            raw(out, format_args!(r#"{{"toolUse":{{"toolUseId":"{id}""#));
            field(out, "name", name);
            raw(out, format_args!(r#","input":{input}}}}}"#));
        }
    }
}

/// What ends an answer and a stream alike: usage, metrics, trace, and what was granted.
pub(super) fn tail(generation: &Generation, out: &mut Vec<u8>) {
    raw(out, format_args!(r#","usage":"#));
    usage(generation.usage(), out);
    raw(out, format_args!(r#","metrics":{{"latencyMs":{}}}"#, generation.latency_ms()));
    if let Some(trace) = trace(generation) {
        raw(out, format_args!(r#","trace":{trace}"#));
    }
    if generation.wishes.latency {
        // Nothing here is optimised, and AWS says what was served.
        raw(out, format_args!(r#","performanceConfig":{{"latency":"standard"}}"#));
    }
    if let Some(tier) = generation.tier_served() {
        raw(out, format_args!(r#","serviceTier":{{"type":"{tier}"}}"#));
    }
}

fn usage(usage: &Usage, out: &mut Vec<u8>) {
    let total = usage.tokens_in().saturating_add(usage.output);
    raw(out, format_args!(r#"{{"inputTokens":{},"outputTokens":{},"totalTokens":{total}"#, usage.input, usage.output));
    if usage.cache_read > 0 || usage.cache_write() > 0 {
        let (read, write) = (usage.cache_read, usage.cache_write());
        raw(out, format_args!(r#","cacheReadInputTokens":{read},"cacheWriteInputTokens":{write}"#));
        let details: Vec<Value> = [("1h", usage.cache_write_1h), ("5m", usage.cache_write_5m)]
            .into_iter()
            .filter(|(_, tokens)| *tokens > 0)
            .map(|(ttl, tokens)| json!({"ttl": ttl, "inputTokens": tokens}))
            .collect();
        if !details.is_empty() {
            raw(out, format_args!(r#","cacheDetails":{}"#, Value::Array(details)));
        }
    }
    out.push(b'}');
}

fn trace(generation: &Generation) -> Option<Value> {
    let mut trace = Map::new();
    if let Some(guardrail) = &generation.guard_trace {
        trace.insert("guardrail".into(), guardrail.clone());
    }
    if let Some(model) = &generation.routed_to {
        trace.insert("promptRouter".into(), json!({"invokedModelId": model}));
    }
    (!trace.is_empty()).then_some(Value::Object(trace))
}

/// The fields of the model's own answer that were asked for; pointers to nothing are passed over.
pub(super) fn additional_fields(generation: &Generation, native: Option<&Value>) -> Option<Value> {
    let mut out = Map::new();
    for path in &generation.wishes.paths {
        let Some(value) = native.and_then(|native| native.pointer(path)) else {
            continue;
        };
        let mut place = &mut out;
        let mut names: Vec<String> =
            path.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
        let Some(last) = names.pop() else { continue };
        for name in names {
            let next = place.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if !next.is_object() {
                *next = Value::Object(Map::new());
            }
            let Value::Object(next) = next else {
                return None;
            };
            place = next;
        }
        place.insert(last, value.clone());
    }
    (!out.is_empty()).then_some(Value::Object(out))
}
