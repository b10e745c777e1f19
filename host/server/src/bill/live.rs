//! Cost Explorer itself, asked page by page: one signed request each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::civil::Date;
use kairos_bedrock::connect::{Connector, connector};
use kairos_bedrock::credentials::{Authority, CredentialSource};
use kairos_bedrock::endpoint::{Endpoint, configured};
use kairos_bedrock::sigv4::{Moment, SigningCredentials, sign_once};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::explorer::{self, MOST_BYTES};
use super::table::USAGE;
use super::{Bill, BillError};

/// Cost Explorer is in one region, for all of them.
const REGION: &str = "us-east-1";
const SERVICE: &str = "ce";
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

/// Where it is: what the environment says, else AWS's own.
fn endpoint() -> Result<Endpoint, BillError> {
    let are_ignored =
        variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    for name in ["AWS_ENDPOINT_URL_COST_EXPLORER", "AWS_ENDPOINT_URL"] {
        if let Some(value) = variable(name).filter(|_| !are_ignored) {
            return configured(name, &value).map_err(form);
        }
    }
    let host = format!("{SERVICE}.{REGION}.amazonaws.com");
    Ok(Endpoint { url: format!("https://{host}"), host })
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
    let authority = credentials.authority().await.map_err(form)?;
    let Authority::Keys(keys) = &*authority else {
        return Err(BillError::Form(
            "a Bedrock API key cannot ask it: it needs credentials that may ce:GetCostAndUsage".to_owned(),
        ));
    };
    let endpoint = endpoint()?;
    let bundle = variable("AWS_CA_BUNDLE");
    let connect = connector(PATIENCE, bundle.as_deref().map(std::path::Path::new)).map_err(form)?;
    let client: Client<Connector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connect);
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
        let page = tokio::time::timeout(PATIENCE, page(&client, &endpoint, keys, &asked)).await;
        let page = page.map_err(|_| BillError::Form(format!("{} did not answer in time", endpoint.host)))??;
        hasher.update(&page);
        token = explorer::add(&page, bill)?;
        if token.is_none() {
            return Ok(hasher.finalize().into());
        }
    }
    Err(BillError::Form(format!("more than {PAGES} pages: ask for less time")))
}

async fn page(
    client: &Client<Connector, Full<Bytes>>,
    endpoint: &Endpoint,
    keys: &SigningCredentials,
    asked: &Value,
) -> Result<Bytes, BillError> {
    let body = asked.to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let moment = Moment::from_unix(i64::try_from(now).unwrap_or(i64::MAX));
    let mut headers = vec![("content-type", CONTENT_TYPE), ("host", &*endpoint.host), ("x-amz-date", moment.stamp())];
    headers.extend(keys.session_token.as_deref().map(|token| ("x-amz-security-token", token)));
    headers.push(("x-amz-target", TARGET));
    let authorization = sign_once(keys, &moment, (REGION, SERVICE), &headers, body.as_bytes());
    let mut request = Request::post(format!("{}/", endpoint.url)).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body.into())).map_err(form)?;
    let response = client.request(request).await.map_err(|error| form(format!("{}: {error}", endpoint.url)))?;
    let status = response.status();
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let answer = Limited::new(response.into_body(), most).collect().await.map_err(form)?.to_bytes();
    if status.is_success() {
        return Ok(answer);
    }
    let said: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default().chars().take(300).collect::<String>();
    Err(BillError::Form(format!("{status} {} {}{}", text("__type"), text("message"), text("Message"))))
}
