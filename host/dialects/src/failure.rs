//! Why a request failed: one closed list, and what each dialect answers for it.
//!
//! [`answers`] is the only table from failures to statuses and codes, [`from_bedrock`] the only one
//! from Bedrock's exceptions to failures. Nothing is told apart by its text.

use bytes::Bytes;

use crate::invalid::{Invalid, InvalidKind};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is not JSON of the dialect's shape.
    Malformed,
    /// A value in the request is wrong.
    InvalidValue,
    /// A parameter that the dialect does not have.
    UnknownParameter,
    /// A parameter, or a use of a model, that is not carried out.
    Unsupported,
    /// No model of that name.
    UnknownModel,
    /// The model has ended, and its successor cannot answer in its place.
    ModelEnded,
    /// No price is known for what is asked.
    Unpriced,
    /// The body or a header is larger than allowed.
    TooLarge,
    /// The caller took too long to send the request.
    SlowRequest,
    /// No such address.
    NoSuchRoute,
    /// No such request.
    NoSuchRequest,
    /// The method does not fit the address.
    WrongMethod,
    /// No key, or a wrong one.
    Unauthenticated,
    /// The signature does not match, or is out of date.
    BadSignature,
    /// The key may not do this; or a browser's page from elsewhere asked.
    Forbidden,
    /// The policy refused the request.
    RefusedByPolicy,
    /// The gateway is stopping, or has as much under way as it takes, at all or on a model.
    Overloaded,
    /// A limit on requests or tokens a minute has no room.
    RateLimited,
    /// A limit on spending has no room for what the request can cost.
    BudgetExceeded,
    /// Money cannot be accounted for at the moment.
    LedgerUnavailable,
    /// A fault of the gateway itself.
    Internal,
    /// The caller left before there was an answer. Nobody is told.
    ClientLeft,

    /// Bedrock throttles.
    Throttled,
    /// A quota of the account is used up.
    Quota,
    /// Bedrock does not accept the gateway's credentials.
    UpstreamAuth,
    /// The gateway's credentials may not use the model.
    AccessDenied,
    /// Bedrock does not know the model, or it has ended.
    ModelNotFound,
    /// Bedrock says that the request is wrong.
    Rejected,
    /// Bedrock says that the request conflicts with another.
    Conflict,
    /// The model is not ready yet.
    ModelNotReady,
    /// The model failed.
    ModelError,
    /// The model took too long, says Bedrock.
    ModelTimeout,
    /// Bedrock failed.
    Server,
    /// Bedrock, or the model, is not available.
    Unavailable,
    /// No answer within the time allowed.
    Timeout,
    /// The connection could not be made.
    Network,
    /// The answer broke off or made no sense.
    BrokenStream,
}

/// A failed request, or attempt.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// For the caller: what was wrong, where, and what to do. Holds nothing of the request's text.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// When to try again.
    pub retry_after: Option<std::time::Duration>,
    /// Whether the attempt is known to have cost nothing: never sent, or answered so.
    pub unbilled: bool,
    /// What Bedrock answered, where it did.
    pub upstream: Option<Box<Upstream>>,
}

/// What Bedrock answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// The HTTP status; 200 for an exception within a stream.
    pub status: u16,
    /// The exception's name in the form of the error header (`ThrottlingException`).
    pub code: String,
    /// Bedrock's request id, for AWS's support.
    pub request_id: String,
    /// The body, for callers who speak Bedrock themselves.
    pub body: Bytes,
}

impl Failure {
    /// A failure with a message for the caller, of something that costs nothing.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, retry_after: None, unbilled: true, upstream: None }
    }

    /// The same, of an attempt that may be billed.
    pub fn maybe_billed(mut self) -> Self {
        self.unbilled = false;
        self
    }

    /// The same, of the parameter `param`.
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        let kind = match invalid.kind {
            InvalidKind::Malformed => Kind::Malformed,
            InvalidKind::Value => Kind::InvalidValue,
            InvalidKind::UnknownParameter => Kind::UnknownParameter,
            InvalidKind::Unsupported => Kind::Unsupported,
        };
        let message = invalid.text();
        Self { param: invalid.path, ..Self::new(kind, message) }
    }
}

/// What a dialect answers for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// OpenAI's status, error type and code. Kairos's own API has the same status, and the code as type.
    pub openai: (u16, &'static str, &'static str),
    /// Bedrock's status and exception. Where Bedrock itself failed, its own answer is passed on.
    pub bedrock: (u16, &'static str),
    /// Whether the same request may succeed shortly, as Kairos's own API says.
    pub retryable: bool,
}

/// The table from failures to what dialects answer.
///
/// Statuses are chosen so that clients repeat only what may help: SDKs repeat 408, 409, 429 and
/// 5xx by themselves.
pub fn answers(kind: Kind) -> Answers {
    const INVALID: &str = "invalid_request_error";
    let (openai, bedrock, retryable) = match kind {
        Kind::Malformed => ((400, INVALID, "invalid_json"), (400, "ValidationException"), false),
        Kind::InvalidValue => ((400, INVALID, "invalid_value"), (400, "ValidationException"), false),
        Kind::UnknownParameter => ((400, INVALID, "unknown_parameter"), (400, "ValidationException"), false),
        Kind::Unsupported => ((400, INVALID, "unsupported_parameter"), (400, "ValidationException"), false),
        Kind::UnknownModel => ((404, INVALID, "model_not_found"), (400, "ValidationException"), false),
        Kind::ModelEnded => ((404, INVALID, "model_ended"), (404, "ResourceNotFoundException"), false),
        Kind::Unpriced => ((400, INVALID, "unpriced"), (400, "ValidationException"), false),
        Kind::TooLarge => ((413, INVALID, "request_too_large"), (413, "ValidationException"), false),
        Kind::SlowRequest => ((408, INVALID, "request_timeout"), (408, "ValidationException"), true),
        Kind::NoSuchRoute => ((404, INVALID, "unknown_url"), (404, "UnknownOperationException"), false),
        Kind::NoSuchRequest => ((404, INVALID, "request_not_found"), (404, "ResourceNotFoundException"), false),
        Kind::WrongMethod => ((405, INVALID, "method_not_allowed"), (405, "UnknownOperationException"), false),
        Kind::Unauthenticated => ((401, INVALID, "invalid_api_key"), (403, "UnrecognizedClientException"), false),
        Kind::BadSignature => ((401, INVALID, "invalid_signature"), (403, "InvalidSignatureException"), false),
        Kind::Forbidden => ((403, "permission_error", "forbidden"), (403, "AccessDeniedException"), false),
        Kind::RefusedByPolicy => {
            ((403, "permission_error", "refused_by_policy"), (403, "AccessDeniedException"), false)
        }
        Kind::Overloaded => ((503, "overloaded_error", "overloaded"), (503, "ServiceUnavailableException"), true),
        Kind::RateLimited => ((429, "rate_limit_error", "rate_limited"), (429, "ThrottlingException"), true),
        Kind::BudgetExceeded => ((429, "insufficient_quota", "budget_exceeded"), (429, "ThrottlingException"), false),
        Kind::LedgerUnavailable => {
            ((503, "server_error", "ledger_unavailable"), (503, "ServiceUnavailableException"), true)
        }
        Kind::Internal => ((500, "server_error", "internal_error"), (500, "InternalServerException"), false),
        Kind::ClientLeft => ((499, INVALID, "client_left"), (499, "ValidationException"), false),
        Kind::Throttled => ((429, "rate_limit_error", "throttled"), (429, "ThrottlingException"), true),
        Kind::Quota => ((429, "rate_limit_error", "quota_exceeded"), (400, "ServiceQuotaExceededException"), false),
        Kind::UpstreamAuth => {
            ((403, "permission_error", "upstream_credentials"), (403, "AccessDeniedException"), false)
        }
        Kind::AccessDenied => {
            ((403, "permission_error", "upstream_access_denied"), (403, "AccessDeniedException"), false)
        }
        Kind::ModelNotFound => ((404, INVALID, "model_not_found"), (404, "ResourceNotFoundException"), false),
        Kind::Rejected => ((400, INVALID, "rejected_by_bedrock"), (400, "ValidationException"), false),
        Kind::Conflict => ((409, INVALID, "conflict"), (400, "ConflictException"), true),
        Kind::ModelNotReady => ((429, "rate_limit_error", "model_not_ready"), (429, "ModelNotReadyException"), true),
        Kind::ModelError => ((502, "server_error", "model_error"), (424, "ModelErrorException"), true),
        Kind::ModelTimeout => ((504, "server_error", "model_timeout"), (408, "ModelTimeoutException"), true),
        Kind::Server => ((502, "server_error", "upstream_error"), (500, "InternalServerException"), true),
        Kind::Unavailable => {
            ((503, "server_error", "upstream_unavailable"), (503, "ServiceUnavailableException"), true)
        }
        Kind::Timeout => ((504, "server_error", "upstream_timeout"), (408, "ModelTimeoutException"), true),
        Kind::Network => ((502, "server_error", "upstream_unreachable"), (503, "ServiceUnavailableException"), true),
        Kind::BrokenStream => {
            ((502, "server_error", "upstream_stream_broken"), (424, "ModelStreamErrorException"), true)
        }
    };
    Answers { openai, bedrock, retryable }
}

/// The table from Bedrock's exceptions to failures, and whether such an answer is known to cost
/// nothing. `status` decides where no exception is named (an empty body, a proxy's page): such an
/// answer may hide a generation that was billed.
pub fn from_bedrock(code: &str, status: u16) -> (Kind, bool) {
    match code {
        "ThrottlingException" | "TooManyRequestsException" => (Kind::Throttled, true),
        "ServiceQuotaExceededException" => (Kind::Quota, true),
        "AccessDeniedException" => (Kind::AccessDenied, true),
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId" => (Kind::UpstreamAuth, true),
        "ResourceNotFoundException" => (Kind::ModelNotFound, true),
        "ValidationException" | "SerializationException" => (Kind::Rejected, true),
        "ConflictException" => (Kind::Conflict, true),
        "ModelNotReadyException" => (Kind::ModelNotReady, true),
        "ServiceUnavailableException" => (Kind::Unavailable, true),
        "ModelErrorException" => (Kind::ModelError, false),
        "ModelTimeoutException" => (Kind::ModelTimeout, false),
        "ModelStreamErrorException" => (Kind::BrokenStream, false),
        "InternalServerException" | "InternalFailure" => (Kind::Server, false),
        _ => match status {
            429 => (Kind::Throttled, true),
            401 | 403 => (Kind::AccessDenied, true),
            400 | 404 | 405 | 413 | 415 | 422 => (Kind::Rejected, true),
            408 | 504 => (Kind::Timeout, false),
            503 => (Kind::Unavailable, false),
            _ => (Kind::Server, false),
        },
    }
}

impl Kind {
    /// A name for logs, metrics and records.
    pub fn name(self) -> &'static str {
        answers(self).openai.2
    }

    /// Whether it says something of the model's health: what `successes` and `failures` count.
    pub fn is_model_failure(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::ModelNotReady
                | Self::ModelError
                | Self::ModelTimeout
                | Self::Server
                | Self::Unavailable
                | Self::Timeout
                | Self::Network
                | Self::BrokenStream
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_of_the_service_model_keep_their_status() {
        // Name and status as in the service model of bedrock-runtime.
        for (code, status) in [
            ("AccessDeniedException", 403),
            ("ConflictException", 400),
            ("InternalServerException", 500),
            ("ModelErrorException", 424),
            ("ModelNotReadyException", 429),
            ("ModelStreamErrorException", 424),
            ("ModelTimeoutException", 408),
            ("ResourceNotFoundException", 404),
            ("ServiceQuotaExceededException", 400),
            ("ServiceUnavailableException", 503),
            ("ThrottlingException", 429),
            ("ValidationException", 400),
        ] {
            let (kind, _) = from_bedrock(code, status);
            assert_eq!(answers(kind).bedrock, (status, code));
        }
    }

    #[test]
    fn what_may_have_been_billed_is_not_called_free() {
        for (code, status, unbilled) in [
            ("ModelErrorException", 424, false),
            ("ModelTimeoutException", 408, false),
            ("InternalServerException", 500, false),
            ("", 500, false),
            ("", 503, false),
            ("", 504, false),
            ("", 429, true),
            ("ThrottlingException", 429, true),
            ("ValidationException", 400, true),
            ("ExpiredTokenException", 403, true),
        ] {
            assert_eq!(from_bedrock(code, status).1, unbilled, "{code} {status}");
        }
    }
}
