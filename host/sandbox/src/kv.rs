//! What one call of a policy reads and writes of what was learned, within bounds that components and
//! scripts share.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::learned::{MOST_KEY_BYTES, MOST_VALUE_BYTES, Reads, SpaceId};
use kairos_pipeline::policy::{MOST_CHANGES, Question, Written};

use crate::generation::Manner;

/// Keys that a call may read.
const KEYS: usize = 64;

/// What a space may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceBounds {
    /// Keys.
    pub keys: usize,
    /// Bytes of all keys and values.
    pub bytes: usize,
}

impl Default for SpaceBounds {
    fn default() -> Self {
        Self { keys: 4_096, bytes: 16 * 1024 * 1024 }
    }
}

/// What one call sees and changes.
#[derive(Debug, Default)]
pub(crate) struct Kv {
    /// The space that is read, in what was learned; none: every key is absent.
    space: Option<(SpaceId, Arc<Reads>)>,
    /// Whether what is read goes into the record.
    recorded: bool,
    reads: usize,
    writes: Option<Writes>,
}

/// What a call of an observer has written so far.
#[derive(Debug, Default)]
struct Writes {
    changes: usize,
    written: BTreeMap<Arc<str>, Option<Arc<[u8]>>>,
    /// Keys and bytes of the space, with what is written.
    held: (usize, usize),
    bounds: SpaceBounds,
}

/// What a call does that it may not. It is the call's fault: a policy that took "too many" for "absent"
/// would decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misuse {
    #[error("more than {KEYS} keys were read in one call")]
    TooManyReads,
    #[error("more than {MOST_CHANGES} changes were made in one call")]
    TooManyChanges,
    #[error("a key of {0} bytes was to be written; 1 to {MOST_KEY_BYTES} are allowed")]
    Key(usize),
    #[error("a value of {0} bytes was to be written; {MOST_VALUE_BYTES} are allowed")]
    Value(usize),
    #[error("something was to be written, and `describe` states no kv-schema: the policy has no space")]
    NoSpace,
    #[error("something was to be written, which only a call of an observer may")]
    NoWriter,
}

impl Kv {
    /// What a policy is asked sees this space, as it was learned by then. What it reads is recorded where it
    /// decides a request.
    pub(crate) fn new(question: &Question<'_>, space: Option<&SpaceId>, manner: Manner) -> Self {
        let space = space.map(|space| (space.clone(), Arc::clone(question.learned())));
        Self { space, recorded: manner == Manner::Served, reads: 0, writes: None }
    }

    /// The same of an observer, which may write as much as there is room for.
    pub(crate) fn writing(self, bounds: SpaceBounds) -> Self {
        let held = self.space.as_ref().map_or((0, 0), |(space, learned)| learned.held(space));
        let writes = Some(Writes { held, bounds, ..Writes::default() });
        Self { recorded: false, writes, ..self }
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, key: &str) -> Result<Option<Arc<[u8]>>, Misuse> {
        self.count(1)?;
        Ok(self.value(key))
    }

    /// The values of many keys.
    pub(crate) fn get_many(&mut self, keys: &[String]) -> Result<Vec<Option<Arc<[u8]>>>, Misuse> {
        self.count(keys.len())?;
        Ok(keys.iter().map(|key| self.value(key)).collect())
    }

    fn count(&mut self, keys: usize) -> Result<(), Misuse> {
        self.reads = self.reads.saturating_add(keys);
        if self.reads > KEYS { Err(Misuse::TooManyReads) } else { Ok(()) }
    }

    /// A key that is too long has nothing.
    fn value(&self, key: &str) -> Option<Arc<[u8]>> {
        let (space, learned) = self.space.as_ref().filter(|_| key.len() <= MOST_KEY_BYTES)?;
        if let Some(own) = self.writes.as_ref().and_then(|writes| writes.written.get(key)) {
            return own.clone();
        }
        if self.recorded { learned.get(space, key) } else { learned.glance(space, key) }
    }

    /// Writes a key; whether there was room.
    pub(crate) fn set(&mut self, key: &str, value: Vec<u8>) -> Result<bool, Misuse> {
        if value.len() > MOST_VALUE_BYTES {
            return Err(Misuse::Value(value.len()));
        }
        self.change(key, Some(value.into()))
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &str) -> Result<(), Misuse> {
        self.change(key, None).map(drop)
    }

    fn change(&mut self, key: &str, value: Option<Arc<[u8]>>) -> Result<bool, Misuse> {
        let bytes = |value: &Option<Arc<[u8]>>| value.as_ref().map(|value| key.len() + value.len());
        let before = bytes(&self.value(key));
        let has_space = self.space.is_some();
        let Some(writes) = &mut self.writes else { return Err(Misuse::NoWriter) };
        if !has_space {
            return Err(Misuse::NoSpace);
        }
        if !(1..=MOST_KEY_BYTES).contains(&key.len()) {
            return Err(Misuse::Key(key.len()));
        }
        writes.changes += 1;
        if writes.changes > MOST_CHANGES {
            return Err(Misuse::TooManyChanges);
        }
        let after = bytes(&value);
        let (keys, all) = writes.held;
        let keys = keys.saturating_sub(usize::from(before.is_some())) + usize::from(after.is_some());
        let all = all.saturating_sub(before.unwrap_or(0)) + after.unwrap_or(0);
        // Who holds too much may still let go, or put less in the place of more.
        let grows = after.is_some() && (before.is_none() || after > before);
        if grows && (keys > writes.bounds.keys || all > writes.bounds.bytes) {
            return Ok(false);
        }
        writes.held = (keys, all);
        writes.written.insert(key.into(), value);
        Ok(true)
    }

    /// What the call wrote; nothing, where it may not write.
    pub(crate) fn written(self) -> Written {
        Written(self.writes.map(|writes| writes.written.into_iter().collect()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::World;

    use super::*;
    use crate::golden;

    fn space() -> SpaceId {
        SpaceId { name: "tested".into(), schema: 1 }
    }

    /// A call of an observer, in an empty space.
    fn writer(bounds: SpaceBounds) -> Kv {
        let questions = golden::questions(World::Observer);
        Kv::new(&questions[0].asked(), Some(&space()), Manner::Served).writing(bounds)
    }

    fn text(value: Option<Arc<[u8]>>) -> Option<String> {
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn a_call_sees_what_it_writes() {
        let mut kv = writer(SpaceBounds::default());
        assert_eq!(kv.get("a").unwrap(), None);
        assert!(kv.set("b", b"1".to_vec()).unwrap() && kv.set("a", b"2".to_vec()).unwrap());
        kv.delete("b").unwrap();
        let read = kv.get_many(&["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(read.into_iter().map(text).collect::<Vec<_>>(), [Some("2".to_owned()), None]);
        let written = kv.written();
        assert_eq!(written.check(), Ok(()));
        let keys: Vec<_> = written.0.iter().map(|(key, value)| (&**key, value.is_some())).collect();
        assert_eq!(keys, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_full_space_takes_less_but_no_more() {
        let mut kv = writer(SpaceBounds { keys: 2, bytes: 10 });
        assert!(kv.set("a", b"1234".to_vec()).unwrap() && kv.set("b", b"1234".to_vec()).unwrap());
        assert!(!kv.set("c", Vec::new()).unwrap(), "a third key");
        assert!(!kv.set("a", b"12345".to_vec()).unwrap(), "eleven bytes");
        assert_eq!(text(kv.get("a").unwrap()), Some("1234".to_owned()), "what was refused is as it was");
        assert!(kv.set("a", b"1".to_vec()).unwrap());
        kv.delete("b").unwrap();
        assert!(kv.set("c", b"123456".to_vec()).unwrap());
    }

    #[test]
    fn what_a_call_may_not_is_its_fault() {
        let mut kv = writer(SpaceBounds::default());
        assert_eq!(kv.set("", Vec::new()), Err(Misuse::Key(0)));
        assert_eq!(kv.set(&"k".repeat(257), Vec::new()), Err(Misuse::Key(257)));
        assert_eq!(kv.set("k", vec![0; 65_537]), Err(Misuse::Value(65_537)));
        for _ in 0..MOST_CHANGES {
            kv.delete("k").unwrap();
        }
        assert_eq!(kv.delete("k"), Err(Misuse::TooManyChanges));
        for _ in 0..KEYS {
            kv.get("k").unwrap();
        }
        assert_eq!(kv.get("k"), Err(Misuse::TooManyReads));
        assert_eq!(Kv::default().set("k", Vec::new()), Err(Misuse::NoWriter));
        let questions = golden::questions(World::Observer);
        let mut spaceless = Kv::new(&questions[0].asked(), None, Manner::Served).writing(SpaceBounds::default());
        assert_eq!(spaceless.set("k", Vec::new()), Err(Misuse::NoSpace));
        assert_eq!(spaceless.get("k"), Ok(None));
    }
}
