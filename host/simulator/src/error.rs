//! AWS's errors: their names, statuses and bodies.
//!
//! It must not know why one is raised.

use std::borrow::Cow;

use serde_json::json;

/// The exceptions that the Bedrock Runtime model names, and which a fault can raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// 403.
    AccessDenied,
    /// 400.
    Conflict,
    /// 500.
    InternalServer,
    /// 424, with the model's own status and name.
    ModelError,
    /// 429, and not throttling.
    ModelNotReady,
    /// 424, with the model's own status and message.
    ModelStreamError,
    /// 408.
    ModelTimeout,
    /// 404.
    ResourceNotFound,
    /// 400.
    ServiceQuotaExceeded,
    /// 503.
    ServiceUnavailable,
    /// 429.
    Throttling,
    /// 400.
    Validation,
}

const EXCEPTIONS: [(Exception, &str, u16, &str); 12] = [
    (
        Exception::AccessDenied,
        "AccessDeniedException",
        403,
        "You don't have access to the model with the specified model ID.",
    ),
    (Exception::Conflict, "ConflictException", 400, "The request conflicts with another one."),
    (
        Exception::InternalServer,
        "InternalServerException",
        500,
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    (
        Exception::ModelError,
        "ModelErrorException",
        424,
        "The request failed due to an error while processing the model.",
    ),
    (
        Exception::ModelNotReady,
        "ModelNotReadyException",
        429,
        "The model is not ready for inference. Wait and try your request again.",
    ),
    (Exception::ModelStreamError, "ModelStreamErrorException", 424, "The model encountered an error while streaming."),
    (
        Exception::ModelTimeout,
        "ModelTimeoutException",
        408,
        "The model took too long to process the request. Try your request again.",
    ),
    (Exception::ResourceNotFound, "ResourceNotFoundException", 404, "The specified resource ARN was not found."),
    (
        Exception::ServiceQuotaExceeded,
        "ServiceQuotaExceededException",
        400,
        "Your request exceeds the service quota for your account.",
    ),
    (
        Exception::ServiceUnavailable,
        "ServiceUnavailableException",
        503,
        "The service isn't currently available. Try again later.",
    ),
    (Exception::Throttling, "ThrottlingException", 429, "Too many requests, please wait before trying again."),
    (Exception::Validation, "ValidationException", 400, "The request is not valid."),
];

impl Exception {
    /// The name as it stands in `x-amzn-ErrorType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        EXCEPTIONS[self as usize].1
    }

    /// The exception of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        EXCEPTIONS.iter().find(|(_, known, ..)| *known == name).map(|(which, ..)| *which)
    }

    /// All names there are.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        EXCEPTIONS.iter().map(|(_, name, ..)| *name)
    }

    pub(crate) fn status(self) -> u16 {
        EXCEPTIONS[self as usize].2
    }

    /// What AWS says when nothing more particular is to be said.
    pub(crate) fn usual_message(self) -> &'static str {
        EXCEPTIONS[self as usize].3
    }

    /// The body, `model` being what was called.
    pub(crate) fn body(self, message: &str, model: &str) -> Vec<u8> {
        let body = match self {
            Self::ModelError => {
                json!({"message": message, "originalStatusCode": 500, "resourceName": model})
            }
            Self::ModelStreamError => {
                json!({"message": message, "originalStatusCode": 500, "originalMessage": message})
            }
            _ => json!({"message": message}),
        };
        body.to_string().into_bytes()
    }
}

/// An answer that is an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) name: &'static str,
    pub(crate) message: Cow<'static, str>,
}

impl ApiError {
    pub(crate) fn new(which: Exception, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: which.status(), name: which.name(), message: message.into() }
    }

    pub(crate) fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exception::Validation, message)
    }

    /// A body whose shape is wrong, as AWS's parsers call it.
    pub(crate) fn serialization(why: impl std::fmt::Display) -> Self {
        Self { status: 400, name: "SerializationException", message: why.to_string().into() }
    }

    /// Not let in.
    pub(crate) fn denied(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 403, name, message: message.into() }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        json!({"message": self.message}).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (which, name, ..) in EXCEPTIONS {
            assert_eq!((which.name(), Exception::find(name)), (name, Some(which)));
        }
    }
}
