//! Beside `aws-sdk-bedrockruntime`: on the same bytes, the same text, stop reason, usage and codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod play;

use std::net::SocketAddr;

use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime as sdk;
use aws_sdk_bedrockruntime::error::ProvideErrorMetadata as _;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, Message, TokenUsage,
};
use kairos_bedrock::sigv4::encode_segment;
use kairos_dialects::answer::Event;
use kairos_dialects::bedrock::{parse_answer, parse_event};
use kairos_pipeline::upstream::{Response, UpstreamOperation};
use play::{SECRET, frames_of, names, play, read, serve_once, split, whole};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn sdk_client(address: SocketAddr) -> sdk::Client {
    let configuration = sdk::Config::builder()
        .behavior_version(sdk::config::BehaviorVersion::v2026_01_12())
        .region(sdk::config::Region::new("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test"))
        .retry_config(sdk::config::retry::RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    sdk::Client::from_conf(configuration)
}

fn user(text: &str) -> Message {
    Message::builder().role(ConversationRole::User).content(ContentBlock::Text(text.to_owned())).build().unwrap()
}

fn counts(usage: &TokenUsage) -> (u64, u64) {
    (usage.input_tokens() as u64, usage.output_tokens() as u64)
}

const MODEL: &str = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.m-v1:0";

#[tokio::test]
async fn whole_answers() {
    for name in names("converse") {
        let answer = read(&format!("responses/{name}.http"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sdk = sdk_client(listener.local_addr().unwrap());
        let request = sdk.converse().model_id(MODEL).messages(user("hi")).send();
        let (theirs, sent) = tokio::join!(request, serve_once(&listener, &answer));
        let (ours, _) = play(UpstreamOperation::Converse, &name).await;
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => {
                let whole = whole(ours);
                let ours = parse_answer(&whole.body).unwrap();
                assert_eq!(theirs.stop_reason().as_str(), ours.stop_reason.as_converse(), "{name}");
                let usage = ours.served.usage.unwrap();
                assert_eq!(counts(theirs.usage().unwrap()), (usage.input, usage.output), "{name}");
            }
            (Err(theirs), Err(ours)) => {
                let code = theirs.as_service_error().and_then(|error| error.code()).unwrap_or_default();
                assert_eq!(code, ours.upstream.unwrap().code, "{name}");
            }
            (theirs, ours) => panic!("{name}: the SDK says {theirs:?}, we say {}", ours.is_ok()),
        }
        // Paths are encoded alike, and bodies hold the same.
        let (head, body) = split(&sent);
        assert!(head.starts_with(&format!("POST /model/{}/converse HTTP/1.1", encode_segment(MODEL))), "{head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}));
    }
}

/// Text, usage, and whether the stream failed; none when there was no stream.
type Streamed = Option<(String, Option<(u64, u64)>, bool)>;

async fn by_the_sdk(name: &str) -> Streamed {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sdk = sdk_client(listener.local_addr().unwrap());
    let answer = read(&format!("responses/{name}.http"));
    let stream = async {
        let mut output = sdk.converse_stream().model_id(MODEL).messages(user("hi")).send().await.ok()?;
        let (mut text, mut usage) = (String::new(), None);
        loop {
            match output.stream.recv().await {
                Ok(Some(ConverseStreamOutput::ContentBlockDelta(event))) => {
                    if let Some(ContentBlockDelta::Text(part)) = event.delta() {
                        text.push_str(part);
                    }
                }
                Ok(Some(ConverseStreamOutput::Metadata(event))) => usage = event.usage().map(counts),
                Ok(Some(_)) => {}
                Ok(None) => return Some((text, usage, false)),
                Err(_) => return Some((text, usage, true)),
            }
        }
    };
    tokio::join!(stream, serve_once(&listener, &answer)).0
}

async fn by_us(name: &str) -> Streamed {
    let response: Response = play(UpstreamOperation::ConverseStream, name).await.0.ok()?;
    let (frames, failure) = frames_of(response).await;
    let (mut text, mut usage) = (String::new(), None);
    for frame in &frames {
        match parse_event(frame.name(), &frame.payload).unwrap() {
            Event::Text { text: part, .. } => text.push_str(&part),
            Event::Metadata(served) => usage = served.usage.map(|usage| (usage.input, usage.output)),
            _ => {}
        }
    }
    Some((text, usage, failure.is_some()))
}

#[tokio::test]
async fn streams() {
    for name in names("converse_stream") {
        assert_eq!(by_us(&name).await, by_the_sdk(&name).await, "{name}");
    }
}
