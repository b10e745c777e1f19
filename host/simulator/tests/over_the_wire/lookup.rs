//! The control plane: which models and profiles there are; and CountTokens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use kairos_simulator::{Clock, Config, DEFAULT_API_KEY};
use serde_json::{Value, json};

use crate::client::{Answer, Running, SONNET, TODAY};
use crate::fixtures::{read, same_shape, split};

/// Asks as somebody in a region.
async fn get(running: &Running, region: &str, path: &str) -> Answer {
    let request = http::Request::builder()
        .uri(format!("{}{path}", running.base))
        .header("authorization", format!("Bearer {DEFAULT_API_KEY}"))
        .header("host", format!("bedrock.{region}.amazonaws.com"));
    running.send(request.body(bytes::Bytes::new().into()).unwrap()).await.unwrap()
}

async fn ids(running: &Running, region: &str, query: &str) -> BTreeSet<String> {
    let answer = get(running, region, &format!("/foundation-models{query}")).await.json();
    let all = answer["modelSummaries"].as_array().unwrap();
    all.iter().map(|model| model["modelId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn models_are_listed_while_they_live() {
    let on = |day: Date| Running::start(Config::new(day));
    for (day, model, expected) in [
        (date(2025, 3, 12), "ai21.j2-ultra-v1", true),
        (date(2025, 3, 13), "ai21.j2-ultra-v1", false),
        (date(2026, 8, 18), "cohere.command-r-plus-v1:0", true),
        (date(2026, 8, 19), "cohere.command-r-plus-v1:0", false),
        (TODAY, "ai21.jamba-1-5-large-v1:0", true),
        (TODAY, "anthropic.claude-sonnet-4-6", true),
    ] {
        let running = on(day).await;
        assert_eq!(ids(&running, "us-east-1", "").await.contains(model), expected, "{day} {model}");
        let one = get(&running, "us-east-1", &format!("/foundation-models/{}", model.replace(':', "%3A"))).await;
        if expected {
            assert_eq!(one.json()["modelDetails"]["modelId"], model);
        } else {
            let (status, name, message) = one.error();
            assert_eq!((status, name), (404, "ResourceNotFoundException"));
            assert!(message.contains(model), "{message}");
        }
    }
}

#[tokio::test]
async fn lists_are_filtered_as_asked() {
    let running = Running::today().await;
    let all = ids(&running, "us-east-1", "").await;
    assert_eq!(ids(&running, "us-east-1", "?byOutputModality=TEXT").await, all);
    assert!(ids(&running, "us-east-1", "?byOutputModality=IMAGE").await.is_empty());
    assert!(ids(&running, "us-east-1", "?byCustomizationType=FINE_TUNING").await.is_empty());
    let mistral = ids(&running, "us-east-1", "?byProvider=Mistral%20AI&byInferenceType=ON_DEMAND").await;
    assert!(!mistral.is_empty() && mistral.iter().all(|id| id.starts_with("mistral.")), "{mistral:?}");
    assert!(!mistral.contains("mistral.pixtral-large-2502-v1:0"), "by profile only");
    let gov = ids(&running, "us-gov-west-1", "").await;
    assert!(gov.contains("anthropic.claude-opus-5") && !gov.contains("anthropic.claude-sonnet-4-6"), "{gov:?}");
    let wrong = get(&running, "us-east-1", "/foundation-models?byOutputModality=SOUND").await;
    assert_eq!((wrong.status, wrong.error().1), (400, "ValidationException"));
}

#[tokio::test]
async fn a_model_is_legacy_before_its_end() {
    let lifecycle = async |day: Date| {
        let running = Running::start(Config::new(day)).await;
        let path = "/foundation-models/arn:aws:bedrock:us-east-1::foundation-model/ai21.jamba-1-5-mini-v1:0";
        get(&running, "us-east-1", path).await.json()["modelDetails"]["modelLifecycle"].clone()
    };
    let dates = |status: &str| json!({"status": status, "legacyTime": "2026-05-26T00:00:00Z", "endOfLifeTime": "2026-11-26T00:00:00Z"});
    assert_eq!(lifecycle(date(2026, 5, 25)).await, dates("ACTIVE"));
    assert_eq!(lifecycle(date(2026, 5, 26)).await, dates("LEGACY"));
}

#[tokio::test]
async fn profiles_are_listed_by_kind_geography_and_page() {
    let mut config = Config::new(TODAY);
    let arn = |region: &str| format!("arn:aws:bedrock:{region}:123456789012:application-inference-profile/team-a");
    config.application_profiles.insert(arn("us-east-1"), SONNET.into());
    config.application_profiles.insert(arn("eu-west-1"), "eu.amazon.nova-lite-v1:0".into());
    let running = Running::start(config).await;
    let list = async |region: &str, query: &str| {
        let answer = get(&running, region, &format!("/inference-profiles{query}")).await.json();
        let found = answer["inferenceProfileSummaries"].as_array().unwrap().clone();
        (found, answer.get("nextToken").cloned())
    };
    let own = list("us-east-1", "?type=APPLICATION").await.0;
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["inferenceProfileArn"], arn("us-east-1"));
    let global = "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6";
    assert_eq!(own[0]["models"][0]["modelArn"], global);
    let path = format!("/inference-profiles/{}", arn("us-east-1").replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(get(&running, "us-east-1", &path).await.json(), own[0]);
    let elsewhere = get(&running, "eu-west-1", &path).await;
    assert_eq!((elsewhere.status, elsewhere.error().1), (404, "ResourceNotFoundException"));

    let (system, next) = list("eu-west-1", "?type=SYSTEM_DEFINED&maxResults=1000").await;
    assert_eq!(next, None);
    let prefix =
        |profile: &Value| profile["inferenceProfileId"].as_str().unwrap().split('.').next().unwrap().to_owned();
    assert_eq!(system.iter().map(prefix).collect::<BTreeSet<_>>(), ["eu".to_owned(), "global".into()].into());
    // Gone since October.
    let gone = "eu.anthropic.claude-haiku-4-5-20251001-v1:0";
    assert!(system.iter().all(|profile| profile["inferenceProfileId"] != gone));

    // All pages together are the whole list, and each profile can be called.
    let (mut paged, mut query) = (Vec::new(), "?maxResults=7".to_owned());
    loop {
        let (page, next) = list("us-east-1", &query).await;
        assert!(page.len() <= 7);
        paged.extend(page);
        let Some(next) = next else { break };
        query = format!("?maxResults=7&nextToken={}", next.as_str().unwrap());
    }
    let (whole, _) = list("us-east-1", "?maxResults=1000").await;
    assert_eq!(paged, whole);
    for profile in &whole {
        let id = profile["inferenceProfileArn"].as_str().unwrap().replace(':', "%3A").replace('/', "%2F");
        let answer = running.call(&id, "converse", &crate::client::converse("hi")).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.json());
    }
    for wrong in ["?maxResults=0", "?maxResults=1001", "?type=MINE", "?nextToken=x"] {
        let answer = get(&running, "us-east-1", &format!("/inference-profiles{wrong}")).await;
        assert_eq!((answer.status, answer.error().1), (400, "ValidationException"), "{wrong}");
    }
}

#[tokio::test]
async fn nobody_looks_up_without_a_key() {
    let running = Running::today().await;
    for path in [
        "/foundation-models",
        "/foundation-models/x",
        "/foundation-model-availability/x",
        "/inference-profiles",
        "/inference-profiles/x",
    ] {
        assert_eq!(running.get(path).await.status, 403, "{path}");
    }
}

/// Fields that AWS has a value for and the simulator's tables do not, or that say what is missing.
const MAYBE: [&str; 5] = ["startOfLifeTime", "legacyTime", "endOfLifeTime", "publicExtendedAccessTime", "errorMessage"];

/// The very requests that botocore signed, and answers of the same shape.
#[tokio::test]
async fn the_control_plane_answers_botocores_requests() {
    let mut config = Config::new(TODAY);
    config.clock = Clock::fixed("2026-11-23T01:34:36Z".parse::<Timestamp>().unwrap());
    let app = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    for name in ["a", "b", "c"] {
        config.application_profiles.insert(format!("{app}{name}"), SONNET.into());
    }
    let running = Running::start(config).await;
    for name in [
        "cp_list_foundation_models",
        "cp_get_foundation_model",
        "cp_get_foundation_model_availability",
        "cp_list_inference_profiles",
    ] {
        let raw = String::from_utf8(read(&format!("requests/{name}.http"))).unwrap();
        let mut lines = raw.lines();
        let target = lines.next().unwrap().split(' ').nth(1).unwrap();
        let mut request = http::Request::builder().uri(format!("{}{target}", running.base));
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let answer = running.send(request.body(bytes::Bytes::new().into()).unwrap()).await.unwrap();
        if target.contains("acme.model") {
            // The signature holds; the model is an invented one.
            assert_eq!((answer.status, answer.error().1), (404, "ResourceNotFoundException"), "{name}");
            let target = target.replace("acme.model-v1%3A0", "ai21.jamba-1-5-mini-v1%3A0");
            let (_, body) = split(&read(&format!("responses/{name}.http")));
            let answer = get(&running, "us-east-1", &target).await;
            same_shape(name, &serde_json::from_slice(&body).unwrap(), &answer.json(), &MAYBE);
            continue;
        }
        assert_eq!(answer.status, 200, "{name}: {}", answer.json());
        let (_, body) = split(&read(&format!("responses/{name}.http")));
        same_shape(name, &serde_json::from_slice(&body).unwrap(), &answer.json(), &MAYBE);
        assert!(answer.json().as_object().unwrap().values().next().is_some_and(|list| list[0].is_object()), "{name}");
    }
}

#[tokio::test]
async fn tokens_are_counted_as_they_would_be_charged() {
    let running = Running::today().await;
    let (_, body) = split(&read("requests/count_tokens.http"));
    let request: Value = serde_json::from_slice(&body).unwrap();
    let counted = running.send(running.request(SONNET, "count-tokens", body, &[])).await.unwrap();
    let (_, expected) = split(&read("responses/count_tokens.http"));
    same_shape("count_tokens", &serde_json::from_slice(&expected).unwrap(), &counted.json(), &[]);
    assert_eq!(running.bill.totals().rows, 0, "counting is free");
    let answer = running.call(SONNET, "converse", &request["input"]["converse"]).await.json();
    assert_eq!(counted.json()["inputTokens"], answer["usage"]["inputTokens"]);
}
