//! A small HTTP client for tests.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Client {
    inner: HyperClient<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Default for Client {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { inner: HyperClient::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Client {
    /// Sends a request, and gives the answer with its body still to be read.
    pub async fn open(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.inner.request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let response = self.open(method, url, headers, body).await;
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// POSTs JSON, to who may not live to answer.
    pub async fn try_post(&self, url: &str, body: &Value) -> Option<Answer> {
        let (parts, body) = self.try_open(url, body).await?.into_parts();
        Some(Answer { status: parts.status, headers: parts.headers, body: body.collect().await.ok()?.to_bytes() })
    }

    /// The same, with the answer's body still to be read.
    pub async fn try_open(&self, url: &str, body: &Value) -> Option<http::Response<Incoming>> {
        let request = Request::builder().method("POST").uri(url).header("content-type", "application/json");
        self.inner.request(request.body(Full::new(body.to_string().into())).unwrap()).await.ok()
    }

    /// GETs an address.
    pub async fn get(&self, url: &str) -> Answer {
        self.send("GET", url, &[], Bytes::new()).await
    }

    /// POSTs JSON.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send("POST", url, &all, body.to_string()).await
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What a body of OpenAI's says, whole or streamed, and why it ended.
pub fn told(body: &str) -> (String, String) {
    let mut said = (String::new(), String::new());
    let lines = body.split('\n').map(|line| line.strip_prefix("data: ").unwrap_or(line));
    for value in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let choice = &value["choices"][0];
        for text in [&choice["delta"]["content"], &choice["message"]["content"]] {
            said.0.push_str(text.as_str().unwrap_or_default());
        }
        said.1.push_str(choice["finish_reason"].as_str().unwrap_or_default());
    }
    said
}

/// A chat completion request of one user message.
pub fn chat(model: &str, text: &str) -> Value {
    serde_json::json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// A Converse request of one user message.
pub fn converse(text: &str) -> Value {
    serde_json::json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

/// A request in every dialect: its address, and what is sent there.
pub fn requests(gateway: &str) -> Vec<(String, Value)> {
    let mut streamed = chat("amazon.nova-lite-v1:0", "hello");
    streamed["stream"] = true.into();
    let claude = serde_json::json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
    let model = |name: &str, operation: &str| format!("{gateway}/model/{name}/{operation}");
    vec![
        (format!("{gateway}/v1/chat/completions"), chat("amazon.nova-lite-v1:0", "hello")),
        (format!("{gateway}/v1/chat/completions"), streamed),
        (model("amazon.nova-lite-v1:0", "converse"), converse("hello")),
        (model("amazon.nova-lite-v1:0", "converse-stream"), converse("hello")),
        (model("us.anthropic.claude-sonnet-4-6", "invoke"), claude.clone()),
        (model("us.anthropic.claude-sonnet-4-6", "invoke-with-response-stream"), claude),
        (
            format!("{gateway}/v1/generate"),
            serde_json::json!({"prompt": "hello", "model_preference": "amazon.nova-lite-v1:0"}),
        ),
    ]
}
