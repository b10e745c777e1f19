//! The store, as the sandbox wants it.

use std::sync::Arc;

use kairos_pipeline::policy::World;
use kairos_sandbox::cases::{TestFile, beside};
use kairos_sandbox::versions::{Act, Known, Roles, ToKeep, Trial, Version, Versions};
use kairos_store::policies::{self, Entry, PoliciesError, PolicyStore, SlotState};

/// Keeps what the sandbox wants kept.
pub(crate) struct Kept {
    store: Arc<PolicyStore>,
    now_ms: fn() -> u64,
}

impl Kept {
    pub(crate) fn new(store: Arc<PolicyStore>, now_ms: fn() -> u64) -> Self {
        Self { store, now_ms }
    }
}

const ACTIVE: &str = "active";
const PREVIOUS: &str = "previous";
const STAGED: &str = "staged";
const QUARANTINED: &str = "quarantined";
/// Of no version: nothing serves, as what did failed.
const LOST: &str = "lost";

/// A version, as policies are loaded from it.
pub(crate) fn version(world: World, found: policies::Version) -> Version {
    let name = beside(found.file.as_ref()).display().to_string();
    let tests = found.tests.map(|bytes| TestFile { name, bytes });
    Version { world, file: found.file, digest: found.digest, bytes: found.bytes, tests, signature: found.signature }
}

/// The result, with its error in words.
fn said<T>(result: Result<T, PoliciesError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Versions for Kept {
    fn commit(
        &self,
        act: &Act<'_>,
        roles: &Roles,
        version: Option<ToKeep<'_>>,
        trial: Option<&Trial>,
    ) -> Result<(), String> {
        let now = i64::try_from((self.now_ms)()).unwrap_or(i64::MAX);
        let entry = Entry {
            at_ms: now,
            actor: act.by.actor.to_owned(),
            claimed: act.by.claimed.clone(),
            act: act.what.to_owned(),
            slot: act.slot.to_owned(),
            digest: act.digest.map(str::to_owned),
            why: act.by.why.clone(),
            detail: act.detail.map(str::to_owned),
        };
        let lists = [
            (ACTIVE, roles.active.as_slice()),
            (PREVIOUS, &roles.previous),
            (STAGED, &roles.staged),
            (QUARANTINED, &roles.quarantined),
        ];
        let named = lists
            .into_iter()
            .flat_map(|(role, digests)| digests.iter().map(move |digest| (role.to_owned(), digest.clone())));
        let lost = roles.lost.then(|| (LOST.to_owned(), String::new()));
        let state = SlotState {
            roles: named.chain(lost).collect(),
            shadow: roles.shadow.clone(),
            folder: roles.folder.clone(),
            served: roles.served.clone(),
        };
        let version = version.map(|(version, name, engine)| policies::Version {
            digest: version.digest.clone(),
            name: name.to_owned(),
            engine: engine.to_owned(),
            file: version.file.clone(),
            bytes: version.bytes.clone(),
            tests: version.tests.as_ref().map(|tests| tests.bytes.clone()),
            signature: version.signature.clone(),
            added_ms: now,
        });
        said(self.store.commit(&entry, &state, version.as_ref(), trial.map(trial_row).as_ref()))
    }

    fn keep_trial(&self, trial: &Trial) -> Result<(), String> {
        said(self.store.keep_trial(&trial_row(trial)))
    }

    fn trials(&self, slot: &'static str, most: usize) -> Result<Vec<Trial>, String> {
        let found = said(self.store.trials(slot, most))?.into_iter();
        Ok(found.map(|row| trial_of(slot, row)).collect())
    }

    fn tries(&self, slot: &'static str, digest: &str) -> Result<u64, String> {
        said(self.store.tries(slot, digest))
    }

    fn roles(&self, slot: &'static str) -> Result<Roles, String> {
        let state = said(self.store.state(slot))?;
        let mut roles = Roles { shadow: state.shadow, folder: state.folder, ..Roles::default() };
        for (role, digest) in state.roles {
            match role.as_str() {
                ACTIVE => roles.active = Some(digest),
                PREVIOUS => roles.previous.push(digest),
                STAGED => roles.staged.push(digest),
                QUARANTINED => roles.quarantined.push(digest),
                LOST => roles.lost = true,
                _ => return Err(format!("there is no role {role:?}")),
            }
        }
        Ok(roles)
    }

    fn version(&self, slot: &'static str, digest: &str) -> Result<Option<Version>, String> {
        let found = said(self.store.version(slot, digest))?;
        Ok(World::from_name(slot).and_then(|world| found.map(|found| version(world, found))))
    }

    fn known(&self, slot: &'static str, beginning: &str, most: usize) -> Result<Vec<Known>, String> {
        let found = said(self.store.versions(slot, beginning, most))?;
        let known = found.into_iter().map(|version| Known {
            digest: version.digest,
            name: version.name,
            engine: version.engine,
            file: version.file,
            added_ms: version.added_ms.unsigned_abs(),
        });
        Ok(known.collect())
    }
}

fn trial_row(trial: &Trial) -> policies::Trial {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    policies::Trial {
        slot: trial.slot.to_owned(),
        id: signed(trial.id),
        digest: trial.digest.clone(),
        baseline: trial.baseline.clone(),
        plan: trial.plan.clone(),
        state: trial.state.clone(),
        began_ms: signed(trial.began_ms),
        ended_ms: trial.ended_ms.map(signed),
        report: trial.report.clone(),
    }
}

fn trial_of(slot: &'static str, row: policies::Trial) -> Trial {
    Trial {
        slot,
        id: row.id.unsigned_abs(),
        digest: row.digest,
        baseline: row.baseline,
        plan: row.plan,
        state: row.state,
        began_ms: row.began_ms.unsigned_abs(),
        ended_ms: row.ended_ms.map(i64::unsigned_abs),
        report: row.report,
    }
}
