//! Keys that callers present: who has one, until when, and what it may do. A secret is kept as its hash.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Entry, PoliciesError, PolicyStore, audit};
use crate::database::millis;

/// A key. Its name is its own for ever: the ledger knows what was spent by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// What people and the ledger call it.
    pub name: String,
    /// What its secrets begin with.
    pub id: String,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// From when on it opens nothing.
    pub expires_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
    /// What it may do, as JSON.
    pub scope: String,
    /// Its secrets, the oldest first.
    pub secrets: Vec<StoredSecret>,
}

/// One secret of a key: each rotation makes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its number: from 1.
    pub version: u32,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// From when on it opens nothing, where another took its place.
    pub until_ms: Option<u64>,
}

impl PolicyStore {
    /// All keys, in the order in which they were made.
    pub fn keys(&self) -> Result<Vec<StoredKey>, PoliciesError> {
        let connection = self.lock();
        let mut found = connection
            .prepare("SELECT name, id, made_ms, expires_ms, revoked_ms, scope FROM key ORDER BY made_ms, name")?;
        let keys = found.query_map([], |row| {
            Ok(StoredKey {
                name: row.get(0)?,
                id: row.get(1)?,
                made_ms: unsigned(row.get(2)?),
                expires_ms: row.get::<_, Option<i64>>(3)?.map(unsigned),
                revoked_ms: row.get::<_, Option<i64>>(4)?.map(unsigned),
                scope: row.get(5)?,
                secrets: Vec::new(),
            })
        })?;
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
        for key in &mut keys {
            key.secrets = secrets(&connection, &key.id)?;
        }
        Ok(keys)
    }

    /// Writes a key as it is now, new or changed, with the act that made it so, all or nothing.
    pub fn keep_key(&self, key: &StoredKey, entry: &Entry) -> Result<(), PoliciesError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&transaction, key)?;
        audit::append(&transaction, entry)?;
        Ok(transaction.commit()?)
    }
}

fn secrets(connection: &Connection, id: &str) -> rusqlite::Result<Vec<StoredSecret>> {
    let mut found =
        connection.prepare_cached("SELECT version, hash, until_ms FROM secret WHERE key = ?1 ORDER BY version")?;
    let secrets = found.query_map([id], |row| {
        let until_ms = row.get::<_, Option<i64>>(2)?.map(unsigned);
        Ok(StoredSecret { version: row.get(0)?, hash: row.get(1)?, until_ms })
    })?;
    secrets.collect()
}

fn write(transaction: &Transaction<'_>, key: &StoredKey) -> rusqlite::Result<()> {
    let StoredKey { name, id, made_ms, expires_ms, revoked_ms, scope, secrets } = key;
    let known: Option<String> =
        transaction.query_row("SELECT id FROM key WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    if known.is_none() {
        transaction.execute(
            "INSERT INTO key (name, id, made_ms, expires_ms, revoked_ms, scope) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![name, id, millis(*made_ms), expires_ms.map(millis), revoked_ms.map(millis), scope],
        )?;
    } else {
        let changed = transaction.execute(
            "UPDATE key SET expires_ms = ?2, revoked_ms = ?3 WHERE name = ?1 AND id = ?4",
            params![name, expires_ms.map(millis), revoked_ms.map(millis), id],
        )?;
        if changed != 1 {
            // Another key has the name.
            return Err(rusqlite::Error::StatementChangedRows(changed));
        }
    }
    transaction.execute("DELETE FROM secret WHERE key = ?1", [id])?;
    for StoredSecret { version, hash, until_ms } in secrets {
        transaction.execute(
            "INSERT INTO secret (key, version, hash, until_ms) VALUES (?1, ?2, ?3, ?4)",
            params![id, version, hash, until_ms.map(millis)],
        )?;
    }
    Ok(())
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_with_the_acts_that_made_them() {
        let folder = tempfile::tempdir().unwrap();
        let secret = |version| StoredSecret { version, hash: [version as u8; 32], until_ms: None };
        let key = StoredKey {
            name: "search".to_owned(),
            id: "abc".to_owned(),
            made_ms: 5,
            expires_ms: Some(u64::MAX),
            revoked_ms: None,
            scope: "{}".to_owned(),
            secrets: vec![secret(1)],
        };
        let entry = |act: &str| Entry { act: act.to_owned(), slot: "keys".to_owned(), ..Entry::default() };
        let changed = {
            let store = PolicyStore::open(folder.path()).unwrap();
            store.keep_key(&key, &entry("create")).unwrap();
            // A name is taken for ever, and so is an id.
            let other = StoredKey { id: "def".to_owned(), ..key.clone() };
            assert!(store.keep_key(&other, &entry("create")).is_err());
            let taken = StoredKey { name: "other".to_owned(), ..key.clone() };
            assert!(store.keep_key(&taken, &entry("create")).is_err());
            let until = StoredSecret { until_ms: Some(9), ..secret(1) };
            let secrets = vec![until, secret(2)];
            let changed = StoredKey { revoked_ms: Some(7), expires_ms: Some(8), secrets, ..key };
            store.keep_key(&changed, &entry("revoke")).unwrap();
            changed
        };
        let store = PolicyStore::open(folder.path()).unwrap();
        assert_eq!(store.keys().unwrap(), [changed]);
        let acts: Vec<_> = store.audit(9).unwrap().into_iter().map(|(_, entry)| entry.act).collect();
        assert_eq!(acts, ["revoke", "create"]);
    }
}
