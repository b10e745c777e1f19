use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A registry that takes a request, says this much, and then nothing more. Where it says nothing at all, time
/// passes at once from then on: what is left is to wait.
async fn stalling(says: &'static [u8]) -> (Registry, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        stream.write_all(says).await.unwrap();
        if says.is_empty() {
            tokio::time::pause();
        }
        // The connection stays open.
        std::future::pending::<()>().await;
        drop(stream);
    });
    let reference = Reference::parse(&format!("oci://{address}/acme/router:1")).unwrap();
    let credentials = Credentials { basic: None, about: "none".to_owned() };
    let registry = Registry::new(&reference, credentials).unwrap();
    let asked = Asked::get(registry.url("/v2/acme/router/manifests/1"), None);
    (registry, asked)
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_given_up() {
    let (mut registry, asked) = stalling(b"").await;
    let failed = registry.ask(&asked).await.unwrap_err().message;
    assert!(failed.starts_with("the registry 127.0.0.1:"), "{failed}");
    assert!(failed.ends_with("/v2/acme/router/manifests/1: no answer within 30 s"), "{failed}");
}

#[tokio::test]
async fn a_registry_that_stalls_within_its_answer_is_given_up() {
    let (mut registry, asked) = stalling(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let answer = registry.ask(&asked).await.unwrap();
    tokio::time::pause();
    let failed = registry.body(answer, 10).await.unwrap_err().message;
    assert!(failed.ends_with(": nothing came for 30 s"), "{failed}");
}
