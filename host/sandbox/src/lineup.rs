//! The versions of a slot that are resident: the one that serves, those before it, those that are
//! ready. Each change is a plain function of what was so before.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::generation::Generation;
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
        self.current.iter().chain(&self.previous).chain(&self.staged).find(|generation| is(generation, digest))
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
        if let Some(back) = self.current.replace(before) {
            self.stage(back);
        }
    }

    /// Not resident any more, unless it serves.
    pub(crate) fn forget(&mut self, digest: &str) {
        self.previous.retain(|generation| !is(generation, digest));
        self.staged.retain(|generation| !is(generation, digest));
    }

    /// Takes a generation that failed out. Whether it served: then the newest before it does.
    pub(crate) fn take_out(&mut self, digest: &str) -> bool {
        self.forget(digest);
        if !self.serves(digest) {
            return false;
        }
        self.current = self.previous.pop_back();
        true
    }

    /// The roles, by digest.
    pub(crate) fn roles(&self, quarantined: &VecDeque<String>, folder: Option<(String, String)>) -> Roles {
        Roles {
            active: self.current.as_ref().map(|current| current.identity().digest.clone()),
            previous: digests(&self.previous),
            staged: digests(&self.staged),
            quarantined: quarantined.iter().cloned().collect(),
            folder,
        }
    }
}
