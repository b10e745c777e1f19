//! Services of AWS's that are asked now and then: one signed request each, and no connection that is kept.
//!
//! It must not know what is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::connect::{Connector, ConnectorError, connector, innermost};
use crate::credentials::{Authority, CredentialError, CredentialSource};
use crate::endpoint::{Endpoint, Service};
use crate::sigv4::{Moment, sign_once};

/// Asks one service in one region.
pub struct Caller {
    http: Client<Connector, Full<Bytes>>,
    credentials: Arc<CredentialSource>,
    service: Service,
    region: String,
    endpoint: Endpoint,
    patience: Duration,
    most_bytes: usize,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'static str,
    /// The path, encoded, without a query.
    pub path: &'a str,
    /// Headers beside those that every request has, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a str,
}

/// What was answered, an error of the service's included.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing to sign with.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A Bedrock API key opens Bedrock only.
    #[error("a Bedrock API key opens Bedrock only: this needs credentials that sign")]
    ApiKey,
    /// The request cannot be made.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// No answer in time.
    #[error("{host} did not answer within {patience:?}")]
    Late {
        /// Who did not.
        host: String,
        /// How long it had.
        patience: Duration,
    },
    /// No connection, or it broke; the text is the innermost cause's.
    #[error("{url}: {message}")]
    Network {
        /// Where.
        url: String,
        /// What went wrong.
        message: String,
    },
}

impl Caller {
    /// A caller of a service, whose answers may take so long and be so large.
    pub fn new(
        service: Service,
        region: &str,
        endpoint: Endpoint,
        credentials: Arc<CredentialSource>,
        (patience, most_bytes): (Duration, usize),
    ) -> Result<Self, ConnectorError> {
        let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        let connector = connector(patience, bundle.as_deref().map(std::path::Path::new))?;
        // A connection lives on the runtime that made it, and the next question may come from another.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { http, credentials, service, region: region.to_owned(), endpoint, patience, most_bytes })
    }

    /// Where it asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks once.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, CallError> {
        let late = || CallError::Late { host: self.endpoint.host.clone(), patience: self.patience };
        tokio::time::timeout(self.patience, self.asked(question)).await.map_err(|_| late())?
    }

    async fn asked(&self, question: Question<'_>) -> Result<Answer, CallError> {
        let network = |message| CallError::Network { url: self.endpoint.url.clone(), message };
        let authority = self.credentials.authority().await?;
        let response = self.http.request(self.request(question, &authority)?).await;
        let (head, body) = response.map_err(|error| network(innermost(&error)))?.into_parts();
        let body = Limited::new(body, self.most_bytes).collect().await.map_err(|error| network(error.to_string()))?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, question: Question<'_>, authority: &Authority) -> Result<Request<Full<Bytes>>, CallError> {
        let Question { method, path, headers, body } = question;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.endpoint.url));
        let mut sent = headers.to_vec();
        sent.push(("host", &self.endpoint.host));
        let moment = Moment::now();
        match authority {
            Authority::ApiKey(key) if self.service.signs_as == crate::sigv4::SERVICE => {
                request = request.header(AUTHORIZATION, format!("Bearer {key}"));
            }
            Authority::ApiKey(_) => return Err(CallError::ApiKey),
            Authority::Keys(keys) => {
                sent.push(("x-amz-date", moment.stamp()));
                sent.extend(keys.session_token.as_deref().map(|token| ("x-amz-security-token", token)));
                sent.sort_unstable();
                let scope = (&*self.region, self.service.signs_as);
                let signed = sign_once(keys, &moment, scope, (method, path), &sent, body.as_bytes());
                request = request.header(AUTHORIZATION, signed);
            }
        }
        for (name, value) in sent {
            request = request.header(name, value);
        }
        request = request.header(USER_AGENT, concat!("kairos/", env!("CARGO_PKG_VERSION")));
        Ok(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?)
    }
}
