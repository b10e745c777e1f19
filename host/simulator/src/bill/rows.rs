//! Rows of the bill, kept compactly and found by invocation id.
//!
//! It must not know what a row costs or says, only that it has an id and a place.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::charge::Charge;
use crate::ids;

/// Longest id that is kept whole; a longer one is cut.
const LONGEST_ID: usize = 256;
/// Rows for which room is set aside from the start, so that growing never stalls a busy server.
const ROOM: usize = 1 << 20;

/// An invocation id. Nearly all are UUIDs, and those take no space of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Uuid([u8; 16]),
    Text(Box<str>),
}

impl Id {
    pub(crate) fn new(text: &str) -> Self {
        Self::uuid(text).unwrap_or_else(|| {
            let mut end = text.len().min(LONGEST_ID);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Self::Text(text[..end].into())
        })
    }

    /// A UUID, if it is written exactly as it would be written back.
    fn uuid(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut digits = [0; 32];
        if text.len() != 36 {
            return None;
        }
        let mut kept = digits.iter_mut();
        for (at, byte) in text.bytes().enumerate() {
            match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return None,
                (_, b'0'..=b'9' | b'a'..=b'f') => *kept.next()? = byte,
                _ => return None,
            }
        }
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self::Uuid(bytes))
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Uuid(bytes) => f.write_str(&ids::uuid(*bytes)),
        }
    }
}

/// A billed invocation.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) asked: Arc<str>,
    pub(crate) charge: Charge,
    /// When, in hours since 1970.
    pub(crate) hour: u32,
    /// The previous row whose id has the same hash; 0 for none.
    before: u64,
}

/// The newest rows. Each has a number, from 1.
#[derive(Debug)]
pub(crate) struct Rows {
    most: usize,
    rows: VecDeque<Row>,
    /// The number of the first row that is still here.
    first: u64,
    /// From the hash of an id to the number of its newest row.
    newest: HashMap<u64, u64>,
}

impl Rows {
    pub(crate) fn new(most: usize) -> Self {
        let room = most.min(ROOM);
        Self { most, rows: VecDeque::with_capacity(room), first: 1, newest: HashMap::with_capacity(room) }
    }

    pub(crate) fn push(&mut self, id: Id, asked: Arc<str>, charge: Charge, hour: u32) {
        if self.most == 0 {
            self.first += 1;
            return;
        }
        if self.rows.len() >= self.most
            && let Some(gone) = self.rows.pop_front()
        {
            let hash = gone.id.hash();
            if self.newest.get(&hash) == Some(&self.first) {
                self.newest.remove(&hash);
            }
            self.first += 1;
        }
        let number = self.first + self.rows.len() as u64;
        let before = self.newest.insert(id.hash(), number).unwrap_or(0);
        self.rows.push_back(Row { id, asked, charge, hour, before });
    }

    /// How many rows there ever were.
    pub(crate) fn count(&self) -> u64 {
        self.first - 1 + self.rows.len() as u64
    }

    pub(crate) fn first_kept(&self) -> u64 {
        self.first
    }

    fn get(&self, number: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Rows with numbers above `after`, oldest first, at most so many.
    pub(crate) fn after(&self, after: u64, most: usize) -> Vec<(u64, Row)> {
        let end = self.first + self.rows.len() as u64;
        (after.saturating_add(1).max(self.first)..end)
            .take(most)
            .filter_map(|number| Some((number, self.get(number)?.clone())))
            .collect()
    }

    /// All rows of an invocation, oldest first.
    pub(crate) fn of(&self, id: &Id) -> Vec<(u64, Row)> {
        let mut found = Vec::new();
        let mut number = self.newest.get(&id.hash()).copied().unwrap_or(0);
        while let Some(row) = self.get(number) {
            if row.id == *id {
                found.push((number, row.clone()));
            }
            number = row.before;
        }
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_as_they_came() {
        for text in [
            "7dfed260-cf61-434d-a185-5d691c51a11c",
            "7DFED260-CF61-434D-A185-5D691C51A11C",
            "7dfed260-cf61-434d-a185-5d691c51a11c-2",
            "7dfed260cf61-434d-a185-5d691c51a11c0",
            "00000000-0000-0000-0000-000000000000",
            "request 1",
            "é-----------------------------------",
            "",
        ] {
            assert_eq!(Id::new(text).to_string(), text);
        }
        assert!(matches!(Id::new("7dfed260-cf61-434d-a185-5d691c51a11c"), Id::Uuid(_)));
        assert_eq!(Id::new(&"é".repeat(200)).to_string().len(), 256);
    }
}
