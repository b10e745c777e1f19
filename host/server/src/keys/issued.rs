//! Keys that teams and applications are given with `kairos key create`: a bearer key of 256 random bits, of
//! which only a hash is kept, and with it a pair for AWS's SDKs, whose secret is made anew from a root
//! secret whenever it is needed, and kept nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::budget::Rule;
use kairos_pipeline::request::{Caller, Secret};
use kairos_pipeline::scope::Scope;
use kairos_store::policies::{Entry, PoliciesError, PolicyStore, StoredKey, StoredSecret};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::hash;
use crate::admin::moment;

/// What a bearer key begins with.
const BEARER: &str = "kairos_";
/// What an access key id begins with.
const PAIR: &str = "KAIROS";
/// Characters of a key's id, and of the number of its secret in an access key id.
const ID: usize = 12;
const NUMBER: usize = 4;
/// Letters and digits that are not taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Keys that there may be, revoked ones included.
pub(crate) const MOST: usize = 10_000;
/// Secrets of one key that are kept: the newest.
const MOST_SECRETS: usize = 8;
/// The slot of their acts in the audit log.
pub(crate) const SLOT: &str = "keys";

/// Names that callers without such a key have in the ledger.
const TAKEN: [&str; 3] = ["local", "bearer", "sigv4"];

/// A key, ready to be compared with.
struct Known {
    key: StoredKey,
    name: Arc<str>,
    team: Option<Arc<str>>,
    scope: Arc<Scope>,
}

/// By parts of theirs that are made here, never by callers.
type Table = HashMap<String, Arc<Known>, foldhash::fast::RandomState>;

/// All keys that were issued.
pub(crate) struct Issued {
    /// By their ids.
    known: ArcSwap<Table>,
    store: Arc<PolicyStore>,
    root: Secret,
    clock: fn() -> u64,
    /// Held while one is made or changed.
    changing: Mutex<()>,
}

/// Why a key is not made or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Something of it is not as it must be.
    #[error("{0}")]
    Invalid(String),
    /// There is one of the name.
    #[error("there is a key {0:?}, or was: the ledger knows what was spent by that name, take another")]
    Taken(String),
    /// There is none of the name.
    #[error("there is no key {0:?}; `kairos key list` shows those that there are")]
    Unknown(String),
    /// It opens nothing any more.
    #[error("the key {0:?} was revoked: that is for good, make another")]
    Revoked(String),
    /// There are too many.
    #[error("there are {MOST} keys, which is as many as there can be")]
    TooMany,
    /// It cannot be written down.
    #[error("the key cannot be written down, so nothing has changed: {0}")]
    Store(#[from] PoliciesError),
}

/// A key that was just made: the only time that its secrets are shown.
pub(crate) struct Fresh {
    pub(crate) key: StoredKey,
    pub(crate) bearer: Secret,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
}

/// What a key is to be.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) expires_ms: Option<u64>,
}

impl Issued {
    /// Reads the keys of a data folder. `root` is what the secrets of pairs are made from.
    pub(crate) fn open(store: Arc<PolicyStore>, root: Secret, clock: fn() -> u64) -> Result<Self, String> {
        let mut known = Table::default();
        for key in store.keys().map_err(|error| error.to_string())? {
            let (id, key) = ready(key)?;
            known.insert(id, key);
        }
        Ok(Self { known: ArcSwap::from_pointee(known), store, root, clock, changing: Mutex::default() })
    }

    /// Whether none was ever made.
    pub(crate) fn are_none(&self) -> bool {
        self.known.load().is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.load().len()
    }

    /// Whether there was ever a key of this name.
    pub(crate) fn has_key(&self, name: &str) -> bool {
        self.known.load().values().any(|known| &*known.name == name)
    }

    /// Whether a key was ever one of this team.
    pub(crate) fn has_team(&self, team: &str) -> bool {
        self.known.load().values().any(|known| known.team.as_deref() == Some(team))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn all(&self) -> Vec<StoredKey> {
        let mut keys: Vec<_> = self.known.load().values().map(|known| known.key.clone()).collect();
        keys.sort_by(|one, other| (one.made_ms, &one.name).cmp(&(other.made_ms, &other.name)));
        keys
    }

    /// Budgets that keys have of their own, in the order in which the keys were made, as the ledger has those that
    /// came since.
    pub(crate) fn budgets(&self) -> impl Iterator<Item = Rule> {
        let of = |known: &Arc<Known>| {
            let rule = known.scope.budget.as_ref()?.rule(&known.name);
            Some((known.key.made_ms, rule))
        };
        let mut rules: Vec<_> = self.known.load().values().filter_map(of).collect();
        rules.sort_by(|(made, one), (then, other)| (made, &one.name).cmp(&(then, &other.name)));
        rules.into_iter().map(|(_, rule)| rule)
    }

    /// Whose bearer key this is.
    pub(crate) fn bearer(&self, given: &Secret) -> Result<Caller, Failure> {
        let unknown = || Failure::new(Kind::Unauthenticated, "this key is not known to the gateway");
        let text = given.expose().strip_prefix(BEARER).ok_or_else(unknown)?;
        let (id, _) = text.split_once('_').ok_or_else(unknown)?;
        let table = self.known.load();
        let known = table.get(id).ok_or_else(unknown)?;
        let hash = hash(given.expose());
        let secret = known.key.secrets.iter().find(|secret| secret.hash.ct_eq(&hash).into()).ok_or_else(unknown)?;
        self.caller(known, secret)
    }

    /// Whose pair this is, and its secret. That it signed is still to be checked.
    pub(crate) fn pair(&self, access_key_id: &str) -> Result<(Caller, Secret), Failure> {
        let unknown = || Failure::new(Kind::Unauthenticated, "this access key id is not known to the gateway");
        let text = access_key_id.strip_prefix(PAIR).filter(|text| text.len() == ID + NUMBER).ok_or_else(unknown)?;
        let (id, number) = text.split_at_checked(ID).ok_or_else(unknown)?;
        let table = self.known.load();
        let known = table.get(&id.to_ascii_lowercase()).ok_or_else(unknown)?;
        let version: u32 = number.parse().map_err(|_| unknown())?;
        let secret = known.key.secrets.iter().find(|secret| secret.version == version).ok_or_else(unknown)?;
        Ok((self.caller(known, secret)?, self.secret_of(access_key_id)))
    }

    /// Who it is, if the key still opens something.
    fn caller(&self, known: &Known, secret: &StoredSecret) -> Result<Caller, Failure> {
        let now_ms = self.now_ms();
        let over = |at: Option<u64>| at.filter(|at| *at <= now_ms).map(moment);
        let gone = |message: String| Err(Failure::new(Kind::Unauthenticated, message));
        if let Some(at) = known.key.revoked_ms {
            return gone(format!("this key was revoked at {}", moment(at)));
        }
        if let Some(at) = over(known.key.expires_ms) {
            return gone(format!("this key expired at {at}"));
        }
        if let Some(at) = over(secret.until_ms) {
            return gone(format!("this key was rotated, and its old secret ended at {at}: use the new one"));
        }
        let Known { name, team, scope, .. } = known;
        Ok(Caller { key: Arc::clone(name), team: team.clone(), scope: Some(Arc::clone(scope)) })
    }

    /// Makes a key.
    pub(crate) fn create(&self, wanted: Wanted, entry: &Entry) -> Result<Fresh, KeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Wanted { name, scope, expires_ms } = wanted;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(KeyError::Invalid("a key's name has 1 to 64 characters a–z, 0–9, `-`, `_` and `.`".to_owned()));
        }
        let table = self.known.load();
        if TAKEN.contains(&name.as_str()) || table.values().any(|known| *known.name == *name) {
            return Err(KeyError::Taken(name));
        }
        if table.len() >= MOST {
            return Err(KeyError::TooMany);
        }
        let now_ms = self.now_ms();
        if let Some(at) = expires_ms.filter(|at| *at <= now_ms) {
            return Err(KeyError::Invalid(format!("it would have expired already, at {}", moment(at))));
        }
        let id: String =
            rand::random::<[u8; ID]>().iter().map(|byte| ALPHABET[usize::from(byte % 32)] as char).collect();
        let scope = serde_json::to_string(&scope).map_err(|error| KeyError::Invalid(error.to_string()))?;
        let key = StoredKey { name, id, made_ms: now_ms, expires_ms, revoked_ms: None, scope, secrets: Vec::new() };
        self.with_new_secret(key, entry)
    }

    /// Gives a key a new secret. The old one opens for as long as `overlap_ms` says.
    pub(crate) fn rotate(&self, name: &str, overlap_ms: u64, entry: &Entry) -> Result<Fresh, KeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = self.open_key(name)?;
        let until_ms = self.now_ms().saturating_add(overlap_ms);
        for secret in &mut key.secrets {
            secret.until_ms = Some(secret.until_ms.unwrap_or(u64::MAX).min(until_ms));
        }
        self.with_new_secret(key, entry)
    }

    /// Lets a key open nothing any more.
    pub(crate) fn revoke(&self, name: &str, entry: &Entry) -> Result<StoredKey, KeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = StoredKey { revoked_ms: Some(self.now_ms()), ..self.open_key(name)? };
        self.keep(&key, entry)?;
        Ok(key)
    }

    /// A key that was not revoked.
    fn open_key(&self, name: &str) -> Result<StoredKey, KeyError> {
        let table = self.known.load();
        let known = table.values().find(|known| *known.name == *name);
        let key = known.ok_or_else(|| KeyError::Unknown(name.chars().take(80).collect()))?.key.clone();
        if key.revoked_ms.is_some() { Err(KeyError::Revoked(key.name)) } else { Ok(key) }
    }

    fn with_new_secret(&self, mut key: StoredKey, entry: &Entry) -> Result<Fresh, KeyError> {
        let version = key.secrets.last().map_or(1, |last| last.version + 1);
        if version >= 10u32.pow(NUMBER as u32) {
            return Err(KeyError::Invalid("the key was rotated as often as one can be: make another".to_owned()));
        }
        let random: [u8; 32] = rand::random();
        let bearer = Secret::new(format!("{BEARER}{}_{}", key.id, URL_SAFE_NO_PAD.encode(random)));
        key.secrets.push(StoredSecret { version, hash: hash(bearer.expose()), until_ms: None });
        let too_many = key.secrets.len().saturating_sub(MOST_SECRETS);
        key.secrets.drain(..too_many);
        self.keep(&key, entry)?;
        let access_key_id = format!("{PAIR}{}{version:0NUMBER$}", key.id.to_ascii_uppercase());
        let secret_access_key = self.secret_of(&access_key_id);
        Ok(Fresh { key, bearer, access_key_id, secret_access_key })
    }

    /// Writes a key down, and then lets it hold.
    fn keep(&self, key: &StoredKey, entry: &Entry) -> Result<(), KeyError> {
        self.store.keep_key(key, entry)?;
        let (id, known) = ready(key.clone()).map_err(KeyError::Invalid)?;
        let mut table = Table::clone(&self.known.load());
        table.insert(id, known);
        self.known.store(Arc::new(table));
        Ok(())
    }

    /// The secret of a pair: an HMAC of its id under the root.
    fn secret_of(&self, access_key_id: &str) -> Secret {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.root.expose().as_bytes()) else {
            return Secret::new(STANDARD_NO_PAD.encode(rand::random::<[u8; 32]>()));
        };
        mac.update(b"kairos sigv4 1 ");
        mac.update(access_key_id.as_bytes());
        Secret::new(STANDARD_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

fn ready(key: StoredKey) -> Result<(String, Arc<Known>), String> {
    let scope: Scope =
        serde_json::from_str(&key.scope).map_err(|error| format!("the scope of the key {:?}: {error}", key.name))?;
    let team = scope.team().map(Arc::from);
    let known = Known { name: key.name.as_str().into(), team, scope: Arc::new(scope), key };
    Ok((known.key.id.clone(), Arc::new(known)))
}
