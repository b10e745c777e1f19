//! Alerts to an address of the operator's, signed.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kairos_bedrock::connect::{Connector, connector};
use kairos_pipeline::request::Secret;
use sha2::Sha256;
use tokio::time::timeout;

use crate::assemble::AssemblyError;
use crate::config::AlertSettings;

/// For an answer to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where alerts go.
pub(super) struct Webhook {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    secret: Option<Secret>,
}

impl Webhook {
    /// The address of the configuration, if there is one.
    pub(super) fn of(settings: &AlertSettings) -> Result<Option<Self>, AssemblyError> {
        let Some(url) = &settings.webhook_url else { return Ok(None) };
        let uri = url.0.expose().parse().map_err(|_| AssemblyError("alerts.webhook_url is no URL".to_owned()))?;
        let client = Client::builder(TokioExecutor::new()).build(connector(PATIENCE, None).map_err(AssemblyError::of)?);
        Ok(Some(Self { client, uri, secret: settings.webhook_secret.as_ref().map(|secret| secret.0.clone()) }))
    }

    /// Sends a body. Whether it was taken, or why not: never with the address, which may hold a token.
    pub(super) async fn send(&self, body: &str, second: u64) -> Result<(), String> {
        let mut request = Request::builder().method(Method::POST).uri(self.uri.clone());
        request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, "kairos");
        if let Some(secret) = &self.secret {
            request = request.header("x-kairos-signature", signature(secret, second, body));
        }
        let request = request.body(Full::new(body.to_owned().into())).map_err(|error| error.to_string())?;
        match timeout(PATIENCE, self.client.request(request)).await {
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            Ok(Err(_)) => Err("no connection".to_owned()),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("it answers {}", answer.status())),
        }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 of the seconds, a point and the body.
fn signature(secret: &Secret, second: u64, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map(|mut mac| {
        mac.update(format!("{second}.").as_bytes());
        mac.update(body.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    });
    // A key of any length will do.
    format!("t={second},v1={}", mac.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_signed() {
        // printf '5.{}' | openssl dgst -sha256 -hmac secret
        let signed = signature(&Secret::new("secret".to_owned()), 5, "{}");
        assert_eq!(signed, "t=5,v1=f18d2fcd9a24151471e3e2d71bc7ce901fb7b89b341918a08f95e9ffc497ea26");
    }
}
