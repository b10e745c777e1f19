//! Writes failures in this API's shape.

use bytes::Bytes;
use serde::Serialize;

use crate::failure::{Failure, Kind, answers};

#[derive(Serialize)]
struct Body<'a> {
    error: ErrorOut<'a>,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    param: Option<&'a str>,
    request_id: Option<&'a str>,
    retryable: bool,
}

/// The body of an error answer. `request_id` is the gateway's, where the request got that far;
/// `charged` says whether an attempt may be billed, and so whether trying again is for a person to say.
pub fn body(failure: &Failure, request_id: Option<&str>, charged: bool) -> Bytes {
    let param = match failure.param.as_deref() {
        // Other dialects have it by this name; here it would be an unknown field.
        Some("model") if failure.kind != Kind::UnknownParameter => Some("model_preference"),
        param => param,
    };
    let error = ErrorOut {
        kind: failure.kind.name(),
        message: &failure.message,
        param,
        request_id,
        retryable: answers(failure.kind).retryable && !charged,
    };
    serde_json::to_vec(&Body { error }).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Invalid;

    #[test]
    fn says_what_where_and_whether_to_try_again() {
        let write = |failure: &Failure, charged| String::from_utf8(body(failure, Some("r"), charged).to_vec()).unwrap();
        let refused = Failure::from(Invalid::value("top_k", "not this"));
        insta::assert_snapshot!(write(&refused, false), @r#"{"error":{"type":"invalid_value","message":"top_k: not this","param":"top_k","request_id":"r","retryable":false}}"#);
        let busy = Failure::new(Kind::Throttled, "wait").with_param("model");
        insta::assert_snapshot!(write(&busy, false), @r#"{"error":{"type":"throttled","message":"wait","param":"model_preference","request_id":"r","retryable":true}}"#);
        insta::assert_snapshot!(write(&busy, true), @r#"{"error":{"type":"throttled","message":"wait","param":"model_preference","request_id":"r","retryable":false}}"#);
    }
}
