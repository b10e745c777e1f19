//! What one request sees of what was learned, and what of it was read: what was decided with it can be
//! decided again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Snapshot, SpaceId};

/// Bytes of keys and values that are recorded of one request, at most.
pub const MOST_RECORDED_BYTES: usize = 16 * 1024;

/// Where values come from: what was learned, or what was recorded.
pub trait Source: Send + Sync + fmt::Debug {
    /// The value of a key in a space.
    fn get(&self, space: &SpaceId, key: &str) -> Option<Arc<[u8]>>;

    /// How many keys a space has, and how many bytes these and their values.
    fn held(&self, space: &SpaceId) -> (usize, usize);
}

/// A key that was read, and the value that it had.
pub type Read = (SpaceId, Arc<str>, Option<Arc<[u8]>>);

/// What one request sees, whoever reads, from its beginning to its end.
#[derive(Debug)]
pub struct Reads {
    source: Arc<dyn Source>,
    recorded: Mutex<Recorded>,
}

/// Values by space and key; none: the key was absent.
type Values = BTreeMap<(SpaceId, Arc<str>), Option<Arc<[u8]>>>;

/// What was read for the record.
#[derive(Debug, Default)]
struct Recorded {
    values: Values,
    bytes: usize,
    /// More was read than is recorded.
    more: bool,
}

impl Reads {
    /// What is read comes from here.
    pub fn of(source: Arc<dyn Source>) -> Self {
        Self { source, recorded: Mutex::default() }
    }

    /// The value of a key. Whoever reads decides nothing of the request: it is not recorded.
    pub fn glance(&self, space: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
        self.source.get(space, key)
    }

    /// How many keys a space has, and how many bytes these and their values.
    pub fn held(&self, space: &SpaceId) -> (usize, usize) {
        self.source.held(space)
    }

    /// The value of a key, and it is recorded.
    pub fn get(&self, space: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
        let value = self.source.get(space, key);
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (space.clone(), Arc::from(key));
        if !recorded.values.contains_key(&entry) {
            let bytes = recorded.bytes + key.len() + value.as_ref().map_or(0, |value| value.len());
            if bytes > MOST_RECORDED_BYTES {
                recorded.more = true;
            } else {
                recorded.bytes = bytes;
                recorded.values.insert(entry, value.clone());
            }
        }
        value
    }

    /// What was read for the record, and whether more was than is recorded.
    pub fn recorded(&self) -> (Vec<Read>, bool) {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let values = recorded.values.iter();
        (values.map(|((space, key), value)| (space.clone(), Arc::clone(key), value.clone())).collect(), recorded.more)
    }
}

impl Default for Reads {
    fn default() -> Self {
        Self::of(Arc::new(Snapshot::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Long;

    impl Source for Long {
        fn get(&self, _: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
            (key != "absent").then(|| vec![7; 5_000].into())
        }

        fn held(&self, _: &SpaceId) -> (usize, usize) {
            (0, 0)
        }
    }

    #[test]
    fn what_is_read_is_recorded_once_and_within_a_bound() {
        let reads = Reads::of(Arc::new(Long));
        let space = SpaceId { name: "s".into(), schema: 1 };
        reads.glance(&space, "not this");
        for key in ["a", "absent", "a", "b", "c"] {
            assert_eq!(reads.get(&space, key).is_none(), key == "absent");
        }
        let keys = |read: &[Read]| read.iter().map(|(_, key, _)| key.to_string()).collect::<Vec<_>>();
        let (read, more) = reads.recorded();
        assert_eq!((keys(&read), more), (["a", "absent", "b", "c"].map(str::to_owned).to_vec(), false));
        assert_eq!(read[1].2, None);
        assert!(reads.get(&space, "d").is_some());
        let (read, more) = reads.recorded();
        assert_eq!((read.len(), more), (4, true));
    }
}
