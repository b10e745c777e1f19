//! What a guard does to requests and answers: by the built-in guard and by one that blocks, in each
//! dialect, whole and streamed, against scripted answers; and with the gateway as it is set up.

mod chunks;

use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::guards::Pii;
use kairos_pipeline::policy::{Guard, Identity, InspectInput, PolicyError, Verdict};
use kairos_pipeline::request::Operation;
use kairos_tests::http::{Client, chat, told};
use kairos_tests::process::Setup;
use serde_json::{Value, json};

use super::scripted::{Answer, run_with};

const NOVA: &str = "amazon.nova-lite-v1:0";
const MAIL: &str = "jane.doe@example.com";
const USAGE: &str = r#""usage":{"inputTokens":10,"outputTokens":20,"totalTokens":30}"#;

fn pii(gateway: &mut Gateway) {
    gateway.native_guard = Some(Arc::new(Pii::default()));
}

/// Lets pass what comes before `STOP`, and nothing after it.
struct Stops(Identity);

impl Guard for Stops {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn hold_back(&self) -> usize {
        3
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        if let Some(at) = input.text.find("STOP") {
            return Ok(Verdict { decided: at as u32, findings: vec![(1, 1)], ..Verdict::block(1) });
        }
        let held = if input.last { 0 } else { input.text.len().min(3) };
        let decided = input.text.floor_char_boundary(input.text.len() - held);
        // Bytes of a character that is cut are held, too.
        let decided = if input.text.len() - decided > 3 { input.text.len() - held } else { decided };
        Ok(Verdict { decided: decided as u32, ..Verdict::default() })
    }
}

fn stops(gateway: &mut Gateway) {
    let identity = Identity::new("stops", "0", vec![(1, "forbidden".into())], vec![]);
    gateway.native_guard = Some(Arc::new(Stops(identity)));
}

fn whole(content: &Value) -> Answer {
    let message = json!({"role": "assistant", "content": content});
    Answer::Whole(format!(r#"{{"output":{{"message":{message}}},"stopReason":"end_turn",{USAGE}}}"#))
}

fn event(name: &'static str, payload: &Value) -> (Duration, &'static str, String) {
    (Duration::ZERO, name, payload.to_string())
}

fn delta(block: u32, delta: &Value) -> (Duration, &'static str, String) {
    event("contentBlockDelta", &json!({"contentBlockIndex": block, "delta": delta}))
}

fn end(block: u32) -> (Duration, &'static str, String) {
    event("contentBlockStop", &json!({"contentBlockIndex": block}))
}

/// A stream of one text, cut after so many bytes each time.
fn streamed(text: &str, step: usize) -> Answer {
    let mut events = vec![event("messageStart", &json!({"role": "assistant"}))];
    let mut rest = text;
    while !rest.is_empty() {
        let (part, left) = rest.split_at(rest.floor_char_boundary(step.min(rest.len())));
        events.push(delta(0, &json!({"text": part})));
        rest = left;
    }
    events.extend([end(0), event("messageStop", &json!({"stopReason": "end_turn"}))]);
    events.push((Duration::ZERO, "metadata", format!("{{{USAGE}}}")));
    Answer::Stream(events)
}

fn asked(text: &str, stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "stream": stream})
}

fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

#[tokio::test(start_paused = true)]
async fn no_model_sees_personal_data_and_no_caller_does() {
    let long = "word ".repeat(200);
    let says = format!("{long}write to {MAIL}, {long}");
    let clean = says.replace(MAIL, "[EMAIL]");
    for (operation, body) in [
        (Operation::ChatCompletions, asked(&says, false)),
        (Operation::Generate, json!({"prompt": says})),
        (Operation::Converse, converse(&says)),
        (
            Operation::Invoke,
            json!({"messages": [{"role": "user", "content": [{"text": says}]}], "schemaVersion": "messages-v1"}),
        ),
    ] {
        let outcome = run_with(operation, NOVA, body, vec![whole(&json!([{"text": says}]))], None, pii).await;
        assert_eq!(outcome.status, 200, "{}", outcome.body);
        let sent = String::from_utf8_lossy(&outcome.calls[0].body).into_owned();
        assert!(sent.contains(&clean) && !sent.contains("jane"), "{operation:?}: {sent}");
        assert!(outcome.body.contains(&clean) && !outcome.body.contains("jane"), "{operation:?}: {}", outcome.body);
        let guarded = serde_json::to_value(&outcome.record.guarded).unwrap();
        for (place, direction) in ["input", "output"].into_iter().enumerate() {
            let said = &guarded[place];
            assert_eq!(
                (&said["direction"], &said["findings"]),
                (&json!(direction), &json!([["email", 1]])),
                "{guarded}"
            );
        }
        assert!(
            outcome.record.warnings.iter().any(|said| said.contains("in the request: 1 email")),
            "{:?}",
            outcome.record.warnings
        );
        assert_eq!(outcome.totals.estimated, 0);
    }
}

/// However a stream is cut, its text is that of the whole answer, and no piece of what was found is in it.
#[tokio::test(start_paused = true)]
async fn streams_are_guarded_as_they_come() {
    let long = "Wörter 🦀 ".repeat(60);
    let says = format!("{long}{MAIL} {long}4111 1111 1111 1111 {long}");
    let answers = vec![whole(&json!([{"text": says}]))];
    let whole = told(&run_with(Operation::ChatCompletions, NOVA, asked("hi", false), answers, None, pii).await.body);
    assert!(whole.0.contains("[EMAIL]") && whole.0.contains("[CARD]"), "{}", whole.0);
    for step in [1, 2, 3, 7, 64, 1_000, 100_000] {
        let body = asked("hi", true);
        let outcome =
            run_with(Operation::ChatCompletions, NOVA, body, vec![streamed(&says, step.max(4))], None, pii).await;
        assert_eq!(told(&outcome.body), whole, "{step}");
        let native =
            run_with(Operation::ConverseStream, NOVA, converse("hi"), vec![streamed(&says, step.max(4))], None, pii)
                .await;
        assert!(native.body.contains("[EMAIL]") && native.body.contains("metadata"), "{}", native.body);
        for piece in ["jane", "example.com", "4111"] {
            assert!(!outcome.body.contains(piece) && !native.body.contains(piece), "{piece}");
        }
        let findings = serde_json::to_value(&outcome.record.guarded).unwrap()[1]["findings"].clone();
        assert_eq!(findings, json!([["email", 1], ["card", 1]]));
        assert_eq!((outcome.record.status, outcome.totals.estimated, outcome.totals.open_rows), ("ok", 0, 0));
    }
}

/// Arguments of tools, what the model thinks, and what it signs.
#[tokio::test(start_paused = true)]
async fn tools_arguments_and_thoughts_are_guarded_too() {
    let input = json!({"to": MAIL, "n": 7, "note": "line\nbreak"}).to_string();
    let (first, second) = input.split_at(12);
    let events = vec![
        event("messageStart", &json!({"role": "assistant"})),
        delta(0, &json!({"reasoningContent": {"text": format!("ask {MAIL} ")}})),
        delta(0, &json!({"reasoningContent": {"signature": "c2lnbmVk"}})),
        end(0),
        event(
            "contentBlockStart",
            &json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "send"}}}),
        ),
        delta(1, &json!({"toolUse": {"input": first}})),
        delta(1, &json!({"toolUse": {"input": second}})),
        end(1),
        delta(2, &json!({"reasoningContent": {"text": "all is well"}})),
        delta(2, &json!({"reasoningContent": {"signature": "dW50b3VjaGVk"}})),
        end(2),
        delta(3, &json!({"citation": {"title": MAIL, "sourceContent": [{"text": "quoted"}]}})),
        end(3),
        event("messageStop", &json!({"stopReason": "tool_use"})),
        (Duration::ZERO, "metadata", format!("{{{USAGE}}}")),
    ];
    let outcome =
        run_with(Operation::ConverseStream, NOVA, converse("hi"), vec![Answer::Stream(events)], None, pii).await;
    assert_eq!((outcome.status, outcome.record.status), (200, "ok"), "{}", outcome.body);
    for there in
        ["ask [EMAIL]", r#"\"to\":\"[EMAIL]\""#, r#"\"n\":7"#, "all is well", "dW50b3VjaGVk", "quoted", "tool_use"]
    {
        assert!(outcome.body.contains(there), "{there}: {}", outcome.body);
    }
    for gone in ["jane", "c2lnbmVk"] {
        assert!(!outcome.body.contains(gone), "{gone}: {}", outcome.body);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_blocked_ends_there_whole_and_streamed() {
    let says = "This is fine. STOP This is not.";
    let answers = || [vec![whole(&json!([{"text": says}, {"text": "nor this"}]))], vec![streamed(says, 4)]];
    for (answers, stream) in answers().into_iter().zip([false, true]) {
        let outcome = run_with(Operation::ChatCompletions, NOVA, asked("hi", stream), answers, None, stops).await;
        assert_eq!(told(&outcome.body), ("This is fine. ".to_owned(), "content_filter".to_owned()), "{}", outcome.body);
        assert!(!outcome.body.contains("nor this"));
        // It is paid for all the same, and known to the picodollar.
        assert_eq!((outcome.record.status, outcome.totals.estimated, outcome.totals.open_rows), ("ok", 0, 0));
        assert_eq!(outcome.record.guarded.last().unwrap().stopped.as_deref(), Some("forbidden"));
    }
    let native =
        run_with(Operation::Converse, NOVA, converse("hi"), answers().into_iter().next().unwrap(), None, stops).await;
    let body: Value = serde_json::from_str(&native.body).unwrap();
    assert_eq!(
        (&body["stopReason"], &body["output"]["message"]["content"][1]["text"]),
        (&json!("guardrail_intervened"), &json!(""))
    );
    // A request does not go out at all, and costs nothing.
    for (operation, body) in [(Operation::ChatCompletions, asked(says, false)), (Operation::Converse, converse(says))] {
        let outcome = run_with(operation, NOVA, body, Vec::new(), None, stops).await;
        assert_eq!((outcome.status, outcome.calls.len(), outcome.totals.ended_rows), (403, 0, 0), "{}", outcome.body);
        assert!(outcome.body.contains("the guard stops let the request not pass: forbidden"), "{}", outcome.body);
    }
}

/// Arguments and citations are blocked whole, and the answer still ends as one that a guard ended.
#[tokio::test(start_paused = true)]
async fn what_is_judged_whole_is_blocked_whole() {
    let start = json!({"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "send"}}});
    let cases = [
        vec![event("contentBlockStart", &start), delta(0, &json!({"toolUse": {"input": "{\"to\":\"STOP it\"}"}}))],
        vec![delta(0, &json!({"citation": {"title": "STOP it", "sourceContent": [{"text": "quoted"}]}}))],
    ];
    for mut events in cases {
        events.extend([end(0), event("messageStop", &json!({"stopReason": "end_turn"}))]);
        events.push((Duration::ZERO, "metadata", format!("{{{USAGE}}}")));
        let answers = vec![Answer::Stream(events)];
        let outcome = run_with(Operation::ConverseStream, NOVA, converse("hi"), answers, None, stops).await;
        assert_eq!((outcome.record.status, outcome.totals.estimated), ("ok", 0), "{}", outcome.body);
        assert!(outcome.body.contains("guardrail_intervened"), "{}", outcome.body);
        assert!(!outcome.body.contains("STOP") && !outcome.body.contains("quoted"), "{}", outcome.body);
    }
}

/// What a model has signed is not changed: the request does not go out.
#[tokio::test(start_paused = true)]
async fn what_is_signed_is_blocked_rather_than_changed() {
    let thought = |text: &str| {
        let reasoning = json!({"reasoningContent": {"reasoningText": {"text": text, "signature": "c2ln"}}});
        json!({"messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [reasoning, {"text": "hello"}]},
            {"role": "user", "content": [{"text": "on"}]}
        ]})
    };
    let outcome = run_with(Operation::Converse, NOVA, thought(MAIL), Vec::new(), None, pii).await;
    assert_eq!((outcome.status, outcome.calls.len()), (403, 0), "{}", outcome.body);
    assert!(outcome.body.contains("let the request not pass: email"), "{}", outcome.body);
    let answers = vec![whole(&json!([{"text": "fine"}]))];
    let outcome = run_with(Operation::Converse, NOVA, thought("all is well"), answers, None, pii).await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
}

/// A guard that fails lets nothing pass.
#[tokio::test(start_paused = true)]
async fn what_a_guard_does_not_judge_does_not_pass() {
    struct Fails(Identity);
    impl Guard for Fails {
        fn identity(&self) -> &Identity {
            &self.0
        }

        fn hold_back(&self) -> usize {
            0
        }

        fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
            if input.text.contains("fail") {
                Err(PolicyError::Unavailable("x".to_owned()))
            } else {
                Ok(Verdict::pass(input.text))
            }
        }
    }
    let fails = |gateway: &mut Gateway| {
        gateway.native_guard = Some(Arc::new(Fails(Identity::new("fails", "0", vec![], vec![]))));
    };
    let outcome = run_with(Operation::ChatCompletions, NOVA, asked("fail", false), Vec::new(), None, fails).await;
    assert_eq!((outcome.status, outcome.calls.len()), (403, 0), "{}", outcome.body);
    assert!(outcome.body.contains("the guard did not judge: unavailable"), "{}", outcome.body);
    let answers = vec![streamed("1234fail and more", 4)];
    let outcome = run_with(Operation::ChatCompletions, NOVA, asked("hi", true), answers, None, fails).await;
    assert_eq!(told(&outcome.body).1, "content_filter", "{}", outcome.body);
    assert!(!outcome.body.contains("and more"));
}

/// As an operator sets it up, and a caller meets it.
#[tokio::test]
async fn a_gateway_that_is_told_to_replaces_personal_data() {
    let pair = Setup { config: "[guard]\npersonal_data = true\n", ..Setup::default() }.start();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    for stream in [false, true] {
        let mut body = chat("auto", &format!("Say this back: {MAIL}"));
        body["stream"] = json!(stream);
        let answer = client.post(&url, &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("jane"), "{}", answer.text());
        assert!(
            answer.header("x-kairos-warnings").contains("replaced in the request: 1 email"),
            "{:?}",
            answer.headers
        );
        let id = answer.header("x-kairos-request-id");
        let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
        assert_eq!(record["guarded"][0]["findings"], json!([["email", 1]]), "{record}");
    }
}
