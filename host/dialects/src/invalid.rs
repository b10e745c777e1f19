//! What is wrong with a request, and where.

/// Why a request was not understood. `message` is written for the caller: it says what was wrong
/// and what to do, and holds nothing of the request but names and positions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Invalid {
    /// What kind of fault it is, which decides the status and code a dialect answers with.
    pub kind: InvalidKind,
    /// The parameter at fault, as a path: `messages[2].content`.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// The kinds of fault in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// Not JSON, or not UTF-8.
    Malformed,
    /// JSON of the wrong shape, or a value out of range.
    Value,
    /// A parameter that the dialect does not have.
    UnknownParameter,
    /// A parameter that the dialect has and Kairos does not carry out.
    Unsupported,
}

impl Invalid {
    /// A value at `path` that is wrong.
    pub fn value(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: InvalidKind::Value, path: Some(path.into()), message: message.into() }
    }

    /// A parameter that is not carried out. Never ignored: a caller would be billed for an answer
    /// that is not the one asked for.
    pub fn unsupported(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: InvalidKind::Unsupported, path: Some(path.into()), message: message.into() }
    }

    /// Reads JSON into `T`. The fast path reads once; only a failure is read again, for its path.
    pub fn parse<'de, T: serde::Deserialize<'de>>(body: &'de [u8]) -> Result<T, Self> {
        match serde_json::from_slice(body) {
            Ok(value) => Ok(value),
            Err(_) => Err(Self::explain::<T>(body)),
        }
    }

    fn explain<'de, T: serde::Deserialize<'de>>(body: &'de [u8]) -> Self {
        if let Err(error) = std::str::from_utf8(body) {
            return Self {
                kind: InvalidKind::Malformed,
                path: None,
                message: format!(
                    "the body is not valid UTF-8: the byte at offset {} starts no character",
                    error.valid_up_to()
                ),
            };
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Self {
                kind: InvalidKind::Malformed,
                path: None,
                message: "the body is empty; a JSON object is expected".to_owned(),
            };
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(error) => {
                let path = error.path().to_string();
                let inner = error.into_inner();
                let kind = match inner.classify() {
                    serde_json::error::Category::Data => InvalidKind::Value,
                    _ => InvalidKind::Malformed,
                };
                let message = match kind {
                    InvalidKind::Malformed => format!("the body is not valid JSON: {inner}"),
                    _ => without_value(&inner.to_string()),
                };
                Self { kind, path: (path != "." && path != "?").then_some(path), message }
            }
            Ok(_) => Self {
                kind: InvalidKind::Malformed,
                path: None,
                message: match reader.end() {
                    Err(error) => format!("the body is not valid JSON: {error}"),
                    Ok(()) => "the body is not valid JSON".to_owned(),
                },
            },
        }
    }

    /// Message and path in one line.
    pub fn text(&self) -> String {
        match &self.path {
            Some(path) => format!("{path}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Takes the offending value out of serde's message: it may be part of a prompt, and messages
/// reach logs. Its type stays.
fn without_value(message: &str) -> String {
    let cut = message.find(['"', '`']).zip(message.rfind(", expected"));
    match cut {
        Some((from, to)) if message.starts_with("invalid ") && from < to => {
            format!("{}{}", message[..from].trim_end(), &message[to..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Sample {
        #[allow(dead_code)]
        list: Vec<Inner>,
    }

    #[derive(serde::Deserialize)]
    struct Inner {
        #[allow(dead_code)]
        n: u32,
    }

    #[test]
    fn says_what_and_where() {
        let of = |body: &[u8]| match Invalid::parse::<Sample>(body) {
            Ok(_) => panic!("accepted {body:?}"),
            Err(invalid) => (invalid.kind, invalid.path.clone(), invalid.text()),
        };
        let (kind, path, text) = of(br#"{"list":[{"n":1},{"n":"x"}]}"#);
        assert_eq!((kind, path.as_deref()), (InvalidKind::Value, Some("list[1].n")));
        assert!(text.contains("expected u32"), "{text}");
        let (kind, path, text) = of(b"{\"list\":[");
        assert_eq!((kind, path.as_deref()), (InvalidKind::Malformed, Some("list")));
        assert!(text.contains("not valid JSON"), "{text}");
        assert_eq!(of(b"{\"list\":[]} x").0, InvalidKind::Malformed);
        assert_eq!(of(b"  ").0, InvalidKind::Malformed);
        let (kind, _, text) = of(b"{\"list\":\"\xff\"}");
        assert_eq!(kind, InvalidKind::Malformed);
        assert!(text.contains("offset 9"), "{text}");
    }
}
