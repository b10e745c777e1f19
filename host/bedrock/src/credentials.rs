//! Credentials: found where AWS's tools find them, renewed before they run out, never frozen.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::BehaviorVersion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials as AwsCredentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_types::region::Region;
use tokio::sync::Mutex;

use crate::sigv4::SigningCredentials;

/// Temporary credentials are renewed when so little is left of them.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Credentials that state no end are looked up anew after this: a profile's file may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// What authorises calls.
#[derive(Clone)]
pub enum Authority {
    /// A signature.
    Keys(SigningCredentials),
    /// A Bedrock API key.
    ApiKey(String),
}

/// Where credentials come from.
pub struct CredentialSource {
    kind: Kind,
    cached: ArcSwapOption<Cached>,
    renewing: Mutex<()>,
    renews: bool,
    now: fn() -> SystemTime,
}

enum Kind {
    ApiKey(Arc<Authority>),
    Provider(SharedCredentialsProvider),
}

struct Cached {
    authority: Arc<Authority>,
    renew_at: SystemTime,
    ends_at: Option<SystemTime>,
}

/// Credentials that were found, without their secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What gave them.
    pub from: &'static str,
    /// When they end, where that is stated.
    pub ends_at: Option<SystemTime>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(String);

/// Finds the region where AWS's tools look: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile, the
/// instance's metadata.
pub async fn region() -> Option<String> {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client()).no_credentials();
    loader.load().await.region().map(|region| region.as_ref().to_owned())
}

impl CredentialSource {
    /// Finds credentials where they may be: the seed's `AWS_BEDROCK_ACCESS_KEY_ID` and
    /// `AWS_BEDROCK_SECRET_ACCESS_KEY`, a Bedrock API key in `AWS_BEARER_TOKEN_BEDROCK` (which wins
    /// over other credentials, as in AWS's SDKs), then AWS's standard chain.
    pub async fn find(region: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (id, secret) = ("AWS_BEDROCK_ACCESS_KEY_ID", "AWS_BEDROCK_SECRET_ACCESS_KEY");
        let kind = match (set(id), set(secret), set("AWS_BEARER_TOKEN_BEDROCK")) {
            (Some(id), Some(secret), _) => {
                let token = set("AWS_BEDROCK_SESSION_TOKEN");
                Kind::Provider(SharedCredentialsProvider::new(AwsCredentials::new(
                    id,
                    secret,
                    token,
                    None,
                    "environment",
                )))
            }
            (Some(_), None, _) => {
                return Err(CredentialError(format!("{id} is set, {secret} is not; set both or neither")));
            }
            (None, Some(_), _) => {
                return Err(CredentialError(format!("{secret} is set, {id} is not; set both or neither")));
            }
            (None, None, Some(key)) => Kind::ApiKey(Arc::new(Authority::ApiKey(key))),
            (None, None, None) => {
                let region = Region::new(region.to_owned());
                let configuration =
                    ProviderConfig::without_region().with_region(Some(region)).with_http_client(http_client());
                let chain = DefaultCredentialsChain::builder().configure(configuration).build().await;
                Kind::Provider(SharedCredentialsProvider::new(chain))
            }
        };
        let given = set(id).is_some() || matches!(kind, Kind::ApiKey(_));
        Ok(Self::of(kind, !given, SystemTime::now))
    }

    /// Credentials that are known already, and do not change.
    pub fn fixed(authority: Authority) -> Self {
        let kind = match authority {
            Authority::ApiKey(_) => Kind::ApiKey(Arc::new(authority)),
            Authority::Keys(keys) => {
                let keys = AwsCredentials::new(keys.access_key_id, keys.secret, keys.session_token, None, "fixed");
                Kind::Provider(SharedCredentialsProvider::new(keys))
            }
        };
        Self::of(kind, false, SystemTime::now)
    }

    fn of(kind: Kind, renews: bool, now: fn() -> SystemTime) -> Self {
        Self { kind, cached: ArcSwapOption::empty(), renewing: Mutex::new(()), renews, now }
    }

    /// What authorises a call now, where nothing needs to be asked for it.
    pub fn at_hand(&self) -> Option<Arc<Authority>> {
        if let Kind::ApiKey(key) = &self.kind {
            return Some(Arc::clone(key));
        }
        let cached = self.cached.load();
        let cached = cached.as_deref().filter(|cached| (self.now)() < cached.renew_at)?;
        Some(Arc::clone(&cached.authority))
    }

    /// What authorises a call now.
    pub async fn authority(&self) -> Result<Arc<Authority>, CredentialError> {
        let provider = match &self.kind {
            Kind::ApiKey(key) => return Ok(Arc::clone(key)),
            Kind::Provider(provider) => provider,
        };
        if let Some(authority) = self.at_hand() {
            return Ok(authority);
        }
        let now = (self.now)();
        // One looks, the others wait, or use what is still good.
        let _one = match (self.renewing.try_lock(), self.still_good(now)) {
            (Ok(lock), _) => lock,
            (Err(_), Some(authority)) => return Ok(authority),
            (Err(_), None) => self.renewing.lock().await,
        };
        if let Some(authority) = self.at_hand() {
            return Ok(authority);
        }
        match provider.provide_credentials().await {
            Ok(found) => {
                let ends_at = found.expiry();
                let renew_at = ends_at.map_or(now + LOOK_AGAIN, |ends| ends - RENEW_BEFORE);
                // Credentials that live shorter than the margin are used for half of what is left.
                let renew_at = match ends_at {
                    Some(ends) if renew_at <= now => now + ends.duration_since(now).unwrap_or_default() / 2,
                    _ => renew_at,
                };
                let authority = Arc::new(Authority::Keys(SigningCredentials {
                    access_key_id: found.access_key_id().to_owned(),
                    secret: found.secret_access_key().to_owned(),
                    session_token: found.session_token().map(str::to_owned),
                }));
                self.cached.store(Some(Arc::new(Cached { authority: Arc::clone(&authority), renew_at, ends_at })));
                Ok(authority)
            }
            Err(error) => {
                if let Some(authority) = self.still_good(now) {
                    tracing::warn!(%error, "credentials could not be renewed; the present ones are still good");
                    return Ok(authority);
                }
                Err(CredentialError(explain(&error)))
            }
        }
    }

    /// What gives credentials, and how long they are good for. Looks anew.
    pub async fn found(&self) -> Result<Found, CredentialError> {
        match &self.kind {
            Kind::ApiKey(_) => Ok(Found { from: "AWS_BEARER_TOKEN_BEDROCK", ends_at: None }),
            Kind::Provider(provider) => {
                let found = provider.provide_credentials().await.map_err(|error| CredentialError(explain(&error)))?;
                Ok(Found { from: giver(&found), ends_at: found.expiry() })
            }
        }
    }

    /// What is cached, past its time of renewal but not past its end.
    fn still_good(&self, now: SystemTime) -> Option<Arc<Authority>> {
        let cached = self.cached.load();
        let cached = cached.as_deref()?;
        cached.ends_at.is_none_or(|ends| now < ends).then(|| Arc::clone(&cached.authority))
    }

    /// Whether they come from where new ones can be had: what is given once stays as it is.
    pub fn renews(&self) -> bool {
        self.renews
    }

    /// Forgets what is cached, after AWS refused it: the next call looks again.
    pub fn refused(&self) {
        self.cached.store(None);
    }
}

/// What gave credentials, by the marks that AWS's providers leave on them.
fn giver(found: &AwsCredentials) -> &'static str {
    use AwsCredentialFeature as Mark;
    let marks = found.get_property::<Vec<Mark>>().map_or(&[][..], Vec::as_slice);
    // The last mark is that of the outermost provider.
    match marks.last() {
        None => "AWS_BEDROCK_ACCESS_KEY_ID",
        Some(Mark::CredentialsEnvVars) => "AWS_ACCESS_KEY_ID",
        Some(Mark::CredentialsEnvVarsStsWebIdToken | Mark::CredentialsStsAssumeRoleWebId) => "a web identity token",
        Some(Mark::CredentialsStsAssumeRole) => "a role that was assumed",
        Some(Mark::CredentialsSso | Mark::CredentialsProfileSso) => "single sign-on of the AWS profile",
        Some(Mark::CredentialsProcess | Mark::CredentialsProfileProcess) => "a process that the AWS profile names",
        Some(Mark::CredentialsHttp) => "the container's endpoint",
        Some(Mark::CredentialsImds) => "the instance's metadata",
        Some(_) => "the AWS profile",
    }
}

fn explain(error: &aws_credential_types::provider::error::CredentialsError) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    format!(
        "no AWS credentials: {text}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or a Bedrock API key \
         in AWS_BEARER_TOKEN_BEDROCK; without an AWS account, `kairos simulate` stands in for Bedrock"
    )
}

/// The HTTP client that the credential providers use.
fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    use aws_smithy_http_client::{Builder, tls};
    Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
    use std::sync::atomic::{AtomicU64, Ordering};

    static NOW: AtomicU64 = AtomicU64::new(0);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::SeqCst))
    }

    #[derive(Debug, Default)]
    struct Counting {
        calls: AtomicU64,
        broken: std::sync::atomic::AtomicBool,
    }

    #[derive(Debug, Clone)]
    struct Shared(Arc<Counting>);

    impl ProvideCredentials for Shared {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
            if self.0.broken.load(Ordering::SeqCst) {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("gone")));
            }
            let expiry = now() + Duration::from_secs(1000);
            future::ProvideCredentials::ready(Ok(AwsCredentials::new(
                format!("id{call}"),
                "s",
                None,
                Some(expiry),
                "test",
            )))
        }
    }

    #[tokio::test]
    async fn credentials_are_renewed_before_they_end_and_kept_while_renewal_fails() {
        NOW.store(1_000_000, Ordering::SeqCst);
        let counting = Arc::new(Counting::default());
        let provider = SharedCredentialsProvider::new(Shared(Arc::clone(&counting)));
        let source = CredentialSource::of(Kind::Provider(provider), true, now);
        let id = async || match source.authority().await.as_deref() {
            Ok(Authority::Keys(keys)) => keys.access_key_id.clone(),
            Ok(Authority::ApiKey(_)) => "key".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(id().await, "id0");
        NOW.store(1_000_699, Ordering::SeqCst);
        assert_eq!(id().await, "id0");
        // 300 s before the end.
        NOW.store(1_000_700, Ordering::SeqCst);
        assert_eq!(id().await, "id1");
        counting.broken.store(true, Ordering::SeqCst);
        NOW.store(1_001_699, Ordering::SeqCst);
        assert_eq!(id().await, "id1");
        NOW.store(1_001_700, Ordering::SeqCst);
        assert!(id().await.contains("no AWS credentials"));
        counting.broken.store(false, Ordering::SeqCst);
        let fresh = id().await;
        source.refused();
        assert_ne!(id().await, fresh);
    }

    #[tokio::test]
    async fn the_seeds_variables_come_first_and_half_a_pair_is_an_error() {
        let find = async |variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            match CredentialSource::find("us-east-1", variable).await {
                Err(error) => error.to_string(),
                Ok(source) => match &*source.authority().await.unwrap() {
                    Authority::ApiKey(key) => format!("key {key}"),
                    Authority::Keys(keys) => format!("{} {}", keys.access_key_id, keys.secret),
                },
            }
        };
        let bearer = ("AWS_BEARER_TOKEN_BEDROCK", "b");
        let (id, secret) = (("AWS_BEDROCK_ACCESS_KEY_ID", "i"), ("AWS_BEDROCK_SECRET_ACCESS_KEY", "s"));
        assert_eq!(find(&[id, secret, bearer]).await, "i s");
        let given =
            |name: &str| [id, secret].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
        let found = CredentialSource::find("us-east-1", given).await.unwrap().found().await.unwrap();
        assert_eq!(found, Found { from: "AWS_BEDROCK_ACCESS_KEY_ID", ends_at: None });
        assert_eq!(find(&[bearer]).await, "key b");
        assert!(find(&[id, bearer]).await.contains("AWS_BEDROCK_SECRET_ACCESS_KEY is not"));
    }
}
