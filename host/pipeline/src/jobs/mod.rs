//! Jobs: Bedrock's asynchronous invocations. A request starts one and is over; the job goes on for minutes or
//! hours, and so does its row in the ledger.
//!
//! `start` is the attempt that begins a job, `watch` looks whether it has ended, `end` says what it came to. A
//! job is known to Bedrock by a token of ours, made of the caller's key and its own token: so a request that is
//! repeated begins nothing twice, and a job whose answer was lost is found again.

mod end;
mod start;
mod watch;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use kairos_dialects::Usage;
use kairos_dialects::bedrock::jobs::{ListQuery, Seen};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ledger::AttemptKey;
use crate::money::Picodollars;
use crate::request::{Caller, RequestId};

pub use self::end::take_in;
pub(crate) use self::start::{known, start};
pub use self::watch::{Outcome, Watch, WatchBounds};

/// A job, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The token that Bedrock knows it by.
    pub token: String,
    request: String,
    attempt: u32,
    /// Whose key began it.
    pub caller: String,
    /// The token that the caller gave it.
    pub asked_token: Option<String>,
    /// A digest of the request as it came, under the gateway's own key, in hexadecimal.
    pub digest: String,
    /// When it was reserved, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where its result goes, as JSON.
    pub output: String,
    /// Bedrock's name for it; none until an answer says it.
    pub arn: Option<String>,
    /// What Bedrock said of it last.
    pub seen: Option<Seen>,
    /// What it consumes if it completes, where the request says all of it: what was reserved is the bill then.
    pub usage: Option<Usage>,
    /// The least that it costs if it completes.
    pub least: Picodollars,
    /// How its row ended.
    pub ended: Option<Ended>,
    /// What is charged for an earlier start with this token, which was given up before it was seen to begin.
    #[serde(default)]
    pub before: Option<Ended>,
}

/// How the row of a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The state of the row.
    pub state: String,
    /// What is charged.
    pub charged: Picodollars,
    /// The least that it can have cost, where that is less.
    pub low: Option<Picodollars>,
}

impl Job {
    /// A job of which nothing is known but who begins it.
    pub fn new(key: AttemptKey, token: &str, caller: &str, at_ms: u64) -> Self {
        Self {
            token: token.to_owned(),
            request: key.request.text().to_string(),
            attempt: key.attempt,
            caller: caller.to_owned(),
            asked_token: None,
            digest: String::new(),
            at_ms,
            output: String::new(),
            arn: None,
            seen: None,
            usage: None,
            least: Picodollars::ZERO,
            ended: None,
            before: None,
        }
    }

    /// What is to be kept of it where `known` is kept: who knows less takes nothing away. A record of another
    /// attempt is not replaced: it is forgotten first.
    pub fn over(mut self, known: Self) -> Result<Self, String> {
        if self.key() != known.key() {
            return Err(format!("the job's token belongs to {} meanwhile, not to {}", known.key(), self.key()));
        }
        self.arn = self.arn.or(known.arn);
        if self.ended.is_none() && known.ended.is_some() {
            // Who looked before it ended is late.
            (self.ended, self.seen) = (known.ended, known.seen.or(self.seen));
        } else {
            self.seen = self.seen.or(known.seen);
        }
        Ok(self)
    }

    /// The request that began it.
    pub fn request(&self) -> RequestId {
        RequestId::parse(&self.request).unwrap_or_else(|| RequestId::from_bytes([0; 16]))
    }

    /// The attempt whose row is its own.
    pub fn key(&self) -> AttemptKey {
        AttemptKey { request: self.request(), attempt: self.attempt }
    }

    /// Whether a caller may know of it: it is of its key, or the caller's key is the operator's own.
    pub fn is_seen_by(&self, caller: &Caller) -> bool {
        caller.scope.is_none() || *self.caller == *caller.key
    }
}

/// Keeps jobs.
pub trait JobStore: Send + Sync {
    /// Writes a job [over](Job::over) what is known of it; one that has ended stays so.
    fn keep(&self, job: Job) -> BoxFuture<'_, Result<(), String>>;

    /// Takes out a job that never began.
    fn forget(&self, token: &str) -> BoxFuture<'_, Result<(), String>>;

    /// The job of a token.
    fn by_token(&self, token: &str) -> BoxFuture<'_, Result<Option<Job>, String>>;

    /// The job of an ARN.
    fn by_arn(&self, arn: &str) -> BoxFuture<'_, Result<Option<Job>, String>>;

    /// The job that a request began.
    fn by_request(&self, request: RequestId) -> BoxFuture<'_, Result<Option<Job>, String>>;

    /// Jobs of a caller, or of all.
    fn list(&self, caller: Option<&str>, query: &ListQuery) -> BoxFuture<'_, Result<Vec<Job>, String>>;
}

/// Jobs of a gateway.
pub struct Jobs {
    /// Where they are kept.
    pub store: Arc<dyn JobStore>,
    /// Tokens of those that a request starts right now.
    starting: Mutex<HashSet<String>>,
    looks: [AtomicU64; Outcome::ALL.len()],
}

impl Jobs {
    /// Jobs that are kept there.
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, starting: Mutex::default(), looks: Default::default() }
    }

    /// How often was looked for a job, by what came of it.
    pub fn looks(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().map(|outcome| (outcome, self.looks[outcome as usize].load(Ordering::Relaxed)))
    }

    /// Says that a request starts a job, until the guard is dropped; none while another does.
    fn begin(&self, token: &str) -> Option<Starting<'_>> {
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        starting.insert(token.to_owned()).then(|| Starting { jobs: self, token: token.to_owned() })
    }

    fn is_starting(&self, token: &str) -> bool {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }
}

/// A request that starts a job. What it finds out of it nobody else does meanwhile.
struct Starting<'a> {
    jobs: &'a Jobs,
    token: String,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.jobs.starting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

/// The token that Bedrock knows a job by: no two keys have the same, whatever token a caller gives.
fn token_of(caller: &str, asked: Option<&str>, request: RequestId) -> String {
    let mut hasher = Sha256::new();
    for part in [b"kairos-job".as_slice(), caller.as_bytes()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    match asked {
        Some(token) => hasher.update([b"a", token.as_bytes()].concat()),
        None => hasher.update([b"r", &request.as_bytes()[..]].concat()),
    }
    hex::encode(hasher.finalize())
}

/// By which a repeated request is known. Nobody without the key learns from it what a request was, not even by
/// guessing.
pub(crate) fn digest(key: &[u8; 32], body: &[u8]) -> String {
    let hasher = Sha256::new().chain_update(b"kairos-job-body").chain_update(key);
    hex::encode(hasher.chain_update(body).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_key_and_the_same_again() {
        let (one, other) = (RequestId::mint(), RequestId::mint());
        let token = token_of("key", Some("mine"), one);
        assert_eq!((token.len(), &token), (64, &token_of("key", Some("mine"), other)));
        assert_ne!(token, token_of("other", Some("mine"), one));
        assert_ne!(token_of("key", None, one), token_of("key", None, other));
        assert_ne!(token_of("ab", Some("c"), one), token_of("a", Some("bc"), one));
    }

    #[test]
    fn a_digest_is_of_the_request_and_says_nothing_without_the_key() {
        assert_eq!(digest(&[1; 32], b"a"), digest(&[1; 32], b"a"));
        assert_ne!(digest(&[1; 32], b"a"), digest(&[1; 32], b"b"));
        assert_ne!(digest(&[1; 32], b"a"), digest(&[2; 32], b"a"));
    }
}
