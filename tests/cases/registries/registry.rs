//! A registry of artifacts on this machine, as OCI's distribution specification has it: what is pushed is kept
//! and given, with a password or a token where a test says so, and with faults.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who may ask.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Who has the password.
    Password,
    /// Who has a token, which everybody gets.
    Token,
    /// Who has a token, which who has the password gets.
    TokenForPassword,
}

/// The user and his password, as Docker's configuration has them.
pub(super) const BASIC: &str = "YWRhOnNlY3JldA==";
/// The token.
const TOKEN: &str = "a-token";

/// What is done to answers that give content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Blobs have another last byte.
    OtherBytes,
    /// Manifests have.
    OtherManifest,
    /// Blobs lack their last byte.
    Short,
    /// Blobs have one more than their manifest says.
    Long,
    /// Blobs end in the middle, with their connection.
    BrokenOff,
    /// Whatever is asked is answered by a redirection to this address.
    Redirect(String),
    /// Blobs are given by another server, at this address.
    BlobsAt(String),
    /// Blobs are given at another path of this server.
    Onward,
}

/// What a registry keeps.
#[derive(Default)]
struct Kept {
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, (String, Bytes)>,
    access: Access,
    fault: Fault,
    /// Method and path of each request, and who asks.
    asked: Vec<(String, Option<String>)>,
}

/// A registry, for as long as the test's runtime.
#[derive(Clone)]
pub(super) struct Registry {
    /// Host and port.
    pub(super) address: SocketAddr,
    /// What it is called, where it has another name.
    name: Option<&'static str>,
    kept: Arc<Mutex<Kept>>,
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

fn whole(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Takes the request for a tunnel to a name, as a proxy does.
async fn tunnelled(stream: &mut TcpStream, name: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with(&format!("CONNECT {name}:443 ")), "{head}");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
}

impl Registry {
    /// Starts one.
    pub(super) async fn start(access: Access) -> Self {
        Self::listen(access, None).await
    }

    /// Starts one that is reached by a name that nobody resolves, through the proxy that it has in front of itself,
    /// by TLS.
    pub(super) async fn secure(name: &'static str, tls: TlsAcceptor) -> Self {
        Self::listen(Access::Open, Some((name, tls))).await
    }

    async fn listen(access: Access, secure: Option<(&'static str, TlsAcceptor)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Kept { access, ..Kept::default() }));
        let registry = Self { address, name: secure.as_ref().map(|(name, _)| *name), kept };
        let serving = registry.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (registry, secure) = (serving.clone(), secure.clone());
                tokio::spawn(async move {
                    let Some((name, tls)) = secure else { return registry.serve(stream).await };
                    tunnelled(&mut stream, name).await;
                    // Who does not trust it goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        registry.serve(stream).await;
                    }
                });
            }
        });
        registry
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = hyper::service::service_fn(move |request| {
            let registry = self.clone();
            async move { Ok::<_, Infallible>(registry.answer(request).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    /// The address of a repository.
    pub(super) fn repository(&self, path: &str) -> String {
        let host = self.name.map_or_else(|| self.address.to_string(), str::to_owned);
        format!("oci://{host}/{path}")
    }

    /// What goes wrong from now on.
    pub(super) fn fault(&self, fault: Fault) {
        self.kept.lock().unwrap().fault = fault;
    }

    /// What was asked since this was asked last.
    pub(super) fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.kept.lock().unwrap().asked)
    }

    /// Keeps a manifest; gives its digest.
    pub(super) fn keep_manifest(&self, media_type: &str, text: &str) -> String {
        let (digest, body) = (digest(text.as_bytes()), Bytes::from(text.to_owned()));
        self.kept.lock().unwrap().manifests.insert(digest.clone(), (media_type.to_owned(), body));
        digest
    }

    /// The manifest of a digest or a tag.
    pub(super) fn manifest(&self, name: &str) -> String {
        let kept = self.kept.lock().unwrap();
        String::from_utf8(kept.manifests[name].1.to_vec()).unwrap()
    }

    /// Keeps the blobs of another as well.
    pub(super) fn with_blobs_of(&self, other: &Self) {
        let blobs = other.kept.lock().unwrap().blobs.clone();
        self.kept.lock().unwrap().blobs.extend(blobs);
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (method, path) = (parts.method, parts.uri.path().to_owned());
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let authorization = parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let mut kept = self.kept.lock().unwrap();
        kept.asked.push((format!("{method} {path}"), authorization.clone()));
        let basic = authorization.as_deref() == Some(&format!("Basic {BASIC}"));
        if path == "/token" {
            assert!(query.contains("service=tests") && query.contains("scope=repository%3A"), "{query}");
            let given = kept.access == Access::Token || basic;
            return if given { json(StatusCode::OK, &json!({"token": TOKEN})) } else { refused("no such user") };
        }
        let token = authorization.as_deref() == Some(&format!("Bearer {TOKEN}"));
        let may = match kept.access {
            Access::Open => true,
            Access::Password => basic,
            Access::Token | Access::TokenForPassword => token,
        };
        if !may {
            return self.challenge(kept.access, &path);
        }
        if let Fault::Redirect(to) = &kept.fault {
            return redirected(to);
        }
        let name = path.rsplit('/').next().unwrap();
        match (&method, path.contains("/manifests/"), path.contains("/blobs/")) {
            (&Method::PUT, true, _) => kept.put_manifest(name, body),
            (_, true, _) => kept.get_manifest(name),
            (&Method::POST, _, true) => Response::builder()
                .status(StatusCode::ACCEPTED)
                // With a query of its own, as some have.
                .header(LOCATION, format!("{path}one?state=x"))
                .body(whole(Bytes::new()))
                .unwrap(),
            (&Method::PUT, _, true) => {
                let named = query.rsplit_once("digest=").unwrap().1;
                assert_eq!(named, digest(&body));
                kept.blobs.insert(named.to_owned(), body);
                empty(StatusCode::CREATED)
            }
            (_, _, true) => kept.get_blob(&path, name),
            _ => empty(StatusCode::NOT_FOUND),
        }
    }

    fn challenge(&self, access: Access, path: &str) -> Answer {
        let repository = path.trim_start_matches("/v2/").split("/blobs").next().unwrap().split("/manifests").next();
        let (address, repository) = (self.address, repository.unwrap());
        let asks = if access == Access::Password {
            "Basic realm=\"tests\"".to_owned()
        } else {
            format!(
                "Bearer realm=\"http://{address}/token\",service=\"tests\",scope=\"repository:{repository}:pull,push\""
            )
        };
        let mut answer = refused("who are you?");
        answer.headers_mut().insert(WWW_AUTHENTICATE, asks.parse().unwrap());
        answer
    }
}

impl Kept {
    fn put_manifest(&mut self, name: &str, body: Bytes) -> Answer {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        self.manifests.insert(digest(&body), (media_type.clone(), body.clone()));
        self.manifests.insert(name.to_owned(), (media_type, body));
        empty(StatusCode::CREATED)
    }

    fn get_manifest(&self, name: &str) -> Answer {
        let Some((media_type, body)) = self.manifests.get(name) else {
            let error = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown\u{1b}[31m"}]});
            return json(StatusCode::NOT_FOUND, &error);
        };
        let body = if self.fault == Fault::OtherManifest { other(body) } else { body.clone() };
        Response::builder().header("content-type", media_type).body(whole(body)).unwrap()
    }

    fn get_blob(&self, path: &str, name: &str) -> Answer {
        let Some(blob) = self.blobs.get(name) else { return empty(StatusCode::NOT_FOUND) };
        let body = match &self.fault {
            Fault::OtherBytes => other(blob),
            Fault::Short => blob.slice(..blob.len() - 1),
            Fault::Long => [&blob[..], b"x"].concat().into(),
            Fault::Onward if !path.starts_with("/onward/") => return redirected(&format!("/onward/blobs/{name}")),
            Fault::BlobsAt(to) => return redirected(&format!("{to}/elsewhere/blobs/{name}?key=secret")),
            _ => blob.clone(),
        };
        if self.fault == Fault::BrokenOff {
            let begun = futures_util::stream::iter([Ok(hyper::body::Frame::data(body.slice(..5)))]);
            // What has come is sent while there is nothing more.
            let end = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken off"))
            });
            return Response::new(StreamBody::new(futures_util::StreamExt::chain(begun, end)).boxed_unsync());
        }
        Response::new(whole(body))
    }
}

/// The digest of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn other(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes.into()
}

fn empty(status: StatusCode) -> Answer {
    Response::builder().status(status).body(whole(Bytes::new())).unwrap()
}

fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    Response::builder().status(status).body(whole(body.to_string())).unwrap()
}

fn refused(message: &str) -> Answer {
    json(StatusCode::UNAUTHORIZED, &json!({"errors": [{"code": "UNAUTHORIZED", "message": message}]}))
}

fn redirected(to: &str) -> Answer {
    Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(LOCATION, to).body(whole(Bytes::new())).unwrap()
}
