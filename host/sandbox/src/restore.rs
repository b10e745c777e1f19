//! What a restart goes on with: the versions that served and were ready when the last run ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::follow::on_a_thread_of_its_own;
use crate::generation::Generation;
use crate::host::{PolicyHost, State};
use crate::refusal::{Reason, Refusal};

/// A version that cannot be loaded any more: where it came from, and why.
type Unsound = Box<(PathBuf, Refusal)>;

impl PolicyHost {
    /// Takes up what the last run left: what served serves, what was ready is. A version that cannot
    /// be loaded any more is refused as any file, and the one before it serves.
    pub fn restore(&self) -> Result<(), String> {
        let roles = self.versions.roles(self.slot())?;
        on_a_thread_of_its_own(|| {
            let mut state = State {
                quarantined: roles.quarantined.iter().cloned().collect(),
                folder: roles.folder.as_ref().map(|(file, digest)| (PathBuf::from(file), digest.clone())),
                ..State::default()
            };
            let idle = |digests: &[String]| digests.iter().filter_map(|digest| self.restore_idle(digest)).collect();
            state.lineup.previous = idle(&roles.previous);
            state.lineup.staged = idle(&roles.staged);
            if let Some(digest) = &roles.active {
                let said = state.folder.as_ref().filter(|(_, said)| said == digest).map(|(file, _)| file.as_path());
                match self.restore_one(digest, said) {
                    Ok(generation) => state.lineup.current = Some(generation),
                    Err(unsound) => {
                        let (path, refusal) = *unsound;
                        self.refuse(&path, &refusal);
                        state.lineup.current = state.lineup.previous.pop_back();
                    }
                }
            }
            // What the folder holds served, and failed.
            let failed = state.folder.as_ref().is_some_and(|(_, digest)| state.is_quarantined(digest));
            let was_there = failed || roles.lost || roles.active.is_some();
            state.lineup.is_lost = state.lineup.current.is_none() && was_there;
            if state.lineup.is_lost {
                tracing::error!(
                    slot = self.slot(),
                    "what was in the slot before this start cannot serve, and nothing was before it: what stands in \
                     for a policy that fails does, until another is activated or the folder has one"
                );
            }
            self.restore_shadow(&mut state, roles.shadow.as_ref());
            if let Err(error) = self.restore_trials(&mut state) {
                tracing::error!("the experiment of the last run is not taken up: {error}");
            }
            let mut known = self.lock();
            (state.refusal, state.outdated) = (known.refusal.take(), known.outdated);
            *known = state;
            self.publish(&known);
        });
        Ok(())
    }

    /// Loads a version that is kept. `said` is the folder's file, where it came from there.
    fn restore_one(&self, digest: &str, said: Option<&Path>) -> Result<Arc<Generation>, Unsound> {
        let path = said.map_or_else(|| PathBuf::from(digest), Path::to_owned);
        let internal = |message: String| Box::new((path.clone(), Refusal::new(Reason::Internal, message)));
        let version = self.versions.version(self.slot(), digest).map_err(internal)?;
        let version = version.ok_or_else(|| internal("what served last is not kept any more".to_owned()))?;
        let path = said.map_or_else(|| PathBuf::from(&version.file), Path::to_owned);
        self.make(&path, &version).map(Arc::new).map_err(|refusal| Box::new((path, refusal)))
    }

    /// The same, of one that does not serve: where it cannot be loaded, it is left out.
    pub(crate) fn restore_idle(&self, digest: &str) -> Option<Arc<Generation>> {
        match self.restore_one(digest, None) {
            Ok(generation) => {
                generation.rest();
                Some(generation)
            }
            Err(unsound) => {
                let (path, refusal) = *unsound;
                let why = refusal.explain(&path.display().to_string());
                tracing::warn!(digest, "a version that was ready cannot be loaded any more: {why}");
                None
            }
        }
    }
}
