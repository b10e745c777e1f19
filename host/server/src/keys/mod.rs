//! Who may call: nobody needs a key until there is one; then a wrong one is refused.
//!
//! The operator's own keys are in the configuration, those of teams and applications ([`issued`]) in the
//! data folder.

pub(crate) mod issued;

use std::sync::Arc;

use bytes::Bytes;
use kairos_bedrock::sigv4::{SignatureError, SignedRequest};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::request::{Caller, Keys, Presented, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use self::issued::Issued;
use crate::config::Auth;

/// The keys of the configuration, and those that were made with `kairos key`.
pub(crate) struct Keyring {
    bearer: Option<[u8; 32]>,
    pair: Option<(String, Secret)>,
    /// Whether nobody is served without a key, though there be none.
    required: bool,
    pub(crate) issued: Issued,
}

impl Keyring {
    pub(crate) fn new(auth: &Auth, issued: Issued) -> Self {
        Self {
            bearer: auth.bearer_key.as_ref().map(|key| hash(key.0.expose())),
            pair: auth.sigv4.as_ref().map(|pair| (pair.access_key_id.clone(), pair.secret_access_key.0.clone())),
            required: auth.require_key,
            issued,
        }
    }

    /// Whether callers need a key. Where there are none, whoever is let in may call.
    pub(crate) fn are_needed(&self) -> bool {
        self.required || self.bearer.is_some() || self.pair.is_some() || !self.issued.are_none()
    }

    fn bearer(&self, key: &Secret) -> Result<Caller, Failure> {
        match &self.bearer {
            Some(known) if bool::from(known.ct_eq(&hash(key.expose()))) => Ok(caller("bearer")),
            _ => self.issued.bearer(key),
        }
    }

    fn signed(&self, request: &SignedRequest, body: &Bytes) -> Result<Caller, Failure> {
        let (caller, secret) = self.pair(request)?;
        let now = i64::try_from(self.issued.now_ms() / 1_000).unwrap_or(i64::MAX);
        match request.verify(secret.expose(), body, now) {
            Ok(()) => Ok(caller),
            Err(error @ SignatureError::Form) => Err(Failure::new(Kind::Unauthenticated, error.to_string())),
            Err(error) => Err(Failure::new(Kind::BadSignature, error.to_string())),
        }
    }

    /// Who has the pair by which a request says to be signed, and its secret.
    fn pair(&self, request: &SignedRequest) -> Result<(Caller, Secret), Failure> {
        let id = &request.authorization.access_key_id;
        match &self.pair {
            Some((known, secret)) if known == id => Ok((caller("sigv4"), secret.clone())),
            _ => self.issued.pair(id),
        }
    }

    fn by_signature<T>(
        presented: &Presented,
        then: impl FnOnce(&SignedRequest) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Presented::Signed(signed) = presented else {
            return Err(Failure::new(
                Kind::Unauthenticated,
                "a key is needed: Authorization: Bearer KEY, x-api-key: KEY, or a signature of AWS's SDKs",
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

/// The names of those who have no key of their own: of the operator's keys, and of this machine where none is needed.
pub(crate) const OPERATORS: [&str; 3] = ["bearer", "sigv4", "local"];

fn caller(name: &str) -> Caller {
    Caller { key: Arc::from(name), team: None, scope: None }
}

impl Keys for Keyring {
    fn identify(&self, presented: &Presented, body: &Bytes) -> Result<Caller, Failure> {
        if !self.are_needed() {
            return Ok(caller("local"));
        }
        match presented {
            Presented::Bearer(key) => self.bearer(key),
            other => Self::by_signature(other, |request| self.signed(request, body)),
        }
    }

    fn glance(&self, presented: &Presented) -> Result<Option<Caller>, Failure> {
        if !self.are_needed() {
            return Ok(Some(caller("local")));
        }
        match presented {
            Presented::Bearer(key) => self.bearer(key).map(Some),
            other => Self::by_signature(other, |request| self.pair(request).map(|_| None)),
        }
    }
}

#[cfg(test)]
mod tests;
