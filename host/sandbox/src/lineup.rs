//! The versions of a slot that are resident: the one that serves, those before it, those that are
//! ready. Each change is a plain function of what was so before.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::generation::Generation;
use crate::shadow::Watch;
use crate::versions::Roles;

/// Versions that may be ready at once; the oldest gives way.
const MOST_STAGED: usize = 8;

/// What is resident in a slot. A version is in one place at most.
#[derive(Clone, Default)]
pub(crate) struct Lineup {
    /// The generation that serves; none: the native default does.
    pub(crate) current: Option<Arc<Generation>>,
    /// Healthy generations before it, the newest last.
    pub(crate) previous: VecDeque<Arc<Generation>>,
    /// Generations that are ready to serve, the newest last.
    pub(crate) staged: VecDeque<Arc<Generation>>,
    /// A generation that serves a share.
    pub(crate) canary: Option<Canary>,
    /// A generation that is asked as well.
    pub(crate) shadow: Option<Arc<Watch>>,
    /// What served failed, and nothing was before it.
    pub(crate) is_lost: bool,
}

/// A generation that serves a share, in an experiment.
#[derive(Clone)]
pub(crate) struct Canary {
    pub(crate) generation: Arc<Generation>,
    pub(crate) experiment: u64,
    pub(crate) share: f64,
    pub(crate) sticky: Option<Arc<str>>,
}

fn is(generation: &Arc<Generation>, digest: &str) -> bool {
    generation.identity().digest == digest
}

fn digests(generations: &VecDeque<Arc<Generation>>) -> Vec<String> {
    generations.iter().map(|generation| generation.identity().digest.clone()).collect()
}

impl Lineup {
    /// A generation that is resident, serving or not.
    pub(crate) fn find(&self, digest: &str) -> Option<&Arc<Generation>> {
        let beside = self.canary.as_ref().map(|canary| &canary.generation);
        let beside = beside.into_iter().chain(self.shadow.as_ref().map(|watch| watch.generation()));
        let resident = self.current.iter().chain(&self.previous).chain(&self.staged).chain(beside);
        resident.into_iter().find(|generation| is(generation, digest))
    }

    /// Whether this version is the canary.
    pub(crate) fn tries(&self, digest: &str) -> bool {
        self.canary.as_ref().is_some_and(|canary| is(&canary.generation, digest))
    }

    /// This one serves a share from now on.
    pub(crate) fn try_out(&mut self, canary: Canary) {
        self.forget(&canary.generation.identity().digest);
        self.canary = Some(canary);
    }

    /// The canary serves no share any more; it stays ready.
    pub(crate) fn end_canary(&mut self) {
        if let Some(canary) = self.canary.take() {
            self.stage(canary.generation);
        }
    }

    /// This one is asked as well from now on; another that was stays ready.
    pub(crate) fn watch(&mut self, watch: Arc<Watch>) {
        self.forget(&watch.generation().identity().digest);
        if let Some(before) = self.shadow.replace(watch) {
            self.stage(Arc::clone(before.generation()));
        }
    }

    pub(crate) fn serves(&self, digest: &str) -> bool {
        self.current.as_ref().is_some_and(|current| is(current, digest))
    }

    /// This one serves from now on, or the native default; what served is the newest of those before.
    pub(crate) fn serve(&mut self, next: Option<Arc<Generation>>, most_previous: usize) {
        let retired = self.current.take();
        if let Some(next) = &next {
            self.forget(&next.identity().digest);
        }
        self.current = next;
        self.is_lost = false;
        // What it was compared with serves no more.
        self.end_canary();
        if let Some(retired) = retired.filter(|retired| !self.serves(&retired.identity().digest)) {
            retired.rest();
            self.previous.push_back(retired);
            while self.previous.len() > most_previous {
                self.previous.pop_front();
            }
        }
    }

    /// This one is ready.
    pub(crate) fn stage(&mut self, ready: Arc<Generation>) {
        if self.serves(&ready.identity().digest) {
            return;
        }
        self.forget(&ready.identity().digest);
        ready.rest();
        self.staged.push_back(ready);
        while self.staged.len() > MOST_STAGED {
            self.staged.pop_front();
        }
    }

    /// The newest before serves again; what served stays ready.
    pub(crate) fn roll_back(&mut self) {
        let Some(before) = self.previous.pop_back() else { return };
        self.end_canary();
        if let Some(back) = self.current.replace(before) {
            self.stage(back);
        }
    }

    /// Not resident any more, unless it serves.
    pub(crate) fn forget(&mut self, digest: &str) {
        if self.tries(digest) {
            self.canary = None;
        }
        if self.shadow.as_ref().is_some_and(|watch| is(watch.generation(), digest)) {
            self.shadow = None;
        }
        self.previous.retain(|generation| !is(generation, digest));
        self.staged.retain(|generation| !is(generation, digest));
    }

    /// Takes a generation that failed out. Whether it served, all or a share: if all, the newest before
    /// it does.
    pub(crate) fn take_out(&mut self, digest: &str) -> bool {
        let tried = self.tries(digest);
        self.forget(digest);
        if !self.serves(digest) {
            return tried;
        }
        self.end_canary();
        self.current = self.previous.pop_back();
        self.is_lost = self.current.is_none();
        true
    }

    /// The roles, by digest.
    pub(crate) fn roles(&self, quarantined: &VecDeque<String>, folder: Option<(String, String)>) -> Roles {
        Roles {
            active: self.current.as_ref().map(|current| current.identity().digest.clone()),
            previous: digests(&self.previous),
            staged: digests(&self.staged),
            quarantined: quarantined.iter().cloned().collect(),
            shadow: self.shadow.as_ref().map(|watch| (watch.generation().identity().digest.clone(), watch.sample())),
            folder,
            lost: self.is_lost,
            served: None,
        }
    }
}
