use std::sync::atomic::{AtomicU64, Ordering};

use kairos_pipeline::scope::{Fallback, Scope};
use kairos_store::policies::{Entry, PolicyStore};

use super::issued::{KeyError, Wanted};
use super::*;
use crate::config::SecretText;

/// The time of these tests, in milliseconds: each has a thread, and so a time, of its own.
fn clock() -> u64 {
    NOW.with(|now| now.load(Ordering::Relaxed))
}

thread_local! {
    static NOW: AtomicU64 = const { AtomicU64::new(1_000) };
}

fn set(now_ms: u64) {
    NOW.with(|now| now.store(now_ms, Ordering::Relaxed));
}

fn issued(folder: &std::path::Path) -> Issued {
    let store = Arc::new(PolicyStore::open(folder).unwrap());
    Issued::open(store, Secret::new("0123456789abcdef"), clock).unwrap()
}

fn wanted(name: &str) -> Wanted {
    let scope =
        Scope { fallback: Fallback::Never, tags: [("team".to_owned(), name.to_owned())].into(), ..Scope::default() };
    Wanted { name: name.to_owned(), scope, expires_ms: Some(9_000) }
}

fn why<T>(result: Result<T, Failure>) -> String {
    result.err().map(|failure| failure.message).unwrap_or_default()
}

#[test]
fn only_the_configured_key_opens() {
    let folder = tempfile::tempdir().unwrap();
    let open = Keyring::new(&Auth::default(), issued(folder.path()));
    assert_eq!(&*open.identify(&Presented::Nothing, &Bytes::new()).unwrap().key, "local");
    let auth = Auth { bearer_key: Some(SecretText(Secret::new("0123456789abcdef"))), ..Auth::default() };
    let keys = Keyring::new(&auth, issued(folder.path()));
    let present = |key: &str| keys.identify(&Presented::Bearer(Secret::new(key)), &Bytes::new());
    assert!(present("0123456789abcdef").is_ok());
    for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "kairos_", "kairos_abc_def"] {
        assert_eq!(present(wrong).err().unwrap().kind, Kind::Unauthenticated);
    }
    assert_eq!(keys.identify(&Presented::Nothing, &Bytes::new()).err().unwrap().kind, Kind::Unauthenticated);
    let required = Keyring::new(&Auth { require_key: true, ..Auth::default() }, issued(folder.path()));
    assert!(required.identify(&Presented::Nothing, &Bytes::new()).is_err());
}

#[test]
fn who_is_known_by_the_head_is_not_looked_for_again_and_who_signs_the_body_is() {
    let folder = tempfile::tempdir().unwrap();
    let entry = Entry { slot: issued::SLOT.to_owned(), ..Entry::default() };
    let keys = Keyring::new(&Auth::default(), issued(folder.path()));
    let fresh = keys.issued.create(wanted("search"), &entry).unwrap();
    let bearer = Presented::Bearer(fresh.bearer);
    let known = bearer.clone().glance(&keys).unwrap();
    keys.issued.revoke("search", &entry).unwrap();
    // What began before it was revoked goes on, what comes after does not.
    assert_eq!(&*known.identify(&keys, &Bytes::new()).unwrap().key, "search");
    assert!(bearer.glance(&keys).is_err());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20261130/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature={}",
        keys.issued.create(wanted("other"), &entry).unwrap().access_key_id,
        "0".repeat(64),
    );
    let signed = SignedRequest {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        authorization: kairos_bedrock::sigv4::Authorization::parse(&authorization).unwrap(),
    };
    let signed = Presented::Signed(Arc::new(Ok::<_, SignatureError>(signed)));
    // The pair is known, and the signature is still to be checked.
    let glanced = signed.glance(&keys).unwrap();
    assert!(matches!(glanced, Presented::Signed(_)));
    assert!(glanced.identify(&keys, &Bytes::new()).is_err());
}

#[test]
fn issued_keys_open_until_they_are_revoked_expire_or_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let entry = Entry { slot: issued::SLOT.to_owned(), ..Entry::default() };
    let (first, second) = {
        let keys = issued(folder.path());
        let first = keys.create(wanted("search"), &entry).unwrap();
        assert!(matches!(keys.create(wanted("search"), &entry), Err(KeyError::Taken(_))));
        assert!(matches!(keys.create(wanted("bearer"), &entry), Err(KeyError::Taken(_))));
        assert!(matches!(keys.create(wanted("No Name"), &entry), Err(KeyError::Invalid(_))));
        assert!(matches!(
            keys.create(Wanted { expires_ms: Some(1_000), ..wanted("x") }, &entry),
            Err(KeyError::Invalid(_))
        ));
        let second = keys.rotate("search", 100, &entry).unwrap();
        (first, second)
    };
    // The next run knows them.
    let keys = issued(folder.path());
    for fresh in [&first, &second] {
        let caller = keys.bearer(&fresh.bearer).unwrap();
        assert_eq!((&*caller.key, caller.scope.unwrap().fallback), ("search", Fallback::Never));
        let (caller, secret) = keys.pair(&fresh.access_key_id).unwrap();
        assert_eq!((&*caller.key, secret.expose()), ("search", fresh.secret_access_key.expose()));
    }
    assert_ne!(first.secret_access_key.expose(), second.secret_access_key.expose());
    let near = second.bearer.expose().to_owned() + "A";
    assert_eq!(why(keys.bearer(&Secret::new(near))), "this key is not known to the gateway");
    set(1_100);
    let told = "this key was rotated, and its old secret ended at 1970-01-01T00:00:01.1Z: use the new one";
    assert_eq!((why(keys.bearer(&first.bearer)).as_str(), why(keys.pair(&first.access_key_id)).as_str()), (told, told));
    assert!(keys.bearer(&second.bearer).is_ok());
    set(9_000);
    assert_eq!(why(keys.bearer(&second.bearer)), "this key expired at 1970-01-01T00:00:09Z");
    keys.revoke("search", &entry).unwrap();
    assert_eq!(why(keys.bearer(&second.bearer)), "this key was revoked at 1970-01-01T00:00:09Z");
    assert!(matches!(keys.revoke("search", &entry), Err(KeyError::Revoked(_))));
    assert!(matches!(keys.rotate("serch", 0, &entry), Err(KeyError::Unknown(_))));
    assert!(!keys.are_none(), "who had keys is not open to everybody once all are revoked");
}
