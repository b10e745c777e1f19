use jiff::civil::date;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Catalogue;
use crate::conversation::{Role, Turn};

fn ask<'a>(text: &'a str) -> Conversation<'a> {
    let blocks = vec![Block::Text(text.into())];
    Conversation { turns: vec![Turn { role: Role::User, blocks }], ..Default::default() }
}

fn with_tools<'a>(text: &'a str, choice: Choice<'a>) -> Conversation<'a> {
    let tool = |name: &'static str| Tool::Spec {
        name: name.into(),
        description: "".into(),
        schema: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
    };
    let tools = vec![tool("get_weather"), tool("get_time")];
    Conversation { tools, choice, ..ask(text) }
}

fn said(conversation: &Conversation<'_>) -> Reply {
    let catalogue = Catalogue::load(date(2026, 11, 23)).unwrap();
    let model = catalogue.model(catalogue.find("anthropic.claude-sonnet-4-6").unwrap());
    reply(model, conversation, &conversation.measure(&model.id).digest)
}

fn called(reply: &Reply) -> Vec<&str> {
    let names = reply.blocks.iter().filter_map(|block| match block {
        Said::Tool { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

#[test]
fn an_answer_names_itself_and_its_topic() {
    let reply = said(&ask("How does a gateway keep budgets?"));
    let text = reply.text();
    assert!(text.starts_with("[simulated] Claude Sonnet 4.6"), "{text}");
    assert!(text.contains("gateway") && text.contains("budgets"), "{text}");
    assert_eq!((reply.stop, reply.tokens), (Stop::EndTurn, tokens::count(&text)));
    assert_eq!(reply, said(&ask("How does a gateway keep budgets?")));
    assert_ne!(reply, said(&ask("How does a gateway keep its budgets?")));
}

#[test]
fn answers_have_a_plausible_length() {
    for n in 0..200 {
        let reply = said(&ask(&format!("question number {n} concerning gateways")));
        assert!((20..=120).contains(&reply.tokens), "{n}: {}", reply.tokens);
    }
}

#[test]
fn quoted_text_is_repeated() {
    assert!(said(&ask("Say \"a@b.example\" please")).text().contains("\"a@b.example\""));
}

#[test]
fn tools_are_called_when_asked_for() {
    for (text, choice, expected) in [
        ("weather in Oslo?", Choice::Auto, vec![]),
        ("use get_weather for Oslo", Choice::Auto, vec!["get_weather"]),
        ("use GET_TIME then get_weather", Choice::Auto, vec!["get_time", "get_weather"]),
        ("use my_get_weather_tool", Choice::Auto, vec![]),
        ("use get_weather", Choice::Never, vec![]),
        ("weather in Oslo?", Choice::Any, vec!["get_weather"]),
        ("get_time please", Choice::Any, vec!["get_time"]),
        ("get_weather", Choice::Named("get_time".into()), vec!["get_time"]),
    ] {
        let conversation = with_tools(text, choice);
        let reply = said(&conversation);
        assert_eq!(called(&reply), expected, "{text} {:?}", conversation.choice);
        let stop = if expected.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
        assert_eq!(reply.stop, stop, "{text}");
        assert_eq!(reply.tokens, reply.blocks.iter().map(Said::tokens).sum::<u32>());
    }
    let one = Conversation { one_tool_at_most: true, ..with_tools("get_time and get_weather", Choice::Auto) };
    assert_eq!(called(&said(&one)), ["get_time"]);
}

#[test]
fn arguments_follow_the_schema() {
    let reply = said(&with_tools("get_weather for Trondheim", Choice::Any));
    let Said::Tool { input, .. } = &reply.blocks[0] else { panic!("{reply:?}") };
    let input: Value = serde_json::from_str(input).unwrap();
    assert!(input["city"].is_string() && input.as_object().unwrap().len() == 1);
}

#[test]
fn a_result_is_used() {
    let mut conversation = with_tools("get_weather in Oslo", Choice::Auto);
    let call = Block::ToolUse { id: "t1".into(), name: "get_weather".into(), input: json!({}) };
    conversation.turns.push(Turn { role: Role::Assistant, blocks: vec![call] });
    let parts = vec![Block::Text("minus three degrees".into())];
    let result = Block::ToolResult { id: "t1".into(), parts, failed: false };
    conversation.turns.push(Turn { role: Role::User, blocks: vec![result] });
    let text = said(&conversation).text();
    assert!(text.contains("The result of get_weather is in: minus three degrees."), "{text}");
}

#[test]
fn reasoning_comes_first() {
    let reply = said(&Conversation { reasoning: true, ..ask("why?") });
    assert!(matches!(reply.blocks[..], [Said::Reasoning { .. }, Said::Text(_)]));
}

#[test]
fn a_schema_gets_json() {
    let schema = json!({"type": "object", "properties": {"n": {"const": 4}}});
    let reply = said(&Conversation { schema: Some(schema), ..ask("four") });
    assert_eq!(reply.text(), r#"{"n":4}"#);
}

#[test]
fn stop_sequences_end_a_reply_before_them() {
    let whole = said(&ask("say \"one END two\"")).text();
    let stop = vec!["two".into(), "END".into()];
    let reply = said(&Conversation { stop, ..ask("say \"one END two\"") });
    assert_eq!(reply.text(), whole[..whole.find("END").unwrap()]);
    assert_eq!((reply.stop, reply.stop_sequence.as_deref()), (Stop::Sequence, Some("END")));
    // At the very beginning nothing is left.
    let reply = said(&Conversation { stop: vec!["[".into()], ..ask("hi") });
    assert_eq!((reply.blocks.len(), reply.tokens, reply.stop), (0, 0, Stop::Sequence));
}

#[test]
fn a_call_that_does_not_fit_has_no_arguments() {
    let forced = Choice::Named("get_weather".into());
    let conversation = Conversation { max_tokens: Some(6), ..with_tools("hi", forced) };
    let reply = said(&conversation);
    assert_eq!((reply.stop, reply.tokens), (Stop::MaxTokens, 6));
    assert!(matches!(&reply.blocks[..], [Said::Tool { input, .. }] if input == "{}"));
}

proptest! {
    #[test]
    fn no_reply_exceeds_its_limit(limit in 1u32..200, text in ".{0,60}", reasoning: bool) {
        let whole = said(&Conversation { reasoning, ..ask(&text) });
        let reply = said(&Conversation { reasoning, max_tokens: Some(limit), ..ask(&text) });
        prop_assert_eq!(reply.tokens, limit.min(whole.tokens));
        prop_assert_eq!(reply.stop == Stop::MaxTokens, whole.tokens > limit);
        prop_assert!(whole.text().starts_with(&reply.text()));
        prop_assert_eq!(reply.tokens, reply.blocks.iter().map(Said::tokens).sum::<u32>());
    }
}
