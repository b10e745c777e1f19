//! What many records have in common, written once: the models that were known, those on offer, what a
//! policy was configured with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kairos_pipeline::models::{Answering, Catalogue};
use kairos_pipeline::policy::{Offer, RequestInfo};
use kairos_pipeline::record::Asked;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::asked::without_what_moves;
use super::reads::ReadColumn;
use crate::database::millis;

/// Snapshots of which the writer knows the id; beyond, it forgets all and looks again.
const KNOWN: usize = 1_024;
/// Catalogues among them: that of today, and that of requests that began yesterday.
const CATALOGUES: usize = 2;
/// A snapshot's last use is written at most so often, in milliseconds.
const USE_WRITTEN_MS: u64 = 60_000;

/// The models that were known.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    /// The version of Kairos: its own routers, and what scripts can call, are part of a decision.
    pub(super) kairos: String,
    /// SHA-256 of the catalogue's source.
    pub(super) version: Arc<str>,
    pub(super) region: Arc<str>,
    pub(super) as_of: String,
    /// Every name that a model answered for, and the model's id.
    pub(super) names: BTreeMap<String, Arc<str>>,
}

/// Models on offer, in what does not move from request to request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Offered {
    pub(super) ids: Vec<Arc<str>>,
    pub(super) regions: Vec<Arc<str>>,
    pub(super) models: Vec<Offer>,
}

impl Offered {
    /// Whether this was on offer.
    fn is(&self, request: &RequestInfo, models: &[Offer]) -> bool {
        let same = |(known, offer): (&Offer, &Offer)| *known == without_what_moves(offer);
        self.models.len() == models.len()
            && self.ids[..] == request.model_ids[..]
            && self.regions == request.regions
            && self.models.iter().zip(models).all(same)
    }
}

/// Ids of the snapshots of one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) catalogue: i64,
    pub(super) offered: i64,
    pub(super) setting: i64,
    /// What the policy before was loaded with, where one was asked before.
    pub(super) before: Option<i64>,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Ids of snapshots, and when their last use was written.
#[derive(Default)]
pub(super) struct Snapshots {
    /// By address. They are held, so that no other takes it.
    catalogues: Map<usize, (Arc<Catalogue>, i64)>,
    offered: Map<Offered, i64>,
    /// What was on offer last: most often it is again.
    last: Option<(Offered, i64)>,
    settings: Map<Arc<str>, i64>,
    used_ms: Map<i64, u64>,
}

impl Snapshots {
    /// Ids of the snapshots that a record refers to; those that are new are written.
    pub(super) fn of(&mut self, asked: &Asked, now_ms: u64, transaction: &Transaction<'_>) -> rusqlite::Result<Ids> {
        if self.used_ms.len() > KNOWN || self.catalogues.len() > CATALOGUES {
            *self = Self::default();
        }
        let address = Arc::as_ptr(&asked.catalogue) as usize;
        let catalogue = match self.catalogues.get(&address) {
            Some((_, id)) => *id,
            None => {
                let id = write(transaction, &known(&asked.catalogue), now_ms)?;
                self.catalogues.insert(address, (Arc::clone(&asked.catalogue), id));
                id
            }
        };
        let offered = self.offered(&asked.request, &asked.models, now_ms, transaction)?;
        let setting = self.setting(&asked.setting, now_ms, transaction)?;
        let before = match &asked.before {
            Some((_, setting)) => Some(self.setting(setting, now_ms, transaction)?),
            None => None,
        };
        let ids = Ids { catalogue, offered, setting, before };
        for id in [Some(catalogue), Some(offered), Some(setting), before].into_iter().flatten() {
            self.used(id, now_ms, transaction)?;
        }
        Ok(ids)
    }

    fn offered(
        &mut self,
        request: &RequestInfo,
        models: &[Offer],
        now_ms: u64,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<i64> {
        if let Some((_, id)) = self.last.as_ref().filter(|(last, _)| last.is(request, models)) {
            return Ok(*id);
        }
        let offered = Offered {
            ids: request.model_ids.to_vec(),
            regions: request.regions.clone(),
            models: models.iter().map(without_what_moves).collect(),
        };
        let id = match self.offered.get(&offered) {
            Some(id) => *id,
            None => {
                let id = write(transaction, &offered, now_ms)?;
                self.offered.insert(offered.clone(), id);
                id
            }
        };
        self.last = Some((offered, id));
        Ok(id)
    }

    fn setting(&mut self, setting: &Arc<str>, now_ms: u64, transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
        if let Some(id) = self.settings.get(setting) {
            return Ok(*id);
        }
        let id = write(transaction, setting, now_ms)?;
        self.settings.insert(Arc::clone(setting), id);
        Ok(id)
    }

    /// Ids of what a judgement beside the route refers to: what was on offer, and what its policy was loaded with.
    pub(super) fn of_judgement(
        &mut self,
        (request, models): (&RequestInfo, &[Offer]),
        setting: &Arc<str>,
        now_ms: u64,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<(i64, i64)> {
        let offered = self.offered(request, models, now_ms, transaction)?;
        let setting = self.setting(setting, now_ms, transaction)?;
        for id in [offered, setting] {
            self.used(id, now_ms, transaction)?;
        }
        Ok((offered, setting))
    }

    /// What was read of what was learned, and whether that is not all; long values are snapshots.
    pub(super) fn reads(
        &mut self,
        asked: &Asked,
        now_ms: u64,
        transaction: &Transaction<'_>,
    ) -> rusqlite::Result<(Vec<ReadColumn>, bool)> {
        let (reads, more) = asked.request.learned.recorded();
        let mut keep = |text: &str| {
            let id = write(transaction, &text, now_ms)?;
            self.used(id, now_ms, transaction)?;
            Ok(id)
        };
        let columns = reads.into_iter().map(|read| ReadColumn::of(read, &mut keep)).collect::<rusqlite::Result<_>>()?;
        Ok((columns, more))
    }

    /// Takes down that a snapshot is used. One that is not there any more is an error.
    fn used(&mut self, id: i64, now_ms: u64, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let written = self.used_ms.entry(id).or_default();
        if now_ms.saturating_sub(*written) < USE_WRITTEN_MS {
            return Ok(());
        }
        *written = now_ms;
        let mut update = transaction.prepare_cached("UPDATE snapshot SET used_ms = max(used_ms, ?1) WHERE id = ?2")?;
        match update.execute(params![millis(now_ms), id])? {
            1 => Ok(()),
            changed => Err(rusqlite::Error::StatementChangedRows(changed)),
        }
    }

    /// Removes snapshots that no record refers to: those not used since `oldest_ms`, when the oldest
    /// record came. Their last use is written late, so they stay a little longer.
    pub(super) fn prune(&mut self, transaction: &Transaction<'_>, oldest_ms: u64) -> rusqlite::Result<()> {
        let before = oldest_ms.saturating_sub(10 * USE_WRITTEN_MS);
        if transaction.execute("DELETE FROM snapshot WHERE used_ms < ?1", [millis(before)])? > 0 {
            // What is known of those that went is not so any more.
            *self = Self::default();
        }
        Ok(())
    }
}

fn known(catalogue: &Catalogue) -> Known {
    let answering = |name: &String| match catalogue.answering(name) {
        Answering::Target { target, .. } => Some((name.clone(), Arc::clone(&catalogue.model_of(target).id))),
        Answering::Ended(_) | Answering::NotHere(_) | Answering::Unknown(_) => None,
    };
    Known {
        kairos: env!("CARGO_PKG_VERSION").to_owned(),
        version: Arc::clone(&catalogue.version),
        region: Arc::clone(&catalogue.region),
        as_of: catalogue.as_of.clone(),
        names: catalogue.names.keys().filter_map(answering).collect(),
    }
}

/// The id of a snapshot, which is written where it is new.
fn write(transaction: &Transaction<'_>, what: &impl Serialize, now_ms: u64) -> rusqlite::Result<i64> {
    let body = serde_json::to_string(what).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let digest = Sha256::digest(&body);
    let mut find = transaction.prepare_cached("SELECT id FROM snapshot WHERE digest = ?1")?;
    if let Some(id) = find.query_row([&digest[..]], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    transaction.execute(
        "INSERT INTO snapshot (digest, used_ms, body) VALUES (?1, ?2, ?3)",
        params![&digest[..], millis(now_ms), body],
    )?;
    Ok(transaction.last_insert_rowid())
}
