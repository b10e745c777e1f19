//! Plays fixtures to clients.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;

use kairos_bedrock::client::{Client, Timeouts};
use kairos_bedrock::credentials::{Authority, CredentialSource};
use kairos_bedrock::endpoint::Endpoint;
use kairos_bedrock::pool::Pool;
use kairos_bedrock::sigv4::SigningCredentials;
use kairos_dialects::Failure;
use kairos_dialects::eventstream::Frame;
use kairos_pipeline::upstream::{Call, Response, Upstream as _, UpstreamOperation, Whole};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The example key of AWS's documentation.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// Names of the fixtures of an operation.
pub(crate) fn names(operation: &str) -> Vec<String> {
    let index = json("index.json");
    let of = index.as_array().unwrap().iter().filter(|one| one["op"] == operation);
    of.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// Head and body of a raw message.
pub(crate) fn split(raw: &[u8]) -> (String, Vec<u8>) {
    let at = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(raw[..at].to_vec()).unwrap(), raw[at + 4..].to_vec())
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Answers one connection with raw bytes; gives the request that came.
pub(crate) async fn serve_once(listener: &TcpListener, answer: &[u8]) -> Vec<u8> {
    let (mut socket, _) = listener.accept().await.unwrap();
    let request = read_request(&mut socket).await;
    socket.write_all(answer).await.unwrap();
    socket.shutdown().await.unwrap();
    request
}

pub(crate) async fn read_request(socket: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..count]);
        if let Some(at) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= at + 4 + length.unwrap_or(0) {
                return request;
            }
        }
        assert!(count > 0, "the request broke off");
    }
}

pub(crate) fn client(address: SocketAddr, timeouts: Timeouts) -> Client {
    client_to(&format!("http://{address}"), timeouts)
}

pub(crate) fn client_to(url: &str, timeouts: Timeouts) -> Client {
    client_with(url, timeouts, Pool::default())
}

pub(crate) fn client_with(url: &str, timeouts: Timeouts, pool: Pool) -> Client {
    let host = url.split("://").last().unwrap();
    let endpoint = Endpoint { url: url.to_owned(), host: host.to_owned() };
    let keys = SigningCredentials { access_key_id: "AKIDEXAMPLE".into(), secret: SECRET.into(), session_token: None };
    Client::new("us-east-1", endpoint, CredentialSource::fixed(Authority::Keys(keys)), timeouts, pool).unwrap()
}

pub(crate) fn call(operation: UpstreamOperation, model: &str, body: Vec<u8>) -> Call {
    Call { operation, invocation_id: model.into(), body: body.into(), headers: [].into(), attempt: "id-1".into() }
}

/// What our client makes of a fixture: the answer, and the request that it sent.
pub(crate) async fn play(operation: UpstreamOperation, name: &str) -> (Result<Response, Failure>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap(), Timeouts::default());
    let (_, body) = split(&read(&format!("requests/{name}.http")));
    let model = json(&format!("requests/{name}.json"))["args"]["modelId"].as_str().unwrap().to_owned();
    let answer = read(&format!("responses/{name}.http"));
    tokio::join!(client.call(call(operation, &model, body)), serve_once(&listener, &answer))
}

pub(crate) async fn frames_of(response: Response) -> (Vec<Frame>, Option<Failure>) {
    let Response::Stream(mut frames) = response else { panic!("not a stream") };
    let mut all = Vec::new();
    loop {
        match poll_fn(|context| frames.poll_frame(context)).await {
            Some(Ok(frame)) => all.push(frame),
            Some(Err(failure)) => return (all, Some(failure)),
            None => return (all, None),
        }
    }
}

pub(crate) fn whole(response: Response) -> Whole {
    match response {
        Response::Whole(whole) => whole,
        Response::Stream(_) => panic!("a stream"),
    }
}
