//! What things cost, worked out by hand.

use jiff::Timestamp;
use jiff::civil::date;
use kairos_simulator::{BillRow, Clock, Config};
use serde_json::{Value, json};

use crate::client::{NOVA, Running, SONNET, TODAY, converse, text_of};

/// Microdollars times a million, for prices in dollars per million tokens: 3.30 is 3_300_000.
pub(crate) fn picos(tokens: u32, per_million_in_cents: u128) -> u128 {
    u128::from(tokens) * per_million_in_cents * 10_000
}

pub(crate) fn only(rows: Vec<BillRow>) -> BillRow {
    let [row] = <[BillRow; 1]>::try_from(rows).unwrap();
    row
}

fn usage_of(answer: &Value, name: &str) -> u32 {
    u32::try_from(answer["usage"][name].as_u64().unwrap_or(0)).unwrap()
}

#[tokio::test]
async fn a_call_is_billed_as_it_was_answered() {
    let running = Running::today().await;
    let answer = running.call_as("first", SONNET, "converse", &converse("hi")).await.json();
    let row = only(running.bill.find("first"));
    assert_eq!((&*row.model, &*row.base_model), (SONNET, "anthropic.claude-sonnet-4-6"));
    assert_eq!((&*row.route, &*row.region, &*row.tier), ("global", "us-east-1", "standard"));
    // "hi" is one token, the conversation three, the turn three.
    assert_eq!((row.input_tokens, usage_of(&answer, "inputTokens")), (7, 7));
    assert_eq!(row.output_tokens, usage_of(&answer, "outputTokens"));
    // 3.00 and 15.00 dollars per million.
    let expected = picos(row.input_tokens, 300) + picos(row.output_tokens, 1_500);
    assert_eq!(row.cost_usd.picodollars(), expected);
}

#[tokio::test]
async fn routes_have_their_prices() {
    let mut config = Config::new(TODAY);
    config.require_profiles = false;
    let running = Running::start(config).await;
    let sonnet_5_5 = |prefix: &str| format!("{prefix}anthropic.claude-sonnet-5-5");
    // Cents per million tokens, in and out: in-region and geographic are 1.10 times global.
    for (model, route, input, output) in [
        (SONNET.to_owned(), "global", 300, 1_500),
        ("anthropic.claude-sonnet-4-6".to_owned(), "in-region", 330, 1_650),
        ("us.anthropic.claude-sonnet-4-6".to_owned(), "geo:us", 330, 1_650),
        (sonnet_5_5("global."), "global", 200, 1_000),
        (sonnet_5_5(""), "in-region", 220, 1_100),
        (sonnet_5_5("jp."), "geo:jp", 220, 1_100),
        ("us.meta.llama3-3-70b-instruct-v1:0".to_owned(), "geo:us", 72, 72),
        ("amazon.nova-2-lite-v1:0".to_owned(), "in-region", 33, 275),
        ("global.amazon.nova-2-lite-v1:0".to_owned(), "global", 30, 250),
        ("ai21.jamba-1-5-large-v1:0".to_owned(), "in-region", 200, 800),
    ] {
        running.call_as(&model, &model, "converse", &converse("hi")).await;
        let row = only(running.bill.find(&model));
        assert_eq!(row.route, route, "{model}");
        let expected = picos(row.input_tokens, input) + picos(row.output_tokens, output);
        assert_eq!(row.cost_usd.picodollars(), expected, "{model}");
        let lines: u128 = row.usage.iter().map(|line| line.cost_usd.picodollars()).sum();
        assert_eq!(lines, expected, "{model}");
    }
}

#[tokio::test]
async fn regions_come_from_the_host_where_no_signature_names_one() {
    let running = Running::today().await;
    let headers = [("amz-sdk-invocation-id", "abroad"), ("host", "bedrock-runtime.ap-south-1.amazonaws.com")];
    let llama = "meta.llama3-8b-instruct-v1:0";
    let body = converse("hi").to_string();
    running.send(running.request(llama, "converse", body, &headers)).await.unwrap();
    let row = only(running.bill.find("abroad"));
    assert_eq!(row.region, "ap-south-1");
    assert_eq!(row.usage[0].usage_type, "APS3-Llama3-8B-input-tokens");
    // 0.36 and 0.72 dollars per million there.
    let expected = picos(row.input_tokens, 36) + picos(row.output_tokens, 72);
    assert_eq!(row.cost_usd.picodollars(), expected);
}

#[tokio::test]
async fn an_ended_model_was_billed_in_its_day() {
    let running = Running::start(Config::new(date(2025, 6, 1))).await;
    let titan = "amazon.titan-text-express-v1";
    let body = json!({"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 10}});
    let native = running.call_as("titan", titan, "invoke", &body).await;
    let row = only(running.bill.find("titan"));
    assert_eq!((row.input_tokens, row.output_tokens), (7, 10));
    assert_eq!(native.headers["x-amzn-bedrock-output-token-count"], "10");
    assert_eq!(native.json()["results"][0]["completionReason"], "LENGTH");
    // 7 × 0.20 + 10 × 0.60 microdollars.
    assert_eq!(row.cost_usd.to_string(), "0.0000074");
    let mut same = converse("hi");
    same["inferenceConfig"] = json!({"maxTokens": 10});
    let converse = running.call(titan, "converse", &same).await.json();
    assert_eq!(native.json()["results"][0]["outputText"], text_of(&converse));
}

fn cached(ttl_system: &str) -> Value {
    let mut request = converse("and a question");
    request["system"] = json!([
        {"text": "the same words again and again ".repeat(300)},
        {"cachePoint": {"type": "default", "ttl": ttl_system}},
    ]);
    request["messages"][0]["content"] = json!([
        {"text": "some more context here"},
        {"cachePoint": {"type": "default"}},
        {"text": "and a question"},
    ]);
    request
}

#[tokio::test]
async fn cached_tokens_are_billed_by_what_happened_to_them() {
    let second = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1_700_000_000));
    let mut config = Config::new(TODAY);
    let now = std::sync::Arc::clone(&second);
    config.clock =
        Clock::from_fn(move || Timestamp::from_second(now.load(std::sync::atomic::Ordering::Relaxed)).unwrap());
    let running = Running::start(config).await;
    let mut rows = Vec::new();
    // At once, a moment later, and six minutes after that.
    for (id, pass) in [("write", 0), ("read", 1), ("late", 360)] {
        second.fetch_add(pass, std::sync::atomic::Ordering::Relaxed);
        running.call_as(id, SONNET, "converse", &cached("1h")).await;
        rows.push(only(running.bill.find(id)));
    }
    // Framing 3, six words each "the same words again and again" plus a space where two meet:
    // 300 × 6 tokens, and the last space is one more.
    let hour = 3 + 300 * 6 + 1;
    // A turn is 3, "some more context here" is 4 and "context" two: 5.
    let minutes = 3 + 5;
    let split = |row: &BillRow| (row.cache_read_tokens, row.cache_write_1h_tokens, row.cache_write_5m_tokens);
    assert_eq!(split(&rows[0]), (0, hour, minutes));
    assert_eq!(split(&rows[1]), (hour + minutes, 0, 0));
    assert_eq!(split(&rows[2]), (hour, 0, minutes), "five minutes are over, the hour is not");
    for row in &rows {
        // "and a question": question is two tokens.
        assert_eq!(row.input_tokens, 4);
        // Global prices in cents per million: 300, 1500, reads 30, writes 375 and 600.
        let expected = picos(row.input_tokens, 300)
            + picos(row.output_tokens, 1_500)
            + picos(row.cache_read_tokens, 30)
            + picos(row.cache_write_5m_tokens, 375)
            + picos(row.cache_write_1h_tokens, 600);
        assert_eq!(row.cost_usd.picodollars(), expected);
    }
}

#[tokio::test]
async fn what_has_no_cache_price_is_not_cached() {
    let running = Running::today().await;
    for model in ["us.amazon.nova-pro-v1:0", "us.meta.llama3-3-70b-instruct-v1:0"] {
        for id in ["one", "two"] {
            let id = format!("{model}-{id}");
            let answer = running.call_as(&id, model, "converse", &cached("1h")).await.json();
            assert!(answer["usage"].get("cacheReadInputTokens").is_none(), "{model}");
            let row = only(running.bill.find(&id));
            assert_eq!(row.cache_read_tokens + row.cache_write_5m_tokens, 0, "{model}");
        }
    }
    // Sonnet 4 is gone; Opus 4.1 has a price for five minutes and none for an hour.
    let opus = "us.anthropic.claude-opus-4-1-20250805-v1:0";
    running.call_as("opus", opus, "converse", &cached("1h")).await;
    let row = only(running.bill.find("opus"));
    assert_eq!(row.cache_write_1h_tokens, 0);
    assert!(row.cache_write_5m_tokens > 1_024, "the later cache point covers it all");
}

#[tokio::test]
async fn guardrails_cost_units() {
    let running = Running::today().await;
    let guarded = |text: &str| {
        let mut request = converse(text);
        request["guardrailConfig"] = json!({"guardrailIdentifier": "sim-guardrail", "guardrailVersion": "1"});
        request
    };
    // One unit each: 0.00015 + 0.00015 + 0.0001 dollars.
    running.call_as("in", SONNET, "converse", &guarded("a forbidden-topic")).await;
    let row = only(running.bill.find("in"));
    assert_eq!((row.input_tokens, row.output_tokens), (0, 0));
    assert_eq!((row.guardrail_units.topic, row.cost_usd.to_string()), (1, "0.0004".into()));

    let mut request = guarded("Say \"forbidden-topic\"");
    let checked = json!({"guardContent": {"text": {"text": "harmless"}}});
    request["messages"][0]["content"].as_array_mut().unwrap().push(checked);
    let answer = running.call_as("out", SONNET, "converse", &request).await.json();
    assert_eq!(answer["stopReason"], "guardrail_intervened");
    let row = only(running.bill.find("out"));
    assert_eq!(row.guardrail_units.topic, 2, "input and output");
    let expected = picos(row.input_tokens, 300) + picos(row.output_tokens, 1_500) + 2 * 400_000_000;
    assert!(row.output_tokens > 0);
    assert_eq!(row.cost_usd.picodollars(), expected);
}

#[tokio::test]
async fn tiers_are_billed_as_served() {
    let running = Running::today().await;
    // Nova Pro: 0.80/3.20 standard, 0.40/1.60 flex, 1.40/5.60 priority. Nova Lite has one tier.
    for (model, asked, served, input, output) in [
        ("amazon.nova-pro-v1:0", "flex", "flex", 40, 160),
        ("amazon.nova-pro-v1:0", "priority", "priority", 140, 560),
        ("amazon.nova-pro-v1:0", "default", "standard", 80, 320),
        ("amazon.nova-pro-v1:0", "reserved", "standard", 80, 320),
        (NOVA, "priority", "standard", 6, 24),
    ] {
        let mut request = converse("hi");
        request["serviceTier"] = json!({"type": asked});
        let id = format!("{model} {asked}");
        let answer = running.call_as(&id, model, "converse", &request).await.json();
        let row = only(running.bill.find(&id));
        assert_eq!(row.tier, served, "{id}");
        let said = if served == "standard" { "default" } else { served };
        assert_eq!(answer["serviceTier"]["type"], said, "{id}");
        let expected = picos(row.input_tokens, input) + picos(row.output_tokens, output);
        assert_eq!(row.cost_usd.picodollars(), expected, "{id}");
    }
}

#[tokio::test]
async fn long_contexts_have_their_own_price() {
    let running = Running::today().await;
    let model = "global.anthropic.claude-haiku-5-5";
    // 0.10/0.50 up to 100,000 tokens in, 0.50/2.50 above.
    for (words, input, output) in [(99_000, 10, 50), (101_000, 50, 250)] {
        let id = format!("{words}");
        running.call_as(&id, model, "converse", &converse(&"word ".repeat(words))).await;
        let row = only(running.bill.find(&id));
        let expected = picos(row.input_tokens, input) + picos(row.output_tokens, output);
        assert_eq!(row.cost_usd.picodollars(), expected, "{words}");
    }
    // Sonnet 4.5 takes more than 200,000 only with the beta that says so.
    let sonnet = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let mut request = converse(&"word ".repeat(201_000));
    assert_eq!(running.call(sonnet, "converse", &request).await.status, 400);
    request["additionalModelRequestFields"] = json!({"anthropic_beta": ["context-1m-2025-08-07"]});
    running.call_as("long", sonnet, "converse", &request).await;
    let row = only(running.bill.find("long"));
    let expected = picos(row.input_tokens, 600) + picos(row.output_tokens, 2_250);
    assert_eq!(row.cost_usd.picodollars(), expected);
}
