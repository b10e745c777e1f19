//! Every fault, as a client sees it.

use http::Method;
use kairos_simulator::{Exception, Fault, FaultKind, Rate, StreamException};
use serde_json::{Value, json};

use crate::client::{NOVA, Running, SONNET, claude, converse};
use crate::frames::Broken;

fn error(exception: Exception) -> FaultKind {
    FaultKind::Error { exception, message: None, retry_after: None }
}

async fn with(kind: FaultKind) -> Running {
    let running = Running::today().await;
    running.faults.set(vec![Fault::always("*", kind)]);
    running
}

#[tokio::test]
async fn exceptions_come_with_their_status_and_shape() {
    let running = Running::today().await;
    for (exception, status, fields) in [
        (Exception::AccessDenied, 403, 1),
        (Exception::Conflict, 400, 1),
        (Exception::InternalServer, 500, 1),
        (Exception::ModelError, 424, 3),
        (Exception::ModelNotReady, 429, 1),
        (Exception::ModelStreamError, 424, 3),
        (Exception::ModelTimeout, 408, 1),
        (Exception::ResourceNotFound, 404, 1),
        (Exception::ServiceQuotaExceeded, 400, 1),
        (Exception::ServiceUnavailable, 503, 1),
        (Exception::Throttling, 429, 1),
        (Exception::Validation, 400, 1),
    ] {
        running.faults.set(vec![Fault::always("*", error(exception))]);
        for operation in ["converse", "converse-stream", "invoke", "count-tokens"] {
            let answer = running.call(NOVA, operation, &json!({})).await;
            assert_eq!((answer.status, answer.error().1), (status, exception.name()));
            assert_eq!(answer.json().as_object().unwrap().len(), fields, "{exception:?}");
            assert!(!answer.headers.contains_key("retry-after"));
        }
    }
    let kind =
        FaultKind::Error { exception: Exception::Throttling, message: Some("slow down".into()), retry_after: Some(7) };
    running.faults.set(vec![Fault::always("*", kind)]);
    let answer = running.call(NOVA, "converse", &converse("hi")).await;
    assert_eq!(answer.error(), (429, "ThrottlingException", "slow down".into()));
    assert_eq!(answer.headers["retry-after"], "7");
    assert_eq!(running.bill.totals().rows, 0);
}

#[tokio::test]
async fn an_empty_429_says_nothing() {
    let running = with(FaultKind::Empty429).await;
    let answer = running.call(NOVA, "converse", &converse("hi")).await;
    assert_eq!((answer.status, answer.body.len()), (429, 0));
    assert!(!answer.headers.contains_key("x-amzn-errortype"));
}

#[tokio::test]
async fn a_reset_connection_gives_no_answer() {
    let running = with(FaultKind::ConnectionReset).await;
    for operation in ["converse", "converse-stream"] {
        assert!(running.try_call(NOVA, operation, &converse("hi")).await.is_none());
    }
    assert_eq!(running.bill.totals().rows, 0);
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_wire() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = with(FaultKind::ConnectionReset).await;
    let address = running.base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = converse("hi").to_string();
    let request = format!(
        "POST /model/{NOVA}/converse HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\
         authorization: Bearer kairos-simulator-key\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let read = socket.read(&mut [0; 64]).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stalled_call_is_never_answered_but_does_not_hold_up_the_end() {
    let running = with(FaultKind::Stall).await;
    let request = running.request(NOVA, "converse", converse("hi").to_string(), &[]);
    let (answer, ()) = tokio::join!(
        async {
            let client: hyper_util::client::legacy::Client<_, http_body_util::Full<bytes::Bytes>> =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
            client.request(request).await
        },
        async {
            // Until the fault has struck there is nothing to see but its count.
            loop {
                let faults = running.get("/sim/v1/faults").await.json();
                if faults[0]["struck"] == 1 {
                    break;
                }
            }
            running.stop().await;
        }
    );
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_stream_falls_silent_until_the_server_stops() {
    let running = with(FaultKind::StallAfter { after: 2 }).await;
    let request = running.request(SONNET, "converse-stream", converse("hi").to_string(), &[]);
    let response = {
        let client: hyper_util::client::legacy::Client<_, http_body_util::Full<bytes::Bytes>> =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        client.request(request).await.unwrap()
    };
    assert_eq!(response.status(), 200);
    assert_eq!(running.bill.totals().rows, 1, "the whole generation is billed");
    running.stop().await;
    let mut body = response.into_body();
    let (mut bytes, mut broke_off) = (Vec::new(), false);
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => {
                broke_off = true;
                break;
            }
        }
    }
    assert!(broke_off, "a silent stream has no proper end");
    assert_eq!(crate::frames::all(&bytes).0.len(), 3, "a start and two pieces of content");
}

#[tokio::test]
async fn damaged_streams() {
    let delta = "contentBlockDelta";
    let all = {
        let running = Running::today().await;
        running.call(SONNET, "converse-stream", &converse("hi")).await.frame_names()
    };
    let whole: Vec<&str> = all.iter().map(String::as_str).collect();
    for (kind, names, broken) in [
        (FaultKind::CleanEof { after: 2 }, vec!["messageStart", delta, delta], None),
        (FaultKind::CutFrame { after: 1 }, vec!["messageStart", delta], Some(Broken::Truncated)),
        (FaultKind::BadChecksum { after: 1 }, vec!["messageStart", delta], Some(Broken::MessageCrc)),
        (FaultKind::NoMetadata, whole[..whole.len() - 1].to_vec(), None),
    ] {
        let running = with(kind.clone()).await;
        let answer = running.call(SONNET, "converse-stream", &converse("hi")).await;
        assert_eq!(answer.frames().1, broken, "{kind:?}");
        assert_eq!(answer.frame_names(), names, "{kind:?}");
        assert!(!answer.broke_off, "the body itself ends properly: {kind:?}");
    }
}

#[tokio::test]
async fn exceptions_inside_streams() {
    for exception in [
        StreamException::InternalServer,
        StreamException::ModelStreamError,
        StreamException::Validation,
        StreamException::Throttling,
        StreamException::ServiceUnavailable,
    ] {
        for (after, before) in [(0, 0), (2, 3)] {
            let message = Some("boo".to_owned());
            let running = with(FaultKind::StreamException { exception, after, message }).await;
            let answer = running.call(SONNET, "converse-stream", &converse("hi")).await;
            let (frames, broken) = answer.frames();
            assert_eq!((frames.len(), broken), (before + 1, None), "{exception:?}");
            let (name, payload) = frames.last().unwrap();
            assert_eq!((&**name, &payload["message"]), (exception.name(), &json!("boo")));
            let original = payload.get("originalStatusCode").is_some();
            assert_eq!(original, exception == StreamException::ModelStreamError);
        }
    }
}

#[tokio::test]
async fn native_streams_have_their_own_exception_and_ends() {
    let exception = StreamException::ModelTimeout;
    let running = with(FaultKind::StreamException { exception, after: 1, message: None }).await;
    let native = running.call(SONNET, "invoke-with-response-stream", &claude("hi")).await;
    assert_eq!(native.frame_names().last().unwrap(), "modelTimeoutException");
    let converse = running.call(SONNET, "converse-stream", &converse("hi")).await;
    assert_eq!(converse.frame_names().last().unwrap(), "metadata", "not one of Converse's");

    let running = with(FaultKind::NoMetadata).await;
    let native = running.call(SONNET, "invoke-with-response-stream", &claude("hi")).await;
    let last = crate::streams::chunks(&native).pop().unwrap();
    assert_eq!(last, json!({"type": "message_stop"}));
}

#[tokio::test]
async fn faults_are_set_and_counted_over_http() {
    let running = Running::today().await;
    let list = json!([
        {"model": NOVA, "fault": "ThrottlingException", "rate": 0.5, "times": 2},
        {"model": "*", "fault": "stream_exception", "exception": "throttlingException", "after": 3},
    ]);
    let set = running.http(Method::PUT, "/sim/v1/faults", list.to_string()).await;
    assert_eq!(set.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(running.call(NOVA, "converse", &converse("hi")).await.status);
    }
    assert_eq!(statuses, [200, 429, 200, 429, 200, 200]);
    let counted = running.get("/sim/v1/faults").await;
    assert_eq!(counted.json()[0]["seen"], 4, "a spent fault counts no more");
    assert_eq!(counted.json()[0]["struck"], 2);
    // What was read can be written back.
    let again = running.http(Method::PUT, "/sim/v1/faults", counted.body).await;
    assert_eq!((again.status, &again.json()[0]["seen"]), (200, &json!(0)));

    let bad = running.http(Method::PUT, "/sim/v1/faults", r#"[{"model":"*","fault":"x"}]"#).await;
    assert!(bad.error().2.starts_with("fault 0: no fault is called `x`; there are"));
    assert_eq!((bad.status, running.faults.list().len()), (400, 2), "the old ones stay");

    let cleared = running.http(Method::DELETE, "/sim/v1/faults", "").await;
    assert_eq!((cleared.status, cleared.json()), (200, Value::Array(Vec::new())));
}

#[tokio::test]
async fn a_fault_is_for_one_id_only() {
    let running = Running::today().await;
    let kind = error(Exception::Throttling);
    let rate = Rate::new(1.0).unwrap();
    running.faults.set(vec![Fault { model: NOVA.into(), kind, rate, times: None }]);
    for (model, status) in [(NOVA, 429), ("amazon.nova-lite-v1%3A0", 429), ("us.amazon.nova-lite-v1:0", 200)] {
        assert_eq!(running.call(model, "converse", &converse("hi")).await.status, status);
    }
}
