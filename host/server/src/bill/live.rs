//! Cost Explorer itself, asked page by page: one signed request each.

use std::time::Duration;

use bytes::Bytes;
use jiff::civil::Date;
use kairos_bedrock::aws::{CallError, Caller, Question};
use kairos_bedrock::credentials::CredentialSource;
use kairos_bedrock::endpoint::{COST_EXPLORER, endpoint};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::explorer::{self, MOST_BYTES};
use super::table::USAGE;
use super::{Bill, BillError};

/// Cost Explorer is in one region, for all of them.
const REGION: &str = "us-east-1";
const TARGET: &str = "AWSInsightsIndexService.GetCostAndUsage";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Pages of one answer, at most: each costs a cent.
const PAGES: usize = 1_000;
/// What one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn form(error: impl std::fmt::Display) -> BillError {
    BillError::Form(error.to_string())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Which lines: as of an export, without credits, refunds and taxes; of one account where one is named.
fn filter(account: Option<&str>) -> Value {
    let usage = json!({"Dimensions": {"Key": "RECORD_TYPE", "Values": USAGE}});
    match account {
        None => usage,
        Some(account) => {
            json!({"And": [usage, {"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": [account]}}]})
        }
    }
}

/// Asks for the days from `since` until before `until`, of one account or of all. Gives a digest of all that
/// was answered.
pub(crate) async fn ask(
    (since, until): (Date, Date),
    account: Option<&str>,
    bill: &mut Bill,
) -> Result<[u8; 32], BillError> {
    let credentials = CredentialSource::find(REGION, variable).await.map_err(form)?;
    let endpoint = endpoint(COST_EXPLORER, REGION, variable).map_err(form)?;
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let caller = Caller::new(COST_EXPLORER, REGION, endpoint, credentials.into(), (PATIENCE, most)).map_err(form)?;
    let mut hasher = Sha256::new();
    let mut token: Option<String> = None;
    for _ in 0..PAGES {
        let mut asked = json!({
            "TimePeriod": {"Start": since.to_string(), "End": until.to_string()},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost"],
            "Filter": filter(account),
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "USAGE_TYPE"}],
        });
        if let Some(token) = &token {
            asked["NextPageToken"] = json!(token);
        }
        let page = page(&caller, &asked).await?;
        hasher.update(&page);
        token = explorer::add(&page, bill)?;
        if token.is_none() {
            return Ok(hasher.finalize().into());
        }
    }
    Err(BillError::Form(format!("more than {PAGES} pages: ask for less time")))
}

async fn page(caller: &Caller, asked: &Value) -> Result<Bytes, BillError> {
    let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", TARGET)];
    let body = asked.to_string();
    let answer = caller.ask(Question { method: "POST", path: "/", headers: &headers, body: &body }).await;
    let answer = answer.map_err(|error| match error {
        CallError::ApiKey => BillError::Form(
            "a Bedrock API key cannot ask it: it needs credentials that may ce:GetCostAndUsage".to_owned(),
        ),
        error => form(error),
    })?;
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default().chars().take(300).collect::<String>();
    Err(BillError::Form(format!("{} {} {}{}", answer.status, text("__type"), text("message"), text("Message"))))
}
