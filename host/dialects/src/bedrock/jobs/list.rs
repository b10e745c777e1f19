//! ListAsyncInvokes: what is asked for, and the answer. Jobs are those that are kept, not Bedrock's own list.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Seen, Status};
use crate::invalid::{Invalid, InvalidKind};

/// Jobs in an answer, at most.
pub const MOST_RESULTS: usize = 1_000;
const USUAL_RESULTS: usize = 100;

/// Where a page begins: behind this job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// When it was started, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its token.
    pub token: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Started after this, in milliseconds since 1970.
    pub after_ms: Option<u64>,
    /// Started before it.
    pub before_ms: Option<u64>,
    /// In this state.
    pub status: Option<Status>,
    /// As many at most.
    pub most: usize,
    /// Behind this one.
    pub page: Option<PageToken>,
    /// The oldest first.
    pub ascending: bool,
}

impl ListQuery {
    /// Reads the query of a request.
    pub fn read(query: &str) -> Result<Self, Invalid> {
        let mut read =
            Self { after_ms: None, before_ms: None, status: None, most: USUAL_RESULTS, page: None, ascending: false };
        let mut known: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
            let (Ok(name), Ok(value)) = (decoded(name), decoded(value)) else {
                return Err(Invalid { kind: InvalidKind::Value, path: None, message: "the query is not UTF-8".into() });
            };
            let wrong = |what: &str| Invalid::value(name.clone(), what);
            let at = || time(&value).ok_or_else(|| wrong("a time is expected, as 2026-11-23T01:02:03Z"));
            match &*name {
                "submitTimeAfter" => read.after_ms = Some(at()?),
                "submitTimeBefore" => read.before_ms = Some(at()?),
                "statusEquals" => {
                    let status = Status::from_name(&value);
                    read.status = Some(status.ok_or_else(|| wrong("InProgress, Completed or Failed is expected"))?);
                }
                "maxResults" => {
                    let most = value.parse().ok().filter(|most| (1..=MOST_RESULTS).contains(most));
                    read.most = most.ok_or_else(|| wrong("a number from 1 to 1000 is expected"))?;
                }
                "nextToken" => {
                    let place = value
                        .split_once('-')
                        .and_then(|(at, token)| Some(PageToken { at_ms: at.parse().ok()?, token: token.to_owned() }));
                    read.page = Some(place.ok_or_else(|| wrong("it is none of this list's"))?);
                }
                "sortBy" if value == "SubmissionTime" => {}
                "sortBy" => return Err(wrong("SubmissionTime is expected")),
                "sortOrder" => {
                    read.ascending = match &*value {
                        "Ascending" => true,
                        "Descending" => false,
                        _ => return Err(wrong("Ascending or Descending is expected")),
                    };
                }
                _ => return Err(wrong("there is no such parameter")),
            }
            if known.contains(&name) {
                return Err(Invalid::value(name, "it is given twice"));
            }
            known.push(name);
        }
        Ok(read)
    }
}

/// Milliseconds since 1970, of a time as ISO 8601 writes it.
fn time(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// A job of a list.
pub struct Entry<'a> {
    /// What Bedrock said of it last.
    pub seen: &'a Seen,
    /// The caller's own token.
    pub token: Option<&'a str>,
    /// Where its result goes, as JSON.
    pub output: &'a str,
}

/// The answer.
pub fn answer<'a>(entries: impl Iterator<Item = Entry<'a>>, next: Option<&PageToken>) -> Bytes {
    let summaries: Vec<Value> = entries
        .map(|Entry { seen, token, output }| {
            let seen = Seen { client_request_token: token.map(str::to_owned), ..seen.clone() };
            let mut summary = serde_json::to_value(&seen).unwrap_or_default();
            if let (Some(fields), Ok(output)) = (summary.as_object_mut(), serde_json::from_str(output)) {
                fields.insert("outputDataConfig".to_owned(), output);
            }
            summary
        })
        .collect();
    let mut answer = json!({ "asyncInvokeSummaries": summaries });
    if let Some(PageToken { at_ms, token }) = next {
        answer["nextToken"] = format!("{at_ms}-{token}").into();
    }
    answer.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_said_to_be_wrong() {
        let read = ListQuery::read;
        let all = "submitTimeAfter=1970-01-01T00%3A00%3A00.001Z&submitTimeBefore=1970-01-01T00:00:02Z&statusEquals=Failed&maxResults=7&nextToken=5-a-b&sortBy=SubmissionTime&sortOrder=Ascending";
        let page = Some(PageToken { at_ms: 5, token: "a-b".to_owned() });
        let expected = ListQuery {
            after_ms: Some(1),
            before_ms: Some(2_000),
            status: Some(Status::Failed),
            most: 7,
            page,
            ascending: true,
        };
        assert_eq!(read(all), Ok(expected));
        assert_eq!(read("").unwrap().most, 100);
        for (query, says) in [
            ("maxResults=0", "maxResults: a number"),
            ("maxResults=1001", "maxResults: a number"),
            ("maxResults=1&maxResults=1", "maxResults: it is given twice"),
            ("statusEquals=Done", "statusEquals: InProgress"),
            ("submitTimeAfter=noon", "submitTimeAfter: a time"),
            ("nextToken=x", "nextToken: it is none"),
            ("sortBy=Size", "sortBy: SubmissionTime"),
            ("sortOrder=Up", "sortOrder: Ascending"),
            ("x=1", "x: there is no such"),
            ("x=%ff", "the query is not UTF-8"),
        ] {
            let wrong = read(query).unwrap_err().to_string();
            assert!(wrong.starts_with(says), "{query}: {wrong}");
        }
    }
}
