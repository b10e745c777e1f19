//! What observers have learned: spaces of keys and values, which deciding policies read.
//!
//! A [`Snapshot`] never changes. One is published at a time ([`Learned`]); who began with one keeps it. What
//! a change leaves as it was, the next snapshot shares: a write copies a small part of a space, whatever its
//! size. What is kept on disk, and by whom, is not known here.

mod reads;
mod space;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

pub use self::reads::{MOST_RECORDED_BYTES, Read, Reads, Source};
pub use self::space::{Change, Space};

/// Spaces that there are at most; the one that was written least recently gives way.
pub const MOST_SPACES: usize = 8;
/// Bytes of a key.
pub const MOST_KEY_BYTES: usize = 256;
/// Bytes of a value.
pub const MOST_VALUE_BYTES: usize = 65_536;

/// A space: what is read and written under one name, in one layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpaceId {
    /// Its name: lower-case letters, digits and `-`.
    pub name: Arc<str>,
    /// The layout's version: at least 1.
    pub schema: u32,
}

impl fmt::Display for SpaceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.name, self.schema)
    }
}

/// All that was learned, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    spaces: BTreeMap<SpaceId, Arc<Space>>,
    /// The latest time that an observer was told, in milliseconds since 1970.
    told_ms: u64,
}

impl Snapshot {
    /// What was kept of another run.
    pub fn restored(spaces: impl IntoIterator<Item = (SpaceId, Space)>, told_ms: u64) -> Self {
        Self { spaces: spaces.into_iter().map(|(id, space)| (id, Arc::new(space))).collect(), told_ms }
    }

    /// All spaces, by their names.
    pub fn spaces(&self) -> impl Iterator<Item = (&SpaceId, &Space)> {
        self.spaces.iter().map(|(id, space)| (id, &**space))
    }

    /// A space; none: nothing was written there.
    pub fn space(&self, id: &SpaceId) -> Option<&Space> {
        self.spaces.get(id).map(|space| &**space)
    }

    /// The latest time that an observer was told.
    pub fn told_ms(&self) -> u64 {
        self.told_ms
    }

    /// Changes a space, which is made where there is none. Where there are too many then, the one that was
    /// written least recently goes.
    fn write(&mut self, id: &SpaceId, changes: &[Change], at_ms: u64) -> Option<SpaceId> {
        Arc::make_mut(self.spaces.entry(id.clone()).or_default()).apply(changes, at_ms);
        if self.spaces.len() <= MOST_SPACES {
            return None;
        }
        let others = self.spaces.iter().filter(|(other, _)| *other != id);
        let oldest = others.min_by_key(|(_, space)| space.written_ms()).map(|(oldest, _)| oldest.clone())?;
        self.spaces.remove(&oldest);
        Some(oldest)
    }
}

impl Source for Snapshot {
    fn get(&self, space: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
        self.spaces.get(space)?.get(key).cloned()
    }

    fn held(&self, space: &SpaceId) -> (usize, usize) {
        self.space(space).map_or((0, 0), |space| (space.keys(), space.bytes()))
    }
}

/// What is learned, by one writer and for all who read.
pub struct Learned {
    published: ArcSwap<Snapshot>,
    /// What will be published next.
    next: Mutex<Snapshot>,
    state: Mutex<State>,
    wake: Condvar,
}

/// What whoever keeps it waits for.
#[derive(Default)]
struct State {
    changed: bool,
    ended: bool,
}

impl Learned {
    /// Begins with this.
    pub fn new(snapshot: Snapshot) -> Self {
        let (published, next) = (ArcSwap::from_pointee(snapshot.clone()), Mutex::new(snapshot));
        Self { published, next, state: Mutex::default(), wake: Condvar::new() }
    }

    /// What is so now, for who reads.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// What is so for the writer, who sees what is not published yet.
    pub fn latest(&self) -> Snapshot {
        self.next().clone()
    }

    /// Takes down what a call of an observer wrote, all of it at once, and that it was told this time. It is
    /// published by [`Learned::publish`]. Gives the space that gave way, where one did.
    pub fn write(&self, space: Option<&SpaceId>, changes: &[Change], at_ms: u64) -> Option<SpaceId> {
        let mut next = self.next();
        next.told_ms = next.told_ms.max(at_ms);
        next.write(space.filter(|_| !changes.is_empty())?, changes, at_ms)
    }

    /// Empties a space; whether it was there. At once so for who reads.
    pub fn clear(&self, space: &SpaceId) -> bool {
        let was_there = self.next().spaces.remove(space).is_some();
        if was_there {
            self.publish();
        }
        was_there
    }

    /// Lets those who begin from now on read what was written.
    pub fn publish(&self) {
        let next = self.next();
        self.published.store(Arc::new(next.clone()));
        drop(next);
        self.state().changed = true;
        self.wake.notify_all();
    }

    /// Waits until something was published, then as long as `gather` for more; until [`Learned::end`]. What
    /// is so then, and whether it was ended.
    pub fn wait(&self, gather: Duration) -> (Arc<Snapshot>, bool) {
        let is_idle = |state: &mut State| !state.changed && !state.ended;
        let state = self.wake.wait_while(self.state(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathered = self.wake.wait_timeout_while(state, gather, |state| !state.ended);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.changed = false;
        (self.snapshot(), state.ended)
    }

    /// What was published could not be kept: it is to be tried again.
    pub fn retry(&self) {
        self.state().changed = true;
    }

    /// Nobody waits any more.
    pub fn end(&self) {
        self.state().ended = true;
        self.wake.notify_all();
    }

    fn next(&self) -> MutexGuard<'_, Snapshot> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Learned {
    fn default() -> Self {
        Self::new(Snapshot::default())
    }
}

impl fmt::Debug for Learned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Learned").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SpaceId {
        SpaceId { name: name.into(), schema: 1 }
    }

    fn set(key: &str, value: &str) -> Change {
        (key.into(), Some(value.as_bytes().into()))
    }

    #[test]
    fn who_began_keeps_what_was_so_then() {
        let (learned, space) = (Learned::default(), id("a"));
        learned.write(Some(&space), &[set("k", "1"), set("l", "1")], 5);
        assert!(learned.snapshot().get(&space, "k").is_none(), "it is not published yet");
        assert_eq!(learned.latest().get(&space, "k").as_deref(), Some(&b"1"[..]));
        learned.publish();
        let before = learned.snapshot();
        learned.write(Some(&space), &[set("k", "2"), ("l".into(), None)], 6);
        learned.publish();
        let after = learned.snapshot();
        let both = |snapshot: &Snapshot| ["k", "l"].map(|key| snapshot.get(&space, key).map(|value| value.to_vec()));
        assert_eq!(both(&before), [Some(b"1".to_vec()), Some(b"1".to_vec())]);
        assert_eq!(both(&after), [Some(b"2".to_vec()), None]);
        assert!(learned.snapshot().get(&SpaceId { schema: 2, ..space.clone() }, "k").is_none(), "another layout");
        assert!(learned.clear(&space) && !learned.clear(&space));
        assert_eq!(both(&learned.snapshot()), [None, None]);
    }

    #[test]
    fn the_space_that_was_written_least_recently_gives_way() {
        let learned = Learned::default();
        for place in 0..MOST_SPACES as u64 {
            learned.write(Some(&id(&place.to_string())), &[set("k", "v")], 10 + place);
        }
        learned.write(Some(&id("0")), &[set("k", "w")], 50);
        learned.write(Some(&id("new")), &[set("k", "v")], 60);
        let names: Vec<_> = learned.latest().spaces().map(|(id, _)| id.name.to_string()).collect();
        assert_eq!(names, ["0", "2", "3", "4", "5", "6", "7", "new"]);
        // A clock that went back takes no time back.
        learned.write(None, &[], 3);
        assert_eq!(learned.latest().told_ms(), 60);
    }
}
