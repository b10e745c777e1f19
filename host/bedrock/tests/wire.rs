//! The wire, against fixtures that botocore made, and beside `aws-sdk-bedrockruntime` where both can
//! do it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod play;

use std::time::Duration;

use bytes::Bytes;
use kairos_bedrock::client::Timeouts;
use kairos_bedrock::sigv4::{Authorization, SignedRequest};
use kairos_dialects::answer::{AnswerBlock, Event};
use kairos_dialects::bedrock::invoke::{self, ChunkReader};
use kairos_dialects::bedrock::{outline, parse_answer, parse_event};
use kairos_dialects::eventstream::{Decoder, Frame};
use kairos_dialects::{Kind, Usage};
use kairos_pipeline::upstream::{Upstream as _, UpstreamOperation};
use play::{
    SECRET, call, client, client_to, fixtures, frames_of, json, names, number, play, read, read_request, split, whole,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const OPERATIONS: [(UpstreamOperation, &str); 4] = [
    (UpstreamOperation::Converse, "converse"),
    (UpstreamOperation::ConverseStream, "converse_stream"),
    (UpstreamOperation::Invoke, "invoke_model"),
    (UpstreamOperation::InvokeStream, "invoke_model_with_response_stream"),
];

/// Usage as botocore parsed it.
fn expected_usage(usage: &Value) -> Usage {
    let by_ttl = |ttl: &str| {
        let details = usage["cacheDetails"].as_array().into_iter().flatten();
        details.filter(|detail| detail["ttl"] == ttl).map(|detail| number(&detail["inputTokens"])).sum()
    };
    let (five, hour): (u64, u64) = (by_ttl("5m"), by_ttl("1h"));
    Usage {
        input: number(&usage["inputTokens"]),
        output: number(&usage["outputTokens"]),
        cache_read: number(&usage["cacheReadInputTokens"]),
        cache_write_5m: five,
        cache_write_1h: hour,
        cache_write_unknown: number(&usage["cacheWriteInputTokens"]) - five - hour,
        ..Usage::default()
    }
}

fn without_guardrail(usage: Usage) -> Usage {
    Usage { guardrail: Default::default(), ..usage }
}

fn expected_text(content: &Value) -> String {
    let blocks = content.as_array().into_iter().flatten();
    let cited = |block: &Value| block["citationsContent"]["content"][0]["text"].as_str().map(str::to_owned);
    blocks.filter_map(|block| block["text"].as_str().map(str::to_owned).or_else(|| cited(block))).collect()
}

#[test]
fn every_signature_of_botocore_verifies() {
    for name in OPERATIONS.iter().flat_map(|(_, kind)| names(kind)) {
        let (head, body) = split(&read(&format!("requests/{name}.http")));
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let named = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = named.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let header =
            |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone()).unwrap();
        let stamp = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", header("x-amz-date")).unwrap();
        let now = stamp.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
        let authorization = Authorization::parse(&header("authorization")).unwrap();
        let request = SignedRequest { method: "POST".into(), path, query: String::new(), headers, authorization };
        assert_eq!(request.verify(SECRET, &body, now), Ok(()), "{name}");
    }
}

#[tokio::test]
async fn requests_go_out_as_botocore_sends_them() {
    for (operation, kind) in OPERATIONS {
        for name in names(kind) {
            let (_, request) = play(operation, &name).await;
            let (head, body) = split(&request);
            let expected = json(&format!("requests/{name}.json"));
            let target = expected["target"].as_str().unwrap();
            assert!(head.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{name}: {head}");
            assert_eq!(body, split(&read(&format!("requests/{name}.http"))).1, "{name}: the body was changed");
            let head = head.to_ascii_lowercase();
            for line in [
                "content-type: application/json",
                "amz-sdk-invocation-id: id-1",
                "amz-sdk-request: attempt=1; max=1",
                "authorization: aws4-hmac-sha256 ",
            ] {
                assert!(head.contains(line), "{name}: {line} is missing: {head}");
            }
        }
    }
}

#[tokio::test]
async fn whole_answers_are_read_as_botocore_reads_them() {
    for name in names("converse").into_iter().filter(|name| !name.starts_with("err_")) {
        let (response, _) = play(UpstreamOperation::Converse, &name).await;
        let whole = whole(response.unwrap());
        let (_, bytes) = split(&read(&format!("responses/{name}.http")));
        assert_eq!(whole.body, bytes, "{name}: native callers get these bytes");
        let answer = parse_answer(&whole.body).unwrap();
        let expected = json(&format!("responses/{name}.expected.json"))["parsed"].clone();
        let texts = answer.blocks.iter().filter_map(|block| match block {
            AnswerBlock::Text(text) => Some(&**text),
            AnswerBlock::ToolUse { .. } => None,
        });
        assert_eq!(texts.collect::<String>(), expected_text(&expected["output"]["message"]["content"]), "{name}");
        assert_eq!(answer.stop_reason.as_converse(), expected["stopReason"], "{name}");
        let usage = answer.served.usage.unwrap();
        assert_eq!(without_guardrail(usage), expected_usage(&expected["usage"]), "{name}");
        assert_eq!(usage != without_guardrail(usage), expected["trace"]["guardrail"].is_object(), "{name}");
        // What boto3 sent can be read too.
        outline(&split(&read(&format!("requests/{name}.http"))).1, false).unwrap();
    }
}

/// Exceptions of the service model, and codes that are not in it, and what they mean to us.
const KINDS: [(&str, Kind); 15] = [
    ("AccessDeniedException", Kind::AccessDenied),
    ("ConflictException", Kind::Conflict),
    ("InternalServerException", Kind::Server),
    ("ModelErrorException", Kind::ModelError),
    ("ModelNotReadyException", Kind::ModelNotReady),
    ("ModelStreamErrorException", Kind::BrokenStream),
    ("ModelTimeoutException", Kind::ModelTimeout),
    ("ResourceNotFoundException", Kind::ModelNotFound),
    ("ServiceQuotaExceededException", Kind::Quota),
    ("ServiceUnavailableException", Kind::Unavailable),
    ("ThrottlingException", Kind::Throttled),
    ("ValidationException", Kind::Rejected),
    ("ExpiredTokenException", Kind::UpstreamAuth),
    // botocore gives the status as the code of an empty answer.
    ("429", Kind::Throttled),
    ("503", Kind::Unavailable),
];

#[tokio::test]
async fn errors_keep_their_kind_wherever_the_code_stands() {
    let mut met = 0;
    for (operation, kind) in OPERATIONS {
        for name in names(kind) {
            let expected = json(&format!("responses/{name}.expected.json"));
            if expected["ok"] == true {
                continue;
            }
            let (response, _) = play(operation, &name).await;
            let Err(failure) = response else { panic!("{name} was read as an answer") };
            let upstream = failure.upstream.as_deref().unwrap();
            let code = expected["Error"]["Code"].as_str().unwrap();
            let (_, kind) = KINDS.iter().find(|(known, _)| *known == code).unwrap();
            assert_eq!(failure.kind, *kind, "{name}");
            assert_eq!(upstream.code, if code.len() == 3 { "" } else { code }, "{name}");
            assert_eq!(u64::from(upstream.status), number(&expected["status"]), "{name}");
            assert_eq!(upstream.request_id, "00000000-0000-4000-8000-000000000001", "{name}");
            // To an empty answer botocore gives the status's own words.
            let said = expected["Error"]["Message"].as_str().filter(|_| !upstream.body.is_empty());
            assert!(failure.message.contains(said.unwrap_or_default()), "{name}: {failure}");
            let wait = (name == "err_retry_after").then_some(Duration::from_secs(2));
            assert_eq!(failure.retry_after, wait, "{name}");
            met += 1;
        }
    }
    assert!(met >= 23, "only {met} errors");
}

#[tokio::test]
async fn streams_are_read_as_botocore_reads_them() {
    for name in names("converse_stream") {
        let expected = json(&format!("responses/{name}.expected.json"));
        if expected["ok"] != true {
            continue;
        }
        let (response, _) = play(UpstreamOperation::ConverseStream, &name).await;
        let (frames, failure) = frames_of(response.unwrap()).await;
        let events = expected["events"].as_array().unwrap();
        let event_names: Vec<_> =
            events.iter().map(|event| event.as_object().unwrap().keys().next().unwrap()).collect();
        assert_eq!(frames.iter().map(Frame::name).collect::<Vec<_>>(), event_names, "{name}");
        // For botocore a stream that is cut within a frame ends well. It did not end.
        let fails = expected["end"] == "error" || name == "cs_truncated_midframe";
        assert_eq!(failure.is_some(), fails, "{name}: {failure:?}");
        let error = &expected["stream_error"]["Error"];
        if let Some(code) = error["Code"].as_str().filter(|code| code.ends_with("Exception")) {
            let failure = failure.unwrap();
            let upstream = failure.upstream.as_deref().unwrap();
            // The code is that of the same error before the stream.
            assert_eq!(upstream.code.to_ascii_lowercase(), code.to_ascii_lowercase(), "{name}");
            let (_, kind) = KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).unwrap();
            assert_eq!(failure.kind, *kind, "{name}");
            assert!(failure.message.ends_with(error["Message"].as_str().unwrap()), "{name}: {failure}");
        }
        let parsed: Vec<_> = frames.iter().map(|frame| parse_event(frame.name(), &frame.payload).unwrap()).collect();
        let texts = parsed.iter().filter_map(|event| match event {
            Event::Text { text, .. } => Some(&**text),
            _ => None,
        });
        let expected_texts = events.iter().filter_map(|event| event["contentBlockDelta"]["delta"]["text"].as_str());
        assert_eq!(texts.collect::<String>(), expected_texts.collect::<String>(), "{name}");
        let usage = parsed.iter().find_map(|event| match event {
            Event::Metadata(served) => served.usage.map(without_guardrail),
            _ => None,
        });
        let metadata = events.iter().find_map(|event| event.get("metadata"));
        assert_eq!(usage, metadata.map(|metadata| expected_usage(&metadata["usage"])), "{name}");
    }
}

#[tokio::test]
async fn native_bodies_pass_and_tell_their_usage() {
    for name in names("invoke_model").into_iter().filter(|name| name.starts_with("im_")) {
        let (response, _) = play(UpstreamOperation::Invoke, &name).await;
        let whole = whole(response.unwrap());
        let (head, body) = split(&read(&format!("responses/{name}.http")));
        assert_eq!(whole.body, body, "{name}");
        let head = head.to_ascii_lowercase();
        let count = |kind: &str| {
            let prefix = format!("x-amzn-bedrock-{kind}-token-count: ");
            head.lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<u64>().ok())
        };
        let usage = invoke::usage(whole.counts, &whole.body).unwrap();
        // Jurassic-2 without headers counts by its lists of tokens, which have one each.
        assert_eq!(usage.input, count("input").unwrap_or(1), "{name}");
        assert_eq!(usage.output, count("output").unwrap_or(1), "{name}");
        assert_eq!(usage.cache_read, count("cache-read-input").unwrap_or(0), "{name}");
        assert_eq!(usage.cache_write(), count("cache-write-input").unwrap_or(0), "{name}");
        if name == "im_claude" {
            assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (28, 1024));
        }
        invoke::outline(&split(&read(&format!("requests/{name}.http"))).1, false, None).unwrap();
    }
}

#[tokio::test]
async fn native_streams_pass_and_tell_their_usage() {
    for name in names("invoke_model_with_response_stream") {
        let expected = json(&format!("responses/{name}.expected.json"));
        let (response, _) = play(UpstreamOperation::InvokeStream, &name).await;
        let (frames, failure) = frames_of(response.unwrap()).await;
        assert_eq!(frames.len(), expected["events"].as_array().unwrap().len(), "{name}");
        assert_eq!(failure.is_some(), expected["end"] == "error", "{name}");
        let mut reader = ChunkReader::default();
        for frame in &frames {
            reader.read(&frame.payload).unwrap();
        }
        // A stream that says neither that it stopped nor what it cost broke off.
        let complete = matches!(name.as_str(), "is_claude" | "is_titan" | "is_llama");
        assert_eq!((reader.ended(), reader.has_metrics()), (complete, complete), "{name}");
        let chunks = expected["decoded_chunks"].as_array().unwrap();
        if let Some(metrics) = chunks.iter().find_map(|chunk| chunk.get("amazon-bedrock-invocationMetrics")) {
            let usage = reader.usage().unwrap();
            let stated = (number(&metrics["inputTokenCount"]), number(&metrics["outputTokenCount"]));
            assert_eq!((usage.input, usage.output), stated, "{name}");
            assert_eq!(usage.cache_write(), number(&metrics["cacheWriteInputTokenCount"]), "{name}");
            if name == "is_claude" {
                assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (28, 1024));
            }
        }
    }
}

#[test]
fn every_fixture_stream_survives_a_split_at_every_byte() {
    let decode = |pieces: &[&[u8]]| {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, decoder.finish().err())
    };
    for path in fixtures().join("streams").read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&path).unwrap();
        let whole = decode(&[&bytes]);
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), whole, "{} split at {at}", path.display());
        }
    }
}

/// A call that is never answered, or whose stream stalls, ends by the limit that holds for it.
#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_by_its_own_limit() {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        connect: second,
        first_event: second * 2,
        between_events: second * 3,
        answer: second * 5,
        total: second * 60,
    };
    let stream = read("responses/cs_text.http");
    let head = stream.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    // The Content-Length is that of the whole: the connection stays open, and nothing more comes.
    for (operation, sent, limit) in [
        (UpstreamOperation::Converse, 0, 5),
        (UpstreamOperation::ConverseStream, 0, 2),
        (UpstreamOperation::ConverseStream, head, 2),
        (UpstreamOperation::ConverseStream, head + 300, 3),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(listener.local_addr().unwrap(), timeouts);
        let bytes = Bytes::copy_from_slice(&stream[..sent]);
        let stalling = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            socket.write_all(&bytes).await.unwrap();
            std::future::pending::<()>().await;
        });
        let started = tokio::time::Instant::now();
        let failure = match client.call(call(operation, "m", b"{}".to_vec())).await {
            Ok(response) => frames_of(response).await.1.unwrap(),
            Err(failure) => failure,
        };
        assert_eq!((failure.kind, failure.unbilled), (Kind::Timeout, false), "{failure}");
        // Time stands still but for timers: the clock says which of them fired.
        assert_eq!(started.elapsed().as_secs(), limit, "{operation:?} after {sent} bytes");
        stalling.abort();
    }
    // An error without its body is that error, soon enough for another candidate.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = tokio::time::Instant::now();
    let patient = Timeouts { answer: second * 900, ..timeouts };
    let client_of_stalled = client(listener.local_addr().unwrap(), patient);
    let stalling = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        let head = "HTTP/1.1 429 \r\nx-amzn-errortype: ThrottlingException\r\ncontent-length: 90\r\n\r\n{";
        socket.write_all(head.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let Err(failure) = client_of_stalled.call(call(UpstreamOperation::Converse, "m", b"{}".to_vec())).await else {
        panic!("answered by half an error")
    };
    assert_eq!((failure.kind, failure.unbilled, started.elapsed().as_secs()), (Kind::Throttled, true, 5), "{failure}");
    stalling.abort();
    // A connection that is never made: nothing was written, whichever limit ends it.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let patient = Timeouts { connect: second * 30, ..timeouts };
    let over_tls = client_to(&format!("https://{}", mute.local_addr().unwrap()), patient);
    let Err(failure) = over_tls.call(call(UpstreamOperation::ConverseStream, "m", b"{}".to_vec())).await else {
        panic!("answered without a handshake")
    };
    assert_eq!((failure.kind, failure.unbilled), (Kind::Timeout, true), "{failure}");
    // Nobody listens: known to cost nothing.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = client(nobody, timeouts).call(call(UpstreamOperation::Converse, "m", b"{}".to_vec())).await;
    let Err(failure) = refused else { panic!("answered by nobody") };
    assert_eq!((failure.kind, failure.unbilled), (Kind::Network, true), "{failure}");
}
