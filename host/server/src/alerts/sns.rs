//! Alerts to a topic of SNS's: one signed `Publish` each.

use std::sync::Arc;
use std::time::Duration;

use kairos_bedrock::aws::{CallError, Caller, Question};
use kairos_bedrock::credentials::{Authority, CredentialSource};
use kairos_bedrock::endpoint::{SNS, endpoint};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::assemble::AssemblyError;
use crate::config::AlertSettings;

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: usize = 64 * 1024;
/// The version of its API.
const VERSION: &str = "2010-03-31";
/// The longest subject that SNS takes.
const MOST_SUBJECT: usize = 100;

/// The region of a topic, where this is the ARN of one.
pub(crate) fn region_of(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sns", region, account, name] = parts[..] else { return None };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_region =
        (1..=32).contains(&region.len()) && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_name = (1..=261).contains(&name.len()) && name.chars().all(is_plain);
    (partition.starts_with("aws") && is_account && is_region && is_name).then_some(region)
}

/// A topic that alerts go to.
pub(super) struct Topic {
    caller: Caller,
    arn: String,
}

impl Topic {
    /// The topic of the configuration, if there is one.
    pub(super) fn of(
        settings: &AlertSettings,
        credentials: &Arc<CredentialSource>,
    ) -> Result<Option<Self>, AssemblyError> {
        let Some(arn) = &settings.sns else { return Ok(None) };
        let region = region_of(arn).ok_or_else(|| AssemblyError("alerts.sns is no ARN of a topic".to_owned()))?;
        if matches!(credentials.at_hand().as_deref(), Some(Authority::ApiKey(_))) {
            let what = "alerts.sns: a Bedrock API key opens Bedrock only: to publish, the gateway needs credentials \
                        that may sns:Publish to the topic";
            return Err(AssemblyError(what.to_owned()));
        }
        let place = endpoint(SNS, region, |name| std::env::var(name).ok()).map_err(AssemblyError::of)?;
        let bounds = (PATIENCE, MOST_ANSWER_BYTES);
        let caller = Caller::new(SNS, region, place, Arc::clone(credentials), bounds).map_err(AssemblyError::of)?;
        Ok(Some(Self { caller, arn: arn.clone() }))
    }

    /// Publishes a body. Whether it was taken, or why not.
    pub(super) async fn send(&self, body: &str) -> Result<(), String> {
        let form = form(&self.arn, body);
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let answer = self.caller.ask(Question { method: "POST", path: "/", headers: &headers, body: &form }).await;
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("it answers {} {}", answer.status, code_of(&answer.body))),
            // The cause names the host, and neither body nor key.
            Err(error @ (CallError::Late { .. } | CallError::Network { .. } | CallError::Credentials(_))) => {
                Err(error.to_string())
            }
            Err(CallError::ApiKey | CallError::Request(_)) => Err("it cannot be asked".to_owned()),
        }
    }
}

/// What is POSTed. The kind and the budget are attributes, too, which subscriptions can choose by.
fn form(arn: &str, body: &str) -> String {
    let alert: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (id, kind, budget) = (text(&alert["id"]), text(&alert["kind"]), text(&alert["budget"]["name"]));
    let subject = format!("Kairos: budget {budget}: {}", kind.replace('_', " "));
    let subject = subject.chars().filter(|c| matches!(c, ' '..='~')).take(MOST_SUBJECT).collect();
    let own = |name: &str, value: String| (name.to_owned(), value);
    let mut fields = vec![
        own("Action", "Publish".to_owned()),
        own("Version", VERSION.to_owned()),
        own("TopicArn", arn.to_owned()),
        own("Subject", subject),
        own("Message", body.to_owned()),
    ];
    // An empty attribute is an error.
    let attributes = [("kind", kind), ("budget", budget)].into_iter().filter(|(_, value)| !value.is_empty());
    for (place, (name, value)) in (1..).zip(attributes) {
        let entry = format!("MessageAttributes.entry.{place}");
        fields.push((format!("{entry}.Name"), name.to_owned()));
        fields.push((format!("{entry}.Value.DataType"), "String".to_owned()));
        fields.push((format!("{entry}.Value.StringValue"), value));
    }
    if arn.ends_with(".fifo") {
        // In order, and what is sent twice is delivered once.
        fields.push(own("MessageGroupId", "kairos-alerts".to_owned()));
        fields.push(own("MessageDeduplicationId", id));
    }
    let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}

/// The code of an error, of SNS's XML: letters only, so that nothing else of it reaches the log.
fn code_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    code.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_from_other_arns() {
        for (arn, region) in [
            ("arn:aws:sns:eu-west-1:123456789012:alerts", Some("eu-west-1")),
            ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:a.fifo", Some("us-gov-west-1")),
            ("arn:aws:sqs:eu-west-1:123456789012:alerts", None),
            ("arn:aws:sns:eu-west-1:123456789012:alerts:subscription", None),
            ("arn:aws:sns:eu-west-1:12:alerts", None),
            ("arn:aws:sns:evil.example/:123456789012:alerts", None),
            ("arn:aws:sns::123456789012:alerts", None),
            ("alerts", None),
        ] {
            assert_eq!(region_of(arn), region, "{arn}");
        }
    }

    #[test]
    fn a_form_holds_the_alert_and_what_subscriptions_choose_by() {
        let body = r#"{"id":"7","kind":"recovered","budget":{"name":"a&b=c\né"}}"#;
        insta::assert_snapshot!(form("arn:aws:sns:x:1:t.fifo", body).replace('&', "\n"), @"
        Action=Publish
        Version=2010%2D03%2D31
        TopicArn=arn%3Aaws%3Asns%3Ax%3A1%3At%2Efifo
        Subject=Kairos%3A%20budget%20a%26b%3Dc%3A%20recovered
        Message=%7B%22id%22%3A%227%22%2C%22kind%22%3A%22recovered%22%2C%22budget%22%3A%7B%22name%22%3A%22a%26b%3Dc%5Cn%C3%A9%22%7D%7D
        MessageAttributes.entry.1.Name=kind
        MessageAttributes.entry.1.Value.DataType=String
        MessageAttributes.entry.1.Value.StringValue=recovered
        MessageAttributes.entry.2.Name=budget
        MessageAttributes.entry.2.Value.DataType=String
        MessageAttributes.entry.2.Value.StringValue=a%26b%3Dc%0A%C3%A9
        MessageGroupId=kairos%2Dalerts
        MessageDeduplicationId=7
        ");
        assert!(!form("arn:aws:sns:x:1:t", "{}").contains("entry"));
    }

    #[test]
    fn of_an_error_its_code_is_told() {
        assert_eq!(code_of(b"<ErrorResponse><Error><Code>NotFound</Code><Message>x"), "NotFound");
        assert_eq!(code_of(b"<Code>a b<i></Code>"), "abi");
        assert_eq!(code_of(b"no"), "");
    }
}
