//! Reads Converse answers and stream events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::answer::{Answer, AnswerBlock, Event, Served, StopReason};
use crate::invalid::Invalid;
use crate::outline::ServiceTier;
use crate::usage::{GuardrailUnits, Usage};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerView<'a> {
    #[serde(borrow)]
    output: OutputView<'a>,
    #[serde(borrow)]
    stop_reason: Cow<'a, str>,
    // The fields of `ServedView`: `flatten` would buffer them, and raw JSON does not survive that.
    #[serde(default)]
    usage: Option<UsageView>,
    #[serde(default, borrow)]
    trace: Option<TraceView<'a>>,
    #[serde(default, borrow)]
    service_tier: Option<TierView<'a>>,
    #[serde(default, borrow)]
    performance_config: Option<PerformanceView<'a>>,
}

#[derive(Deserialize)]
struct OutputView<'a> {
    #[serde(default, borrow)]
    message: Option<MessageView<'a>>,
}

#[derive(Deserialize)]
struct MessageView<'a> {
    #[serde(default, borrow)]
    content: Vec<BlockView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockView<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    tool_use: Option<ToolUseView<'a>>,
    #[serde(default, borrow)]
    citations_content: Option<CitationsView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUseView<'a> {
    #[serde(borrow)]
    tool_use_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
struct CitationsView<'a> {
    #[serde(default, borrow)]
    content: Vec<TextView<'a>>,
}

#[derive(Deserialize)]
struct TextView<'a> {
    #[serde(default, borrow)]
    text: Cow<'a, str>,
}

/// What a `metadata` event says. Of a whole answer, what pricing needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServedView<'a> {
    #[serde(default)]
    usage: Option<UsageView>,
    #[serde(default, borrow)]
    trace: Option<TraceView<'a>>,
    #[serde(default, borrow)]
    service_tier: Option<TierView<'a>>,
    #[serde(default, borrow)]
    performance_config: Option<PerformanceView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageView {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_write_input_tokens: Option<u64>,
    #[serde(default)]
    cache_details: Option<Vec<CacheDetailView>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetailView {
    #[serde(default)]
    ttl: Option<String>,
    input_tokens: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceView<'a> {
    #[serde(default, borrow)]
    guardrail: Option<&'a RawValue>,
    #[serde(default, borrow)]
    prompt_router: Option<RouterView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RouterView<'a> {
    #[serde(default, borrow)]
    invoked_model_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TierView<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PerformanceView<'a> {
    #[serde(default, borrow)]
    latency: Option<Cow<'a, str>>,
}

impl UsageView {
    fn usage(&self) -> Usage {
        let written = self.cache_write_input_tokens.unwrap_or(0);
        let by_ttl = |ttl: &str| -> u64 {
            let details = self.cache_details.iter().flatten().filter(|detail| detail.ttl.as_deref() == Some(ttl));
            details.fold(0, |sum, detail| sum.saturating_add(detail.input_tokens))
        };
        let (five, hour) = (by_ttl("5m"), by_ttl("1h"));
        Usage {
            input: self.input_tokens,
            output: self.output_tokens,
            cache_read: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_5m: five,
            cache_write_1h: hour,
            cache_write_unknown: written.saturating_sub(five.saturating_add(hour)),
            guardrail: GuardrailUnits::default(),
            units: Default::default(),
        }
    }
}

impl ServedView<'_> {
    fn served(&self) -> Served {
        let mut usage = self.usage.as_ref().map(UsageView::usage);
        if let (Some(usage), Some(guardrail)) = (&mut usage, self.trace.as_ref().and_then(|trace| trace.guardrail)) {
            usage.guardrail = guardrail_units(guardrail);
        }
        let router = self.trace.as_ref().and_then(|trace| trace.prompt_router.as_ref());
        let named = self.service_tier.as_ref().and_then(|tier| tier.kind.as_deref());
        let latency = self.performance_config.as_ref().and_then(|config| config.latency.as_deref());
        let invoked_model = router.and_then(|router| router.invoked_model_id.as_deref().map(str::to_owned));
        Served { usage, invoked_model, ..served(named, latency) }
    }
}

/// What an answer's tier and latency mode say of its price.
pub fn served(tier: Option<&str>, latency: Option<&str>) -> Served {
    let known = tier.and_then(ServiceTier::from_bedrock);
    let unpriced = match (tier, latency) {
        (Some(_), _) if known.is_none() => Some("the answer names a service tier that is not known"),
        (_, Some("optimized")) => Some("latency-optimised inference has no known price"),
        _ => None,
    };
    Served { tier: known, unpriced, ..Served::default() }
}

/// Adds up the units of every `invocationMetrics.usage` in a guardrail trace, whichever assessment
/// it stands in.
fn guardrail_units(trace: &RawValue) -> GuardrailUnits {
    fn walk(value: &Value, units: &mut GuardrailUnits) {
        match value {
            Value::Object(map) => {
                if let Some(usage) = map.get("invocationMetrics").and_then(|metrics| metrics.get("usage")) {
                    *units = units.plus(GuardrailUnits::deserialize(usage).unwrap_or_default());
                }
                map.values().for_each(|value| walk(value, units));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, units)),
            _ => {}
        }
    }
    let mut units = GuardrailUnits::default();
    if let Ok(trace) = serde_json::from_str(trace.get()) {
        walk(&trace, &mut units);
    }
    units
}

/// Reads of a Converse answer only what pricing needs: an answer that cannot be read otherwise was
/// given all the same.
pub fn parse_served(body: &[u8]) -> Result<Served, Invalid> {
    Ok(Invalid::parse::<ServedView<'_>>(body)?.served())
}

/// Reads a Converse answer.
pub fn parse_answer(body: &[u8]) -> Result<Answer<'_>, Invalid> {
    let view: AnswerView<'_> = Invalid::parse(body)?;
    let mut blocks = Vec::new();
    for block in view.output.message.into_iter().flat_map(|message| message.content) {
        if let Some(text) = block.text {
            blocks.push(AnswerBlock::Text(text));
        } else if let Some(call) = block.tool_use {
            blocks.push(AnswerBlock::ToolUse { id: call.tool_use_id, name: call.name, input: call.input });
        } else if let Some(cited) = block.citations_content {
            blocks.extend(cited.content.into_iter().map(|part| AnswerBlock::Text(part.text)));
        }
    }
    let stop_reason = StopReason::from_converse(&view.stop_reason);
    let served = ServedView {
        usage: view.usage,
        trace: view.trace,
        service_tier: view.service_tier,
        performance_config: view.performance_config,
    };
    Ok(Answer { blocks, stop_reason, served: served.served() })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventView<'a> {
    #[serde(default)]
    content_block_index: u32,
    #[serde(default, borrow)]
    start: Option<StartView<'a>>,
    #[serde(default, borrow)]
    delta: Option<DeltaView<'a>>,
    #[serde(default, borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartView<'a> {
    #[serde(default, borrow)]
    tool_use: Option<ToolStartView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolStartView<'a> {
    #[serde(borrow)]
    tool_use_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeltaView<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    tool_use: Option<ToolDeltaView<'a>>,
}

#[derive(Deserialize)]
struct ToolDeltaView<'a> {
    #[serde(borrow)]
    input: Cow<'a, str>,
}

/// Reads one ConverseStream event. Events and deltas that are not known here are
/// [`Event::Other`]: a native caller gets them untouched, other dialects skip them.
pub fn parse_event<'a>(name: &str, payload: &'a [u8]) -> Result<Event<'a>, Invalid> {
    Ok(match name {
        "messageStart" => Event::MessageStart,
        "contentBlockStart" => {
            let view: EventView<'_> = Invalid::parse(payload)?;
            match view.start.and_then(|start| start.tool_use) {
                Some(tool) => {
                    Event::ToolStart { block: view.content_block_index, id: tool.tool_use_id, name: tool.name }
                }
                None => Event::Other { content: true },
            }
        }
        "contentBlockDelta" => {
            let view: EventView<'a> = Invalid::parse(payload)?;
            let block = view.content_block_index;
            match view.delta {
                Some(DeltaView { text: Some(text), .. }) => Event::Text { block, text },
                Some(DeltaView { tool_use: Some(tool), .. }) => Event::ToolInput { block, json: tool.input },
                _ => Event::Other { content: true },
            }
        }
        "contentBlockStop" => {
            let view: EventView<'_> = Invalid::parse(payload)?;
            Event::BlockStop { block: view.content_block_index }
        }
        "messageStop" => {
            let view: EventView<'_> = Invalid::parse(payload)?;
            let reason = view.stop_reason.ok_or_else(|| Invalid::value("stopReason", "missing"))?;
            Event::MessageStop(StopReason::from_converse(&reason))
        }
        "metadata" => Event::Metadata(Invalid::parse::<ServedView<'_>>(payload)?.served()),
        _ => Event::Other { content: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_keeps_every_leg_apart() {
        let answer = parse_answer(
            br#"{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{}},{"text":"ok "},
                {"toolUse":{"toolUseId":"t","name":"n","input":{"a":[1,2.50]}}},{"citationsContent":{"content":[{"text":"cited"}]}}]}},
                "stopReason":"tool_use","usage":{"inputTokens":12,"outputTokens":34,"totalTokens":3146,"cacheReadInputTokens":2048,
                "cacheWriteInputTokens":1052,"cacheDetails":[{"ttl":"1h","inputTokens":1024},{"ttl":"5m","inputTokens":8}]},
                "metrics":{"latencyMs":1},"serviceTier":{"type":"flex"},
                "trace":{"promptRouter":{"invokedModelId":"m"},"guardrail":{"inputAssessment":{"g":{"invocationMetrics":{"usage":
                {"topicPolicyUnits":1,"contentPolicyUnits":2,"sensitiveInformationPolicyFreeUnits":9}}}},
                "outputAssessments":{"g":[{"invocationMetrics":{"usage":{"wordPolicyUnits":4}}}]}}}}"#,
        )
        .unwrap();
        let usage = answer.served.usage.unwrap();
        assert_eq!(
            usage,
            Usage {
                input: 12,
                output: 34,
                cache_read: 2048,
                cache_write_5m: 8,
                cache_write_1h: 1024,
                cache_write_unknown: 20,
                guardrail: GuardrailUnits {
                    topic_policy_units: 1,
                    content_policy_units: 2,
                    word_policy_units: 4,
                    ..GuardrailUnits::default()
                },
                units: Default::default(),
            }
        );
        assert_eq!(usage.all_input(), 12 + 2048 + 1052);
        assert_eq!(answer.served.tier, Some(ServiceTier::Flex));
        assert_eq!(answer.served.invoked_model.as_deref(), Some("m"));
        assert_eq!(answer.stop_reason, StopReason::ToolUse);
        let [AnswerBlock::Text(first), AnswerBlock::ToolUse { input, .. }, AnswerBlock::Text(cited)] =
            &answer.blocks[..]
        else {
            panic!("{:?}", answer.blocks)
        };
        assert_eq!((&**first, input.get(), &**cited), ("ok ", r#"{"a":[1,2.50]}"#, "cited"));
    }

    #[test]
    fn what_pricing_needs_is_read_of_answers_that_make_no_sense_otherwise() {
        let odd =
            br#"{"output":{"message":{"content":null}},"serviceTier":{},"usage":{"inputTokens":3,"outputTokens":4,
            "cacheWriteInputTokens":5,"cacheDetails":[{"inputTokens":5}]}}"#;
        assert!(parse_answer(odd).is_err());
        let served = parse_served(odd).unwrap();
        let usage = served.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.cache_write_unknown), (3, 4, 5));
        assert_eq!((served.tier, served.unpriced), (None, None));
        for (odd, why) in [
            (&br#"{"serviceTier":{"type":"turbo"}}"#[..], "tier"),
            (br#"{"performanceConfig":{"latency":"optimized"}}"#, "latency"),
        ] {
            assert!(parse_served(odd).unwrap().unpriced.unwrap().contains(why));
        }
    }

    #[test]
    fn unknown_events_and_deltas_are_other() {
        assert_eq!(parse_event("holoStart", b"not json").unwrap(), Event::Other { content: false });
        assert_eq!(
            parse_event("contentBlockDelta", br#"{"delta":{"holo":{"x":1}},"contentBlockIndex":0}"#).unwrap(),
            Event::Other { content: true }
        );
        assert!(parse_event("contentBlockDelta", b"{").is_err());
        assert!(parse_event("messageStop", b"{}").is_err());
    }
}
