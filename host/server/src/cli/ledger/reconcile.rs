//! `kairos ledger reconcile`.

use std::path::PathBuf;

use kairos_bedrock::catalogue::{BUILT_IN, View, load};
use kairos_store::ledger::{Correction, Corrector, FILE, Range, Reader};
use serde_json::{Value, json};

use super::super::gateway::print_json;
use super::super::{Failed, on_runtime};
use super::{Where, now_ms};
use crate::bill::compare::{Cause, Cell, Comparison, compare};
use crate::bill::settle::{Settlement, settle};
use crate::bill::{Bill, amount, cur, live};
use crate::spend::{DAY_MS, Filter, date, signed_dollars};

/// Differences that are printed, the largest first; as JSON there are all.
const PRINTED: usize = 100;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Reconcile {
    #[command(flatten)]
    place: Where,
    /// The bill: files that belong together
    #[arg(value_name = "BILL", required_unless_present = "cost_explorer")]
    bills: Vec<PathBuf>,
    /// Ask AWS's Cost Explorer, from --since on; AWS takes 0.01 USD for each page
    #[arg(long, requires = "since", conflicts_with = "bills")]
    cost_explorer: bool,
    /// Only days from then on [default: the bill's first]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only days before [default: all that the bill has]
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only lines of this AWS account: where a bill is of several
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// The part of the bill by which the totals may differ, and that may be unexplained: 0.01 is 1 %
    #[arg(long, value_name = "PART", default_value = "0.01")]
    tolerance: String,
    /// Let estimates become what the bill says, where it says it
    #[arg(long)]
    settle: bool,
    /// Settle by lines that have no invoice yet, too: AWS adds nothing to them any more
    #[arg(long = "final", requires = "settle")]
    is_final: bool,
}

/// What came of it.
struct Outcome {
    comparison: Comparison,
    settlement: Settlement,
    settled: bool,
    within: bool,
}

impl Reconcile {
    pub(super) fn run(self) -> Result<(), Failed> {
        let wrong = || Failed::usage(format!("--tolerance: {:?} is not a part as 0.01, from 0 to 1", self.tolerance));
        let tolerance = amount::parse(&self.tolerance).filter(|part| (0..=1_000_000_000_000).contains(part));
        let tolerance = tolerance.ok_or_else(wrong)?;
        let range = self.range()?;
        let (bill, digest) = if self.cost_explorer { self.asked(range)? } else { self.bill()? };
        if self.settle && bill.uninvoiced > 0 && !self.is_final {
            return Err(Failed::new(format!(
                "{} lines of the bill have no invoice yet, and AWS may still add to them: settle by the bill of a \
                 closed month, or say --final where nothing is to come",
                bill.uninvoiced
            )));
        }
        if self.settle && bill.accounts.len() > 1 {
            let accounts: Vec<_> = bill.accounts.iter().map(String::as_str).collect();
            return Err(Failed::new(format!(
                "the bill is of several accounts ({}), and what others used is not in this ledger: name the \
                 gateway's with --account",
                accounts.join(", ")
            )));
        }
        let folder = self.place.config()?.data;
        let catalogue = load(BUILT_IN, &View::plain("us-east-1", today())).map_err(|e| Failed::new(e.to_string()))?;
        let now = now_ms().unsigned_abs();
        // Before anything is read: what a gateway left open is recovered, and none writes meanwhile.
        let corrector = if self.settle { Some(Corrector::open(&folder, now)?) } else { None };
        let look = || -> Result<Comparison, Failed> {
            let reader = Reader::open(&folder.join(FILE))?;
            compare(&bill, &reader, &catalogue, range, now_ms()).map_err(|error| Failed::new(error.to_string()))
        };
        let mut comparison = look()?;
        let why = format!("bill {}", &digest[..16]);
        let settlement = settle(&comparison, &why);
        if let Some(corrector) = corrector {
            corrector.commit(&settlement.corrections, now)?;
            comparison = look()?;
        }
        let within = comparison.is_within(tolerance);
        let outcome = Outcome { comparison, settlement, settled: self.settle, within };
        if self.place.json {
            print_json(&outcome.json(&bill))?;
        } else {
            print!("{}", outcome.text(&bill));
        }
        if within { Ok(()) } else { Err(Failed::new("")) }
    }

    fn range(&self) -> Result<Range, Failed> {
        let mut filter = Filter::default();
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            if let Some(value) = value {
                filter.set(name, value, now_ms()).map_err(|error| Failed::usage(format!("--{error}")))?;
            }
        }
        filter.check().map_err(|error| Failed::usage(format!("--{error}")))?;
        Ok(filter.range)
    }

    /// Reads the bill, and gives the digest of its files.
    fn bill(&self) -> Result<(Bill, String), Failed> {
        use sha2::{Digest as _, Sha256};
        let mut bill = Bill::of(self.account.clone());
        let mut digests: Vec<cur::Digest> = Vec::new();
        for path in &self.bills {
            let cannot = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", path.display()));
            let digest = cur::digest(path).map_err(|error| cannot(&error))?;
            if digests.contains(&digest) {
                return Err(Failed::usage(format!("{}: the same file is given twice", path.display())));
            }
            digests.push(digest);
            cur::read(path, &mut bill).map_err(|error| cannot(&error))?;
        }
        let digest = match &digests[..] {
            [one] => *one,
            several => Sha256::digest(several.concat()).into(),
        };
        Ok((bill, hex::encode(digest)))
    }

    /// Cost Explorer's bill of the days of a range, until today at most.
    fn asked(&self, range: Range) -> Result<(Bill, String), Failed> {
        let day = |at_ms: i64| {
            let at =
                jiff::Timestamp::from_millisecond(at_ms).map_err(|error| Failed::usage(format!("--since: {error}")))?;
            Ok::<_, Failed>(at.to_zoned(jiff::tz::TimeZone::UTC).date())
        };
        // Of today it knows what there is by now.
        let (since, tomorrow) = (day(range.since_ms)?, now_ms().saturating_add(DAY_MS));
        let days = (since, day(range.until_ms.min(tomorrow))?);
        let failed = |error: &dyn std::fmt::Display| Failed::new(format!("Cost Explorer: {error}"));
        let (mut bill, account) = (Bill::default(), self.account.as_deref());
        let digest = on_runtime(async { live::ask(days, account, &mut bill).await.map_err(|error| failed(&error)) })?;
        Ok((bill, hex::encode(digest)))
    }
}

fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// A cause in words.
fn said(cause: &Cause, cell: &Cell) -> String {
    let ledger = &cell.ledger;
    match cause {
        Cause::Rounding => format!("rounding of {} lines of the bill", cell.bill.lines),
        Cause::Estimated => {
            let (low, high) = ledger.bounds();
            format!("estimated: between {} and {} USD", signed_dollars(low), signed_dollars(high))
        }
        Cause::Unpriced => format!("unpriced: {} attempts on a model without a price", ledger.unpriced),
        Cause::Late => {
            let (attempts, charged) = ledger.late;
            format!("late: {attempts} attempts after the bill's last line, {} USD", signed_dollars(charged))
        }
        Cause::Midnight => {
            let (attempts, most) = ledger.near_midnight;
            let most = signed_dollars(most);
            format!("near midnight: {attempts} attempts that may be on the bill of the other day, {most} USD at most")
        }
        Cause::UnknownUsageType => "what it counts, or of which model, is not known".to_owned(),
        Cause::NotInTheLedger => "on the bill only: not by this gateway, or its rows are missing".to_owned(),
        Cause::NotInTheBill => "in the ledger only".to_owned(),
        Cause::Prices => "the tokens are the same: prices differ".to_owned(),
        Cause::Tokens(kinds) => {
            let kinds = kinds
                .iter()
                .map(|(kind, bill, ledger)| format!("{} {bill} on the bill, {ledger} in the ledger", kind.name()));
            format!("tokens differ: {}", kinds.collect::<Vec<_>>().join("; "))
        }
        Cause::Unexplained => "unexplained".to_owned(),
    }
}

fn cause_name(cause: &Cause) -> &'static str {
    match cause {
        Cause::Rounding => "rounding",
        Cause::Estimated => "estimated",
        Cause::Unpriced => "unpriced",
        Cause::Late => "late",
        Cause::Midnight => "midnight",
        Cause::UnknownUsageType => "unknown_usage_type",
        Cause::NotInTheLedger => "not_in_the_ledger",
        Cause::NotInTheBill => "not_in_the_bill",
        Cause::Prices => "prices",
        Cause::Tokens(_) => "tokens",
        Cause::Unexplained => "unexplained",
    }
}

fn correction_json(correction: &Correction) -> Value {
    json!({
        "day": date(correction.tuple.day),
        "key": &*correction.tuple.caller,
        "model": &*correction.tuple.model,
        "estimated_usd": signed_dollars(correction.replaced.into()),
        "bill_usd": signed_dollars(correction.amount.into()),
    })
}

/// Which way a difference goes, of which only the amount is said.
fn more_or_less(difference: i128) -> &'static str {
    if difference < 0 { "less" } else { "more" }
}

impl Outcome {
    /// What differs, the largest difference first.
    fn differing(&self) -> Vec<&Cell> {
        let mut cells: Vec<_> = self.comparison.cells.iter().filter(|cell| cell.difference() != 0).collect();
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.difference().abs()));
        cells
    }

    fn text(&self, bill: &Bill) -> String {
        let comparison = &self.comparison;
        let (billed, booked) = (comparison.billed(), comparison.booked());
        let mut text = format!(
            "from {} until {} (UTC): {} USD on the bill, {} USD in the ledger, {} USD {} on the bill, {} USD \
             unexplained: {} tolerance\n",
            date(comparison.days.0),
            date(comparison.days.1),
            signed_dollars(billed),
            signed_dollars(booked),
            signed_dollars((billed - booked).abs()),
            more_or_less(billed - booked),
            signed_dollars(comparison.unexplained()),
            if self.within { "within" } else { "beyond" },
        );
        let differing = self.differing();
        for cell in differing.iter().take(PRINTED) {
            let causes: Vec<_> = cell.causes().iter().map(|cause| said(cause, cell)).collect();
            let whose: String = cell.whose.to_string().chars().filter(|sign| !sign.is_control()).collect();
            text.push_str(&format!(
                "{}  {whose}: {} USD on the bill, {} in the ledger, {} {} on the bill. {}\n",
                date(cell.day),
                signed_dollars(cell.bill.cost),
                signed_dollars(cell.ledger.charged),
                signed_dollars(cell.difference().abs()),
                more_or_less(cell.difference()),
                causes.join(". ")
            ));
        }
        if let Some(more) = differing.len().checked_sub(PRINTED).filter(|more| *more > 0) {
            text.push_str(&format!("and {more} more: --json has them\n"));
        }
        for (kind, cost) in &bill.other {
            text.push_str(&format!("not compared: {kind}, {} USD\n", signed_dollars(*cost)));
        }
        let open: u64 = comparison.cells.iter().map(|cell| cell.ledger.open).sum();
        if open > 0 {
            text.push_str(&format!("not compared: {open} attempts under way\n"));
        }
        self.say_settled(&mut text);
        text
    }

    fn say_settled(&self, text: &mut String) {
        let corrections = &self.settlement.corrections;
        if !self.settled {
            if !corrections.is_empty() {
                text.push_str(&format!(
                    "--settle would settle the estimates of {} keys, models and days\n",
                    corrections.len()
                ));
            }
            return;
        }
        for correction in corrections.iter().take(PRINTED) {
            let tuple = &correction.tuple;
            text.push_str(&format!(
                "settled: {}  {} on {}: {} USD instead of {} estimated\n",
                date(tuple.day),
                tuple.caller,
                tuple.model,
                signed_dollars(correction.amount.into()),
                signed_dollars(correction.replaced.into()),
            ));
        }
        for kept in &self.settlement.kept {
            text.push_str(&format!("still estimated: {}  {}: {}\n", date(kept.day), kept.whose, kept.why));
        }
        if corrections.is_empty() {
            text.push_str("nothing was settled, and nothing written\n");
        }
    }

    fn json(&self, bill: &Bill) -> Value {
        let comparison = &self.comparison;
        let differences = self.differing().into_iter().map(|cell| {
            let causes = cell.causes();
            json!({
                "day": date(cell.day),
                "of": cell.whose.to_string(),
                "usage_types": cell.bill.usage_types,
                "bill_usd": signed_dollars(cell.bill.cost),
                "ledger_usd": signed_dollars(cell.ledger.charged),
                "difference_usd": signed_dollars(cell.difference()),
                "causes": causes.iter().map(cause_name).collect::<Vec<_>>(),
                "why": causes.iter().map(|cause| said(cause, cell)).collect::<Vec<_>>(),
            })
        });
        let kept = self.settlement.kept.iter();
        let kept = kept.map(|kept| json!({"day": date(kept.day), "of": kept.whose.to_string(), "why": kept.why}));
        json!({
            "since": date(comparison.days.0),
            "until": date(comparison.days.1),
            "bill_usd": signed_dollars(comparison.billed()),
            "ledger_usd": signed_dollars(comparison.booked()),
            "difference_usd": signed_dollars(comparison.billed() - comparison.booked()),
            "unexplained_usd": signed_dollars(comparison.unexplained()),
            "within_tolerance": self.within,
            "compared": comparison.cells.len(),
            "differences": differences.collect::<Vec<_>>(),
            "not_compared": bill.other.iter().map(|(kind, cost)| json!({"type": kind, "usd": signed_dollars(*cost)})).collect::<Vec<_>>(),
            "settled": self.settled,
            "settlements": self.settlement.corrections.iter().map(correction_json).collect::<Vec<_>>(),
            "still_estimated": kept.collect::<Vec<_>>(),
        })
    }
}
