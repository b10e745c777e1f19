//! Writes failures in OpenAI's shape.

use bytes::Bytes;
use serde::Serialize;

use crate::failure::{Failure, answers};

#[derive(Serialize)]
struct Body<'a> {
    error: ErrorOut<'a>,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// The body of an error answer.
pub fn body(failure: &Failure) -> Bytes {
    let (_, kind, code) = answers(failure.kind).openai;
    let error = ErrorOut { message: &failure.message, kind, param: failure.param.as_deref(), code };
    serde_json::to_vec(&Body { error }).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Invalid;

    #[test]
    fn names_the_parameter() {
        let failure = Failure::from(Invalid::unsupported("seed", "not carried out"));
        insta::assert_snapshot!(String::from_utf8_lossy(&body(&failure)), @r#"{"error":{"message":"seed: not carried out","type":"invalid_request_error","param":"seed","code":"unsupported_parameter"}}"#);
    }
}
