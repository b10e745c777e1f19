//! Which connections are kept, and for how long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod play;

use kairos_bedrock::client::{Client, Timeouts};
use kairos_bedrock::pool::Pool;
use kairos_dialects::Failure;
use kairos_pipeline::upstream::{Response, Upstream as _, UpstreamOperation};
use play::{call, read_request, whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}"#;

/// An upstream, and a client of it.
async fn pair(pool: Pool) -> (TcpListener, Client) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    (upstream, play::client_with(&format!("http://{address}"), Timeouts::default(), pool))
}

async fn ask(client: &Client) -> Result<Response, Failure> {
    client.call(call(UpstreamOperation::Converse, "m", b"{}".to_vec())).await
}

async fn accept(upstream: &TcpListener) -> TcpStream {
    upstream.accept().await.unwrap().0
}

/// Answers the first request of the next connection.
async fn answer_next(upstream: &TcpListener) -> TcpStream {
    let mut connection = accept(upstream).await;
    answer(&mut connection).await;
    connection
}

/// Answers the next request of a connection.
async fn answer(connection: &mut TcpStream) {
    read_request(connection).await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", ANSWER.len());
    connection.write_all(format!("{head}{ANSWER}").as_bytes()).await.unwrap();
}

/// Waits until the client closes a connection.
async fn is_closed(connection: &mut TcpStream) {
    // A client that goes with something unread resets it.
    assert_eq!(connection.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (upstream, client) = pair(Pool::default()).await;
    let serve = async {
        let mut connection = accept(&upstream).await;
        for _ in 0..3 {
            answer(&mut connection).await;
        }
        connection
    };
    let asking = async {
        for _ in 0..3 {
            assert_eq!(whole(ask(&client).await.unwrap()).body, ANSWER);
        }
    };
    // Who waits for a second connection would wait for ever.
    let (_connection, ()) = tokio::join!(serve, asking);
}

#[tokio::test]
async fn one_that_was_closed_meanwhile_is_replaced() {
    let (upstream, client) = pair(Pool::default()).await;
    for _ in 0..3 {
        let serve = async {
            // It is closed here, before the client has its answer.
            drop(answer_next(&upstream).await);
        };
        let (answered, ()) = tokio::join!(ask(&client), serve);
        assert_eq!(whole(answered.unwrap()).body, ANSWER);
    }
}

#[tokio::test]
async fn no_more_are_kept_than_are_to_be() {
    let (upstream, client) = pair(Pool { idle_connections: 1, ..Pool::default() }).await;
    let serve = async {
        let (mut first, mut second) = (accept(&upstream).await, accept(&upstream).await);
        tokio::join!(answer(&mut first), answer(&mut second));
        tokio::select! {
            () = is_closed(&mut first) => second,
            () = is_closed(&mut second) => first,
        }
    };
    let (one, other, mut kept) = tokio::join!(ask(&client), ask(&client), serve);
    assert!(one.is_ok() && other.is_ok());
    // The one that is left serves on.
    let (answered, ()) = tokio::join!(ask(&client), answer(&mut kept));
    assert!(answered.is_ok());
}

#[tokio::test]
async fn what_nobody_uses_is_closed() {
    let (upstream, client) = pair(Pool::default()).await;
    let (answered, mut connection) = tokio::join!(ask(&client), answer_next(&upstream));
    assert!(answered.is_ok());
    let began = tokio::time::Instant::now();
    // Nothing else is to be done: time goes on by itself from now.
    tokio::time::pause();
    is_closed(&mut connection).await;
    let kept = began.elapsed();
    let keep_alive = Pool::default().keep_alive;
    assert!(kept >= keep_alive && kept < 2 * keep_alive, "{kept:?}");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_to_its_end_is_not_used_again() {
    let (upstream, client) = pair(Pool::default()).await;
    let begin = async {
        let mut connection = accept(&upstream).await;
        read_request(&mut connection).await;
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ncontent-length: 1000\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        connection
    };
    let asking = client.call(call(UpstreamOperation::ConverseStream, "m", b"{}".to_vec()));
    let (stream, mut abandoned) = tokio::join!(asking, begin);
    drop(stream.unwrap());
    let (answered, _connection) = tokio::join!(ask(&client), answer_next(&upstream));
    assert!(answered.is_ok());
    is_closed(&mut abandoned).await;
}
