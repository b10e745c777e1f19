//! Calls Bedrock Runtime: builds the request, signs it, sends it once, reads the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response as HttpResponse};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use kairos_dialects::bedrock::error;
use kairos_dialects::bedrock::invoke::Counts;
use kairos_dialects::failure::{Failure, Kind, Upstream as UpstreamAnswer, from_bedrock};
use kairos_pipeline::upstream::{Call, Look, Response, Upstream, UpstreamOperation, Whole};
use tokio::time::{Instant, timeout_at};

use crate::connect::{ConnectorError, connector, innermost};
use crate::credentials::{Authority, CredentialSource};
use crate::endpoint::Endpoint;
use crate::frames::WireFrames;
use crate::pool::{Connections, NotAnswered, Pool};
use crate::sent::{MarkedBody, Sent};
use crate::sigv4::{Moment, Signer, encode_segment};

/// The largest answer that is read: Bedrock's own limit for a body.
pub const MOST_ANSWER_BYTES: usize = 25_000_000;
/// The largest error answer that is read.
const MOST_ERROR_BYTES: usize = 1_000_000;
/// How long an error's body is waited for: its status and headers say enough to go on.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(5);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Making a connection, TLS included.
    pub connect: Duration,
    /// From sending a request to the first event of a stream.
    pub first_event: Duration,
    /// Between the events of a stream.
    pub between_events: Duration,
    /// From sending a request to a whole answer that is not streamed.
    pub answer: Duration,
    /// From sending a request to the end of a stream.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let total = Duration::from_secs(15 * 60);
        Self {
            connect: Duration::from_secs(30),
            first_event: Duration::from_secs(30),
            between_events: Duration::from_secs(30),
            // A whole answer may take as long as it takes to write it.
            answer: total,
            total,
        }
    }
}

/// Calls one endpoint of Bedrock Runtime.
pub struct Client {
    connections: Connections,
    endpoint: Endpoint,
    credentials: Arc<CredentialSource>,
    signer: Signer,
    timeouts: Timeouts,
    user_agent: HeaderValue,
    host: HeaderValue,
}

const JSON: &str = "application/json";

/// Headers of every request: their names are read once.
static SDK_REQUEST: HeaderName = HeaderName::from_static("amz-sdk-request");
static INVOCATION_ID: HeaderName = HeaderName::from_static("amz-sdk-invocation-id");
static AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Response headers that a native caller is told. A closed list: the rest is between Bedrock and us.
const PASSED_HEADERS: [&str; 10] = [
    "x-amzn-bedrock-content-type",
    "x-amzn-bedrock-input-token-count",
    "x-amzn-bedrock-output-token-count",
    "x-amzn-bedrock-cache-read-input-token-count",
    "x-amzn-bedrock-cache-write-input-token-count",
    "x-amzn-bedrock-invocation-latency",
    "x-amzn-bedrock-performanceconfig-latency",
    "x-amzn-bedrock-service-tier",
    "x-amzn-bedrock-guardrail-action",
    "x-amzn-bedrock-trace",
];

impl Client {
    /// A client for an endpoint in a region.
    pub fn new(
        region: &str,
        endpoint: Endpoint,
        credentials: impl Into<Arc<CredentialSource>>,
        timeouts: Timeouts,
        pool: Pool,
    ) -> Result<Self, ConnectorError> {
        let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        let connector = connector(timeouts.connect, bundle.as_deref().map(std::path::Path::new))?;
        let user_agent = HeaderValue::from_static(concat!("kairos/", env!("CARGO_PKG_VERSION")));
        let host = HeaderValue::from_str(&endpoint.host).unwrap_or_else(|_| HeaderValue::from_static("invalid"));
        // An endpoint is a URL: where it was configured, it was read as one before.
        let connections = Connections::new(connector, endpoint.url.parse().unwrap_or_default(), pool);
        let (credentials, signer) = (credentials.into(), Signer::new(region));
        Ok(Self { connections, credentials, signer, timeouts, user_agent, host, endpoint })
    }

    /// What authorises calls, to find out early that nothing does.
    pub fn credentials(&self) -> &Arc<CredentialSource> {
        &self.credentials
    }

    /// Where calls go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Credentials, after asking whoever gives them.
    async fn authority(&self) -> Result<Arc<Authority>, Failure> {
        let limit = self.timeouts.connect;
        match tokio::time::timeout(limit, self.credentials.authority()).await {
            Ok(found) => found.map_err(|error| Failure::new(Kind::UpstreamAuth, error.to_string())),
            Err(_) => {
                let message = format!("credentials were not found within {limit:?}; what gives them is slow or hangs");
                Err(Failure::new(Kind::UpstreamAuth, message))
            }
        }
    }

    fn request(&self, call: &Call, authority: &Authority, sent: &Sent) -> Result<Request<MarkedBody>, Failure> {
        let mut path = String::with_capacity(96);
        path.push('/');
        // A job names its model in its body.
        if call.operation != UpstreamOperation::StartAsync {
            path.push_str("model/");
            path.extend(encode_segment(&call.invocation_id));
            path.push('/');
        }
        path.push_str(call.operation.path());
        let content_type = call.headers.iter().find(|(name, _)| *name == "content-type");
        let content_type = content_type.map_or(JSON, |(_, value)| value);
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(&SDK_REQUEST, HeaderValue::from_static("attempt=1; max=1"));
        let mut set = |name: HeaderName, value: &str| {
            HeaderValue::from_str(value).map(|value| headers.insert(name.clone(), value)).map_err(|_| {
                Failure::new(Kind::InvalidValue, format!("the header {name} has characters that no header may have"))
            })
        };
        for (name, value) in call.headers.iter() {
            set(HeaderName::from_static(name), value)?;
        }
        set(INVOCATION_ID.clone(), &call.attempt)?;
        self.authorise(authority, ("POST", &path, ""), content_type, &call.body, set)?;
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.entry(ACCEPT).or_insert_with(|| {
            HeaderValue::from_static(match call.operation {
                UpstreamOperation::ConverseStream | UpstreamOperation::InvokeStream => {
                    "application/vnd.amazon.eventstream"
                }
                UpstreamOperation::Converse | UpstreamOperation::Invoke | UpstreamOperation::StartAsync => JSON,
            })
        });
        addressed(Method::POST, path, headers, &call.body, sent)
    }

    /// Sets the headers that say who asks.
    fn authorise<T>(
        &self,
        authority: &Authority,
        what: (&str, &str, &str),
        content_type: &str,
        body: &[u8],
        mut set: impl FnMut(HeaderName, &str) -> Result<T, Failure>,
    ) -> Result<(), Failure> {
        match authority {
            Authority::ApiKey(key) => {
                set(AUTHORIZATION, &format!("Bearer {key}"))?;
            }
            Authority::Keys(keys) => {
                let moment = Moment::now();
                set(AUTHORIZATION, &self.signer.sign(keys, &moment, &self.endpoint.host, what, content_type, body))?;
                set(AMZ_DATE.clone(), moment.stamp())?;
                if let Some(token) = &keys.session_token {
                    set(SECURITY_TOKEN.clone(), token)?;
                }
            }
        }
        Ok(())
    }

    /// A question about jobs, signed.
    fn question(&self, look: Look<'_>, authority: &Authority) -> Result<Request<MarkedBody>, Failure> {
        let (path, query) = asked(look);
        let mut headers = HeaderMap::with_capacity(6);
        let mut set = |name: HeaderName, value: &str| {
            HeaderValue::from_str(value).map(|value| headers.insert(name, value)).map_err(|_| {
                Failure::new(Kind::Internal, "a header of a question to Bedrock has characters that none may have")
            })
        };
        set(CONTENT_TYPE, JSON)?;
        set(ACCEPT, JSON)?;
        self.authorise(authority, ("GET", &path, &query), JSON, b"", set)?;
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, self.user_agent.clone());
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        addressed(Method::GET, path, headers, &Bytes::new(), &Sent::default())
    }

    async fn ask(&self, look: Look<'_>) -> Result<Bytes, Failure> {
        let authority = match self.credentials.at_hand() {
            Some(authority) => authority,
            None => self.authority().await?,
        };
        let request = self.question(look, &authority)?;
        let limit = self.timeouts.first_event;
        let asked = async {
            let (response, _lease) = self.connections.request(request).await.map_err(not_answered)?;
            if !response.status().is_success() {
                return Err(self.refused(response).await);
            }
            let body = Limited::new(response.into_body(), MOST_ANSWER_BYTES).collect().await;
            let body =
                body.map_err(|error| Failure::new(Kind::BrokenStream, format!("Bedrock's answer broke off: {error}")))?;
            Ok(body.to_bytes())
        };
        let late = || Failure::new(Kind::Timeout, format!("Bedrock did not answer within {limit:?}"));
        tokio::time::timeout(limit, asked).await.map_err(|_| late())?
    }

    /// What an error answer means.
    async fn refused(&self, response: HttpResponse<Incoming>) -> Failure {
        let request_id = header(response.headers(), "x-amzn-requestid");
        let failure = error_answer(response, request_id).await;
        if failure.kind == Kind::UpstreamAuth {
            self.credentials.refused();
        }
        failure
    }

    async fn send(&self, call: Call) -> Result<Response, Failure> {
        let sent = Sent::default();
        let authority = match self.credentials.at_hand() {
            Some(authority) => authority,
            None => Box::pin(self.authority()).await?,
        };
        let request = self.request(&call, &authority, &sent)?;
        let started = Instant::now();
        let streams = call.operation.streams();
        let limit = if streams { self.timeouts.first_event } else { self.timeouts.answer };
        let answer = timeout_at(started + limit, self.connections.request(request)).await;
        let (response, lease) = match answer {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(sent.judge(not_answered(error))),
            Err(_) => {
                return Err(sent.judge(Failure::new(Kind::Timeout, format!("Bedrock did not answer within {limit:?}"))));
            }
        };
        if !response.status().is_success() {
            return Err(Box::pin(self.refused(response)).await);
        }
        let headers = passed_headers(response.headers());
        if streams {
            let request_id = header(response.headers(), "x-amzn-requestid");
            let frames = WireFrames::new(response.into_body(), lease, headers, request_id, self.timeouts, started);
            return Ok(Response::Stream(Box::new(frames)));
        }
        let mut counts = Counts::default();
        for (name, value) in &headers {
            counts.read_header(name, value);
        }
        let body = timeout_at(started + limit, Limited::new(response.into_body(), MOST_ANSWER_BYTES).collect()).await;
        let failure = |kind, message: String| Err(Failure::new(kind, message).maybe_billed());
        match body {
            Ok(Ok(body)) => Ok(Response::Whole(Whole { body: body.to_bytes(), headers, counts })),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                failure(Kind::BrokenStream, format!("Bedrock's answer is larger than {MOST_ANSWER_BYTES} bytes"))
            }
            Ok(Err(error)) => failure(Kind::BrokenStream, format!("Bedrock's answer broke off: {error}")),
            Err(_) => failure(Kind::Timeout, format!("Bedrock's answer was not over within {limit:?}")),
        }
    }
}

/// The path and the query of a question about jobs. Parameters are sorted, as they are signed.
fn asked(look: Look<'_>) -> (String, String) {
    match look {
        Look::Job(arn) => (format!("/async-invoke/{}", encode_segment(arn)), String::new()),
        Look::List { since_ms, page } => {
            let since = jiff::Timestamp::from_millisecond(i64::try_from(since_ms).unwrap_or(i64::MAX));
            let since = since.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
            let page = page.map_or(String::new(), |page| format!("nextToken={}&", encode_segment(page)));
            let rest = format!("sortBy=SubmissionTime&sortOrder=Ascending&submitTimeAfter={}", encode_segment(&since));
            ("/async-invoke".to_owned(), format!("maxResults=1000&{page}{rest}"))
        }
    }
}

/// A request for a path of the endpoint's.
fn addressed(
    method: Method,
    path: String,
    headers: HeaderMap,
    body: &Bytes,
    sent: &Sent,
) -> Result<Request<MarkedBody>, Failure> {
    let path = PathAndQuery::from_maybe_shared(path)
        .map_err(|error| Failure::new(Kind::Internal, format!("the request to Bedrock cannot be made: {error}")))?;
    let mut request = Request::new(MarkedBody::new(body, sent));
    *request.method_mut() = method;
    *request.uri_mut() = path.into();
    *request.headers_mut() = headers;
    Ok(request)
}

async fn error_answer(response: HttpResponse<Incoming>, request_id: String) -> Failure {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let body = match tokio::time::timeout(ERROR_BODY_PATIENCE, Limited::new(body, MOST_ERROR_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    let error_type = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let said = error::parse(error_type, &body);
    let (kind, unbilled) = from_bedrock(&said.code, status);
    let code = if said.code.is_empty() { status.to_string() } else { said.code.clone() };
    let message = match said.message.as_str() {
        "" => format!("Bedrock answered {code}, without a message"),
        text => format!("Bedrock answered {code}: {text}"),
    };
    Failure {
        unbilled,
        retry_after: retry_after(&parts.headers),
        upstream: Some(Box::new(UpstreamAnswer { status, code: said.code, request_id, body })),
        ..Failure::new(kind, message)
    }
}

/// How long Bedrock asks to wait: whole seconds, or milliseconds in AWS's own header.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let wait = number("x-amz-retry-after")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs));
    wait.filter(|wait| *wait <= Duration::from_secs(3600))
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn passed_headers(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    // An answer has few headers: they are looked for in the list, not the list in them.
    let known = headers.keys().filter_map(|name| {
        let known = PASSED_HEADERS.into_iter().find(|known| *known == name.as_str())?;
        Some((known, headers.get(name)?.to_str().ok()?.to_owned()))
    });
    known.collect()
}

/// A call without an answer.
fn not_answered(error: NotAnswered) -> Failure {
    let message = match error {
        NotAnswered::Unconnected(error) => format!("no connection to Bedrock: {}", innermost(&*error)),
        NotAnswered::Broken(error) => {
            format!("the connection to Bedrock broke before an answer: {}", innermost(&error))
        }
    };
    Failure::new(Kind::Network, message)
}

impl Upstream for Client {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        Box::pin(self.send(call))
    }

    fn look<'a>(&'a self, look: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        Box::pin(self.ask(look))
    }

    fn renews_credentials(&self) -> bool {
        self.credentials.renews()
    }
}
