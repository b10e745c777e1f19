//! Bills and ledgers side by side.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kairos_bedrock::catalogue::{BUILT_IN, View, load};
use kairos_dialects::Usage;
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::ledger::{AttemptKey, Ending, Ledger as _, Reservation};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;
use kairos_store::ledger::{Corrector, Ended, FILE, Range, Reader, SqliteLedger};

use super::compare::{CompareError, Comparison, compare};
use super::settle::{Settlement, settle};
use super::*;

const LITE: &str = "amazon.nova-lite-v1:0";
const SONNET: &str = "anthropic.claude-sonnet-4-6";
const HAIKU: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
/// 2026-11-23, a Monday.
const DAY: i64 = 20_780;
const MICRO: u64 = 1_000_000;

/// At so many minutes of the day.
fn at(minutes: i64) -> u64 {
    (DAY * 86_400_000 + minutes * 60_000).unsigned_abs()
}

fn settled(cost: u64, input: u64) -> Ending {
    Ending::Settled { cost: Picodollars(cost * MICRO), usage: Usage { input, ..Usage::default() } }
}

fn estimated(low: u64, high: u64) -> Ending {
    Ending::Estimated { low: Picodollars(low * MICRO), high: Picodollars(high * MICRO), usage: None, why: "timeout" }
}

/// An id as it is minted then: its first bytes say when.
fn minted(at_ms: u64) -> RequestId {
    let mut id = *RequestId::mint().as_bytes();
    id[..6].copy_from_slice(&at_ms.to_be_bytes()[2..]);
    RequestId::from_bytes(id)
}

/// Books attempts: whose, on what, when, and how it ended.
async fn book(folder: &Path, attempts: &[(&str, &str, i64, Ending)]) {
    // Rows end a minute after the last of them.
    let last = attempts.iter().map(|(_, _, minutes, _)| *minutes).max().unwrap_or(0);
    book_as(folder, attempts, None, last + 1).await;
}

/// Books them as the job of this token, where they are one; all end then.
async fn book_as(folder: &Path, attempts: &[(&str, &str, i64, Ending)], job: Option<&str>, ends: i64) {
    let ledger = SqliteLedger::open(folder, &[], Arc::new(move || at(ends))).unwrap();
    for (key, model, minutes, ending) in attempts {
        let reservation = Reservation {
            key: AttemptKey { request: minted(at(*minutes)), attempt: 1 },
            caller: (*key).into(),
            team: Some("team".into()),
            model: (*model).into(),
            target: (*model).into(),
            region: "us-east-1".into(),
            tier: ServiceTier::Standard,
            tags: Arc::from([]),
            at_ms: at(*minutes),
            worst: Picodollars(1_000 * MICRO),
            price_version: "prices".into(),
            policy: None,
            unpriced: false,
            job: job.map(Arc::from),
        };
        ledger.open(&reservation).await.unwrap();
        ledger.end(reservation.key, ending.clone());
    }
    ledger.close();
    assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
}

const HEAD: &str = "line_item_line_item_type,line_item_usage_start_date,line_item_usage_end_date,\
line_item_product_code,line_item_usage_type,line_item_usage_amount,pricing_unit,line_item_unblended_cost,\
line_item_currency_code,line_item_resource_id,product,bill_invoice_id";

/// A line of usage: at this hour, of this usage type and product, so many tokens for so many millionths of
/// a dollar.
fn line(hour: u32, usage_type: &str, product: &str, tokens: u32, cost: &str) -> String {
    let product = format!("\"{{\"\"product_name\"\":\"\"{product}\"\"}}\"");
    format!(
        "Usage,2026-11-23T{hour:02}:00:00.000Z,2026-11-23T{:02}:00:00.000Z,AmazonBedrock,{usage_type},{},1M tokens,\
         {cost}e-6,USD,,{product},EUINV26-1",
        hour + 1,
        f64::from(tokens) / 1e6,
    )
}

fn bill(lines: &[String]) -> Bill {
    let mut bill = Bill::default();
    let text = format!("{HEAD}\n{}\n", lines.join("\n"));
    cur::read_csv(text.as_bytes(), &mut bill).unwrap();
    bill
}

fn compared(folder: &Path, bill: &Bill) -> Result<Comparison, CompareError> {
    compared_in(folder, bill, Range::ALL, at(700))
}

fn compared_in(folder: &Path, bill: &Bill, range: Range, now_ms: u64) -> Result<Comparison, CompareError> {
    let date = jiff::civil::date(2026, 11, 23);
    let catalogue = load(BUILT_IN, &View::plain("us-east-1", date)).unwrap();
    let reader = Reader::open(&folder.join(FILE)).unwrap();
    compare(bill, &reader, &catalogue, range, now_ms.cast_signed())
}

const LITE_IN: &str = "USE1-NovaLite-input-tokens";
const MARKET_IN: &str = "USE1-MP:USE1_InputTokenCount-Units";

/// What differs, and what would be settled.
async fn told(attempts: &[(&str, &str, i64, Ending)], lines: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), attempts).await;
    let comparison = compared(folder.path(), &bill(lines)).unwrap();
    let mut told: Vec<_> = comparison
        .cells
        .iter()
        .filter(|cell| cell.difference() != 0)
        .map(|cell| format!("{} {} {:?}", cell.whose, cell.difference() / i128::from(MICRO), cell.causes()))
        .collect();
    let Settlement { corrections, kept } = settle(&comparison, "bill");
    told.extend(corrections.iter().map(|correction| {
        let (key, model) = (&correction.tuple.caller, &correction.tuple.model);
        format!("{key} on {model}: {} instead of {}", correction.amount / MICRO, correction.replaced / MICRO)
    }));
    told.extend(kept.iter().map(|kept| format!("{} stays: {}", kept.whose, kept.why)));
    told.join("\n")
}

#[tokio::test]
async fn every_difference_has_its_cause() {
    let lite = |cost, tokens| ("a", LITE, 600, settled(cost, tokens));
    for (attempts, lines, expected) in [
        (vec![lite(60, 1_000)], vec![line(10, LITE_IN, "", 1_000, "60")], ""),
        // Rounded to ten places; a part of a picodollar is not compared.
        (vec![lite(60, 1_000)], vec![line(10, LITE_IN, "", 1_000, "60.00004")], "amazon.nova-lite-v1:0 0 [Rounding]"),
        (vec![lite(60, 1_000)], vec![line(10, LITE_IN, "", 1_000, "66")], "amazon.nova-lite-v1:0 6 [Prices]"),
        (
            vec![lite(60, 1_000)],
            vec![line(10, LITE_IN, "", 2_000, "120")],
            "amazon.nova-lite-v1:0 60 [Tokens([(Input, 2000, 1000)])]",
        ),
        (
            vec![lite(60, 1_000), ("a", HAIKU, 600, settled(5, 5))],
            vec![line(10, LITE_IN, "", 1_000, "60"), line(10, "USE1-NovaPro-input-tokens", "", 10, "8")],
            "amazon.nova-pro-v1:0 8 [NotInTheLedger]\nanthropic.claude-haiku-4-5-20251001-v1:0 -5 [NotInTheBill]",
        ),
        (
            vec![lite(60, 1_000)],
            vec![line(10, LITE_IN, "", 1_000, "60"), line(10, "USE1-NovaCanvas-T2I-1024-Standard", "", 1, "7")],
            "unknown usage type USE1-NovaCanvas-T2I-1024-Standard 7 [UnknownUsageType]",
        ),
        // The bill ends at 11:00.
        (
            vec![lite(60, 1_000), ("a", LITE, 661, settled(6, 100))],
            vec![line(10, LITE_IN, "", 1_000, "60")],
            "amazon.nova-lite-v1:0 -6 [Late]",
        ),
        (
            vec![lite(60, 1_000), ("a", LITE, 2, settled(6, 100))],
            vec![line(10, LITE_IN, "", 1_000, "60")],
            "amazon.nova-lite-v1:0 -6 [Midnight]",
        ),
        // What cost nothing near midnight, or less than what differs, explains nothing.
        (
            vec![lite(60, 1_000), ("a", LITE, 2, Ending::Voided { why: "never sent" })],
            vec![line(10, LITE_IN, "", 1_000, "66")],
            "amazon.nova-lite-v1:0 6 [Prices]",
        ),
        (
            vec![lite(60, 1_000), ("a", LITE, 2, settled(6, 100))],
            vec![line(10, LITE_IN, "", 1_100, "166")],
            "amazon.nova-lite-v1:0 100 [Prices]",
        ),
        // The Marketplace's lines say whose they are by the product only.
        (
            vec![("a", SONNET, 600, settled(3, 1)), ("a", HAIKU, 600, settled(1, 1))],
            vec![
                line(10, MARKET_IN, "Claude Sonnet 4.6 (Amazon Bedrock Edition)", 1, "4"),
                line(10, MARKET_IN, "Claude Haiku 4.5 (Amazon Bedrock Edition)", 1, "1"),
            ],
            "anthropic.claude-sonnet-4-6 1 [Prices]",
        ),
        (
            vec![("a", SONNET, 600, settled(3, 1)), ("a", HAIKU, 600, settled(1, 1))],
            vec![line(10, MARKET_IN, "", 2, "4")],
            "",
        ),
    ] {
        assert_eq!(told(&attempts, &lines).await, expected);
    }
}

#[tokio::test]
async fn estimates_are_settled_where_the_bill_determines_them() {
    let known = ("a", LITE, 600, settled(60, 1_000));
    let guess = |key, low, high| (key, LITE, 601, estimated(low, high));
    let lite = |cost: &str| line(10, LITE_IN, "", 2_000, cost);
    for (attempts, lines, expected) in [
        // One key: what is left is what its estimates were.
        (
            vec![known.clone(), guess("a", 0, 100), guess("a", 5, 50)],
            vec![lite("72")],
            "amazon.nova-lite-v1:0 -138 [Estimated]\na on amazon.nova-lite-v1:0: 12 instead of 150",
        ),
        // Two: at the bounds of both it is known of each.
        (
            vec![guess("a", 0, 100), guess("b", 5, 50)],
            vec![lite("5")],
            "amazon.nova-lite-v1:0 -145 [Estimated]\na on amazon.nova-lite-v1:0: 0 instead of 100\nb on amazon.nova-lite-v1:0: 5 instead of 50",
        ),
        (
            vec![guess("a", 0, 100), guess("b", 5, 50)],
            vec![lite("150")],
            "a on amazon.nova-lite-v1:0: 100 instead of 100\nb on amazon.nova-lite-v1:0: 50 instead of 50",
        ),
        (
            vec![guess("a", 0, 100), guess("b", 5, 50)],
            vec![lite("30")],
            "amazon.nova-lite-v1:0 -120 [Estimated]\namazon.nova-lite-v1:0 stays: several keys, or models, share what is left, and the bill does not say who had which part; an application inference profile for each would",
        ),
        // Of what is known to have been used a part is missing: the rest may be any of it.
        (
            vec![known.clone(), guess("a", 0, 100)],
            vec![line(10, LITE_IN, "", 400, "72")],
            "amazon.nova-lite-v1:0 -88 [Tokens([(Input, 400, 1000)])]\namazon.nova-lite-v1:0 stays: the bill has fewer tokens than the attempts that are settled: a part of it is missing",
        ),
        // Something else is wrong, too.
        (
            vec![known.clone(), guess("a", 0, 100)],
            vec![lite("50")],
            "amazon.nova-lite-v1:0 -110 [Unexplained]\namazon.nova-lite-v1:0 stays: the bill is outside of what they can be: something else differs, too",
        ),
        (
            vec![known.clone(), guess("a", 0, 100)],
            vec![lite("161")],
            "amazon.nova-lite-v1:0 1 [Unexplained]\namazon.nova-lite-v1:0 stays: the bill is outside of what they can be: something else differs, too",
        ),
        // A part of the bill may be missing.
        (
            vec![known.clone(), ("a", "amazon.nova-pro-v1:0", 601, estimated(0, 100))],
            vec![lite("60")],
            "amazon.nova-pro-v1:0 -100 [Estimated]\namazon.nova-pro-v1:0 stays: the bill has no line of this model on that day",
        ),
        // What is not understood may be of this model.
        (
            vec![known.clone(), guess("a", 0, 100)],
            vec![lite("70"), line(10, "USE1-NovaLite-input-tokens-moonlit", "", 1, "7")],
            "amazon.nova-lite-v1:0 -90 [Estimated]\nunknown usage type USE1-NovaLite-input-tokens-moonlit 7 [UnknownUsageType]\namazon.nova-lite-v1:0 stays: lines of that day are of unknown usage types, and may be of this model",
        ),
        (
            vec![known.clone(), ("a", LITE, 661, estimated(0, 100))],
            vec![lite("60")],
            "amazon.nova-lite-v1:0 -100 [Estimated, Late]\namazon.nova-lite-v1:0 stays: the bill ends before the day does",
        ),
    ] {
        assert_eq!(told(&attempts, &lines).await, expected);
    }
}

/// Files of two deliveries overlap. An id is of one month only: another cost, or hour, is another line.
#[test]
fn no_line_is_counted_twice() {
    let identified = |id: &str, hour, cost: &str| format!("{},{id}", line(hour, LITE_IN, "", 1, cost));
    let read = |lines: &[String]| {
        let mut bill = Bill::default();
        let text = format!("{HEAD},identity_line_item_id\n{}\n", lines.join("\n"));
        cur::read_csv(text.as_bytes(), &mut bill).map_err(|error| error.to_string())?;
        Ok::<_, String>(bill.usage.values().map(|sum| sum.cost).sum::<i128>() / i128::from(MICRO))
    };
    let mut lines = vec![identified("a", 10, "60"), identified("b", 10, "60"), identified("a", 10, "6")];
    lines.extend([identified("a", 11, "60"), identified("", 10, "1"), identified("", 10, "1")]);
    assert_eq!(read(&lines), Ok(60 + 60 + 6 + 60 + 1 + 1));
    lines.push(identified("b", 10, "60"));
    insta::assert_snapshot!(read(&lines).unwrap_err(), @"row 7: this very line (b) was read before: files of several deliveries overlap, give those of one");
}

#[tokio::test]
async fn the_same_bill_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), &[("a", LITE, 600, settled(60, 1_000)), ("a", LITE, 600, estimated(0, 100))]).await;
    let bill = bill(&[line(10, LITE_IN, "", 1_000, "72")]);
    let first = settle(&compared(folder.path(), &bill).unwrap(), "bill 1");
    assert_eq!(first.corrections.len(), 1);
    Corrector::open(folder.path(), at(800)).unwrap().commit(&first.corrections, at(800)).unwrap();
    let again = compared(folder.path(), &bill).unwrap();
    assert_eq!((again.billed(), again.booked()), (72 * i128::from(MICRO), 72 * i128::from(MICRO)));
    assert_eq!(settle(&again, "bill 1"), Settlement::default());
    // What is estimated later is settled on its own.
    book(folder.path(), &[("a", LITE, 610, estimated(3, 40))]).await;
    let more = self::bill(&[line(10, LITE_IN, "", 1_000, "79")]);
    let later = settle(&compared(folder.path(), &more).unwrap(), "bill 2");
    assert_eq!((later.corrections[0].replaced, later.corrections[0].amount), (40 * MICRO, 7 * MICRO));
}

/// Days that are asked for are compared, whether or not the bill has a line of them; otherwise the bill's.
#[tokio::test]
async fn days_that_a_bill_does_not_have_are_compared_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), &[("a", LITE, 600 - 3 * 1_440, settled(9, 1)), ("a", LITE, 600, settled(60, 1_000))]).await;
    let bill = bill(&[line(10, LITE_IN, "", 1_000, "60")]);
    let booked = |days: std::ops::Range<i64>| {
        let range = Range { since_ms: days.start * 86_400_000, until_ms: days.end * 86_400_000 };
        let compared = compared_in(folder.path(), &bill, range, at(700)).unwrap();
        (compared.booked() / i128::from(MICRO), compared.days, compared.is_within(0))
    };
    let day = i32::try_from(DAY).unwrap();
    assert_eq!(booked(DAY - 5..DAY + 1), (69, (day - 5, day + 1), false));
    assert_eq!(booked(DAY - 2..DAY + 30), (60, (day - 2, day + 1), true));
    let whole = compared(folder.path(), &bill).unwrap();
    assert_eq!((whole.days, whole.is_within(0)), ((day, day + 1), true));
}

/// What is too much of one model does not make up for what is too little of another.
#[tokio::test]
async fn opposite_differences_are_both_beyond_the_tolerance() {
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), &[("a", LITE, 600, settled(60, 1)), ("a", "amazon.nova-pro-v1:0", 600, settled(3, 1))]).await;
    let lines = [line(10, LITE_IN, "", 1, "60"), line(10, "USE1-NovaMicro-input-tokens", "", 1, "3")];
    let compared = compared(folder.path(), &bill(&lines)).unwrap();
    assert_eq!((compared.billed(), compared.unexplained()), (compared.booked(), 6 * i128::from(MICRO)));
    // 6 of 63.
    assert_eq!([94, 96].map(|thousandths| compared.is_within(thousandths * 1_000_000_000)), [false, true]);
}

/// Under whichever code: what Bedrock sold is on the bill, and what is not understood of it is an unknown line
/// rather than none.
#[test]
fn what_the_marketplace_sells_is_never_left_out() {
    let row = |code: &str, usage_type: &str, product: &str, amount: &str, unit: &str| {
        let product = format!("\"{{\"\"product_name\"\":\"\"{product}\"\"}}\"");
        format!(
            "Usage,2026-11-23T10:00:00Z,2026-11-23T11:00:00Z,{code},{usage_type},{amount},{unit},7e-6,USD,,{product},"
        )
    };
    let read = bill(&[
        row("8nq2c1x0", "USE1-MP:USE1_Moonbeams-Units", "", "1", "Units"),
        row("8nq2c1x1", "USE1-Moonbeams", "Claude Sonnet 9 (Amazon Bedrock Edition)", "1", "Units"),
        row("8nq2c1x2", "USE1-MP:USE1_KSearchUnits-Units", "Rerank 3.5 (Amazon Bedrock Edition)", "0.002", "Units"),
        row("AmazonBedrock", "USE1-NovaMultiModalEmbeddings-input-audio-second", "", "0.03", "1K seconds"),
        row("8nq2c1x3", "USE1-MP:ENTERPRISE_JOBS-Units", "Somebody's Data Platform", "1", "Units"),
        row("AmazonEC2", "BoxUsage:t3.micro", "Amazon Elastic Compute Cloud", "1", "Hrs"),
    ]);
    let found: Vec<_> = read.usage.iter().map(|(key, sum)| (key.usage_type.as_str(), sum.quantity)).collect();
    assert_eq!(
        found,
        [
            ("USE1-MP:USE1_KSearchUnits-Units", Some(2)),
            ("USE1-MP:USE1_Moonbeams-Units", Some(1)),
            ("USE1-Moonbeams", Some(1)),
            ("USE1-NovaMultiModalEmbeddings-input-audio-second", Some(30)),
        ]
    );
    assert_eq!(read.skipped, 2);
}

/// What lasts for days is billed when it begins or when it ends, and on no day between.
#[tokio::test]
async fn a_job_is_on_the_bill_of_its_first_or_its_last_day() {
    let folder = tempfile::tempdir().unwrap();
    let began = 600 - 3 * 1_440;
    book_as(folder.path(), &[("a", LITE, began, settled(7, 1))], Some("token"), 610).await;
    let bill = bill(&[line(10, LITE_IN, "", 1, "7")]);
    let found = compared(folder.path(), &bill).unwrap();
    let told: Vec<_> = found.cells.iter().map(|cell| (cell.causes(), cell.ledger.near_midnight)).collect();
    assert_eq!(told, [(vec![compare::Cause::Midnight], (1, 7 * i128::from(MICRO)))]);
    let week = Range { since_ms: (DAY - 6) * 86_400_000, until_ms: (DAY + 1) * 86_400_000 };
    let found = compared_in(folder.path(), &bill, week, at(700)).unwrap();
    let day = i32::try_from(DAY).unwrap();
    let near = found.cells.iter().filter(|cell| cell.ledger.near_midnight.0 > 0).map(|cell| cell.day);
    assert_eq!(near.collect::<Vec<_>>(), [day - 3, day]);
}

/// Of a bill of several accounts the one that is asked for is taken.
#[test]
fn accounts_are_told_apart() {
    let text = |account: &str| format!("{},{account}", line(10, LITE_IN, "", 1, "3"));
    let text = format!("{HEAD},line_item_usage_account_id\n{}\n{}\n", text("111111111111"), text("222222222222"));
    let read = |text: &str, account: Option<&str>| {
        let mut bill = Bill { account: account.map(str::to_owned), ..Bill::default() };
        cur::read_csv(text.as_bytes(), &mut bill).map(|()| {
            (
                bill.usage.values().map(|sum| sum.cost).sum::<i128>() / i128::from(MICRO),
                bill.accounts.len(),
                bill.skipped,
            )
        })
    };
    assert_eq!(read(&text, None).unwrap(), (6, 2, 0));
    assert_eq!(read(&text, Some("222222222222")).unwrap(), (3, 1, 1));
    let silent = format!("{HEAD}\n{}\n", line(10, LITE_IN, "", 1, "3"));
    assert!(read(&silent, Some("222222222222")).unwrap_err().to_string().contains("leave --account out"));
}

#[tokio::test]
async fn no_data_is_never_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    book(folder.path(), &[]).await;
    for lines in [vec![], vec!["Usage,2026-11-23T10:00:00Z,,AmazonEC2,BoxUsage:t3.micro,1,Hrs,1,USD,,,".to_owned()]] {
        assert!(matches!(compared(folder.path(), &bill(&lines)), Err(CompareError::Empty)));
    }
}

#[test]
fn totals_are_held_against_the_tolerance_exactly() {
    let part = |text| amount::parse(text).unwrap();
    let cell = |cost, charged| {
        let (bill, ledger) =
            (compare::Billed { cost, ..Default::default() }, compare::Booked { charged, ..Default::default() });
        Comparison {
            cells: vec![compare::Cell { day: 0, whose: whose::Whose::Guardrails, bill, ledger }],
            days: (0, 1),
        }
    };
    assert!(cell(1_000_000, 1_010_000).is_within(part("0.01")));
    assert!(cell(1_000_000, 990_000).is_within(part("0.01")));
    assert!(!cell(1_000_000, 1_010_001).is_within(part("0.01")));
    assert!(!cell(1_000_000, 1_000_001).is_within(part("0")));
    assert!(!cell(0, 1).is_within(part("1")));
    assert!(cell(0, 0).is_within(part("0")));
}

#[test]
fn what_is_no_bill_is_refused_by_name() {
    let read = |text: &str| cur::read_csv(text.as_bytes(), &mut Bill::default()).err().unwrap().to_string();
    let usage = |date: &str, cost: &str, currency: &str| {
        format!("{HEAD}\nUsage,{date},,AmazonBedrock,{LITE_IN},1,1M tokens,{cost},{currency},,,\n")
    };
    assert!(read("").contains("the columns line_item_usage_start_date, line_item_usage_type"));
    assert!(read("lineItem/UsageType\nx\n").contains("export CUR 2.0 instead"));
    assert_eq!(
        read(&usage("2026-11-23", "many", "USD")),
        "row 1: line_item_unblended_cost is \"many\", which is not an amount"
    );
    assert_eq!(
        read(&usage("yesterday", "1", "USD")),
        "row 1: line_item_usage_start_date is \"yesterday\", which is not a time"
    );
    // As Parquet's reader gives nanoseconds.
    assert!(cur::read_csv(usage("1796068800000000000", "1", "USD").as_bytes(), &mut Bill::default()).is_ok());
    assert_eq!(read(&usage("2026-11-23T00:00:00Z", "1", "EUR")), "row 1: amounts are in EUR, and the ledger's in USD");
    assert_eq!(read(&format!("{HEAD}\nUsage,1\n")), "line 2: it has 2 columns, and the head has 12");
    // A file that was cut.
    let whole = format!("{HEAD}\nUsage,2026-11-23T00:00:00Z,,AmazonBedrock,{LITE_IN},1,1M tokens,1,USD,,,\"a, b\"");
    assert!(cur::read_csv(whole.as_bytes(), &mut Bill::default()).is_ok());
    assert_eq!(read(whole.trim_end_matches('"')), "it ends within a quoted cell: the rest of the file is missing");
    // A row that never ends is not kept.
    let endless = format!("{HEAD}\nUsage,\"{}", "x".repeat(5 * 1024 * 1024));
    assert!(read(&endless).contains("a row takes more than 4194304 bytes"));
    let explorer = |text: &str| explorer::add(text.as_bytes(), &mut Bill::default()).err().unwrap().to_string();
    assert!(explorer("{}").contains("no answer of Cost Explorer's GetCostAndUsage"));
    let month = r#"{"ResultsByTime": [{"TimePeriod": {"Start": "2026-11-01", "End": "2026-12-01"}}]}"#;
    assert_eq!(explorer(month), "it is not by day, but from 2026-11-01 to 2026-12-01: ask with Granularity DAILY");
}

/// The same lines as CSV, gzip, Parquet and an answer of Cost Explorer are the same bill.
#[test]
fn every_form_is_the_same_bill() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        line(10, LITE_IN, "Amazon Bedrock", 1_000, "60.5"),
        line(11, MARKET_IN, "Claude Sonnet 4.6 (Amazon Bedrock Edition)", 3, "9"),
        "Tax,2026-11-23T00:00:00Z,,AmazonBedrock,,,,0.5,USD,,,EUINV26-1".to_owned(),
    ];
    let text = format!("{HEAD}\n{}\n", lines.join("\n"));
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut bill = Bill::default();
        cur::read(&path, &mut bill).unwrap();
        bill
    };
    let csv = put("bill.csv", text.as_bytes());
    assert_eq!((csv.usage.len(), csv.other["Tax"], csv.uninvoiced), (2, 500_000_000_000, 0));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    // What a file is, its first bytes say.
    let gzip = put("bill.csv", &gzip.finish().unwrap());
    let parquet = put("bill.parquet", &parquet());
    for other in [&gzip, &parquet] {
        assert_eq!((&other.usage, &other.other, other.until_ms), (&csv.usage, &csv.other, csv.until_ms));
    }
    let group = |service: &str, usage_type: &str, amount: &str| {
        format!(
            r#"{{"Keys": ["{service}", "{usage_type}"], "Metrics": {{"UnblendedCost": {{"Amount": "{amount}", "Unit": "USD"}}}}}}"#
        )
    };
    let groups = [
        group("Amazon Bedrock", LITE_IN, "0.0000605"),
        group("Claude Sonnet 4.6 (Amazon Bedrock Edition)", MARKET_IN, "0.000009"),
        group("Amazon EC2", "BoxUsage", "1"),
    ];
    let answer = format!(
        r#"{{"ResultsByTime": [{{"TimePeriod": {{"Start": "2026-11-23", "End": "2026-11-24"}}, "Groups": [{}]}}]}}"#,
        groups.join(",")
    );
    let explorer = put("bill.json", answer.as_bytes());
    let costs = |bill: &Bill| bill.usage.iter().map(|(key, sum)| (key.clone(), sum.cost)).collect::<Vec<_>>();
    assert_eq!((costs(&explorer), explorer.skipped), (costs(&csv), 1));
    for cut in [4, 100, 400] {
        let path = folder.path().join("cut.parquet");
        std::fs::write(&path, &self::parquet()[..cut]).unwrap();
        assert!(matches!(cur::read(&path, &mut Bill::default()), Err(BillError::Form(_))));
    }
}

/// The lines above in Parquet, as AWS writes it: amounts as doubles, times as timestamps, the product as a map.
fn parquet() -> Vec<u8> {
    use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    let schema = "message cur { optional binary bill_invoice_id (STRING);
        optional binary line_item_line_item_type (STRING); optional binary line_item_product_code (STRING);
        optional double line_item_unblended_cost; optional double line_item_usage_amount;
        optional int64 line_item_usage_end_date (TIMESTAMP(MILLIS,true));
        required int64 line_item_usage_start_date (TIMESTAMP(MILLIS,true));
        optional binary line_item_usage_type (STRING); optional binary pricing_unit (STRING);
        optional group product (MAP) { repeated group key_value { required binary key (STRING); optional binary value (STRING); } }
        optional double resource_tags_of_no_use; }";
    let schema = Arc::new(::parquet::schema::parser::parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(::parquet::basic::Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let text = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    let hour = |hour: i64| DAY * 86_400_000 + hour * 3_600_000;
    let names = ["Amazon Bedrock", "Claude Sonnet 4.6 (Amazon Bedrock Edition)"];
    for column in 0..12 {
        let mut to = group.next_column().unwrap().unwrap();
        let mut strings = |values: &[&str], levels: &[i16], repeated: Option<&[i16]>| {
            to.typed::<ByteArrayType>().write_batch(&text(values), Some(levels), repeated).unwrap();
        };
        match column {
            0 => strings(&["EUINV26-1"; 3], &[1, 1, 1], None),
            1 => strings(&["Usage", "Usage", "Tax"], &[1, 1, 1], None),
            2 => strings(&["AmazonBedrock"; 3], &[1, 1, 1], None),
            7 => strings(&[LITE_IN, MARKET_IN], &[1, 1, 0], None),
            8 => strings(&["1M tokens"; 2], &[1, 1, 0], None),
            9 => strings(&["product_name"; 2], &[2, 2, 0], Some(&[0, 0, 0])),
            10 => strings(&names, &[3, 3, 0], Some(&[0, 0, 0])),
            3 => {
                to.typed::<DoubleType>().write_batch(&[0.0000605, 0.000009, 0.5], Some(&[1, 1, 1]), None).unwrap();
            }
            4 => {
                to.typed::<DoubleType>().write_batch(&[0.001, 0.000003], Some(&[1, 1, 0]), None).unwrap();
            }
            5 => {
                to.typed::<Int64Type>().write_batch(&[hour(11), hour(12)], Some(&[1, 1, 0]), None).unwrap();
            }
            6 => {
                to.typed::<Int64Type>().write_batch(&[hour(10), hour(11), hour(0)], None, None).unwrap();
            }
            _ => {
                to.typed::<DoubleType>().write_batch(&[], Some(&[0, 0, 0]), None).unwrap();
            }
        }
        to.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}
