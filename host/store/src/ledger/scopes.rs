//! What is spent of each budget, in memory: whether a reservation has room, and when it will.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::budget::{Over, Rule, Spender, Status};
use kairos_pipeline::ledger::{Budget, Degraded, LimitReached, Reservation};
use kairos_pipeline::money::Picodollars;

use super::{Map, Set};

/// One part of a budget's time in which a reservation counts, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    scope: usize,
    /// What the ledger knows the budget by.
    pub(crate) budget: Arc<str>,
    /// When the part begins.
    pub(crate) start: i64,
    /// Whether it is for this one to be written down: not where another budget counts alike.
    pub(crate) is_written: bool,
}

impl Count {
    /// Where a row counts that is in no budget's books yet.
    pub(crate) fn recovered(budget: Arc<str>, start: i64) -> Self {
        Self { scope: usize::MAX, budget, start, is_written: true }
    }
}

/// All of a reservation.
pub(crate) type Counts = Arc<[Count]>;

/// What counts in one part of a budget's time.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    charged: u64,
    open: u64,
    /// When it last changed.
    second: u64,
}

/// Thresholds that were passed since they were last asked for.
#[derive(Clone, Debug)]
pub struct Crossed {
    /// How the budget stood then.
    pub status: Status,
    /// How many of its thresholds were passed.
    pub level: usize,
}

/// Crossings that are kept until somebody asks for them.
pub(crate) const MOST_CROSSED: usize = 10_000;
/// A part that did not change for so long is on disk, and can be forgotten.
const IDLE_SECONDS: u64 = 10;

/// One budget.
struct Scope {
    rule: Arc<Rule>,
    budget: Arc<str>,
    /// Whether no budget before it counts alike.
    is_first: bool,
    parts: BTreeMap<i64, Part>,
    /// No part that begins later is on disk.
    newest: i64,
    /// The part that was asked for last.
    current: (i64, i64),
    /// What leases could still draw of it.
    headroom: u64,
}

impl Scope {
    fn new(rule: Arc<Rule>, budget: Arc<str>, is_first: bool, known: &[(i64, u64)]) -> Self {
        let newest = known.iter().map(|(start, _)| *start).max().unwrap_or(i64::MIN);
        let part = |(start, charged): &(i64, u64)| (*start, Part { charged: *charged, ..Part::default() });
        let parts = known.iter().map(part).collect();
        Self { rule, budget, is_first, parts, newest, current: (0, 0), headroom: 0 }
    }

    fn part_at(&mut self, at_ms: i64) -> i64 {
        if !(self.current.0..self.current.1).contains(&at_ms) {
            self.current = self.rule.counting.window.part(at_ms);
        }
        self.current.0
    }

    fn is_known(&self, start: i64) -> bool {
        start > self.newest || self.rule.counting.window.lasts_ms().is_some() || self.parts.contains_key(&start)
    }

    /// The parts that count with this one: of a window that rolls all that reach into it, and what a clock
    /// that went back has left ahead.
    fn counting(&self, start: i64) -> impl Iterator<Item = (i64, Part)> {
        let lasts = self.rule.counting.window.lasts_ms();
        let range = match lasts {
            None => start..=start,
            Some(_) => i64::MIN..=i64::MAX,
        };
        let reaches = move |part: i64| lasts.is_none_or(|lasts| self.end_of(part).saturating_add(lasts) > start);
        self.parts.range(range).map(|(part, sums)| (*part, *sums)).filter(move |(part, _)| reaches(*part))
    }

    fn end_of(&self, start: i64) -> i64 {
        if start == self.current.0 { self.current.1 } else { self.rule.counting.window.part(start).1 }
    }

    /// What is spent and open, of all that counts with a part.
    fn taken(&self, start: i64) -> (u64, u64) {
        if self.rule.counting.window.lasts_ms().is_none() {
            return self.parts.get(&start).map_or((0, 0), |part| (part.charged, part.open));
        }
        self.counting(start).fold((0, 0), |(charged, open), (_, part)| {
            (charged.saturating_add(part.charged), open.saturating_add(part.open))
        })
    }

    /// How many alert thresholds an amount has passed.
    fn level(&self, amount: u64) -> usize {
        self.rule.alerts.iter().take_while(|alert| alert.0 <= amount).count()
    }

    /// The limit that refuses, if any.
    fn limit(&self) -> Option<u64> {
        self.rule.limit.filter(|_| self.rule.over == Over::Refuse).map(|limit| limit.0)
    }

    /// The limit that leases keep within: nobody knows whether what is drawn on one has a tag.
    fn lease_limit(&self) -> Option<u64> {
        self.limit().filter(|_| self.rule.counting.covers.tag.is_none())
    }

    fn check(&self, start: i64, worst: u64, at_ms: i64) -> Result<(), LimitReached> {
        let Some(limit) = self.limit() else { return Ok(()) };
        let (charged, open) = self.taken(start);
        let sum = charged.saturating_add(open).saturating_add(worst);
        if sum <= limit {
            return Ok(());
        }
        Err(LimitReached {
            budget: Arc::clone(&self.rule.name),
            limit: Picodollars(limit),
            window: self.rule.counting.window.to_string().into(),
            charged: Picodollars(charged),
            open: Picodollars(open),
            worst: Picodollars(worst),
            resets_ms: (worst <= limit).then(|| self.room_after(start, sum - limit, at_ms)),
        })
    }

    /// In how many milliseconds so much does not count any more.
    fn room_after(&self, start: i64, needed: u64, at_ms: i64) -> u64 {
        let lasts = self.rule.counting.window.lasts_ms().unwrap_or(0);
        let mut freed = 0u64;
        let mut end = self.end_of(start);
        for (part, sums) in self.counting(start) {
            freed = freed.saturating_add(sums.charged).saturating_add(sums.open);
            end = self.end_of(part);
            if freed >= needed {
                break;
            }
        }
        let mut due = end.saturating_add(lasts);
        if lasts > 0 {
            // It is left out from the next step on.
            let (step, next) = self.rule.counting.window.part(due);
            due = if step == due { due } else { next };
        }
        u64::try_from(due.saturating_sub(at_ms)).unwrap_or(0)
    }

    fn status(&mut self, at_ms: i64) -> Status {
        let start = self.part_at(at_ms);
        self.status_of(start)
    }

    fn status_of(&self, start: i64) -> Status {
        let (charged, open) = self.taken(start);
        let (began_ms, ends_ms) = match self.rule.counting.window.lasts_ms() {
            None => (start, Some(self.end_of(start))),
            Some(lasts) => (self.end_of(start).saturating_sub(lasts), None),
        };
        Status { rule: Arc::clone(&self.rule), began_ms, ends_ms, charged, open }
    }
}

/// All budgets.
#[derive(Default)]
pub(crate) struct Scopes {
    all: Vec<Scope>,
    /// Those that are of no one key.
    general: Vec<usize>,
    of_key: Map<String, Vec<usize>>,
    known: Set<Arc<str>>,
    crossed: Vec<Crossed>,
    /// Those that were too many to be kept.
    missed: u64,
    none: Counts,
}

impl Scopes {
    /// Budgets, each with what is known to be spent of it: the parts of its time, and their sums.
    pub(crate) fn new(rules: impl IntoIterator<Item = (Arc<Rule>, Vec<(i64, u64)>)>) -> Self {
        let mut scopes = Self::default();
        for (rule, known) in rules {
            scopes.add(rule, &known);
        }
        scopes
    }

    pub(crate) fn add(&mut self, rule: Arc<Rule>, known: &[(i64, u64)]) {
        let index = self.all.len();
        let budget: Arc<str> = rule.counting.identity().into();
        let is_first = self.known.insert(Arc::clone(&budget));
        match &rule.counting.covers.key {
            None => self.general.push(index),
            Some(key) => self.of_key.entry(key.clone()).or_default().push(index),
        }
        self.all.push(Scope::new(rule, budget, is_first, known));
    }

    /// Where a reservation counts.
    pub(crate) fn covering(&mut self, reservation: &Reservation) -> Counts {
        if self.all.is_empty() {
            return Arc::clone(&self.none);
        }
        let at_ms = millis(reservation.at_ms);
        let who = Spender { key: &reservation.caller, team: reservation.team.as_deref(), tags: &reservation.tags };
        let own = self.of_key.get(who.key).map_or(&[][..], Vec::as_slice);
        let mut counts = Vec::with_capacity(self.general.len() + own.len());
        for &index in self.general.iter().chain(own) {
            let scope = &mut self.all[index];
            if scope.rule.counting.covers.covers(&who, Some(&reservation.model)) {
                let start = scope.part_at(at_ms);
                let (budget, is_written) = (Arc::clone(&scope.budget), scope.is_first);
                counts.push(Count { scope: index, budget, start, is_written });
            }
        }
        counts.into()
    }

    /// Every budget has room for a worst case. Of those that have none, the one is named that is the last to
    /// have it.
    pub(crate) fn check(&self, counts: &[Count], worst: u64, at_ms: u64) -> Result<(), LimitReached> {
        let at_ms = millis(at_ms);
        let mut refused: Option<LimitReached> = None;
        for count in counts {
            let Err(reached) = self.all[count.scope].check(count.start, worst, at_ms) else { continue };
            let after = |reached: &LimitReached| reached.resets_ms.unwrap_or(u64::MAX);
            if refused.as_ref().is_none_or(|known| after(&reached) > after(known)) {
                refused = Some(reached);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Whether it is known what is spent of all of these.
    pub(crate) fn are_known(&self, counts: &[Count]) -> bool {
        counts.iter().all(|count| self.all[count.scope].is_known(count.start))
    }

    /// Those of which it is not known.
    pub(crate) fn unknown<'a>(&'a self, counts: &'a [Count]) -> impl Iterator<Item = &'a Count> {
        counts.iter().filter(|count| !self.all[count.scope].is_known(count.start))
    }

    /// Takes in what the database has.
    pub(crate) fn learn(&mut self, count: &Count, charged: u64) {
        let scope = &mut self.all[count.scope];
        scope.parts.entry(count.start).or_insert(Part { charged, ..Part::default() });
    }

    pub(crate) fn reserve(&mut self, counts: &[Count], worst: u64, second: u64) {
        for count in counts {
            let scope = &mut self.all[count.scope];
            scope.newest = scope.newest.max(count.start);
            let part = scope.parts.entry(count.start).or_default();
            part.open = part.open.saturating_add(worst);
            part.second = second;
        }
    }

    /// A reservation has ended, and this is charged.
    pub(crate) fn settle(&mut self, counts: &[Count], worst: u64, charged: u64, second: u64) {
        for count in counts {
            let scope = &mut self.all[count.scope];
            let before = scope.taken(count.start).0;
            let part = scope.parts.entry(count.start).or_default();
            part.open = part.open.saturating_sub(worst);
            part.charged = part.charged.saturating_add(charged);
            part.second = second;
            let level = scope.level(before.saturating_add(charged));
            if level > scope.level(before) {
                if self.crossed.len() < MOST_CROSSED {
                    self.crossed.push(Crossed { status: scope.status_of(count.start), level });
                } else {
                    self.missed += 1;
                }
            }
        }
    }

    /// Thresholds that were passed since this was last asked, and how many more than are kept.
    pub(crate) fn take_crossed(&mut self) -> (Vec<Crossed>, u64) {
        (std::mem::take(&mut self.crossed), std::mem::take(&mut self.missed))
    }

    /// For a lease: the smallest share of a limit, and the least that is left, if others draw what their leases
    /// reach to. `own` is what the lease itself could still draw.
    pub(crate) fn lease_bounds(&self, counts: &[Count], own: u64) -> (u64, u64) {
        let mut bounds = (u64::MAX, u64::MAX);
        for count in counts {
            let scope = &self.all[count.scope];
            let Some(limit) = scope.lease_limit() else { continue };
            let (charged, open) = scope.taken(count.start);
            let others = scope.headroom.saturating_sub(own);
            let left = limit.saturating_sub(charged.saturating_add(open)).saturating_sub(others);
            bounds = (bounds.0.min(limit / 100), bounds.1.min(left));
        }
        bounds
    }

    /// What leases could still draw has changed.
    pub(crate) fn headroom(&mut self, counts: &[Count], more: u64, less: u64) {
        for count in counts {
            let headroom = &mut self.all[count.scope].headroom;
            *headroom = headroom.saturating_add(more).saturating_sub(less);
        }
    }

    /// What is left for somebody.
    pub(crate) fn left(&mut self, who: &Spender<'_>, at_ms: u64) -> Option<Budget> {
        let at_ms = millis(at_ms);
        let own = self.of_key.get(who.key).map_or(&[][..], Vec::as_slice);
        let mut least: Option<Budget> = None;
        for &index in self.general.iter().chain(own) {
            let scope = &mut self.all[index];
            if !scope.rule.counting.covers.covers(who, None) {
                continue;
            }
            let start = scope.part_at(at_ms);
            let (charged, open) = scope.taken(start);
            let taken = charged.saturating_add(open);
            let level = u32::try_from(scope.level(taken)).unwrap_or(u32::MAX);
            let Some(Picodollars(limit)) = scope.rule.limit else { continue };
            let used = if limit == 0 { 1.0 } else { (taken as f64 / limit as f64).min(1.0) };
            let is_over = scope.rule.over == Over::Degrade && taken >= limit;
            let left =
                least.get_or_insert(Budget { remaining: Picodollars(u64::MAX), used: 0.0, level: 0, degraded: None });
            left.remaining = left.remaining.min(Picodollars(limit.saturating_sub(taken)));
            left.used = left.used.max(used);
            left.level = left.level.saturating_add(level);
            if is_over {
                let resets_ms = scope.room_after(start, taken - limit + 1, at_ms);
                // Of several the one that is used up for the longest.
                if left.degraded.as_ref().is_none_or(|known| known.resets_ms < resets_ms) {
                    left.degraded = Some(Degraded { budget: Arc::clone(&scope.rule.name), resets_ms });
                }
            }
        }
        least
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How some budgets stand: of these many from one on those that are wanted.
    pub(crate) fn statuses(
        &mut self,
        from: usize,
        most: usize,
        at_ms: u64,
        wanted: impl Fn(&Rule) -> bool,
    ) -> Vec<Status> {
        let some = self.all.iter_mut().skip(from).take(most).filter(|scope| wanted(&scope.rule));
        some.map(|scope| scope.status(millis(at_ms))).collect()
    }

    /// Forgets parts that nothing is open in and that do not count now: they are on disk. Of a window that
    /// rolls they stay as long again, as they are not read once more when a clock goes back.
    pub(crate) fn forget(&mut self, second: u64) {
        for scope in &mut self.all {
            if scope.parts.len() <= 1 {
                continue;
            }
            let (current, lasts) = (scope.current, scope.rule.counting.window.lasts_ms());
            let window = &scope.rule.counting.window;
            // A clock that jumps ahead and back again must not find a window that rolls empty: what counts is how
            // long nothing has changed, too, by a clock that does not jump.
            let rolls = lasts.map_or(0, |lasts| lasts.unsigned_abs().saturating_mul(2) / 1_000);
            scope.parts.retain(|start, part| {
                let counts = match lasts {
                    None => *start == current.0,
                    Some(lasts) => window.part(*start).1.saturating_add(lasts.saturating_mul(2)) > current.0,
                };
                counts || part.open > 0 || second.saturating_sub(part.second) < IDLE_SECONDS.max(rolls)
            });
        }
    }

    /// The sums of one part of a budget's time.
    #[cfg(test)]
    pub(crate) fn sums(&self, scope: usize, at_ms: u64) -> (u64, u64) {
        let start = self.all[scope].rule.counting.window.part(millis(at_ms)).0;
        self.all[scope].taken(start)
    }
}

fn millis(at_ms: u64) -> i64 {
    i64::try_from(at_ms).unwrap_or(i64::MAX)
}
