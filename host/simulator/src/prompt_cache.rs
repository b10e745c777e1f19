//! The prompt cache: which beginnings of conversations were read lately.
//!
//! It must not know requests or prices, only the marks of a measured conversation.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::ModelRef;
use crate::conversation::{Mark, Ttl};

/// Blocks before a cache point in which an earlier prefix is looked for.
const LOOK_BACK: usize = 20;

/// How the input of a request splits over the cache, in tokens; the rest is plain input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) read: u32,
    pub(crate) write_5m: u32,
    pub(crate) write_1h: u32,
}

impl Ttl {
    fn life(self) -> SignedDuration {
        match self {
            Self::FiveMinutes => SignedDuration::from_mins(5),
            Self::OneHour => SignedDuration::from_hours(1),
        }
    }
}

#[derive(Clone, Copy)]
struct Entry {
    ttl: Ttl,
    until: Timestamp,
}

type Key = (ModelRef, [u8; 16]);

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// In the order they came, to forget the oldest first.
    order: VecDeque<Key>,
}

/// Prefixes that are kept, at most so many.
pub(crate) struct PromptCache {
    most: usize,
    inner: Mutex<Inner>,
}

impl PromptCache {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, inner: Mutex::default() }
    }

    /// Looks up and writes in one step. `marks` has cache points only where they count: at least the
    /// model's minimum of tokens in, and of a kind that has a price.
    ///
    /// The longest kept prefix within [`LOOK_BACK`] blocks before a cache point is read, and its life
    /// starts anew; what lies between it and the last cache point is written. Up to the last one-hour
    /// cache point that is for an hour, from there for five minutes.
    pub(crate) fn pass(&self, model: ModelRef, marks: &[Mark], now: Timestamp) -> Split {
        let Some(last) = marks.iter().rposition(|mark| mark.ttl.is_some()) else {
            return Split::default();
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = inner.longest_hit(model, &marks[..=last], now);
        let mut split = Split::default();
        let mut from = 0;
        if let Some(at) = hit {
            split.read = marks[at].tokens;
            from = split.read;
        }
        let wanted = |ttl| move |mark: &&Mark| mark.ttl == Some(ttl);
        if let Some(hour) = marks.iter().rev().find(wanted(Ttl::OneHour)) {
            split.write_1h = hour.tokens.saturating_sub(from);
            from = from.max(hour.tokens);
        }
        split.write_5m = marks[last].tokens.saturating_sub(from);
        let first_new = hit.map_or(0, |at| at + 1);
        for mark in marks[first_new..].iter().filter(|mark| mark.ttl.is_some()) {
            let ttl = if mark.tokens <= split.read + split.write_1h { Ttl::OneHour } else { Ttl::FiveMinutes };
            inner.keep(self.most, (model, mark.digest), ttl, now);
        }
        split
    }
}

impl Inner {
    fn longest_hit(&mut self, model: ModelRef, marks: &[Mark], now: Timestamp) -> Option<usize> {
        let points: Vec<usize> = (0..marks.len()).filter(|at| marks[*at].ttl.is_some()).collect();
        for point in points.into_iter().rev() {
            for at in (0..=point).rev().take(LOOK_BACK) {
                let key = (model, marks[at].digest);
                if let Some(entry) = self.entries.get_mut(&key)
                    && entry.until > now
                {
                    entry.until = after(now, entry.ttl);
                    return Some(at);
                }
            }
        }
        None
    }

    fn keep(&mut self, most: usize, key: Key, ttl: Ttl, now: Timestamp) {
        if most == 0 {
            return;
        }
        if self.entries.insert(key, Entry { ttl, until: after(now, ttl) }).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

fn after(now: Timestamp, ttl: Ttl) -> Timestamp {
    now.saturating_add(ttl.life()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    use crate::catalogue::Catalogue;

    fn model() -> ModelRef {
        let catalogue = Catalogue::load(date(2026, 11, 23)).unwrap();
        catalogue.find("anthropic.claude-sonnet-4-6").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn mark(id: u8, tokens: u32, ttl: Option<Ttl>) -> Mark {
        Mark { tokens, digest: [id; 16], ttl }
    }

    fn split(read: u32, write_5m: u32, write_1h: u32) -> Split {
        Split { read, write_5m, write_1h }
    }

    const SHORT: Option<Ttl> = Some(Ttl::FiveMinutes);
    const LONG: Option<Ttl> = Some(Ttl::OneHour);

    #[test]
    fn written_then_read_until_it_lapses() {
        let (cache, model) = (PromptCache::new(10), model());
        let marks = [mark(1, 2_000, SHORT), mark(2, 2_100, None)];
        assert_eq!(cache.pass(model, &marks, at(0)), split(0, 2_000, 0));
        assert_eq!(cache.pass(model, &marks, at(299)), split(2_000, 0, 0));
        // Reading gave it five minutes more.
        assert_eq!(cache.pass(model, &marks, at(598)), split(2_000, 0, 0));
        assert_eq!(cache.pass(model, &marks, at(898)), split(0, 2_000, 0));
    }

    #[test]
    fn a_longer_conversation_reads_its_beginning() {
        let (cache, model) = (PromptCache::new(10), model());
        cache.pass(model, &[mark(1, 2_000, SHORT)], at(0));
        // The cache point has moved on; the block where it was is still found.
        let grown = [mark(1, 2_000, None), mark(2, 2_500, None), mark(3, 3_000, SHORT)];
        assert_eq!(cache.pass(model, &grown, at(1)), split(2_000, 1_000, 0));
    }

    #[test]
    fn ttls_split_what_is_written() {
        let (cache, model) = (PromptCache::new(10), model());
        let marks = [mark(1, 1_000, LONG), mark(2, 1_500, SHORT), mark(3, 1_600, None)];
        assert_eq!(cache.pass(model, &marks, at(0)), split(0, 500, 1_000));
        // After five minutes only the hour's part is left.
        assert_eq!(cache.pass(model, &marks, at(301)), split(1_000, 500, 0));
        assert_eq!(cache.pass(model, &marks, at(302)), split(1_500, 0, 0));
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let (cache, model) = (PromptCache::new(2), model());
        for id in 1..=3 {
            cache.pass(model, &[mark(id, 2_000, SHORT)], at(0));
        }
        assert_eq!(cache.pass(model, &[mark(3, 2_000, SHORT)], at(1)), split(2_000, 0, 0));
        assert_eq!(cache.pass(model, &[mark(1, 2_000, SHORT)], at(1)), split(0, 2_000, 0));
    }

    #[test]
    fn blocks_far_back_are_not_searched() {
        let (cache, model) = (PromptCache::new(10), model());
        cache.pass(model, &[mark(1, 2_000, SHORT)], at(0));
        let mut marks: Vec<Mark> = (1..=21).map(|n| mark(n, 2_000 + u32::from(n), None)).collect();
        marks[20].ttl = SHORT;
        assert_eq!(cache.pass(model, &marks, at(1)), split(0, 2_021, 0));
    }
}
