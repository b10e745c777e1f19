//! Where in S3 a job may read and write. It does so with the gateway's rights, not the caller's.

use serde_json::Value;

use crate::invalid::Invalid;

/// Whether a text is the beginning of S3 URIs: a bucket, or a folder in one, up to a slash, so that it is no other's
/// beginning, too.
pub fn is_place(place: &str) -> bool {
    let bucket = place.strip_prefix("s3://").and_then(|rest| Some(rest.split_once('/')?.0));
    place.len() <= 1_024 && place.ends_with('/') && bucket.is_some_and(|bucket| !bucket.is_empty())
}

/// Refuses a request to start a job that names another place in S3 than these or one below them. What counts is
/// every URI that the service's shapes have (`uri`, `s3Uri`), and every text that is one of S3, wherever it stands.
pub fn within(body: &[u8], places: &[String]) -> Result<(), Invalid> {
    look(&Invalid::parse(body)?, "", "", places)
}

fn look(value: &Value, path: &str, name: &str, places: &[String]) -> Result<(), Invalid> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            look(value, &path, name, places)
        }),
        Value::Array(values) => {
            let mut each = values.iter().enumerate();
            each.try_for_each(|(at, value)| look(value, &format!("{path}.{at}"), name, places))
        }
        Value::String(text) => {
            let is_uri = ["uri", "s3uri"].iter().any(|known| name.eq_ignore_ascii_case(known));
            let is_s3 = text.trim_start().get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("s3:"));
            if (is_uri || is_s3) && !places.iter().any(|place| is_below(text, place)) {
                let message = "it is in none of the places that `s3` under [jobs] allows";
                return Err(Invalid::value(path.chars().take(256).collect::<String>(), message));
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Whether a URI is a place, or below it. A folder's own name may lack its slash.
fn is_below(uri: &str, place: &str) -> bool {
    uri.starts_with(place) || place.strip_suffix('/') == Some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(input: &str, output: &str) -> Result<(), String> {
        let body = format!(
            r#"{{"modelId":"m","modelInput":{input},"outputDataConfig":{{"s3OutputDataConfig":{{"s3Uri":"{output}"}}}}}}"#
        );
        let places = ["s3://ours/videos/".to_owned(), "s3://all/".to_owned()];
        within(body.as_bytes(), &places).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn what_a_job_reads_and_writes_is_where_it_may_be() {
        let video = |uri: &str| {
            format!(r#"{{"inputType":"video","video":{{"mediaSource":{{"s3Location":{{"uri":"{uri}"}}}}}}}}"#)
        };
        for (input, output) in [
            (video("s3://ours/videos/a.mp4"), "s3://ours/videos/"),
            (video("s3://all/a"), "s3://ours/videos"),
            (r#"{"inputText":"s3 is a service"}"#.to_owned(), "s3://all"),
            (r#"{"inputText":"a: s3://theirs/"}"#.to_owned(), "s3://all/a/b"),
        ] {
            assert_eq!(said(&input, output), Ok(()), "{input} {output}");
        }
        for (input, output, whose) in [
            ("{}".to_owned(), "s3://ours/", "outputDataConfig.s3OutputDataConfig.s3Uri"),
            ("{}".to_owned(), "s3://ours/videos-2/", "outputDataConfig.s3OutputDataConfig.s3Uri"),
            ("{}".to_owned(), "s3://allmine/", "outputDataConfig.s3OutputDataConfig.s3Uri"),
            (video("s3://theirs/a"), "s3://all/", "modelInput.video.mediaSource.s3Location.uri"),
            (video("theirs/a"), "s3://all/", "modelInput.video.mediaSource.s3Location.uri"),
            (r#"{"images":[{"source":" S3://theirs/a"}]}"#.to_owned(), "s3://all/", "modelInput.images.0.source"),
        ] {
            let says = format!("{whose}: it is in none of the places that `s3` under [jobs] allows");
            assert_eq!(said(&input, output), Err(says), "{input} {output}");
        }
    }

    #[test]
    fn a_place_ends_where_a_name_does() {
        for (place, is) in [
            ("s3://b/", true),
            ("s3://b/a/", true),
            ("s3://b", false),
            ("s3://b/a", false),
            ("s3:///", false),
            ("b/", false),
        ] {
            assert_eq!(is_place(place), is, "{place}");
        }
    }
}
