//! A simulator and a client of it, both in this process.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::civil::{Date, date};
use kairos_simulator::{Bill, Config, DEFAULT_API_KEY, Faults, Simulator};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::frames::{self, Broken, Frame};

pub(crate) const TODAY: Date = date(2026, 11, 23);
pub(crate) const SONNET: &str = "global.anthropic.claude-sonnet-4-6";
pub(crate) const NOVA: &str = "amazon.nova-lite-v1:0";

/// A running simulator.
pub(crate) struct Running {
    pub(crate) base: String,
    pub(crate) bill: Bill,
    pub(crate) faults: Faults,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the body broke off.
    pub(crate) broke_off: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Status, error type and message.
    pub(crate) fn error(&self) -> (u16, &str, String) {
        let name = self.headers.get("x-amzn-errortype").map_or("", String::as_str);
        let message = self.json()["message"].as_str().unwrap_or_default().to_owned();
        (self.status, name, message)
    }

    /// The names of the frames, the payloads, and what is wrong with the first bad one.
    pub(crate) fn frames(&self) -> (Vec<(String, Value)>, Option<Broken>) {
        let (frames, broken) = frames::all(&self.body);
        let named = |frame: Frame| {
            let name = frame.headers.get(":event-type").or(frame.headers.get(":exception-type"));
            (name.unwrap().clone(), serde_json::from_slice(&frame.payload).unwrap())
        };
        (frames.into_iter().map(named).collect(), broken)
    }

    pub(crate) fn frame_names(&self) -> Vec<String> {
        self.frames().0.into_iter().map(|(name, _)| name).collect()
    }
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        let simulator = Simulator::bind(config).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        Self {
            base: format!("http://{}", simulator.addr()),
            bill: simulator.bill(),
            faults: simulator.faults(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            stop: Some(stop),
            task: tokio::spawn(simulator.run(async {
                let _ = stopped.await;
            })),
        }
    }

    pub(crate) async fn today() -> Self {
        Self::start(Config::new(TODAY)).await
    }

    /// Stops and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }

    /// Sends a request as it is; none if no answer came.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let response = self.client.request(request).await.ok()?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let (mut body, mut bytes, mut broke_off) = (response.into_body(), Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(data) => bytes.extend_from_slice(&data.unwrap_or_default()),
                Err(_) => {
                    broke_off = true;
                    break;
                }
            }
        }
        Some(Answer { status, headers, body: bytes, broke_off })
    }

    pub(crate) async fn http(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request =
            Request::builder().method(method).uri(format!("{}{path}", self.base)).body(Full::new(body.into())).unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.http(Method::GET, path, "").await
    }

    pub(crate) fn request(
        &self,
        model: &str,
        operation: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/model/{model}/{operation}", self.base))
            .header("authorization", format!("Bearer {DEFAULT_API_KEY}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    /// Calls an operation; none if no answer came.
    pub(crate) async fn try_call(&self, model: &str, operation: &str, body: &Value) -> Option<Answer> {
        self.send(self.request(model, operation, body.to_string(), &[])).await
    }

    pub(crate) async fn call(&self, model: &str, operation: &str, body: &Value) -> Answer {
        self.try_call(model, operation, body).await.unwrap()
    }

    /// Calls an operation under an invocation id.
    pub(crate) async fn call_as(&self, id: &str, model: &str, operation: &str, body: &Value) -> Answer {
        let headers = [("amz-sdk-invocation-id", id)];
        self.send(self.request(model, operation, body.to_string(), &headers)).await.unwrap()
    }
}

pub(crate) fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

pub(crate) fn claude(text: &str) -> Value {
    json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": text}],
    })
}

/// The text of a Converse answer.
pub(crate) fn text_of(answer: &Value) -> String {
    let content = answer["output"]["message"]["content"].as_array().unwrap();
    content.iter().filter_map(|block| block["text"].as_str()).collect()
}
