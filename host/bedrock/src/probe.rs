//! Whether the endpoint can be reached at all, and what its clock says: asked without credentials.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http::header::DATE;
use http_body_util::Empty;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::connect::{ConnectorError, connector, innermost};
use crate::endpoint::Endpoint;

/// An endpoint that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What its clock says, to the second, where it says so.
    pub date: Option<SystemTime>,
}

/// Why it did not.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is nothing to connect with.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The endpoint's address cannot be asked for.
    #[error("{0}")]
    Address(#[from] http::Error),
    /// No connection, or it broke; the text is the innermost cause's.
    #[error("{0}")]
    Network(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Asks an endpoint for nothing, and takes any answer. Connecting and the answer may take `patience`
/// together.
pub async fn probe(endpoint: &Endpoint, patience: Duration) -> Result<Reached, ProbeError> {
    let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let connector = connector(patience, bundle.as_deref().map(std::path::Path::new))?;
    let http: HttpClient<_, Empty<Bytes>> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(format!("{}/", endpoint.url)).body(Empty::new())?;
    let answer = tokio::time::timeout(patience, http.request(request)).await.map_err(|_| ProbeError::Late(patience))?;
    let answer = answer.map_err(|error| ProbeError::Network(innermost(&error)))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    Ok(Reached { date: date.and_then(|date| Some(DateTimeParser::new().parse_timestamp(date).ok()?.into())) })
}
