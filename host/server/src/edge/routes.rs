//! Addresses. Each that asks a model ends in the pipeline's one `handle`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{ALLOW, AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};
use kairos_bedrock::catalogue::strip_arn;
use kairos_bedrock::client::Client;
use kairos_bedrock::sigv4::{Authorization, SignedRequest};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::batch;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::reply::{Outgoing, Reply};
use kairos_pipeline::request::{Dialect, Incoming, Operation, Presented, Secret};
use kairos_sandbox::prompts::Prompts;
use kairos_sandbox::slots::Slots;
use kairos_store::learned::LearnedStore;
use kairos_store::ledger::SqliteLedger;
use kairos_store::records::RecordStore;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::body::{Buffered, BytesBody, read};
use super::refusals::{Connections, Refusals};
use super::{admin, feedback, guard, jobs, pages, respond, under_way};
use crate::admin::Admin;
use crate::alerts::Alerts;
use crate::config::Config;
use crate::keys::Keyring;
use crate::prices::Book;
use crate::profiles::Resolver;
use crate::telemetry::Metrics;

/// Feedback that may wait for its request to end; more is told that there is no such request.
const LATE_FEEDBACK: usize = 256;

/// What addresses share.
pub(crate) struct App {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) upstream: Arc<Client>,
    pub(crate) policies: Arc<Slots>,
    pub(crate) prompts: Arc<Prompts>,
    pub(crate) prices: Arc<Book>,
    pub(crate) profiles: Arc<Resolver>,
    pub(crate) admin: Admin,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) ledger: Arc<SqliteLedger>,
    /// None: records are not kept on disk.
    pub(crate) records: Option<Arc<RecordStore>>,
    /// What observers learn, on disk.
    pub(crate) learned: Arc<LearnedStore>,
    pub(crate) alerts: Arc<Alerts>,
    /// None: nothing is measured.
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) config: Config,
    /// Requests under way, whether their callers stay or not.
    pub(crate) tasks: TaskTracker,
    /// Told to stop: no longer ready.
    pub(crate) stopping: AtomicBool,
    /// Why the gateway is not ready, where it is not.
    pub(crate) not_ready: std::sync::Mutex<Option<String>>,
    pub(crate) buffered: Arc<Buffered>,
    /// Places for feedback that waits for its request to end.
    pub(crate) late_feedback: Semaphore,
    pub(crate) connections: Connections,
    pub(crate) refusals: Arc<Refusals>,
}

impl App {
    #[allow(clippy::too_many_arguments, reason = "what was put together, once")]
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        upstream: Arc<Client>,
        policies: Arc<Slots>,
        prompts: Arc<Prompts>,
        prices: Arc<Book>,
        profiles: Arc<Resolver>,
        admin: Admin,
        keys: Arc<Keyring>,
        ledger: Arc<SqliteLedger>,
        records: Option<Arc<RecordStore>>,
        learned: Arc<LearnedStore>,
        alerts: Arc<Alerts>,
        metrics: Option<Arc<Metrics>>,
        config: Config,
    ) -> Self {
        let connections = Connections::new(config.limits.connections);
        Self {
            gateway,
            upstream,
            policies,
            prompts,
            prices,
            profiles,
            admin,
            keys,
            ledger,
            records,
            learned,
            alerts,
            metrics,
            config,
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            not_ready: std::sync::Mutex::new(None),
            buffered: Arc::default(),
            late_feedback: Semaphore::new(LATE_FEEDBACK),
            connections,
            refusals: Arc::default(),
        }
    }
}

/// Answers what came in on a connection.
pub(crate) async fn answer(
    app: Arc<App>,
    mut others: Router,
    peer: SocketAddr,
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response, Infallible> {
    // Nearly all requests are for these: what a router of many addresses costs is not theirs to pay.
    if request.method() == Method::POST
        && let Some((operation, model)) = asked(request.uri().path())
    {
        return Ok(serve(&app, peer, request, operation, model).await);
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    others.call(request).await
}

/// What an address asks a model for, and which one it names. Read raw, as model ids hold `:` and `/`,
/// encoded or not.
fn asked(path: &str) -> Option<(Operation, Option<String>)> {
    match path {
        "/v1/chat/completions" => return Some((Operation::ChatCompletions, None)),
        "/v1/generate" => return Some((Operation::Generate, None)),
        "/async-invoke" => return Some((Operation::StartAsync, None)),
        "/v1/embeddings" => return Some((Operation::Embeddings, None)),
        _ => {}
    }
    let (model, operation) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let operation = match operation {
        "converse" => Operation::Converse,
        "converse-stream" => Operation::ConverseStream,
        "invoke" => Operation::Invoke,
        "invoke-with-response-stream" => Operation::InvokeStream,
        _ => return None,
    };
    Some((operation, Some(percent_decode_str(model).decode_utf8().ok()?.into_owned())))
}

/// All other addresses.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/generate/batch", post(generate_batch))
        .route("/async-invoke", get(jobs::list))
        .route("/async-invoke/{*arn}", get(jobs::get))
        .route("/v1/models", get(pages::models))
        .route("/v1/requests/{id}", get(pages::request))
        .route("/v1/feedback", post(feedback::feedback))
        .route("/healthz", get(pages::health))
        .route("/readyz", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .merge(admin::routes())
        .fallback(unknown_address)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// The dialect that an address speaks, to be answered in.
fn dialect_of(path: &str) -> Dialect {
    if path.starts_with("/model/") || path.starts_with("/async-invoke") {
        Dialect::Bedrock
    } else if path.starts_with("/v1/generate") {
        Dialect::Kairos
    } else {
        Dialect::OpenAi
    }
}

async fn unknown_address(request: Request<Body>) -> Response {
    let path = request.uri().path();
    if asked(path).is_some() {
        let mut response = wrong_method(request).await;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let failure =
        Failure::new(Kind::NoSuchRoute, format!("there is nothing at {}; README.md lists what there is", shown(path)));
    respond::failure(dialect_of(path), &failure)
}

async fn wrong_method(request: Request<Body>) -> Response {
    let path = request.uri().path();
    let failure = Failure::new(Kind::WrongMethod, format!("{} does not take {}", shown(path), request.method()));
    respond::failure(dialect_of(path), &failure)
}

fn shown(path: &str) -> &str {
    &path[..path.floor_char_boundary(100)]
}

async fn generate_batch(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): axum::Extension<ConnectInfo<SocketAddr>>,
    request: Request<Body>,
) -> Response {
    let incoming = match receive(&app, peer, request, Operation::Generate, None).await {
        Ok(incoming) => incoming,
        Err(refused) => return refused,
    };
    let limits = app.config.batch_limits();
    let (reply, answer) = Reply::channel(limits.patience);
    let stopping = Arc::clone(&app);
    let stopping = move || stopping.stopping.load(Ordering::Relaxed);
    let batch = batch::handle(Arc::clone(&app.gateway), incoming, limits, stopping, reply);
    respond(Dialect::Kairos, under_way::answer(&app.tasks, Box::pin(batch), answer).await)
}

/// Who may come in at all, before anything is read.
pub(super) fn admit(app: &App, parts: &Parts, peer: SocketAddr) -> Result<(), Failure> {
    if app.keys.are_needed() { Ok(()) } else { guard::local_only(parts, peer) }
}

async fn serve(
    app: &Arc<App>,
    peer: SocketAddr,
    request: Request<impl BytesBody>,
    operation: Operation,
    model: Option<String>,
) -> Response {
    let incoming = match receive(app, peer, request, operation, model).await {
        Ok(incoming) => incoming,
        Err(refused) => return refused,
    };
    let (reply, answer) = Reply::channel(app.config.limits.write_seconds.duration());
    let request = Box::pin(kairos_pipeline::handle(Arc::clone(&app.gateway), incoming, reply));
    respond(operation.dialect(), under_way::answer(&app.tasks, request, answer).await)
}

/// Takes a request in, to the end of its body; or says why not.
async fn receive(
    app: &Arc<App>,
    peer: SocketAddr,
    request: Request<impl BytesBody>,
    operation: Operation,
    model: Option<String>,
) -> Result<Incoming, Response> {
    let (parts, body) = request.into_parts();
    let dialect = operation.dialect();
    if let Err(failure) = admit(app, &parts, peer) {
        return Err(respond::refusal(dialect, &failure));
    }
    let known = presented(app, &parts).glance(&*app.gateway.keys);
    let headers = known.and_then(|known| Ok((known, passed_headers(operation, &parts.headers)?)));
    let (presented, passed_headers) = match headers {
        Ok(headers) => headers,
        Err(failure) => return Err(closing(respond::refusal(dialect, &failure))),
    };
    let (body, counted) = match read(&app.buffered, &parts.headers, body, &app.config.limits).await {
        Ok(read) => read,
        Err(failure) => {
            app.refusals.body(&failure);
            return Err(closing(respond::refusal(dialect, &failure)));
        }
    };
    Ok(Incoming {
        operation,
        path_model: model.map(|model| strip_arn(&model).to_owned()),
        presented,
        hints: hints(&parts.headers),
        passed_headers,
        client_request_id: client_request_id(&parts.headers),
        body,
        held: Some(Box::new(counted)),
    })
}

/// The pipeline's answer.
fn respond(dialect: Dialect, answer: Option<Outgoing>) -> Response {
    match answer {
        Some(outgoing) => respond::response(outgoing),
        None => {
            respond::failure(dialect, &Failure::new(Kind::Internal, "the request was lost; the gateway's log says why"))
        }
    }
}

/// An answer to a request whose body was not read to its end: what is left of it would be taken for
/// the next request.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Who the caller says to be. Signatures are only taken apart where keys are needed.
pub(super) fn presented(app: &App, parts: &Parts) -> Presented {
    if !app.keys.are_needed() {
        return Presented::Nothing;
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text(AUTHORIZATION.as_str());
    if let Some(key) = authorization.and_then(bearer) {
        return Presented::Bearer(Secret::new(key));
    }
    if let Some(value) = authorization.filter(|value| value.starts_with("AWS4-")) {
        let signed = Authorization::parse(value).map(|authorization| SignedRequest {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: all_headers(parts),
            authorization,
        });
        return Presented::Signed(Arc::new(signed));
    }
    match text("x-api-key") {
        Some(key) => Presented::Bearer(Secret::new(key)),
        None => Presented::Nothing,
    }
}

/// What the header `authorization` bears, if it is of that scheme, whose name has no case (RFC 9110, 11.1).
pub(super) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// All headers as text. HTTP/2 says the host in its own way.
fn all_headers(parts: &Parts) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    if let (false, Some(authority)) = (parts.headers.contains_key("host"), parts.uri.authority()) {
        headers.push(("host".to_owned(), authority.as_str().to_owned()));
    }
    headers
}

const HINT_PREFIX: &str = "x-kairos-";

fn hints(headers: &HeaderMap) -> Vec<(String, String)> {
    let named = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(HINT_PREFIX)?, value)));
    named.map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

/// What InvokeModel says in headers. A closed list: the rest is between the caller and us.
const PASSED_HEADERS: [&str; 9] = [
    "content-type",
    "accept",
    "x-amzn-bedrock-accept",
    "x-amzn-bedrock-trace",
    "x-amzn-bedrock-guardrailidentifier",
    "x-amzn-bedrock-guardrailversion",
    "x-amzn-bedrock-performanceconfig-latency",
    "x-amzn-bedrock-service-tier",
    "x-amzn-bedrock-request-metadata",
];

fn passed_headers(operation: Operation, headers: &HeaderMap) -> Result<Vec<(&'static str, String)>, Failure> {
    if !matches!(operation, Operation::Invoke | Operation::InvokeStream) {
        return Ok(Vec::new());
    }
    let present = PASSED_HEADERS.into_iter().filter_map(|name| Some((name, headers.get(name)?)));
    // To drop one would be to call without the guardrail that the caller asked for.
    let readable = present.map(|(name, value)| match value.to_str() {
        Ok(text) => Ok((name, text.to_owned())),
        Err(_) => Err(Failure::new(Kind::InvalidValue, format!("the header {name} has characters that are not ASCII"))
            .with_param(name)),
    });
    readable.collect()
}

/// The caller's own id of the request, if it is one that can be shown.
fn client_request_id(headers: &HeaderMap) -> Option<String> {
    let names = ["x-client-request-id", "x-request-id", "amz-sdk-invocation-id"];
    let id = names.into_iter().find_map(|name| headers.get(name)?.to_str().ok())?;
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| id.to_owned())
}
