//! Bedrock's errors on the wire.

use bytes::Bytes;
use serde::Serialize;

/// An error as Bedrock answered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// The exception's name (`ThrottlingException`), empty where none was given.
    pub code: String,
    /// What the service says.
    pub message: String,
}

/// Reads an error answer. The code is looked for where AWS's services put it, in the order of
/// botocore's parser: the `x-amzn-ErrorType` header, then `__type`, then `code` in the body.
pub fn parse(error_type: Option<&str>, body: &[u8]) -> ServiceError {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    let code = error_type.or_else(|| text("__type")).or_else(|| text("code")).unwrap_or_default();
    // `Name:http://…` and `namespace#Name` both occur.
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let message = ["message", "Message", "errorMessage"].into_iter().find_map(text);
    ServiceError { code: code.trim().to_owned(), message: message.unwrap_or_default().to_owned() }
}

/// The body of an error: what Bedrock's SDKs read the message from.
pub fn body(message: &str) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
    }
    serde_json::to_vec(&Body { message }).unwrap_or_default().into()
}

/// The name of an exception within a stream: the member of the service model, in camel case.
pub fn stream_member(code: &str) -> String {
    let mut name = code.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_wherever_they_are() {
        let cases: &[(Option<&str>, &str, &str, &str)] = &[
            (Some("ThrottlingException"), r#"{"message":"m"}"#, "ThrottlingException", "m"),
            (
                Some("ModelErrorException:http://internal.amazon.com/coral/com.amazon.bedrock/"),
                "{}",
                "ModelErrorException",
                "",
            ),
            (None, r#"{"__type":"com.amazon.bedrock#ThrottlingException","message":"m"}"#, "ThrottlingException", "m"),
            (None, r#"{"code":"ValidationException","message":"m"}"#, "ValidationException", "m"),
            (None, r#"{"code":400,"Message":"m"}"#, "", "m"),
            (None, r#"{"Message":"n","message":"m"}"#, "", "m"),
            (None, "", "", ""),
            (None, "<html>", "", ""),
        ];
        for (header, body, code, message) in cases {
            let expected = ServiceError { code: (*code).to_owned(), message: (*message).to_owned() };
            assert_eq!(parse(*header, body.as_bytes()), expected, "{header:?} {body}");
        }
        assert_eq!(stream_member("ThrottlingException"), "throttlingException");
        assert_eq!(stream_member(""), "");
    }
}
