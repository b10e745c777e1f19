//! Takes a batch apart, and puts its answer together.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::bedrock::short;
use crate::invalid::{Invalid, InvalidKind};

/// One request of a batch, not yet understood.
#[derive(Debug)]
pub struct Entry {
    /// Its bytes.
    pub body: Bytes,
    /// The model that it names, as far as it can be read.
    pub model: Option<String>,
}

/// Takes a batch apart: `{"requests": […]}`, or the bare list, of at most `most` requests. What the
/// requests are is not looked at: each fails for itself.
pub fn split(body: &Bytes, most: usize) -> Result<Vec<Entry>, Invalid> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let raw = Batch { most }.deserialize(&mut reader).and_then(|raw| reader.end().map(|()| raw));
    let raw = raw.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Invalid { kind: InvalidKind::Value, path: None, message: error.to_string() }
        }
        _ => Invalid {
            kind: InvalidKind::Malformed,
            path: None,
            message: format!("the body is not valid JSON: {error}"),
        },
    })?;
    Ok(raw.into_iter().map(|raw| Entry { body: body.slice_ref(raw.get().as_bytes()), model: model(raw) }).collect())
}

/// The model that an entry names.
fn model(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        model_preference: Option<Cow<'a, str>>,
    }
    serde_json::from_str::<Named<'_>>(entry.get()).ok()?.model_preference.map(Cow::into_owned)
}

/// A list, or an object that has it.
#[derive(Clone, Copy)]
struct Batch {
    most: usize,
}

/// The list itself, which is not read further than it may be long.
struct Requests {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Batch {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Batch {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a batch: an object with a list of requests in \"requests\", or the list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Requests { most: self.most }.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut requests = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name != "requests" {
                let message = format!("a batch has no field {:?}; there is \"requests\"", short(&name));
                return Err(A::Error::custom(message));
            }
            if requests.replace(map.next_value_seed(Requests { most: self.most })?).is_some() {
                return Err(A::Error::custom("\"requests\" is given twice"));
            }
        }
        requests.ok_or_else(|| A::Error::custom("a batch needs a list of requests in \"requests\""))
    }
}

impl<'de> DeserializeSeed<'de> for Requests {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Requests {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut requests = Vec::new();
        while requests.len() < self.most {
            match list.next_element()? {
                Some(request) => requests.push(request),
                None => return Ok(requests),
            }
        }
        match list.next_element::<IgnoredAny>()? {
            None => Ok(requests),
            Some(_) => Err(A::Error::custom(format!("a batch has at most {} requests; send several", self.most))),
        }
    }
}

/// The answer of a batch: the entries' answers, in the batch's order.
pub fn join(responses: &[Bytes]) -> Bytes {
    let mut joined = Vec::with_capacity(responses.iter().map(|response| response.len() + 1).sum::<usize>() + 16);
    joined.extend_from_slice(b"{\"responses\":[");
    for (index, response) in responses.iter().enumerate() {
        if index > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(response);
    }
    joined.extend_from_slice(b"]}");
    joined.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(body: &str) -> Vec<(String, Option<String>)> {
        let split = split(&Bytes::copy_from_slice(body.as_bytes()), 3).unwrap();
        split.into_iter().map(|entry| (String::from_utf8(entry.body.to_vec()).unwrap(), entry.model)).collect()
    }

    #[test]
    fn entries_are_taken_as_they_are() {
        let list = r#"[ {"prompt":"a","model_preference":"m"}, 7 ,{"model_preference":1}]"#;
        let expected = [
            (r#"{"prompt":"a","model_preference":"m"}"#.to_owned(), Some("m".to_owned())),
            ("7".to_owned(), None),
            (r#"{"model_preference":1}"#.to_owned(), None),
        ];
        assert_eq!(entries(list), expected);
        assert_eq!(entries(&format!("{{\"requests\":{list}}}")), expected);
        assert_eq!(entries("[]"), []);
        assert_eq!(join(&[Bytes::from_static(b"1"), Bytes::from_static(b"{}")]), "{\"responses\":[1,{}]}");
        assert_eq!(join(&[]), "{\"responses\":[]}");
    }

    #[test]
    fn what_is_no_batch_is_refused_whole() {
        for (body, expected) in [
            ("", "the body is not valid JSON: EOF while parsing a value"),
            ("7", "invalid type: integer `7`, expected a batch: an object with a list of requests"),
            ("{}", "a batch needs a list of requests in \"requests\""),
            (r#"{"requests":{}}"#, "invalid type: map, expected a list of requests"),
            (r#"{"request":[]}"#, "a batch has no field \"request\"; there is \"requests\""),
            (r#"{"requests":[],"requests":[]}"#, "\"requests\" is given twice"),
            ("[1,2,3,4]", "a batch has at most 3 requests; send several"),
            ("[1,2", "the body is not valid JSON: EOF while parsing a list"),
            ("[1] x", "the body is not valid JSON: trailing characters"),
        ] {
            let said = split(&Bytes::from_static(body.as_bytes()), 3).unwrap_err().text();
            assert!(said.starts_with(expected), "{body}: {said}");
        }
    }
}
