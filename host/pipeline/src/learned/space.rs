//! One space: keys and values in parts, of which a change copies those that it touches.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;

/// Parts of a space. With as many keys as a space has by default, a change copies 64 of them.
const PARTS: usize = 64;

/// Which part a key is in: a matter of this process alone, as nobody outside is to choose keys of one part.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A key, and the value that it has from now on; none: it is deleted.
pub type Change = (Arc<str>, Option<Arc<[u8]>>);

type Part = BTreeMap<Arc<str>, Arc<[u8]>>;

/// Keys and values.
#[derive(Clone, Debug)]
pub struct Space {
    parts: Vec<Arc<Part>>,
    keys: usize,
    bytes: usize,
    written_ms: u64,
}

impl Default for Space {
    fn default() -> Self {
        let empty = Arc::<Part>::default();
        Self { parts: vec![empty; PARTS], keys: 0, bytes: 0, written_ms: 0 }
    }
}

impl Space {
    /// A space of these keys and values, written last at this time.
    pub fn restored(values: impl IntoIterator<Item = (Arc<str>, Arc<[u8]>)>, written_ms: u64) -> Self {
        let mut space = Self::default();
        let changes: Vec<Change> = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
        space.apply(&changes, written_ms);
        space
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<[u8]>> {
        self.parts[part_of(key)].get(key)
    }

    /// Keys that there are.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When it was written last, in milliseconds since 1970.
    pub fn written_ms(&self) -> u64 {
        self.written_ms
    }

    /// All keys and values, by their keys.
    pub fn entries(&self) -> BTreeMap<&Arc<str>, &Arc<[u8]>> {
        self.parts.iter().flat_map(|part| part.iter()).collect()
    }

    /// By how many keys and bytes it grows where the key has this value; none: where it is deleted.
    pub fn grows_by(&self, key: &str, value: Option<&[u8]>) -> (isize, isize) {
        let size = |value: Option<&[u8]>| value.map_or((0, 0), |value| (1, signed(key.len() + value.len())));
        let (before, after) = (size(self.get(key).map(|value| &**value)), size(value));
        (after.0 - before.0, after.1 - before.1)
    }

    pub(super) fn apply(&mut self, changes: &[Change], at_ms: u64) {
        for (key, value) in changes {
            let (keys, bytes) = self.grows_by(key, value.as_deref());
            self.keys = self.keys.saturating_add_signed(keys);
            self.bytes = self.bytes.saturating_add_signed(bytes);
            let part = Arc::make_mut(&mut self.parts[part_of(key)]);
            match value {
                Some(value) => drop(part.insert(Arc::clone(key), Arc::clone(value))),
                None => drop(part.remove(key)),
            }
        }
        self.written_ms = self.written_ms.max(at_ms);
    }

    /// What makes this one of another state of it. Parts that both share are not looked at.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (now, then) in self.parts.iter().zip(&before.parts).filter(|(now, then)| !Arc::ptr_eq(now, then)) {
            let is_same = |key, value| then.get(key).is_some_and(|then| Arc::ptr_eq(then, value));
            let set = now.iter().filter(|(key, value)| !is_same(*key, *value));
            changes.extend(set.map(|(key, value)| (Arc::clone(key), Some(Arc::clone(value)))));
            let gone = then.keys().filter(|key| !now.contains_key(*key));
            changes.extend(gone.map(|key| (Arc::clone(key), None)));
        }
        changes
    }
}

fn part_of(key: &str) -> usize {
    usize::try_from(HASHER.hash_one(key) % PARTS as u64).unwrap_or_default()
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_differences_follow_the_changes() {
        let change = |key: u32, value: Option<u32>| -> Change {
            (key.to_string().into(), value.map(|value| value.to_string().into_bytes().into()))
        };
        let mut space = Space::default();
        let mut model = BTreeMap::new();
        for step in 0..2_000u32 {
            let before = space.clone();
            let key = step * 7_919 % 301;
            let value = (step % 5 != 4).then_some(step * step % 10_007);
            space.apply(&[change(key, value)], u64::from(step));
            match value {
                Some(value) => model.insert(key.to_string(), value.to_string()),
                None => model.remove(&key.to_string()),
            };
            let shown: Vec<_> =
                space.entries().into_iter().map(|(key, value)| (key.to_string(), value.to_vec())).collect();
            let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
            assert_eq!(shown, expected);
            assert_eq!(space.keys(), model.len());
            assert_eq!(space.bytes(), model.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>());
            let mut again = before.clone();
            again.apply(&space.changes_since(&before), 0);
            assert_eq!(again.entries(), space.entries());
            assert!(space.changes_since(&before).len() <= 1, "what is shared is not told again");
        }
    }
}
