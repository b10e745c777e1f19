//! Whom evaluators and mutators may call: other services, and models. `http` and `model` in the contract.
//!
//! Who is behind it is not known here; who calls through it is held to bounds by whoever runs the policy.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// Headers that a request may have.
pub const MOST_REQUEST_HEADERS: usize = 32;
/// Headers of a response that are shown.
pub const MOST_RESPONSE_HEADERS: usize = 64;
/// Messages of a call of a model.
pub const MOST_MESSAGES: usize = 64;

/// What is to be done at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl HttpMethod {
    /// All, in the contract's order.
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["get", "head", "post", "put", "patch", "delete"][self as usize]
    }
}

/// A request to another service. See `request` in `http.wit`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct HttpRequest {
    pub method: HttpMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the service answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A call of a model. See `request` in `model.wit`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct ModelRequest {
    pub model: String,
    pub system: Option<String>,
    /// Who says it (the user, or the assistant), and what.
    pub messages: Vec<(bool, String)>,
    pub max_output_tokens: u32,
    pub temperature: Option<f64>,
}

/// What the model answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct ModelResponse {
    pub text: String,
    pub model: String,
    pub cut: bool,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub cost: u64,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failing {
    /// The operator, or the gateway, does not allow it.
    Denied,
    /// There is no such request.
    Invalid,
    /// It is more than the operator allows.
    OverLimit,
    /// Nobody answers, or not in time.
    Unavailable,
    /// A test says nothing of it. It ends the policy's call.
    Unscripted,
}

impl Failing {
    /// The name that scripts see. What is `denied` of a service is `refused` of a model.
    pub fn name(self) -> &'static str {
        ["denied", "invalid", "over-limit", "unavailable", "unscripted"][self as usize]
    }
}

/// A call that came to nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideError {
    /// What kind of reason.
    pub kind: Failing,
    /// What is so, and what to set.
    pub message: String,
}

impl OutsideError {
    /// Of this kind, for this reason.
    pub fn new(kind: Failing, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Who is called. Each call ends by `until`, whatever the other side does.
pub trait Outside: Send + Sync + fmt::Debug {
    /// Sends a request to another service. `room` is how many bytes of answers may still come: what comes is
    /// taken off it as it does, whether or not an answer is made of it.
    fn send(&self, request: &HttpRequest, room: &mut usize, until: Instant) -> Result<HttpResponse, OutsideError>;

    /// Calls a model.
    fn call(&self, request: &ModelRequest, until: Instant) -> Result<ModelResponse, OutsideError>;

    /// Calls that were expected and not made: of a test.
    fn left_over(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Nobody is called: a policy is loaded, or tried.
pub static NOWHERE: LazyLock<Arc<dyn Outside>> = LazyLock::new(|| Arc::new(Nowhere));

#[derive(Clone, Copy, Debug)]
struct Nowhere;

impl Nowhere {
    fn nobody() -> OutsideError {
        OutsideError::new(Failing::Unavailable, "nothing is called while a policy is loaded and tried")
    }
}

impl Outside for Nowhere {
    fn send(&self, _: &HttpRequest, _: &mut usize, _: Instant) -> Result<HttpResponse, OutsideError> {
        Err(Self::nobody())
    }

    fn call(&self, _: &ModelRequest, _: Instant) -> Result<ModelResponse, OutsideError> {
        Err(Self::nobody())
    }
}
