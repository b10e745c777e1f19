use jiff::civil::date;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{claude, converse, native, titan};

fn generator() -> Generator {
    let catalogue = Arc::new(Catalogue::load(date(2025, 6, 1)).unwrap());
    Generator {
        resolver: Resolver::new(Arc::clone(&catalogue), [].into(), true),
        catalogue,
        guardrails: vec![Guardrail::default()],
        cache: PromptCache::new(10),
        pace: Pace::Instant,
        clock: Clock::fixed("2025-06-01T00:00:00Z".parse().unwrap()),
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
    let own = native::answer(&made, model, "id");
    let answer = converse::answer(&made, own.as_ref());
    serde_json::from_slice::<Value>(&answer).unwrap();
    let frames = [converse::events(&made, own.as_ref()), claude::events(&made, model, "id"), titan::events(&made)];
    for frames in frames {
        assert_eq!(frames.iter().map(|f| f.tokens).sum::<u32>(), made.reply.tokens);
    }
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
    let conversation = claude::read(&body).unwrap();
    let made = generator.generate(&target, Region::DEFAULT, &conversation, Wishes::default(), false).unwrap();
    assert_eq!(made.reply.blocks.len(), 2, "thoughts and an answer, the result being there");
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
        let body = damaged(&claude_body(), &damage);
        if let Ok(body) = serde_json::from_slice::<Value>(&body) {
            if let Ok(conversation) = claude::read(&body) {
                let wishes = Wishes::default();
                exercise(&generator, "us.anthropic.claude-opus-4-5-20251101-v1:0", &conversation, wishes);
            }
            let _ = titan::read(&body);
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
