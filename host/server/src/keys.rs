//! Who may call: nobody needs a key until one is configured; then a wrong one is refused.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kairos_bedrock::sigv4::{SignatureError, SignedRequest};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::request::{Caller, Keys, Presented, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Auth;

/// The keys of the configuration.
pub(crate) struct ConfiguredKeys {
    bearer: Option<[u8; 32]>,
    pair: Option<(String, Secret)>,
}

impl ConfiguredKeys {
    pub(crate) fn new(auth: &Auth) -> Self {
        Self {
            bearer: auth.bearer_key.as_ref().map(|key| hash(key.0.expose())),
            pair: auth.sigv4.as_ref().map(|pair| (pair.access_key_id.clone(), pair.secret_access_key.0.clone())),
        }
    }

    /// Whether no key is configured: whoever is let in may call.
    fn are_none(&self) -> bool {
        self.bearer.is_none() && self.pair.is_none()
    }

    fn bearer(&self, key: &Secret) -> Result<Caller, Failure> {
        match &self.bearer {
            Some(known) if bool::from(known.ct_eq(&hash(key.expose()))) => Ok(caller("bearer")),
            _ => Err(Failure::new(Kind::Unauthenticated, "this key is not known to the gateway")),
        }
    }

    fn signed(&self, request: &SignedRequest, body: &Bytes) -> Result<Caller, Failure> {
        let secret = self.secret(request)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match request.verify(secret.expose(), body, i64::try_from(now).unwrap_or(i64::MAX)) {
            Ok(()) => Ok(caller("sigv4")),
            Err(error @ SignatureError::Form) => Err(Failure::new(Kind::Unauthenticated, error.to_string())),
            Err(error) => Err(Failure::new(Kind::BadSignature, error.to_string())),
        }
    }

    fn secret(&self, request: &SignedRequest) -> Result<&Secret, Failure> {
        match &self.pair {
            Some((known, secret)) if *known == request.authorization.access_key_id => Ok(secret),
            _ => Err(Failure::new(Kind::Unauthenticated, "this access key id is not known to the gateway")),
        }
    }

    fn by_signature<T>(
        presented: &Presented,
        then: impl FnOnce(&SignedRequest) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Presented::Signed(signed) = presented else {
            return Err(Failure::new(
                Kind::Unauthenticated,
                "a key is needed: Authorization: Bearer KEY, or a signature of AWS's SDKs",
            ));
        };
        match signed.downcast_ref::<Result<SignedRequest, SignatureError>>() {
            Some(Ok(request)) => then(request),
            Some(Err(error)) => Err(Failure::new(Kind::Unauthenticated, error.to_string())),
            None => Err(Failure::new(Kind::Internal, "a signature of an unknown kind")),
        }
    }
}

/// Hashes are compared, so that neither contents nor length tell anything.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn caller(name: &str) -> Caller {
    Caller { key: Arc::from(name) }
}

impl Keys for ConfiguredKeys {
    fn identify(&self, presented: &Presented, body: &Bytes) -> Result<Caller, Failure> {
        if self.are_none() {
            return Ok(caller("local"));
        }
        match presented {
            Presented::Bearer(key) => self.bearer(key),
            other => Self::by_signature(other, |request| self.signed(request, body)),
        }
    }

    fn glance(&self, presented: &Presented) -> Result<(), Failure> {
        if self.are_none() {
            return Ok(());
        }
        match presented {
            Presented::Bearer(key) => self.bearer(key).map(|_| ()),
            other => Self::by_signature(other, |request| self.secret(request).map(|_| ())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretText;

    #[test]
    fn only_the_configured_key_opens() {
        let open = ConfiguredKeys::new(&Auth::default());
        assert_eq!(&*open.identify(&Presented::Nothing, &Bytes::new()).unwrap().key, "local");
        let auth = Auth { bearer_key: Some(SecretText(Secret::new("0123456789abcdef"))), ..Auth::default() };
        let keys = ConfiguredKeys::new(&auth);
        let present = |key: &str| keys.identify(&Presented::Bearer(Secret::new(key)), &Bytes::new());
        assert!(present("0123456789abcdef").is_ok());
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert_eq!(present(wrong).unwrap_err().kind, Kind::Unauthenticated);
        }
        assert_eq!(keys.identify(&Presented::Nothing, &Bytes::new()).unwrap_err().kind, Kind::Unauthenticated);
    }
}
