//! Requests to services, for policies. What is listed is called, at addresses that are allowed, and nothing else.
//!
//! A name is resolved once for each connection, by [`Checked`]; the connection goes to an address that it gave.
//! No proxy stands between: it would resolve the name again.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use kairos_bedrock::connect::{ConnectorError, Direct, direct, root_cause};
use kairos_pipeline::policy::{Failing, HttpMethod, HttpRequest, HttpResponse, MOST_RESPONSE_HEADERS, OutsideError};
use tower_service::Service;

use super::address::{Place, place};
use super::hosts::Host;
use super::{Used, failed, shortly, time_left};
use crate::config::HttpSettings;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Headers that are this side's to say.
const OWN_HEADERS: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "accept-encoding",
];

/// Which addresses a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Local,
}

impl Reach {
    fn allows(self, address: IpAddr) -> bool {
        match place(address) {
            Place::Public => true,
            Place::Local => self == Self::Local,
            Place::Never => false,
        }
    }
}

/// A name stands for an address that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("{name} is at {address}, {}", why(*address))]
struct AddressDenied {
    name: String,
    address: IpAddr,
}

fn why(address: IpAddr) -> &'static str {
    match place(address) {
        Place::Never => "an address that no policy may call",
        _ => {
            "on this machine or in a private network; where that is meant, list the host in `local_hosts` under \
             [policies.http] in kairos.toml"
        }
    }
}

/// Resolves names, and gives only what is allowed: a name with one address that is not is none.
#[derive(Clone, Debug)]
pub(crate) struct Checked<R> {
    inner: R,
    reach: Reach,
}

impl<R> Service<Name> for Checked<R>
where
    R: Service<Name> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (reach, shown, resolving) = (self.reach, name.as_str().to_owned(), self.inner.call(name));
        Box::pin(async move {
            let found: Vec<_> = resolving.await.map_err(Into::into)?.collect();
            match found.iter().find(|found| !reach.allows(found.ip())) {
                Some(denied) => Err(AddressDenied { name: shown, address: denied.ip() }.into()),
                None => Ok(found.into_iter()),
            }
        })
    }
}

type Connecting<R> = Client<Direct<Checked<R>>, Full<Bytes>>;

/// Calls what is listed.
pub(crate) struct HttpCaller<R = GaiResolver>
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    Checked<R>: Service<Name>,
{
    public: Connecting<R>,
    local: Connecting<R>,
    hosts: Vec<Host>,
    local_hosts: Vec<Host>,
    bytes: usize,
    patience: Duration,
    run_calls: u32,
    calls: AtomicU32,
    /// Requests beyond those of a run.
    refused: AtomicU32,
    /// Answers that had more bytes than were left of a call's.
    too_large: AtomicU32,
}

impl HttpCaller {
    /// A caller of what these settings list.
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, ConnectorError> {
        Self::resolving(settings, &GaiResolver::new())
    }
}

impl<R> HttpCaller<R>
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    fn resolving(settings: &HttpSettings, resolver: &R) -> Result<Self, ConnectorError> {
        let patience = settings.seconds.duration();
        let client = |reach| -> Result<_, ConnectorError> {
            let connector = direct(patience, Checked { inner: resolver.clone(), reach })?;
            // Each request has a connection of its own, to an address that was looked at for it.
            Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
        };
        let read = |hosts: &[String]| hosts.iter().filter_map(|host| Host::read(host).ok()).collect();
        Ok(Self {
            public: client(Reach::Public)?,
            local: client(Reach::Local)?,
            hosts: read(&settings.hosts),
            local_hosts: read(&settings.local_hosts),
            bytes: settings.bytes,
            patience,
            run_calls: settings.run_calls,
            calls: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            too_large: AtomicU32::new(0),
        })
    }

    /// Sends a request, and gives the response. Ends by `until`, and within the time of a request. What comes of
    /// the answer is taken off `room`.
    pub(super) async fn send(
        &self,
        request: &HttpRequest,
        room: &mut usize,
        until: Instant,
    ) -> Result<HttpResponse, OutsideError> {
        let (uri, reach) = self.target(&request.url)?;
        let built = built(request, uri)?;
        let patience = time_left(until, self.patience)?;
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.run_calls {
            self.calls.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            let most = self.run_calls;
            return failed(
                Failing::OverLimit,
                format!("more than {most} requests in one run ([policies.http] run_calls)"),
            );
        }
        let client = if reach == Reach::Local { &self.local } else { &self.public };
        let answered = async {
            let response = client.request(built).await.map_err(|error| self.unanswered(&error))?;
            self.response(response, room).await
        };
        match tokio::time::timeout(patience, answered).await {
            Ok(answered) => answered,
            Err(_) => failed(Failing::Unavailable, format!("no whole answer within {patience:?}")),
        }
    }

    /// How much of a run's bounds is used, and what was refused at them.
    pub(super) fn used(&self) -> [Used; 2] {
        let of = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        let calls = (self.run_calls.to_string(), of(&self.calls).to_string());
        [
            Used { name: "policies.http.run_calls", limit: calls.0, used: Some(calls.1), refused: of(&self.refused) },
            Used {
                name: "policies.http.bytes",
                limit: self.bytes.to_string(),
                used: None,
                refused: of(&self.too_large),
            },
        ]
    }

    /// Where a request goes, and to which addresses it may.
    fn target(&self, url: &str) -> Result<(Uri, Reach), OutsideError> {
        let no_address = || OutsideError::new(Failing::Invalid, "the url is no address of http or https");
        let uri: Uri = url.parse().map_err(|_| no_address())?;
        let host = Host::of(&uri).filter(|_| !url.contains('#')).ok_or_else(no_address)?;
        let reach = match (self.local_hosts.contains(&host), self.hosts.contains(&host)) {
            (true, _) => Reach::Local,
            (false, true) => Reach::Public,
            (false, false) => {
                let listed = kairos_pipeline::policy::one_line(host.listed(), 200);
                let what = format!(
                    "the host {listed} is not listed; to allow it, set `hosts = [\"{listed}\"]` under [policies.http] in kairos.toml"
                );
                return failed(Failing::Denied, what);
            }
        };
        // What is written as an address is resolved by nobody.
        match host.name.parse::<IpAddr>() {
            Ok(address) if !reach.allows(address) => {
                failed(Failing::Denied, AddressDenied { name: host.name, address }.to_string())
            }
            _ => Ok((uri, reach)),
        }
    }

    fn unanswered(&self, error: &ClientError) -> OutsideError {
        match root_cause(error).downcast_ref::<AddressDenied>() {
            Some(denied) => OutsideError::new(Failing::Denied, denied.to_string()),
            None => OutsideError::new(Failing::Unavailable, shortly(error)),
        }
    }

    async fn response(&self, response: Response<Incoming>, room: &mut usize) -> Result<HttpResponse, OutsideError> {
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let broke_off =
                |error| OutsideError::new(Failing::Unavailable, format!("the answer broke off: {}", shortly(&error)));
            let Ok(data) = frame.map_err(broke_off)?.into_data() else { continue };
            let fits = data.len() <= *room;
            *room = room.saturating_sub(data.len());
            if !fits {
                self.too_large.fetch_add(1, Ordering::Relaxed);
                let most = self.bytes;
                let what = format!("more than {most} bytes came in one call ([policies.http] bytes)");
                return failed(Failing::OverLimit, what);
            }
            body.extend_from_slice(&data);
        }
        Ok(HttpResponse { status: head.status.as_u16(), headers: shown(&head.headers), body })
    }
}

/// Headers as policies are shown them.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let texts =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    texts.take(MOST_RESPONSE_HEADERS).collect()
}

fn built(request: &HttpRequest, uri: Uri) -> Result<Request<Full<Bytes>>, OutsideError> {
    let method = match request.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let wrong = |what: &str| {
            let name = kairos_pipeline::policy::one_line(name.clone(), 64);
            OutsideError::new(Failing::Invalid, format!("the header {name:?} {what}"))
        };
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong("is none"))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(wrong("is set by the host"));
        }
        headers
            .append(name, HeaderValue::try_from(value.as_str()).map_err(|_| wrong("has a value that none may have"))?);
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("kairos/", env!("CARGO_PKG_VERSION"))));
    let mut built = Request::new(Full::new(Bytes::from(request.body.clone())));
    (*built.method_mut(), *built.uri_mut(), *built.headers_mut()) = (method, uri, headers);
    Ok(built)
}

#[cfg(test)]
mod tests;
