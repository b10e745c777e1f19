//! The fixtures that botocore made of AWS's service model: what they ask is taken, and what they answer
//! has the shape of what is answered here.

use std::path::Path;

use jiff::civil::date;
use kairos_simulator::Config;
use serde_json::Value;

use crate::client::Running;
use crate::streams::chunks;

pub(crate) fn read(path: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bedrock/fixtures");
    std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Head and body of a raw message.
pub(crate) fn split(raw: &[u8]) -> (String, Vec<u8>) {
    let at = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(raw[..at].to_vec()).unwrap().to_ascii_lowercase(), raw[at + 4..].to_vec())
}

/// Checks that `found` has the fields of `expected`, of the same kinds, and no others but `extra`
/// ones. Null stands for a field of any kind, and a list for lists of any length.
pub(crate) fn same_shape(place: &str, expected: &Value, found: &Value, extra: &[&str]) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected.iter().filter(|(name, _)| !extra.contains(&name.as_str())) {
                let found = found.get(name).unwrap_or_else(|| panic!("{place} lacks {name}"));
                same_shape(&format!("{place}.{name}"), value, found, extra);
            }
            let stray = found.keys().find(|name| !expected.contains_key(*name) && !extra.contains(&name.as_str()));
            assert_eq!(stray, None, "{place}");
        }
        (Value::Array(expected), Value::Array(found)) => {
            for (expected, found) in expected.iter().take(1).flat_map(|e| found.iter().map(move |f| (e, f))) {
                same_shape(&format!("{place}[]"), expected, found, extra);
            }
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{place}: {expected} is not like {found}"),
    }
}

const WHOLE: [(&str, &str); 9] = [
    ("im_claude", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("im_titan", "amazon.titan-text-express-v1"),
    ("im_j2_nohdr", "ai21.j2-ultra-v1"),
    ("im_jamba", "ai21.jamba-1-5-large-v1:0"),
    ("im_nova", "amazon.nova-lite-v1:0"),
    ("im_llama", "meta.llama3-8b-instruct-v1:0"),
    ("im_mistral_text", "mistral.mistral-7b-instruct-v0:2"),
    ("im_cohere_r", "cohere.command-r-v1:0"),
    ("im_deepseek", "us.deepseek.r1-v1:0"),
];
/// Fields that not every answer has: why it was cut, and what came of the cache.
const MAYBE: [&str; 3] = ["length", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"];

#[tokio::test]
async fn native_answers_have_the_shape_of_the_fixtures() {
    let running = Running::start(Config::new(date(2025, 3, 1))).await;
    for (name, model) in WHOLE {
        let (_, body) = split(&read(&format!("requests/{name}.http")));
        let answer = running.send(running.request(model, "invoke", body, &[])).await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.json());
        let (head, body) = split(&read(&format!("responses/{name}.http")));
        let extra = if name == "im_nova" { &MAYBE[..1] } else { &MAYBE };
        same_shape(name, &serde_json::from_slice(&body).unwrap(), &answer.json(), extra);
        // With AI21's and Cohere's answers AWS sends no counts, though parsers would read them.
        let silent = ["im_j2_nohdr", "im_jamba", "im_cohere_r"].contains(&name);
        for count in ["input-token-count", "output-token-count", "invocation-latency"] {
            let count = format!("x-amzn-bedrock-{count}");
            assert_eq!(answer.headers.contains_key(&count), head.contains(&count) && !silent, "{name} {count}");
        }
    }
}

#[tokio::test]
async fn native_streams_have_the_shape_of_the_fixtures() {
    let running = Running::start(Config::new(date(2025, 3, 1))).await;
    for (name, model) in [
        ("is_claude", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("is_titan", "amazon.titan-text-express-v1"),
        ("is_llama", "meta.llama3-8b-instruct-v1:0"),
    ] {
        let (_, body) = split(&read(&format!("requests/{name}.http")));
        let stream = running.send(running.request(model, "invoke-with-response-stream", body, &[])).await.unwrap();
        let found = chunks(&stream);
        let expected: Value = serde_json::from_slice(&read(&format!("responses/{name}.expected.json"))).unwrap();
        let expected = expected["decoded_chunks"].as_array().unwrap();
        // Each kind of event once: those that a type names, or else the first and the last.
        for (at, event) in expected.iter().enumerate() {
            let like = match event.get("type") {
                Some(kind) => found.iter().find(|found| found["type"] == *kind),
                None if at == 0 => found.first(),
                None => found.last(),
            };
            same_shape(&format!("{name} {at}"), event, like.unwrap(), &MAYBE);
        }
    }
}
