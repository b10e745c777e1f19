use jiff::civil::date;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::converse;
use crate::families::{self, Answered};

fn generator() -> Generator {
    let catalogue = Arc::new(Catalogue::load(date(2025, 3, 1)).unwrap());
    Generator {
        resolver: Resolver::new(Arc::clone(&catalogue), [].into(), true),
        catalogue,
        guardrails: vec![Guardrail::default()],
        cache: PromptCache::new(10),
        pace: Pace::Instant,
        clock: Clock::fixed("2025-03-01T00:00:00Z".parse().unwrap()),
    }
}

/// Works a conversation out and writes it down in every way there is.
fn exercise(generator: &Generator, id: &str, conversation: &Conversation<'_>, wishes: Wishes) {
    let target = generator.resolver.resolve(id).unwrap();
    let region = Region::DEFAULT;
    let Ok(made) = generator.generate(&target, region, conversation, wishes, true) else {
        return;
    };
    let model = generator.catalogue.model(made.charge.model);
    let answered = Answered { generation: &made, model, conversation, request_id: "id" };
    let own = families::answer(&answered);
    let answer = converse::answer(&made, Some(&own));
    serde_json::from_slice::<Value>(&answer).unwrap();
    for frames in [converse::events(&made, Some(&own)), families::events(&answered)] {
        assert_eq!(frames.iter().map(|f| f.tokens).sum::<u32>(), made.reply.tokens);
    }
}

/// A body of every family whose body is not Claude's.
fn native_bodies() -> Vec<(&'static str, Value)> {
    let function = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let call = json!({"id": "x", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let chat = json!({
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "call f"}]},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "x", "content": "ok"},
        ],
        "tools": [function],
        "stop": ["END"],
        "max_tokens": 50,
    });
    vec![
        ("amazon.titan-text-lite-v1", json!({"inputText": "hi", "textGenerationConfig": {"stopSequences": ["a"]}})),
        (
            "us.meta.llama3-2-11b-instruct-v1:0",
            json!({"prompt": "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>", "images": ["AAAA"]}),
        ),
        ("mistral.mixtral-8x7b-instruct-v0:1", json!({"prompt": "<s>[INST] a [/INST] b</s>[INST] c [/INST]"})),
        ("mistral.mistral-large-2402-v1:0", chat.clone()),
        ("mistral.mistral-large-2407-v1:0", chat.clone()),
        ("ai21.jamba-1-5-large-v1:0", chat.clone()),
        ("deepseek.v3-v1:0", chat),
        ("us.deepseek.r1-v1:0", json!({"prompt": "<｜User｜>hi<｜Assistant｜><think>\n", "max_tokens": 30})),
        ("ai21.j2-ultra-v1", json!({"prompt": "hi", "countPenalty": {"scale": 0}})),
        (
            "cohere.command-r-v1:0",
            json!({
                "message": "call f",
                "chat_history": [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}],
                "documents": [{"title": "t", "snippet": "s"}],
                "tools": [{"name": "f", "description": "d", "parameter_definitions": {"a": {"type": "int"}}}],
                "tool_results": [{"call": {"name": "f", "parameters": {"a": 1}}, "outputs": [{"x": "y"}]}],
            }),
        ),
        (
            "us.amazon.nova-lite-v1:0",
            json!({
                "schemaVersion": "messages-v1",
                "messages": [{"role": "user", "content": [{"text": "call f"}]}],
                "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]},
                "inferenceConfig": {"maxTokens": 40, "topK": 20},
            }),
        ),
    ]
}

/// A body with some of its bytes changed, taken out or doubled.
fn damaged(body: &str, damage: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for (at, what) in damage {
        let at = at % bytes.len();
        match what {
            0..64 => drop(bytes.remove(at)),
            64..128 => bytes.insert(at, bytes[at]),
            _ => bytes[at] = *what % 128,
        }
    }
    bytes
}

fn converse_body() -> String {
    let raw = include_bytes!("../../tests/fixtures/requests/converse_full.http");
    let start = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let body = String::from_utf8(raw[start..].to_vec()).unwrap();
    body.replace("gr123", "sim-guardrail").replace("{\"tool\": {\"name\": \"get_weather\"}}", "{\"auto\": {}}")
}

fn claude_body() -> String {
    json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 2_000,
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {
            "a": {"type": "array", "items": {"$ref": "#/properties/b"}, "minItems": 2},
            "b": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]},
        }}}],
        "messages": [
            {"role": "user", "content": "call f, say \"wörld\""},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "x", "name": "f", "input": {"a": [1]}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "x", "content": "ok"},
                {"type": "text", "text": "f"}]},
        ],
    })
    .to_string()
}

#[test]
fn whole_bodies_come_to_an_answer() {
    let generator = generator();
    let body = converse_body();
    let (conversation, wishes) = converse::read(body.as_bytes()).unwrap();
    let target = generator.resolver.resolve("global.anthropic.claude-sonnet-4-6").unwrap();
    let made = generator.generate(&target, Region::DEFAULT, &conversation, wishes, false).unwrap();
    assert!(made.reply.tokens > 0 && made.guard_trace.is_some() && made.guarded == Some(false));

    let body: Value = serde_json::from_str(&claude_body()).unwrap();
    let model = generator.catalogue.model(generator.catalogue.find("anthropic.claude-sonnet-4-6").unwrap());
    let conversation = families::read(model, &body).unwrap();
    let made = generator.generate(&target, Region::DEFAULT, &conversation, Wishes::default(), false).unwrap();
    assert_eq!(made.reply.blocks.len(), 2, "thoughts and an answer, the result being there");

    for (id, body) in native_bodies() {
        let target = generator.resolver.resolve(id).unwrap();
        let Way::Model(model, _) = target.way else { panic!() };
        let conversation = families::read(generator.catalogue.model(model), &body).unwrap();
        let made = generator.generate(&target, Region::DEFAULT, &conversation, Wishes::default(), false).unwrap();
        assert!(made.reply.tokens > 0, "{id}");
    }
}

proptest! {
    #[test]
    fn no_body_does_harm(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let generator = generator();
        let body = damaged(&converse_body(), &damage);
        if let Ok((conversation, wishes)) = converse::read(&body) {
            exercise(&generator, "global.anthropic.claude-sonnet-4-6", &conversation, wishes);
        }
        let opus = "us.anthropic.claude-opus-4-5-20251101-v1:0";
        let bodies = native_bodies().into_iter().map(|(id, body)| (id, body.to_string()));
        for (id, body) in bodies.chain([(opus, claude_body())]) {
            let Ok(body) = serde_json::from_slice::<Value>(&damaged(&body, &damage)) else { continue };
            let Way::Model(model, _) = generator.resolver.resolve(id).unwrap().way else { panic!() };
            if let Ok(conversation) = families::read(generator.catalogue.model(model), &body) {
                exercise(&generator, id, &conversation, Wishes::default());
            }
        }
    }

    #[test]
    fn any_text_has_an_answer(text in any::<String>(), limit in 1u32..300, stop in ".{1,3}") {
        let generator = generator();
        let request = json!({
            "messages": [{"role": "user", "content": [{"text": text}]}],
            "inferenceConfig": {"maxTokens": limit, "stopSequences": [stop]},
        });
        let body = request.to_string();
        if let Ok((conversation, wishes)) = converse::read(body.as_bytes()) {
            exercise(&generator, "amazon.titan-text-lite-v1", &conversation, wishes);
        }
    }
}
