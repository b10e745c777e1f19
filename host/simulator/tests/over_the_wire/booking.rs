//! What ends up on the bill, and what does not.

use kairos_simulator::{Fault, FaultKind, StreamException};
use serde_json::json;

use crate::billing::{only, picos};
use crate::client::{Running, SONNET, claude, converse};

#[tokio::test]
async fn a_stream_costs_what_the_same_answer_costs_at_once() {
    let running = Running::today().await;
    for (operation, body) in [
        ("converse", converse("hi")),
        ("converse-stream", converse("hi")),
        ("invoke", claude("hi")),
        ("invoke-with-response-stream", claude("hi")),
    ] {
        running.call_as(operation, SONNET, operation, &body).await;
    }
    let rows = running.bill.rows(0, 10);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!((row.cost_usd, &row.usage), (rows[0].cost_usd, &rows[0].usage));
    }
    let total: u128 = rows.iter().map(|row| row.cost_usd.picodollars()).sum();
    assert_eq!(running.bill.totals().cost_usd.picodollars(), total);
}

#[tokio::test]
async fn faults_are_billed_by_what_was_generated() {
    let exception = |after| FaultKind::StreamException { exception: StreamException::Throttling, after, message: None };
    let whole = {
        let running = Running::today().await;
        running.call_as("x", SONNET, "converse-stream", &converse("hi")).await;
        only(running.bill.find("x"))
    };
    for (kind, expected) in [
        (FaultKind::Empty429, None),
        (exception(0), None),
        // Pieces of four tokens: two of them.
        (exception(2), Some(8)),
        (exception(1_000), Some(whole.output_tokens)),
        (FaultKind::CutFrame { after: 1 }, Some(whole.output_tokens)),
        (FaultKind::BadChecksum { after: 1 }, Some(whole.output_tokens)),
        (FaultKind::CleanEof { after: 1 }, Some(whole.output_tokens)),
        (FaultKind::NoMetadata, Some(whole.output_tokens)),
    ] {
        let running = Running::today().await;
        running.faults.set(vec![Fault::always("*", kind.clone())]);
        running.call_as("x", SONNET, "converse-stream", &converse("hi")).await;
        let rows = running.bill.find("x");
        assert_eq!(rows.first().map(|row| row.output_tokens), expected, "{kind:?}");
        if let Some(output) = expected {
            let cost = picos(whole.input_tokens, 300) + picos(output, 1_500);
            assert_eq!(rows[0].cost_usd.picodollars(), cost, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_billed_in_full() {
    let running = Running::today().await;
    let headers = [("amz-sdk-invocation-id", "gone")];
    let body = converse("hi").to_string();
    let request = running.request(SONNET, "converse-stream", body, &headers);
    let client: hyper_util::client::legacy::Client<_, http_body_util::Full<bytes::Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    // The head of the answer is all it ever reads.
    drop(client.request(request).await.unwrap());
    drop(client);
    let row = only(running.bill.find("gone"));
    running.call_as("stayed", SONNET, "converse-stream", &converse("hi")).await;
    assert_eq!(row.cost_usd, only(running.bill.find("stayed")).cost_usd);
}

#[tokio::test]
async fn the_bill_is_read_over_http() {
    let running = Running::today().await;
    for id in ["a b/c", "second", "third"] {
        running.call_as(id, SONNET, "converse", &converse("hi")).await;
    }
    // Counting is free, and so is failing.
    let count = json!({"input": {"converse": converse("hi")}});
    assert_eq!(running.call(SONNET, "count-tokens", &count).await.json(), json!({"inputTokens": 7}));
    running.call("no-such-model", "converse", &converse("hi")).await;

    let page = running.get("/sim/v1/bill?limit=2").await.json();
    let ids: Vec<&str> =
        page["rows"].as_array().unwrap().iter().map(|r| r["invocation_id"].as_str().unwrap()).collect();
    assert_eq!((ids, &page["next_after"]), (vec!["a b/c", "second"], &json!(2)));
    assert_eq!(page["totals"]["rows"], 3);
    let rest = running.get("/sim/v1/bill?after=2").await.json();
    assert_eq!(rest["rows"][0]["invocation_id"], "third");
    assert_eq!(rest["rows"].as_array().unwrap().len(), 1);

    let row = running.get("/sim/v1/bill/a%20b%2Fc").await.json();
    assert_eq!(row["rows"][0], page["rows"][0]);
    assert_eq!(row["cost_usd"], page["rows"][0]["cost_usd"]);
}

#[tokio::test]
async fn a_call_without_an_invocation_id_goes_by_its_request_id() {
    let running = Running::today().await;
    let answer = running.call(SONNET, "converse", &converse("hi")).await;
    assert_eq!(running.bill.find(&answer.headers["x-amzn-requestid"]).len(), 1);
}
