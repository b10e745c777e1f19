//! Who is calling: SigV4 signatures and Bedrock API keys, verified for real.
//!
//! It must not know what is being called.

mod canonical;
mod sigv4;

use std::collections::HashMap;
use std::sync::RwLock;

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use jiff::Timestamp;
use sha2::Sha256;

use crate::catalogue::Region;
use crate::config::AccessKey;
use crate::error::ApiError;

/// Signing keys kept: one per access key, day and region in use.
const SIGNING_KEYS_KEPT: usize = 1_024;

/// A caller that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) region: Region,
}

/// What a signing key is made for: a key by its place, a day, a region.
type Scope = (usize, [u8; 8], Region);

/// The credentials that are accepted.
pub(crate) struct Authority {
    keys: Vec<AccessKey>,
    api_keys: Vec<String>,
    /// Deriving one takes four hashes, and the same few are used all day.
    derived: RwLock<HashMap<Scope, Hmac<Sha256>>>,
}

impl Authority {
    pub(crate) fn new(keys: Vec<AccessKey>, api_keys: Vec<String>) -> Self {
        Self { keys, api_keys, derived: RwLock::default() }
    }

    /// Lets a request in or says why not.
    pub(crate) fn admit(&self, request: &Parts, body: &[u8], now: Timestamp) -> Result<Caller, ApiError> {
        let Some(header) = request.headers.get(http::header::AUTHORIZATION) else {
            return Err(ApiError::denied("MissingAuthenticationTokenException", "Missing Authentication Token"));
        };
        let header = header.to_str().map_err(|_| incomplete("Authorization header"))?;
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.bearer(request, token.trim()),
            Some(("AWS4-HMAC-SHA256", fields)) => sigv4::verify(self, request, fields, body, now),
            _ => Err(incomplete("a scheme of 'AWS4-HMAC-SHA256' or 'Bearer'")),
        }
    }

    fn bearer(&self, request: &Parts, token: &str) -> Result<Caller, ApiError> {
        // Every key is compared, so that the time taken tells nothing.
        let known = self.api_keys.iter().fold(false, |found, key| same(key, token) | found);
        if !known {
            return Err(ApiError::denied(
                "AccessDeniedException",
                "Authentication failed: Please make sure your API Key is valid.",
            ));
        }
        Ok(Caller { region: region_of_host(request).unwrap_or(Region::DEFAULT) })
    }

    /// A keyed hash ready to sign with, derived once.
    fn signing_key(&self, place: usize, date: [u8; 8], region: Region) -> Result<Hmac<Sha256>, ApiError> {
        let entry = (place, date, region);
        let kept = self.derived.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(key) = kept.get(&entry) {
            return Ok(key.clone());
        }
        drop(kept);
        let key = derive(&self.keys[place].secret, date, region.name())?;
        let mut kept = self.derived.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() >= SIGNING_KEYS_KEPT {
            kept.clear();
        }
        kept.insert(entry, key.clone());
        Ok(key)
    }
}

fn derive(secret: &str, date: [u8; 8], region: &str) -> Result<Hmac<Sha256>, ApiError> {
    let seed = format!("AWS4{secret}");
    let mut mac = keyed(seed.as_bytes())?;
    for part in [&date[..], region.as_bytes(), SERVICE.as_bytes(), TERMINATOR.as_bytes()] {
        mac.update(part);
        mac = keyed(&mac.finalize().into_bytes())?;
    }
    Ok(mac)
}

fn keyed(key: &[u8]) -> Result<Hmac<Sha256>, ApiError> {
    // HMAC takes keys of any length; the type says otherwise.
    Hmac::new_from_slice(key).map_err(|_| incomplete("a secret key"))
}

const SERVICE: &str = "bedrock";
const TERMINATOR: &str = "aws4_request";

fn incomplete(what: &str) -> ApiError {
    ApiError::denied("IncompleteSignatureException", format!("Authorization header requires {what}."))
}

/// Equality in time that depends on lengths only.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// The region in `bedrock-runtime.REGION.amazonaws.com` or that of the control plane, where somebody
/// points these names here.
fn region_of_host(request: &Parts) -> Option<Region> {
    let host = request.headers.get(http::header::HOST)?.to_str().ok()?;
    let mut labels = host.split('.');
    let first = labels.next()?;
    ["bedrock-runtime", "bedrock-runtime-fips", "bedrock", "bedrock-fips"]
        .contains(&first)
        .then(|| labels.next().and_then(Region::find))
        .flatten()
}

#[cfg(test)]
mod tests;
