//! Requests and tokens a minute, by key and model, counted as Bedrock counts them against a quota: an
//! attempt takes its input and the most that it may write when it is let through; once it is over, what it
//! used takes that's place, a written token counting as often as the model's `burndown` says.
//!
//! What finds no room waits, by priority, within a bound and a deadline. Who waits holds nothing. What was let
//! through and never sent is given back, whatever becomes of its request. It must not know money.

mod held;
mod window;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kairos_dialects::{Failure, Kind};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::held::Held;
pub use self::window::{Amount, Limit};
use self::window::{Room, Window};
use crate::exchange::Exchange;
use crate::policy::Priority;
use crate::reply::Reply;
use crate::stream::SignsOfLife;

/// What a limit of a key is called.
const OF_KEY: &str = "key";

/// One limit, of all that it covers together.
#[derive(Clone, Debug)]
pub struct Rate {
    /// What people call it.
    pub name: Arc<str>,
    /// The key that it covers; none: all.
    pub key: Option<Arc<str>>,
    /// The index of the model that it covers; none: all.
    pub model: Option<usize>,
    /// Whether each key has all of it for itself.
    pub each_key: bool,
    /// What may go through in a minute.
    pub limit: Limit,
}

/// Bounds of waiting, and of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests that may wait.
    pub waiting: usize,
    /// How long each waits.
    pub patience: Duration,
    /// Minutes that are kept: one for each limit, or for each of its keys.
    pub windows: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { waiting: 128, patience: Duration::from_secs(10), windows: 16_384 }
    }
}

/// All limits.
pub struct Rates {
    bounds: Bounds,
    rates: Vec<Rate>,
    /// Refusals of each, and at last those of keys' own.
    counts: Vec<Counts>,
    began: Instant,
    state: Mutex<State>,
    /// Told whenever a waiting request may have room.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Their keys are those of the gateway.
    windows: HashMap<Of, Window, foldhash::fast::RandomState>,
    waiting: Vec<Waiter>,
    arrived: u64,
}

#[derive(Default)]
struct Counts {
    full: AtomicU64,
    late: AtomicU64,
    never: AtomicU64,
}

/// Which minute: of a limit, or of a key within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Of {
    /// The limit's index; as many as there are: the key's own.
    rate: usize,
    key: Option<Arc<str>>,
}

/// What an attempt asks for.
pub(crate) struct Ask<'a> {
    pub(crate) key: &'a Arc<str>,
    /// The key's own limit.
    pub(crate) own: Limit,
    pub(crate) model: usize,
    pub(crate) priority: Priority,
    /// Its input, and the most that it may write.
    pub(crate) tokens: u64,
}

/// Before others is who has the higher priority, then who came first.
type Rank = (Reverse<u8>, u64);

struct Waiter {
    rank: Rank,
    covering: Vec<(Of, Limit)>,
    need: Amount,
}

/// How a request finds the limits that cover it.
enum Look {
    /// Let through in this second.
    Free(u64),
    /// Somebody who waits for the same goes first.
    Behind(usize),
    /// The limit, and from when on it has room.
    Later(usize, u64),
    Never(usize),
    /// Too many minutes are kept.
    Crowded,
}

/// What is so with a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What people call it.
    pub name: Arc<str>,
    /// What may go through.
    pub limit: Limit,
    /// What went through in the last minute; of several keys the most.
    pub used: Amount,
    /// Requests that were refused because too many waited, after they had waited, and because they ask for
    /// more than there ever is.
    pub refused: [u64; 3],
}

impl Rates {
    /// These limits.
    pub fn new(bounds: Bounds, rates: Vec<Rate>) -> Self {
        let counts = (0..=rates.len()).map(|_| Counts::default()).collect();
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { bounds, rates, counts, began: Instant::now(), state, changed }
    }

    /// Whether there are limits that may cover a request of a key with this one.
    pub(crate) fn cover(&self, own: Limit) -> bool {
        !self.rates.is_empty() || own != Limit::default()
    }

    /// The bounds that hold.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Requests that wait, and minutes that are kept.
    pub fn kept(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.len(), state.windows.len())
    }

    /// What is so with each limit, that of keys at last.
    pub fn status(&self) -> Vec<Status> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        state.windows.values_mut().for_each(|window| window.turn(now_ms));
        let own = (Arc::from(OF_KEY), Limit::default());
        let names = self.rates.iter().map(|rate| (Arc::clone(&rate.name), rate.limit)).chain([own]);
        let one = |(index, (name, limit)): (usize, (Arc<str>, Limit))| {
            let windows = state.windows.iter().filter(|(of, _)| of.rate == index);
            let used = windows.map(|(_, window)| window.used()).fold(Amount::default(), |most, used| Amount {
                requests: most.requests.max(used.requests),
                tokens: most.tokens.max(used.tokens),
            });
            let Counts { full, late, never } = &self.counts[index];
            Status { name, limit, used, refused: [full, late, never].map(|count| count.load(Ordering::Relaxed)) }
        };
        names.enumerate().map(one).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn name(&self, rate: usize) -> &str {
        self.rates.get(rate).map_or(OF_KEY, |rate| &rate.name)
    }

    /// The limits that cover an attempt.
    fn covering(&self, ask: &Ask<'_>) -> Vec<(Of, Limit)> {
        let covers = |(_, rate): &(usize, &Rate)| {
            rate.key.as_ref().is_none_or(|key| key == ask.key) && rate.model.is_none_or(|model| model == ask.model)
        };
        let of = |(rate, limit): (usize, &Rate)| {
            (Of { rate, key: limit.each_key.then(|| Arc::clone(ask.key)) }, limit.limit)
        };
        let mut covering = Vec::with_capacity(self.rates.len() + 1);
        covering.extend(self.rates.iter().enumerate().filter(covers).map(of));
        if ask.own != Limit::default() {
            covering.push((Of { rate: self.rates.len(), key: Some(Arc::clone(ask.key)) }, ask.own));
        }
        covering
    }

    /// Lets an attempt through, if every limit that covers it has room and nobody goes first: all or nothing.
    fn look(&self, state: &mut State, covering: &[(Of, Limit)], need: Amount, rank: Rank) -> Look {
        let now_ms = self.now_ms();
        if let Some(rate) = state.first_before(covering, rank, now_ms) {
            return Look::Behind(rate);
        }
        // Taken as it is looked at, and given back where a later one has no room.
        let (mut second, mut taken) = (0, 0);
        let mut found: Option<Look> = None;
        for (of, limit) in covering {
            let Some(window) = state.window(of, now_ms, self.bounds.windows) else {
                found = Some(Look::Crowded);
                break;
            };
            match window.room(limit, need) {
                Room::Never => {
                    found = Some(Look::Never(of.rate));
                    break;
                }
                Room::At(at) if !matches!(found, Some(Look::Later(_, known)) if known >= at) => {
                    found = Some(Look::Later(of.rate, at));
                }
                Room::Now if found.is_none() => (second, taken) = (window.take(need), taken + 1),
                Room::Now | Room::At(_) => {}
            }
        }
        let Some(found) = found else { return Look::Free(second) };
        for (of, _) in &covering[..taken] {
            if let Some(window) = state.windows.get_mut(of) {
                window.give_back(second, need);
            }
        }
        found
    }

    /// Lets an attempt through, if there is room now.
    pub(crate) fn free(&self, ask: &Ask<'_>) -> Option<Held<'_>> {
        let covering = self.covering(ask);
        let need = Amount { requests: 1, tokens: ask.tokens };
        let mut state = self.state();
        let rank = (Reverse(ask.priority as u8), state.arrived);
        match self.look(&mut state, &covering, need, rank) {
            Look::Free(second) => Some(Held::new(self, covering, second, need)),
            Look::Behind(_) | Look::Later(..) | Look::Never(_) | Look::Crowded => None,
        }
    }

    /// Waits until an attempt is let through. A refusal is not of the model's making, and nothing was sent.
    pub(crate) async fn wait<'a>(
        &'a self,
        ask: &Ask<'_>,
        mut signs: SignsOfLife,
        exchange: &Exchange,
        reply: &mut Reply,
    ) -> Result<Held<'a>, Failure> {
        let covering = self.covering(ask);
        let need = Amount { requests: 1, tokens: ask.tokens };
        let mut place: Option<Waits<'_>> = None;
        let deadline = Instant::now() + self.bounds.patience;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = {
                let mut state = self.state();
                let rank = place.as_ref().map_or((Reverse(ask.priority as u8), state.arrived), |place| place.rank);
                let (rate, at) = match self.look(&mut state, &covering, need, rank) {
                    Look::Free(second) => return Ok(Held::new(self, covering, second, need)),
                    Look::Never(rate) => return Err(self.never(rate, &covering, need)),
                    Look::Crowded => return Err(crowded(self.bounds.windows)),
                    Look::Behind(rate) => (rate, deadline),
                    Look::Later(rate, at) => (rate, self.began + Duration::from_millis(at)),
                };
                if Instant::now() >= deadline {
                    return Err(self.refuse(&mut state, rate, &covering, need, "late"));
                }
                if place.is_none() {
                    if state.waiting.len() >= self.bounds.waiting {
                        return Err(self.refuse(&mut state, rate, &covering, need, "full"));
                    }
                    place = Some(Waits::begin(self, &mut state, rank, &covering, need));
                }
                at.min(deadline)
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = reply.gone() => return Err(Failure::new(Kind::ClientLeft, "the caller left")),
                () = sleep_until(until) => {}
                () = signs.idle() => signs.give(exchange, reply).await,
            }
        }
    }

    fn never(&self, rate: usize, covering: &[(Of, Limit)], need: Amount) -> Failure {
        self.counts[rate].never.fetch_add(1, Ordering::Relaxed);
        let message = format!(
            "the request can count {} tokens, which is more than the limit {:?} lets through: {}; lower max_tokens",
            need.tokens,
            self.name(rate),
            limit_of(covering, rate),
        );
        Failure::new(Kind::InvalidValue, message).with_param("max_tokens")
    }

    /// The refusal of who finds no room, with the time until there is some if nothing else comes.
    fn refuse(
        &self,
        state: &mut State,
        rate: usize,
        covering: &[(Of, Limit)],
        need: Amount,
        why: &'static str,
    ) -> Failure {
        let now_ms = self.now_ms();
        let counts = &self.counts[rate];
        let (count, told) = match why {
            "full" => (&counts.full, format!("{} requests wait, which is as many as may", state.waiting.len())),
            _ => (&counts.late, format!("it had none within {:?}", self.bounds.patience)),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let rooms = covering.iter().filter_map(|(of, limit)| match state.windows.get(of)?.room(limit, need) {
            Room::At(at) => Some(at.saturating_sub(now_ms)),
            Room::Now | Room::Never => None,
        });
        // Behind others, it is a second at least.
        let wait = Duration::from_millis(rooms.max().unwrap_or(0).max(1_000));
        let limit = limit_of(covering, rate);
        let tokens = limit.tokens.map_or(String::new(), |_| format!(", which can count {} tokens", need.tokens));
        let message = format!("the limit {:?} has no room for this request{tokens}: {limit}; {told}", self.name(rate));
        Failure { retry_after: Some(wait), ..Failure::new(Kind::RateLimited, message) }
    }
}

fn limit_of(covering: &[(Of, Limit)], rate: usize) -> Limit {
    covering.iter().find(|(of, _)| of.rate == rate).map(|(_, limit)| *limit).unwrap_or_default()
}

fn crowded(windows: usize) -> Failure {
    let message = format!("limits of {windows} keys are followed, which is as many as may; try again in a minute");
    Failure { retry_after: Some(Duration::from_secs(61)), ..Failure::new(Kind::Overloaded, message) }
}

impl State {
    /// A minute, up to now. None where there is none, and no room for one.
    fn window(&mut self, of: &Of, now_ms: u64, most: usize) -> Option<&mut Window> {
        if !self.windows.contains_key(of) {
            if self.windows.len() >= most {
                self.windows.retain(|_, window| {
                    window.turn(now_ms);
                    !window.is_idle()
                });
                if self.windows.len() >= most {
                    return None;
                }
            }
            self.windows.insert(of.clone(), Window::new(now_ms));
        }
        let window = self.windows.get_mut(of)?;
        window.turn(now_ms);
        Some(window)
    }

    /// Takes so much of each, now; gives the second that it counts in.
    fn take(&mut self, covering: &[(Of, Limit)], need: Amount) -> u64 {
        let mut second = 0;
        for (of, _) in covering {
            if let Some(window) = self.windows.get_mut(of) {
                second = window.take(need);
            }
        }
        second
    }

    /// A limit that somebody who goes first waits for, or could have now.
    fn first_before(&mut self, covering: &[(Of, Limit)], rank: Rank, now_ms: u64) -> Option<usize> {
        let Self { windows, waiting, .. } = self;
        let mut has_room = |of: &Of, limit: &Limit, need| {
            windows.get_mut(of).is_none_or(|window| {
                window.turn(now_ms);
                window.room(limit, need) == Room::Now
            })
        };
        let mine = |of: &Of| covering.iter().any(|(own, _)| own == of);
        for waiter in waiting.iter().filter(|waiter| waiter.rank < rank) {
            let lacking: Vec<_> = waiter
                .covering
                .iter()
                .filter(|(of, limit)| !has_room(of, limit, waiter.need))
                .map(|(of, _)| of)
                .collect();
            let first = match lacking.is_empty() {
                true => waiter.covering.iter().map(|(of, _)| of).find(|of| mine(of)),
                false => lacking.into_iter().find(|of| mine(of)),
            };
            if let Some(of) = first {
                return Some(of.rate);
            }
        }
        None
    }
}

/// A place among those who wait, until it is dropped.
struct Waits<'a> {
    rates: &'a Rates,
    rank: Rank,
}

impl<'a> Waits<'a> {
    fn begin(rates: &'a Rates, state: &mut State, rank: Rank, covering: &[(Of, Limit)], need: Amount) -> Self {
        state.arrived += 1;
        state.waiting.push(Waiter { rank, covering: covering.to_vec(), need });
        Self { rates, rank }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.rates.state().waiting.retain(|waiter| waiter.rank != self.rank);
        self.rates.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
