//! The measure of what is possible: a proxy on hyper that passes requests and answers on as they
//! are, and does nothing else. One thread.

use std::net::SocketAddr;

use http::{HeaderValue, Request, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Serves until the process ends.
pub(crate) fn run(upstream: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).set_host(false).build(connector);
        let host = HeaderValue::from_str(&upstream.to_string()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (client, host) = (client.clone(), host.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let path = request.uri().path_and_query().unwrap().as_str();
                *request.uri_mut() = format!("http://{upstream}{path}").parse::<Uri>().unwrap();
                request.headers_mut().insert(http::header::HOST, host.clone());
                client.request(request)
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}
