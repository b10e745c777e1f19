//! What an observer is told of a request, on a clock of its own, against a model's side that says what it is
//! told to say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::learned::Snapshot;
use kairos_pipeline::policy::{
    Assigned, Ending, Event, EventKind, Fault, Guard, Healer, Identity, Outcome, Policies, Prompter, Serving, Stop,
    Watcher, Went, World,
};
use kairos_pipeline::request::{Operation, RequestId};
use serde_json::{Value, json};

use super::scripted::{self, Answer};

/// Takes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<Event>>);

impl Watcher for Notes {
    fn ended(&self, _: RequestId, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// The same policies with somebody in the observer's slot.
struct Watched(Arc<dyn Policies>, Arc<Notes>);

impl Policies for Watched {
    fn serving(&self) -> Arc<Serving> {
        self.0.serving()
    }

    fn healer(&self) -> Arc<dyn Healer> {
        self.0.healer()
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.0.guard()
    }

    fn observer(&self) -> Option<Arc<dyn Watcher>> {
        Some(Arc::clone(&self.1) as _)
    }

    fn learned(&self) -> Arc<Snapshot> {
        self.0.learned()
    }

    fn prompter(&self) -> Option<Arc<dyn Prompter>> {
        None
    }

    fn failed(&self, _: World, _: &Identity, _: &Fault) {}

    fn ticket(&self) -> u64 {
        0
    }

    fn assigned(&self, _: &Assigned) {}

    fn ended(&self, _: &Assigned, _: Went) {}
}

const USAGE: &str = r#""usage":{"inputTokens":10,"outputTokens":20,"totalTokens":30}"#;

/// The one event that a request comes to.
async fn told(operation: Operation, model: &str, body: Value, answers: Vec<Answer>) -> Event {
    let notes = Arc::<Notes>::default();
    let change = |gateway: &mut Gateway| {
        gateway.policies = Arc::new(Watched(Arc::clone(&gateway.policies), Arc::clone(&notes)));
    };
    scripted::run_with(operation, model, body, answers, None, change).await;
    let mut events = notes.0.lock().unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn chat(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "a secret"}], "stream": stream})
}

fn delta(after_ms: u64) -> (Duration, &'static str, String) {
    let text = r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#;
    (Duration::from_millis(after_ms), "contentBlockDelta", text.to_owned())
}

fn last(reason: &str) -> [(Duration, &'static str, String); 2] {
    let stop = format!(r#"{{"stopReason":"{reason}"}}"#);
    let usage = format!(r#"{{{USAGE},"metrics":{{"latencyMs":5}}}}"#);
    [(Duration::ZERO, "messageStop", stop), (Duration::from_millis(30), "metadata", usage)]
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_is_told_with_what_it_cost_and_why_it_stopped() {
    let answer = format!(
        r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"hi"}}]}}}},"stopReason":"max_tokens",{USAGE},"metrics":{{"latencyMs":5}}}}"#
    );
    let event = told(Operation::ChatCompletions, "nova-lite", chat(false), vec![Answer::Whole(answer)]).await;
    assert_eq!((event.kind, event.ending, event.stop), (EventKind::Ended, Ending::Answered, Some(Stop::Length)));
    assert_eq!((event.first, event.features.named, event.models.len()), (Some((0, 1.0)), Some(0), 1));
    assert_eq!(*event.request.model_ids, ["amazon.nova-lite-v1:0".into()]);
    assert_eq!(event.began_at_ms, 1_795_000_000_000);
    let [attempt] = event.attempts[..] else { panic!("{:?}", event.attempts) };
    assert_eq!((attempt.model, attempt.outcome, attempt.status), (0, Outcome::Answered, None));
    assert_eq!((attempt.cost, attempt.settled, attempt.may_be_billed), (10 * 60_000 + 20 * 240_000, true, true));
    assert_eq!((attempt.input_tokens, attempt.output_tokens, attempt.first_content_ms), (Some(10), Some(20), None));
    // No word of the caller's is held for an observer.
    assert_eq!(event.request.content.texts(), ("", ""));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_told_with_the_time_to_its_first_content() {
    let events = [vec![delta(70), delta(50)], last("end_turn").to_vec()].concat();
    let event = told(Operation::ChatCompletions, "nova-lite", chat(true), vec![Answer::Stream(events)]).await;
    assert_eq!((event.ending, event.stop), (Ending::Answered, Some(Stop::End)));
    let attempt = event.attempts[0];
    assert_eq!((attempt.first_content_ms, attempt.duration_ms), (Some(70), 150));
    assert!(event.features.streaming && event.duration_ms >= 150);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_is_cut() {
    let event = told(Operation::ChatCompletions, "nova-lite", chat(true), vec![Answer::Stream(vec![delta(0)])]).await;
    assert_eq!((event.ending, event.stop), (Ending::Cut, None));
    let attempt = event.attempts[0];
    assert!(matches!(attempt.outcome, Outcome::Failed(_)), "{attempt:?}");
    assert_eq!((attempt.first_content_ms, attempt.settled, attempt.may_be_billed), (Some(0), false, true));
}
