//! The ledger beside a bill: what both say of each model on each day, and why they differ.

use std::collections::BTreeMap;

use kairos_dialects::Usage;
use kairos_pipeline::models::Catalogue;
use kairos_store::ledger::{EntryKind, LedgerError, Line, Range, Reader, TupleKey};

use super::usage_type::Kind;
use super::whose::{Names, Whose};
use super::{Bill, ROUNDING};
use crate::spend::{DAY_MS, day_of};

/// So near to midnight, AWS may have counted a request on the other day.
const NEAR_MS: i64 = 5 * 60_000;
/// What a request lasts at most.
const LONGEST_MS: i64 = 3_600_000;
/// What a job lasts at most: `jobs.hours` is no more than six days.
const LONGEST_JOB_MS: i64 = 7 * DAY_MS;
/// Days, models and unknown usage types that are compared at most.
const MOST: usize = 200_000;

/// What the bill says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Billed {
    /// In picodollars.
    pub(crate) cost: i128,
    /// Lines of the bill.
    pub(crate) lines: u64,
    /// Tokens by kind; none where the bill does not say in what it counts.
    pub(crate) tokens: Option<BTreeMap<Kind, i128>>,
    /// Its usage types.
    pub(crate) usage_types: Vec<String>,
}

/// What is estimated of a key and model on a day, in picodollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimates {
    /// The least.
    pub(crate) low: i128,
    /// What is charged: the most.
    pub(crate) high: i128,
    /// The team of all of them; none where they differ, or where none is named.
    pub(crate) team: Option<Option<std::sync::Arc<str>>>,
    /// Some of it was corrected before: what the rest is at least, is not known.
    is_corrected: bool,
}

/// What the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Booked {
    /// What is charged.
    pub(crate) charged: i128,
    /// Attempts and amounts without one.
    pub(crate) lines: u64,
    /// Those of them that are estimated, and were not corrected.
    pub(crate) estimates: BTreeMap<TupleKey, Estimates>,
    /// Tokens by kind.
    pub(crate) tokens: BTreeMap<Kind, i128>,
    /// Those of attempts that are settled: the bill has no fewer.
    pub(crate) settled_tokens: BTreeMap<Kind, i128>,
    /// Attempts whose tokens are not known.
    pub(crate) without_tokens: u64,
    /// Attempts on models without a price.
    pub(crate) unpriced: u64,
    /// Attempts under way.
    pub(crate) open: u64,
    /// Attempts after the bill's last line, and what is charged for them.
    pub(crate) late: (u64, i128),
    /// Attempts near midnight that may have cost something, and the most that they have.
    pub(crate) near_midnight: (u64, i128),
}

impl Booked {
    /// The least and the most that it can be.
    pub(crate) fn bounds(&self) -> (i128, i128) {
        let known = self.charged - self.estimates.values().map(|of| of.high).sum::<i128>();
        let low: i128 = self.estimates.values().map(|of| of.low).sum();
        (known + low, self.charged)
    }
}

/// Why a bill and the ledger differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// AWS rounds each line.
    Rounding,
    /// The bill lies between what the estimates are at least and at most.
    Estimated,
    /// Models without a price.
    Unpriced,
    /// The bill ends before.
    Late,
    /// Counted on the day beside.
    Midnight,
    /// A usage type, or its model, that is not known.
    UnknownUsageType,
    /// Only the bill has it.
    NotInTheLedger,
    /// Only the ledger has it.
    NotInTheBill,
    /// The tokens are the same.
    Prices,
    /// So many tokens on the bill and in the ledger.
    Tokens(Vec<(Kind, i128, i128)>),
    /// None of these.
    Unexplained,
}

/// What both say of a model on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The UTC day, in days since 1970.
    pub(crate) day: i32,
    /// Of which model.
    pub(crate) whose: Whose,
    /// The bill.
    pub(crate) bill: Billed,
    /// The ledger.
    pub(crate) ledger: Booked,
}

impl Cell {
    /// What the bill has more than the ledger.
    pub(crate) fn difference(&self) -> i128 {
        self.bill.cost - self.ledger.charged
    }

    /// What rounding of its lines can come to.
    pub(crate) fn rounding(&self) -> i128 {
        ROUNDING * i128::from(self.bill.lines)
    }

    /// Why they differ; nothing where they do not.
    pub(crate) fn causes(&self) -> Vec<Cause> {
        let difference = self.difference();
        if difference == 0 {
            return Vec::new();
        }
        if matches!(self.whose, Whose::Unknown(_)) {
            return vec![Cause::UnknownUsageType];
        }
        if difference.abs() <= self.rounding() {
            return vec![Cause::Rounding];
        }
        let ledger = &self.ledger;
        let (low, high) = ledger.bounds();
        let rounding = self.rounding();
        let mut causes = Vec::new();
        let lacking = self.lacking();
        if !lacking.is_empty() {
            causes.push(Cause::Tokens(lacking));
        } else if !ledger.estimates.is_empty() && (low - rounding..=high + rounding).contains(&self.bill.cost) {
            causes.push(Cause::Estimated);
        }
        let late = if difference < 0 { ledger.late.1.max(0) } else { 0 };
        if late > 0 {
            causes.push(Cause::Late);
        }
        if ledger.unpriced > 0 {
            causes.push(Cause::Unpriced);
        }
        // What these cannot come to has another cause.
        let covered = late + ledger.near_midnight.1 + rounding;
        if ledger.near_midnight.1 > 0 && difference.abs() <= covered {
            causes.push(Cause::Midnight);
        }
        let is_open = matches!(causes[..], [] | [Cause::Late]) && difference.abs() > late + rounding;
        if is_open {
            causes.push(self.remaining_cause());
        }
        causes
    }

    /// Tokens that the ledger knows to have been used, and of which the bill has fewer: so many on the bill and in
    /// the ledger. A line of it is missing, and what estimates come to does not follow from the rest.
    pub(crate) fn lacking(&self) -> Vec<(Kind, i128, i128)> {
        let ledger = &self.ledger;
        let Some(billed) = &self.bill.tokens else { return Vec::new() };
        // Some of them may be on another bill, or on another day of it.
        if ledger.late.0 > 0 || ledger.near_midnight.1 > 0 {
            return Vec::new();
        }
        // Each line is rounded to whole tokens; and what a model gives away may have no line.
        let rounding = i128::from(self.bill.lines);
        let may_be_free = |kind: &Kind| !matches!(kind, Kind::Input | Kind::Output);
        let known = ledger.settled_tokens.iter();
        let known = known.map(|(kind, settled)| (*kind, billed.get(kind).copied().unwrap_or(0), *settled));
        known
            .filter(|(kind, billed, settled)| billed + rounding < *settled && (*billed > 0 || !may_be_free(kind)))
            .collect()
    }

    /// Whether it is known why they differ, or nothing is to be explained.
    pub(crate) fn is_explained(&self) -> bool {
        let known = |cause: &Cause| {
            matches!(cause, Cause::Rounding | Cause::Estimated | Cause::Unpriced | Cause::Late | Cause::Midnight)
        };
        self.causes().iter().all(known)
    }

    fn remaining_cause(&self) -> Cause {
        if self.ledger.lines == 0 {
            return Cause::NotInTheLedger;
        }
        if self.bill.lines == 0 {
            return Cause::NotInTheBill;
        }
        let Some(tokens) = &self.bill.tokens else { return Cause::Unexplained };
        if self.ledger.without_tokens > 0 || self.whose == Whose::Guardrails {
            return Cause::Unexplained;
        }
        let of = |tokens: &BTreeMap<Kind, i128>, kind| tokens.get(&kind).copied().unwrap_or(0);
        let differ = Kind::all().map(|kind| (kind, of(tokens, kind), of(&self.ledger.tokens, kind)));
        let differ: Vec<_> = differ.filter(|(_, bill, ledger)| bill != ledger).collect();
        if differ.is_empty() { Cause::Prices } else { Cause::Tokens(differ) }
    }
}

/// Both, day by day and model by model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// Each of them.
    pub(crate) cells: Vec<Cell>,
    /// The first day, and the first after the last.
    pub(crate) days: (i32, i32),
}

impl Comparison {
    /// What the bill comes to.
    pub(crate) fn billed(&self) -> i128 {
        self.cells.iter().map(|cell| cell.bill.cost).sum()
    }

    /// What the ledger comes to.
    pub(crate) fn booked(&self) -> i128 {
        self.cells.iter().map(|cell| cell.ledger.charged).sum()
    }

    /// The differences that nothing explains, added up: what is too much and what is too little do not make
    /// up for one another.
    pub(crate) fn unexplained(&self) -> i128 {
        let cells = self.cells.iter().filter(|cell| !cell.is_explained());
        cells.map(|cell| cell.difference().abs()).sum()
    }

    /// Whether the totals differ by no more than this part of the bill, in units of 10⁻¹², and what is
    /// unexplained is no more than that.
    pub(crate) fn is_within(&self, tolerance: i128) -> bool {
        let difference = (self.billed() - self.booked()).abs().max(self.unexplained());
        difference.saturating_mul(1_000_000_000_000) <= self.billed().abs().saturating_mul(tolerance)
    }
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    /// The ledger cannot be read.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// No data is never a pass.
    #[error("the bill has no line of Bedrock in this time: there is nothing to compare")]
    Empty,
    /// More than is kept.
    #[error("more than {MOST} days, models and usage types: compare less time")]
    Many,
}

type Cells = BTreeMap<(i32, Whose), (Billed, Booked)>;

/// What is put together for a comparison.
struct Work<'a> {
    names: Names<'a>,
    catalogue: &'a Catalogue,
    cells: Cells,
    until_ms: Option<i64>,
}

/// Holds the ledger against a bill: for the days that the range names, whole ones; where it names none, for
/// those of the bill.
pub(crate) fn compare(
    bill: &Bill,
    reader: &Reader,
    catalogue: &Catalogue,
    range: Range,
    now_ms: i64,
) -> Result<Comparison, CompareError> {
    let begins = |day: i32| i64::from(day) * DAY_MS;
    let usage = || bill.usage.iter().filter(|(key, _)| range.holds(begins(key.day)));
    let days = || usage().map(|(key, _)| key.day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return Err(CompareError::Empty) };
    // Days that are asked for and that the bill does not have are days without a line.
    let first = if range.since_ms == i64::MIN { first } else { day_of(range.since_ms.saturating_add(DAY_MS - 1)) };
    let asked = day_of(range.until_ms.min(now_ms.saturating_add(DAY_MS)).saturating_sub(DAY_MS));
    let last = if range.until_ms == i64::MAX { last } else { last.max(asked) };
    let names = Names::new(catalogue, usage().map(|(key, _)| key));
    let until_ms = bill.until_ms;
    let mut work = Work { names, catalogue, cells: Cells::new(), until_ms };
    for (key, sum) in usage() {
        let (whose, parsed) = work.names.of_bill(key);
        let (billed, _) = work.cell(key.day, whose)?;
        billed.cost += sum.cost;
        billed.lines += sum.lines;
        if billed.usage_types.last() != Some(&key.usage_type) {
            billed.usage_types.push(key.usage_type.clone());
        }
        let known = billed.tokens.take().or_else(|| (billed.lines == sum.lines).then(BTreeMap::new));
        billed.tokens = known.zip(sum.quantity).map(|(mut tokens, quantity)| {
            if let Some(kind) = parsed.and_then(|parsed| parsed.kind) {
                *tokens.entry(kind).or_default() += quantity;
            }
            tokens
        });
    }
    // Attempts of the nights before and after matter to the days that they touch, and jobs that began earlier
    // to those that they ended on.
    let near = begins(first) - NEAR_MS;
    let around = Range { since_ms: near - LONGEST_JOB_MS, until_ms: begins(last + 1) + NEAR_MS };
    reader.lines(around, |line| {
        let is_near = line.at_ms() >= near || line.row.job.is_some();
        if is_near { work.add(line, first..=last) } else { Ok(()) }
    })?;
    let cells = work.cells.into_iter();
    let cells = cells.map(|((day, whose), (bill, ledger))| Cell { day, whose, bill, ledger }).collect();
    Ok(Comparison { cells, days: (first, last + 1) })
}

impl Work<'_> {
    fn cell(&mut self, day: i32, whose: Whose) -> Result<&mut (Billed, Booked), CompareError> {
        if self.cells.len() >= MOST {
            return Err(CompareError::Many);
        }
        Ok(self.cells.entry((day, whose)).or_default())
    }

    /// Takes a line of the ledger in.
    fn add(&mut self, line: &Line, days: std::ops::RangeInclusive<i32>) -> Result<(), CompareError> {
        let Some(tuple) = &line.row.tuple else { return Ok(()) };
        let whose = self.names.of_ledger(&tuple.model);
        let (at, day) = (line.at_ms(), day_of(line.at_ms()));
        // What a crash left open ends whenever it is found; the request itself did not last for longer. A job does.
        let lasts = if line.row.job.is_some() { LONGEST_JOB_MS } else { LONGEST_MS };
        let ended = line.end.as_ref().map_or(at, |end| end.at_ms.clamp(at, at.saturating_add(lasts)));
        // Billed when it began or when it ended: a job also lasts on days that have nothing of it.
        let mut touched = [at - NEAR_MS, at + NEAR_MS, ended - NEAR_MS, ended + NEAR_MS].map(day_of);
        touched.sort_unstable();
        let most = i128::from(line.bounds().1);
        if most > 0 && line.row.key.is_some() && touched[0] != touched[3] {
            for place in (0..4).filter(|place| *place == 0 || touched[*place] != touched[*place - 1]) {
                if !days.contains(&touched[place]) {
                    continue;
                }
                let near = &mut self.cell(touched[place], whose.clone())?.1.near_midnight;
                *near = (near.0 + 1, near.1 + most);
            }
        }
        if !days.contains(&day) {
            return Ok(());
        }
        let usage = line.usage().and_then(|usage| serde_json::from_str::<Usage>(usage).ok());
        let is_settled = line.state() == EntryKind::Settled;
        let units = usage.filter(|usage| is_settled && !usage.guardrail.is_nothing());
        let guarded = units.and_then(|usage| self.catalogue.guardrail_prices.cost(usage.guardrail)).unwrap_or(0);
        // Prices of these may have been others when it was charged.
        let guarded = guarded.min(u64::try_from(line.charged()).unwrap_or(0));
        if guarded > 0 {
            let (_, guardrails) = self.cell(day, Whose::Guardrails)?;
            guardrails.charged += i128::from(guarded);
            guardrails.lines += 1;
        }
        let until_ms = self.until_ms;
        let (_, booked) = self.cell(day, whose)?;
        let charged = i128::from(line.charged()) - i128::from(guarded);
        booked.charged += charged;
        booked.lines += 1;
        booked.open += u64::from(line.state() == EntryKind::Reserved);
        booked.unpriced += u64::from(line.row.unpriced == Some(true));
        if line.row.key.is_some() && until_ms.is_some_and(|until| at >= until) {
            booked.late = (booked.late.0 + 1, booked.late.1 + charged);
        }
        match usage {
            Some(usage) => {
                count(&mut booked.tokens, &usage);
                if is_settled {
                    count(&mut booked.settled_tokens, &usage);
                }
                booked.without_tokens += u64::from(usage.cache_write_unknown > 0);
            }
            None => booked.without_tokens += u64::from(line.charged() != 0),
        }
        booked.estimate(line, tuple);
        Ok(())
    }
}

/// Adds the tokens and units of a usage.
fn count(tokens: &mut BTreeMap<Kind, i128>, usage: &Usage) {
    for (kind, more) in [
        (Kind::Input, usage.input),
        (Kind::Output, usage.output),
        (Kind::CacheRead, usage.cache_read),
        (Kind::CacheWrite5m, usage.cache_write_5m),
        (Kind::CacheWrite1h, usage.cache_write_1h),
    ] {
        *tokens.entry(kind).or_default() += i128::from(more);
    }
    for (unit, more) in usage.units.each() {
        *tokens.entry(Kind::Unit(unit)).or_default() += i128::from(more);
    }
}

impl Booked {
    fn estimate(&mut self, line: &Line, tuple: &TupleKey) {
        let estimated = i128::from(line.estimated());
        let is_correction = line.state() == EntryKind::Corrected;
        if estimated == 0 && !is_correction {
            return;
        }
        let known = self.estimates.entry(tuple.clone()).or_default();
        known.high += estimated;
        known.is_corrected |= is_correction;
        known.low = if known.is_corrected { 0 } else { known.low + i128::from(line.bounds().0) };
        known.team = match known.team.take() {
            None => Some(line.row.team.clone()),
            // What a crash left names no team.
            Some(team) if line.row.team.is_none() || team == line.row.team => Some(team),
            Some(_) => Some(None),
        };
        if known.high == 0 {
            self.estimates.remove(tuple);
        }
    }
}
