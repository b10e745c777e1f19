//! Connections to Bedrock: TLS 1.3 only, the system's and the environment's certificate
//! authorities, the environment's proxies, a limit on the time it takes.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the client connects with.
pub type Connector = Deadline<HttpsConnector<ProxyOrDirect>>;

/// Why no connector can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The file of certificate authorities cannot be read.
    #[error("AWS_CA_BUNDLE={path:?} cannot be read as PEM certificates: {message}")]
    CaBundle {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a client connects with that no proxy stands before, and whose names `R` resolves.
pub type Direct<R> = Deadline<HttpsConnector<HttpConnector<R>>>;

/// Makes a connector that goes where `resolver` says, and nowhere else. An address that is written out is not
/// resolved.
pub fn direct<R>(timeout: Duration, resolver: R) -> Result<Direct<R>, ConnectorError> {
    let https = HttpsConnectorBuilder::new().with_tls_config(tls(None)?).https_or_http().enable_http1();
    Ok(Deadline { inner: https.wrap_connector(tuned(HttpConnector::new_with_resolver(resolver))), timeout })
}

fn tuned<R>(mut http: HttpConnector<R>) -> HttpConnector<R> {
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(60)));
    http
}

/// Makes a connector. `ca_bundle` is a file of further certificate authorities (`AWS_CA_BUNDLE`).
pub fn connector(timeout: Duration, ca_bundle: Option<&Path>) -> Result<Connector, ConnectorError> {
    let tls = tls(ca_bundle)?;
    let connect = ProxyOrDirect { http: tuned(HttpConnector::new()), proxies: Arc::new(Matcher::from_env()) };
    let https =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connect);
    Ok(Deadline { inner: https, timeout })
}

fn tls(ca_bundle: Option<&Path>) -> Result<rustls::ClientConfig, ConnectorError> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a certificate authority of the system could not be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca_bundle {
        let error = |message: String| ConnectorError::CaBundle { path: path.display().to_string(), message };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|cause| error(cause.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|cause| error(cause.to_string()))?;
            roots.add(certificate).map_err(|cause| error(cause.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Connects directly, or through the proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
/// `NO_PROXY` name for the target. This machine is always reached directly.
#[derive(Clone)]
pub struct ProxyOrDirect {
    http: HttpConnector,
    proxies: Arc<Matcher>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

impl Service<Uri> for ProxyOrDirect {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.http, context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Connecting {
        let proxy = if is_loopback(&target) { None } else { self.proxies.intercept(&target) };
        let Some(proxy) = proxy else {
            let connecting = self.http.call(target);
            return Box::pin(async move { connecting.await.map_err(Into::into) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.http.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        Box::pin(async move { tunnel.call(target).await.map_err(Into::into) })
    }
}

/// The proxy that calls of `url` go through, without its password, where there is one.
pub fn proxy_for(url: &str) -> Option<String> {
    let target: Uri = url.parse().ok().filter(|target| !is_loopback(target))?;
    let proxy = Matcher::from_env().intercept(&target)?;
    let (scheme, host) = (proxy.uri().scheme_str().unwrap_or("http"), proxy.uri().host()?);
    Some(format!("{scheme}://{host}{}", proxy.uri().port_u16().map_or(String::new(), |port| format!(":{port}"))))
}

/// An error's innermost cause.
pub fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// The text of an error's innermost cause: what is around it says less.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    root_cause(error).to_string()
}

/// Whether a target is this machine, which no proxy reaches.
fn is_loopback(target: &Uri) -> bool {
    let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Bounds the time that a connection takes, TLS included.
#[derive(Clone)]
pub struct Deadline<C> {
    inner: C,
    timeout: Duration,
}

/// A connection took too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub struct ConnectTimeout(pub Duration);

impl<C> Service<Uri> for Deadline<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (connecting, timeout) = (self.inner.call(target), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimeout(timeout).into()),
            }
        })
    }
}
