//! A registry, asked as OCI's distribution specification says. Every answer is bounded, in bytes and in time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kairos_bedrock::connect::{Connector, connector, innermost};
use kairos_pipeline::policy::one_line;
use kairos_pipeline::request::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::super::Failed;
use super::auth::{Challenge, Credentials, challenge};
use super::reference::{Reference, is_loopback};

/// For a connection, and then for an answer to begin, or go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// Redirections that are followed.
const MOST_REDIRECTIONS: usize = 5;
/// Bytes of an answer that is no blob: of a token, or of what is wrong.
const SMALL: u64 = 64 * 1024;
/// Bytes of what a registry says is wrong that are shown.
const SHOWN: usize = 300;

/// A request to a registry.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) accept: Option<&'static str>,
    pub(super) body: Option<(&'static str, Bytes)>,
}

impl Asked {
    pub(super) fn get(url: String, accept: Option<&'static str>) -> Self {
        Self { method: Method::GET, url, accept, body: None }
    }
}

/// A registry, and what it was told of who asks.
pub(super) struct Registry {
    client: Client<Connector, Full<Bytes>>,
    /// Its host, with a port where one is named.
    authority: String,
    /// `https`, unless it is on this machine.
    scheme: &'static str,
    credentials: Credentials,
    authorization: Option<HeaderValue>,
}

impl Registry {
    pub(super) fn new(reference: &Reference, credentials: Credentials) -> Result<Self, Failed> {
        let connector = connector(PATIENCE, None).map_err(|error| Failed::new(error.to_string()))?;
        let scheme = if is_loopback(&reference.registry) { "http" } else { "https" };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, authority: reference.registry.clone(), scheme, credentials, authorization: None })
    }

    /// The address of a path of the registry.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority)
    }

    /// Asks; where it is told to say who it is, once more.
    pub(super) async fn ask(&mut self, asked: &Asked) -> Result<Response<Incoming>, Failed> {
        let answer = self.follow(asked).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = challenge(answer.headers()) else {
            return Err(self.failed("it asks for credentials in a way that is not known here"));
        };
        self.authorization = Some(self.answer_to(&challenge).await?);
        let answer = self.follow(asked).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        Err(self.failed(&format!("it lets nobody in like this; credentials: {}", self.credentials.about)))
    }

    /// What is to be sent as `Authorization`.
    async fn answer_to(&self, challenge: &Challenge) -> Result<HeaderValue, Failed> {
        let header = |scheme: &str, secret: &str| {
            let mut value = HeaderValue::from_str(&format!("{scheme} {secret}"))
                .map_err(|_| self.failed("what it gave as a token is none"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let (realm, service, scope) = match (challenge, &self.credentials.basic) {
            (Challenge::Basic, Some(basic)) => return header("Basic", basic.expose()),
            (Challenge::Basic, None) => {
                let (registry, about) = (&self.authority, &self.credentials.about);
                return Err(self.failed(&format!("it asks for a password, and {about}; `docker login {registry}`")));
            }
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
        };
        self.may_ask(realm)?;
        let mut url = realm.clone();
        for (name, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
            }
        }
        let basic = self.credentials.basic.as_ref().map(|basic| header("Basic", basic.expose())).transpose()?;
        let answer = self.send(&Asked::get(url, None), realm, basic.as_ref()).await?;
        let status = answer.status();
        let body = self.body(answer, SMALL).await?;
        if !status.is_success() {
            let (about, said) = (&self.credentials.about, said(&body));
            return Err(self.failed(&format!("it gives no token ({status}{said}); credentials: {about}")));
        }
        let token: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = token["token"].as_str().or_else(|| token["access_token"].as_str()).map(Secret::new);
        let token = token.ok_or_else(|| self.failed("what it gave as a token is none"))?;
        header("Bearer", token.expose())
    }

    /// Sends a request, and goes where the answer says. Who asks is said to the registry alone.
    async fn follow(&self, asked: &Asked) -> Result<Response<Incoming>, Failed> {
        let mut url = asked.url.clone();
        for _ in 0..=MOST_REDIRECTIONS {
            self.may_ask(&url)?;
            let authorization = self.authorization.as_ref().filter(|_| self.is_own(&url));
            let next = Asked { url: url.clone(), body: asked.body.clone(), method: asked.method.clone(), ..*asked };
            let answer = self.send(&next, &url, authorization).await?;
            // What is written is never written elsewhere.
            if !answer.status().is_redirection() || asked.body.is_some() {
                return Ok(answer);
            }
            url = self.location(&url, &answer)?;
        }
        Err(self.failed(&format!("it redirects more than {MOST_REDIRECTIONS} times")))
    }

    /// Where the answer from an address says to go.
    pub(super) fn location(&self, from: &str, answer: &Response<Incoming>) -> Result<String, Failed> {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if location.starts_with('/') && !location.starts_with("//") {
            let path = from.split_once("://").and_then(|(scheme, rest)| Some(scheme.len() + 3 + rest.find('/')?));
            return Ok(format!("{}{location}", &from[..path.unwrap_or(from.len())]));
        }
        let is_whole = location.starts_with("https://") || location.starts_with("http://");
        let nowhere = || self.failed("it redirects to what is no address");
        is_whole.then(|| location.to_owned()).ok_or_else(nowhere)
    }

    /// Whether an address is the registry's own.
    fn is_own(&self, url: &str) -> bool {
        let own = self.url("");
        url.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    /// In the clear nothing is asked, unless both ends are on this machine.
    fn may_ask(&self, url: &str) -> Result<(), Failed> {
        let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
        let here = self.scheme == "http" && authority.as_deref().is_some_and(is_loopback);
        if authority.is_some() && (url.starts_with("https://") || here) {
            return Ok(());
        }
        Err(self.failed(&format!("it sends elsewhere than to an address of https: {}", plain(url))))
    }

    async fn send(
        &self,
        asked: &Asked,
        shown: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::builder().method(&asked.method).uri(&asked.url);
        request = request.header(USER_AGENT, concat!("kairos/", env!("CARGO_PKG_VERSION")));
        if let Some(accept) = asked.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut body = Bytes::new();
        if let Some((media_type, bytes)) = &asked.body {
            request = request.header(CONTENT_TYPE, *media_type);
            body = bytes.clone();
        }
        let shown = plain(shown);
        let request = request.body(Full::new(body)).map_err(|_| self.failed(&format!("{shown} is no address")))?;
        match tokio::time::timeout(PATIENCE, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(&format!("{shown}: {}", innermost(&error)))),
            Err(_) => Err(self.failed(&format!("{shown}: no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Reads an answer: no more than so many bytes, and nothing of what is said to have more.
    pub(super) async fn body(&self, answer: Response<Incoming>, most: u64) -> Result<Vec<u8>, Failed> {
        let too_large = || self.failed(&format!("it sends more than the {most} bytes that there may be"));
        let mut body = answer.into_body();
        if hyper::body::Body::size_hint(&body).lower() > most {
            return Err(too_large());
        }
        let mut read = Vec::new();
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            let frame = frame.map_err(|_| self.failed(&format!("nothing came for {} s", PATIENCE.as_secs())))?;
            let Some(frame) = frame else { return Ok(read) };
            let frame = frame.map_err(|error| self.failed(&format!("it broke off: {}", innermost(&error))))?;
            let data = frame.into_data().unwrap_or_default();
            if (read.len() + data.len()) as u64 > most {
                return Err(too_large());
            }
            read.extend_from_slice(&data);
        }
    }

    /// The answer, where it has the status that is expected; else what is wrong.
    pub(super) async fn expect(
        &mut self,
        asked: &Asked,
        expected: StatusCode,
        what: &str,
    ) -> Result<Response<Incoming>, Failed> {
        let answer = self.ask(asked).await?;
        let status = answer.status();
        if status == expected {
            return Ok(answer);
        }
        let said = said(&self.body(answer, SMALL).await.unwrap_or_default());
        let missing = if status == StatusCode::NOT_FOUND { ": it is not there, or not for everybody" } else { "" };
        Err(self.failed(&format!("{what}: {status}{missing}{said}; credentials: {}", self.credentials.about)))
    }

    pub(super) fn failed(&self, what: &str) -> Failed {
        Failed::new(format!("the registry {}: {what}", self.authority))
    }
}

#[cfg(test)]
mod tests;

/// What a registry says is wrong, as far as it can be shown.
fn said(body: &[u8]) -> String {
    let read: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &read["errors"][0];
    let text = |name: &str| first[name].as_str().unwrap_or_default();
    match (text("code"), text("message")) {
        ("", "") => String::new(),
        (code, message) => one_line(format!(", {code}: {message}"), SHOWN),
    }
}

/// An address without what may be a key to it.
fn plain(url: &str) -> String {
    one_line(url.split('?').next().unwrap_or_default().to_owned(), SHOWN)
}
