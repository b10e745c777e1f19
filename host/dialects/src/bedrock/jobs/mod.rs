//! Jobs: Bedrock's asynchronous invocations, StartAsyncInvoke, GetAsyncInvoke and ListAsyncInvokes.
//!
//! Shapes are those of the service model of `bedrock-runtime` (botocore 1.44.5). What a model is given stands
//! in `modelInput`, in the shape of its family; only what says what a job can cost is read of it (`model`).

mod list;
mod model;
mod places;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::edit::{insert_field, span, splice};
use super::invoke::refuse_duplicates;
use crate::invalid::Invalid;
use crate::outline::Outline;

pub use self::list::{Entry, ListQuery, MOST_RESULTS, PageToken, answer as list_answer};
pub use self::model::JobModel;
pub use self::places::{is_place, within};

/// Characters of a client's token, at most.
const MOST_TOKEN: usize = 256;

/// A request to start a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The model, as the caller wrote it.
    pub model: String,
    /// The token by which the caller knows a repeated request.
    pub token: Option<String>,
    /// Where the result goes, as JSON.
    pub output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    model_id: &'a RawValue,
    #[serde(default, borrow)]
    client_request_token: Option<&'a RawValue>,
    #[serde(borrow)]
    model_input: &'a RawValue,
    #[serde(borrow)]
    output_data_config: &'a RawValue,
}

fn text(value: &RawValue, path: &str) -> Result<String, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::value(path, "a string is expected"))
}

/// Reads a request to start a job.
pub fn read(body: &[u8]) -> Result<Start, Invalid> {
    let parsed: Body<'_> = Invalid::parse(body)?;
    refuse_duplicates(body)?;
    let token = parsed.client_request_token.filter(|token| token.get() != "null");
    let token = token.map(|token| text(token, "clientRequestToken")).transpose()?;
    if token.as_ref().is_some_and(|token| !(1..=MOST_TOKEN).contains(&token.chars().count())) {
        return Err(Invalid::value("clientRequestToken", format!("1 to {MOST_TOKEN} characters are expected")));
    }
    let output = parsed.output_data_config.get();
    if output.len() > 8_192 || !output.starts_with('{') {
        return Err(Invalid::value("outputDataConfig", "an object with s3OutputDataConfig is expected"));
    }
    Ok(Start { model: text(parsed.model_id, "modelId")?, token, output: output.to_owned() })
}

/// What pricing and routing need of a request to start a job of a model.
pub fn outline(body: &[u8], model: JobModel) -> Result<Outline, Invalid> {
    let parsed: Body<'_> = Invalid::parse(body)?;
    model.outline(parsed.model_input.get())
}

/// The bytes of `modelInput` within a request.
pub fn model_input(body: &Bytes) -> Result<Bytes, Invalid> {
    let parsed: Body<'_> = Invalid::parse(body)?;
    let (from, to) = span(body, parsed.model_input);
    Ok(body.slice(from..to))
}

/// The request with another `modelInput`.
pub fn with_model_input(body: &Bytes, input: &str) -> Result<Bytes, Invalid> {
    let parsed: Body<'_> = Invalid::parse(body)?;
    Ok(splice(body, span(body, parsed.model_input), input))
}

/// The request for a model by this id, with this token: all else keeps its bytes.
pub fn addressed(body: &Bytes, model: &str, token: &str) -> Result<Bytes, Invalid> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let parsed: Body<'_> = Invalid::parse(body)?;
    let body = splice(body, span(body, parsed.model_id), &quoted(model));
    let parsed: Body<'_> = Invalid::parse(&body)?;
    Ok(match parsed.client_request_token {
        Some(known) => splice(&body, span(&body, known), &quoted(token)),
        // A `null` that reads as none would stand beside it.
        None => match null_token(&body)? {
            Some(at) => splice(&body, at, &quoted(token)),
            None => insert_field(&body, 0, &format!("\"clientRequestToken\":{}", quoted(token))),
        },
    })
}

/// Where `clientRequestToken` is `null`.
fn null_token(body: &[u8]) -> Result<Option<(usize, usize)>, Invalid> {
    let fields: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = Invalid::parse(body)?;
    Ok(fields.get("clientRequestToken").map(|value| span(body, value)))
}

/// The ARN in the answer to a start.
pub fn started(body: &[u8]) -> Result<String, Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Started {
        invocation_arn: String,
    }
    let Started { invocation_arn } = Invalid::parse(body)?;
    if (1..=2_048).contains(&invocation_arn.len()) {
        Ok(invocation_arn)
    } else {
        Err(Invalid::value("invocationArn", "1 to 2048 characters are expected"))
    }
}

/// The answer to a start.
pub fn started_answer(arn: &str) -> Bytes {
    serde_json::json!({ "invocationArn": arn }).to_string().into()
}

/// How a job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub enum Status {
    /// It has not ended.
    InProgress,
    /// It has, and its result is there.
    Completed,
    /// It has, without one.
    Failed,
}

impl Status {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        ["InProgress", "Completed", "Failed"][self as usize]
    }

    /// The status of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::InProgress, Self::Completed, Self::Failed].into_iter().find(|status| status.name() == name)
    }
}

/// What Bedrock says of a job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The job.
    pub invocation_arn: String,
    /// The model.
    pub model_arn: String,
    /// The token that it was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_request_token: Option<String>,
    /// How it goes.
    pub status: Status,
    /// When it was started.
    pub submit_time: String,
    /// When that last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified_time: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
}

impl Seen {
    /// A job that has just begun.
    pub fn begun(arn: &str, model_arn: String, at_ms: u64) -> Self {
        let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        Self {
            invocation_arn: arn.to_owned(),
            model_arn,
            client_request_token: None,
            status: Status::InProgress,
            submit_time: at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
            last_modified_time: None,
            end_time: None,
        }
    }
}

/// Reads the answer to GetAsyncInvoke.
pub fn seen(body: &[u8]) -> Result<Seen, Invalid> {
    Invalid::parse(body)
}

/// Which job an entry of ListAsyncInvokes is. How it goes is GetAsyncInvoke's to say: an entry may leave it out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The job.
    pub invocation_arn: String,
    /// The token that it was started with.
    #[serde(default)]
    pub client_request_token: Option<String>,
}

/// Reads a page of ListAsyncInvokes: its jobs, and the token of the next page. The list is of the whole account: an
/// entry that cannot be read is somebody else's, and skipped.
pub fn page(body: &[u8]) -> Result<(Vec<Summary>, Option<String>), Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        #[serde(default)]
        next_token: Option<String>,
        #[serde(default, borrow)]
        async_invoke_summaries: Vec<&'a RawValue>,
    }
    let Page { next_token, async_invoke_summaries } = Invalid::parse(body)?;
    let entries = async_invoke_summaries.into_iter();
    Ok((entries.filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect(), next_token))
}

/// The answer to GetAsyncInvoke with the caller's own token, or without one.
pub fn with_own_token(body: &Bytes, token: Option<&str>) -> Result<Bytes, Invalid> {
    let mut fields: serde_json::Map<String, serde_json::Value> = Invalid::parse(body)?;
    match token {
        Some(token) => fields.insert("clientRequestToken".to_owned(), token.into()),
        None => fields.remove("clientRequestToken"),
    };
    Ok(serde_json::Value::Object(fields).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"clientRequestToken": "mine", "modelId": "nova-reel","modelInput": {"taskType":"TEXT_VIDEO", "x": 1.50},"outputDataConfig": {"s3OutputDataConfig":{"s3Uri":"s3://b"}},"tags":[]}"#;

    #[test]
    fn a_start_is_read_and_addressed_and_keeps_its_bytes() {
        let start = read(BODY.as_bytes()).unwrap();
        assert_eq!((&*start.model, start.token.as_deref()), ("nova-reel", Some("mine")));
        assert_eq!(start.output, r#"{"s3OutputDataConfig":{"s3Uri":"s3://b"}}"#);
        let body = Bytes::from(BODY);
        let there = addressed(&body, "amazon.nova-reel-v1:1", "ours").unwrap();
        let expected = BODY.replace("\"mine\"", "\"ours\"").replace("\"nova-reel\"", "\"amazon.nova-reel-v1:1\"");
        assert_eq!(there, expected);
        assert_eq!(model_input(&body).unwrap(), r#"{"taskType":"TEXT_VIDEO", "x": 1.50}"#);
        assert_eq!(
            with_model_input(&body, "{}").unwrap(),
            BODY.replace(r#"{"taskType":"TEXT_VIDEO", "x": 1.50}"#, "{}")
        );
        for (none, with) in [
            (BODY.replace(r#""clientRequestToken": "mine", "#, ""), r#"{"clientRequestToken":"ours","modelId": "m""#),
            (BODY.replace("\"mine\"", "null"), r#"{"clientRequestToken": "ours", "modelId": "m""#),
        ] {
            assert_eq!(read(none.as_bytes()).unwrap().token, None);
            let there = addressed(&none.clone().into(), "m", "ours").unwrap();
            assert!(there.starts_with(with.as_bytes()), "{there:?}");
            assert_eq!(read(&there).unwrap().token.as_deref(), Some("ours"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_start_is_said() {
        let long = BODY.replace("mine", &"x".repeat(257));
        for (body, says) in [
            ("{}", "missing field"),
            (&*BODY.replace("\"nova-reel\"", "7"), "modelId: a string is expected"),
            (&*BODY.replace("\"mine\"", "7"), "clientRequestToken: a string is expected"),
            (&*BODY.replace("\"mine\"", "\"\""), "clientRequestToken: 1 to 256 characters are expected"),
            (&*long, "clientRequestToken: 1 to 256 characters are expected"),
            (&*BODY.replace(r#"{"s3OutputDataConfig":{"s3Uri":"s3://b"}}"#, "3"), "outputDataConfig: an object with"),
            (&*BODY.replace(r#""x": 1.50"#, r#""taskType": "x""#), "named twice"),
            (&*BODY.replace("\"tags\"", "\"modelId\""), "duplicate field"),
        ] {
            let invalid = read(body.as_bytes()).unwrap_err().to_string();
            assert!(invalid.contains(says), "{body}: {invalid}");
        }
    }

    #[test]
    fn what_bedrock_says_of_a_job_is_read() {
        let answer = r#"{"invocationArn":"arn:1","modelArn":"arn:m","clientRequestToken":"ours","status":"Completed",
            "submitTime":"2026-11-23T01:02:03Z","endTime":"2026-11-23T01:09:03Z","outputDataConfig":{"s3OutputDataConfig":{"s3Uri":"s3://b"}}}"#;
        let seen = seen(answer.as_bytes()).unwrap();
        assert_eq!((&*seen.invocation_arn, seen.status), ("arn:1", Status::Completed));
        let own = |token| String::from_utf8(with_own_token(&Bytes::from(answer), token).unwrap().to_vec()).unwrap();
        assert!(own(Some("mine")).contains(r#""clientRequestToken":"mine""#));
        assert!(!own(None).contains("lientRequestToken") && own(None).contains("s3://b"));
        // Whatever else is in the account's list, a job is found in it.
        let foreign = r#"{"invocationArn":"arn:2","modelArn":"arn:m"},{"invocationArn":7},null,
            {"invocationArn":"arn:3","status":"Paused"}"#;
        let text = format!(r#"{{"nextToken":"n","asyncInvokeSummaries":[{foreign},{answer}]}}"#);
        let (jobs, next) = page(text.as_bytes()).unwrap();
        let of = |arn: &str, token: Option<&str>| Summary {
            invocation_arn: arn.to_owned(),
            client_request_token: token.map(str::to_owned),
        };
        let expected = vec![of("arn:2", None), of("arn:3", None), of("arn:1", Some("ours"))];
        assert_eq!((jobs, next.as_deref()), (expected, Some("n")));
        assert_eq!(page(b"{}").unwrap(), (vec![], None));
        assert_eq!(started(br#"{"invocationArn":"arn:1"}"#).unwrap(), "arn:1");
        assert!(started(br#"{"invocationArn":""}"#).is_err());
        assert_eq!(Status::from_name("Failed"), Some(Status::Failed));
    }
}
