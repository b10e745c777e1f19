//! What policies read of what was learned, as it is written with a record, and read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kairos_pipeline::learned::{Read, Source, SpaceId};
use serde::{Deserialize, Serialize};

/// Values up to so many bytes stand in the record itself: a reference would be about as long.
const INLINE_BYTES: usize = 64;

/// A key that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadColumn {
    space: SpaceId,
    key: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// The value that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Text(String),
    Hex(String),
    /// A longer one, in hexadecimal, which many records may have read: a snapshot.
    Snapshot(i64),
}

impl ReadColumn {
    /// How a read is written. `keep` gives the id of a snapshot of a text.
    pub(super) fn of(
        (space, key, value): Read,
        keep: &mut impl FnMut(&str) -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<Self> {
        let value = match value {
            None => None,
            Some(value) if value.len() > INLINE_BYTES => Some(Value::Snapshot(keep(&hex::encode(&*value))?)),
            Some(value) => Some(match std::str::from_utf8(&value) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Hex(hex::encode(&*value)),
            }),
        };
        Ok(Self { space, key, value })
    }
}

/// Values by space and key; none: the key was absent.
type Values = BTreeMap<(SpaceId, Arc<str>), Option<Arc<[u8]>>>;

/// What was read, as a policy that is asked again finds it.
#[derive(Debug, Default)]
pub struct KeptReads {
    values: Values,
    more: bool,
    lacking: AtomicBool,
}

impl KeptReads {
    pub(super) fn read(
        columns: Vec<ReadColumn>,
        more: bool,
        snapshot: &mut dyn FnMut(i64) -> Result<Arc<str>, String>,
    ) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("what was learned cannot be read: {why}");
        let mut values = Values::new();
        for ReadColumn { space, key, value } in columns {
            let unhex = |text: &str| hex::decode(text).map_err(|error| wrong(&error));
            let value: Option<Vec<u8>> = match value {
                None => None,
                Some(Value::Text(text)) => Some(text.into_bytes()),
                Some(Value::Hex(text)) => Some(unhex(&text)?),
                Some(Value::Snapshot(id)) => {
                    let text: String = serde_json::from_str(&snapshot(id)?).map_err(|error| wrong(&error))?;
                    Some(unhex(&text)?)
                }
            };
            values.insert((space, key), value.map(Arc::from));
        }
        Ok(Self { values, more, lacking: AtomicBool::new(false) })
    }

    /// The same, of which nothing was asked yet.
    pub(super) fn afresh(&self) -> Self {
        Self { values: self.values.clone(), more: self.more, lacking: AtomicBool::new(false) }
    }

    /// All that was read, in order.
    pub fn values(&self) -> impl Iterator<Item = (&SpaceId, &str, Option<&[u8]>)> {
        self.values.iter().map(|((space, key), value)| (space, &**key, value.as_deref()))
    }

    /// Whether more was read than is recorded.
    pub fn more(&self) -> bool {
        self.more
    }

    /// Why a value that was asked for since is not here, where one was.
    pub(super) fn lacking(&self) -> Option<&'static str> {
        let why = if self.more {
            "more was read than is kept of a request, 16 KiB"
        } else {
            "it was not read when the request was decided"
        };
        self.lacking.load(Ordering::Relaxed).then_some(why)
    }
}

impl Source for KeptReads {
    fn get(&self, space: &SpaceId, key: &str) -> Option<Arc<[u8]>> {
        match self.values.get(&(space.clone(), Arc::from(key))) {
            Some(value) => value.clone(),
            None => {
                self.lacking.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    fn held(&self, _: &SpaceId) -> (usize, usize) {
        (0, 0)
    }
}
