use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::catalogue::{Region, Route, Tier};
use crate::usage::{GuardUnits, Usage};

fn bill(rows: usize) -> Bill {
    Bill::new(
        Arc::new(Catalogue::load(date(2026, 11, 23)).unwrap()),
        rows,
        Clock::fixed("2026-11-23T14:59:59Z".parse().unwrap()),
    )
}

fn charge(bill: &Bill, id: &str, route: Route, tier: Tier, usage: Usage) -> Charge {
    let way = (bill.catalogue.find(id).unwrap(), route, Region::DEFAULT);
    Charge::new(&bill.catalogue, way, tier, usage, GuardUnits::default()).unwrap()
}

const SONNET: &str = "anthropic.claude-sonnet-4-6";

#[test]
fn a_row_says_what_was_used_and_what_it_costs() {
    let bill = bill(10);
    let usage =
        Usage { input: 100, output: 10, cache_read: 2_000, cache_write_5m: 50, cache_write_1h: 5, ..Usage::default() };
    let mut charge = charge(&bill, SONNET, Route::Global, Tier::Standard, usage);
    charge.units = GuardUnits { topic: 1, content: 1, sensitive: 1 };
    let way = (charge.model, charge.route, charge.region);
    let charge = Charge::new(&bill.catalogue, way, charge.tier, usage, charge.units).unwrap();
    bill.book("call-1", "global.anthropic.claude-sonnet-4-6".into(), charge);

    let rows = bill.find("call-1");
    assert_eq!((rows.len(), rows[0].seq), (1, 1));
    assert_eq!((&*rows[0].base_model, &*rows[0].route), (SONNET, "global"));
    let lines: Vec<_> =
        rows[0].usage.iter().map(|line| (&*line.usage_type, line.quantity, line.cost_usd.to_string())).collect();
    // Dollars per million: 3, 15, 0.30, 3.75, 6; guardrail units 0.00015, 0.00015, 0.0001 each.
    let expected = [
        ("USE1-MP:USE1_InputTokenCount_Global-Units", 100, "0.0003"),
        ("USE1-MP:USE1_OutputTokenCount_Global-Units", 10, "0.00015"),
        ("USE1-MP:USE1_CacheReadInputTokenCount_Global-Units", 2_000, "0.0006"),
        ("USE1-MP:USE1_CacheWriteInputTokenCount_Global-Units", 50, "0.0001875"),
        ("USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units", 5, "0.00003"),
        ("USE1-Guardrail-TopicPolicyUnitsConsumed", 1, "0.00015"),
        ("USE1-Guardrail-ContentPolicyUnitsConsumed", 1, "0.00015"),
        ("USE1-Guardrail-SensitiveInformationPolicyPIIUnitsConsumed", 1, "0.0001"),
    ];
    assert_eq!(lines, expected.map(|(name, n, cost)| (name, n, cost.to_owned())));
    // 0.0003 + 0.00015 + 0.0006 + 0.0001875 + 0.00003 + 0.0004
    assert_eq!(rows[0].cost_usd.to_string(), "0.0016675");
    assert_eq!(bill.totals().cost_usd, rows[0].cost_usd);
}

#[test]
fn usage_types() {
    let bill = bill(10);
    let usage = Usage { input: 1, ..Usage::default() };
    let long = Usage { input: 200_001, ..Usage::default() };
    for (id, route, tier, usage, expected) in [
        (SONNET, Route::InRegion, Tier::Standard, usage, "USE1-MP:USE1_InputTokenCount-Units"),
        (SONNET, Route::Eu, Tier::Standard, usage, "USE1-MP:USE1_InputTokenCount-Units"),
        (
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            Route::Global,
            Tier::Standard,
            long,
            "USE1-MP:USE1_InputTokenCount_LongContext_Global-Units",
        ),
        ("amazon.nova-pro-v1:0", Route::InRegion, Tier::Flex, usage, "USE1-NovaPro-input-tokens-flex"),
        (
            "amazon.nova-2-lite-v1:0",
            Route::Global,
            Tier::Priority,
            usage,
            "USE1-Nova2.0Lite-input-tokens-global-priority",
        ),
        ("meta.llama3-8b-instruct-v1:0", Route::InRegion, Tier::Standard, usage, "USE1-Llama3-8B-input-tokens"),
        ("ai21.jamba-1-5-large-v1:0", Route::InRegion, Tier::Standard, usage, "USE1-MP:USE1_InputTokenCount-Units"),
    ] {
        let charge = charge(&bill, id, route, tier, usage);
        let line = charge.lines(&bill.catalogue).next().unwrap();
        assert_eq!(line.key.usage_type(&bill.catalogue), expected, "{id}");
    }
}

#[test]
fn rows_are_bounded_and_totals_are_not() {
    let bill = bill(3);
    let usage = Usage { input: 1, output: 1, ..Usage::default() };
    for n in 1..=5 {
        let charge = charge(&bill, SONNET, Route::Global, Tier::Standard, usage);
        bill.book(&format!("call-{n}"), SONNET.into(), charge);
    }
    let kept: Vec<u64> = bill.rows(0, 10).iter().map(|row| row.seq).collect();
    assert_eq!((kept, bill.first_kept()), (vec![3, 4, 5], 3));
    assert_eq!(bill.rows(3, 1)[0].invocation_id, "call-4");
    assert!(bill.rows(5, 10).is_empty() && bill.rows(u64::MAX, 10).is_empty());
    assert!(bill.find("call-2").is_empty());
    assert_eq!(bill.find("call-3").len(), 1);
    // Five times 3 + 15 microdollars.
    assert_eq!((bill.totals().rows, bill.totals().cost_usd.to_string()), (5, "0.00009".into()));
}

#[test]
fn an_invocation_billed_twice_has_two_rows() {
    let bill = bill(10);
    let usage = Usage { input: 1, ..Usage::default() };
    for id in ["a", "b", "a"] {
        bill.book(id, SONNET.into(), charge(&bill, SONNET, Route::Us, Tier::Standard, usage));
    }
    let seqs: Vec<u64> = bill.find("a").iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [1, 3]);
}

#[test]
fn nothing_used_is_not_booked() {
    let bill = bill(10);
    let nothing = charge(&bill, SONNET, Route::Us, Tier::Standard, Usage::default());
    bill.book("a", SONNET.into(), nothing);
    assert_eq!(bill.totals().rows, 0);
}

proptest! {
    #[test]
    fn a_bill_adds_up(
        choice in 0usize..10_000,
        input in 0u32..300_000,
        output in 0u32..10_000,
        units in 0u32..50,
    ) {
        let bill = bill(10);
        let models: Vec<_> = bill.catalogue.all().collect();
        let model = models[choice % models.len()];
        let routes = [Route::InRegion, Route::Us, Route::Eu, Route::Global];
        let tiers = [Tier::Standard, Tier::Priority, Tier::Flex];
        let usage = Usage { input, output, ..Usage::default() };
        let guard = GuardUnits { topic: units, content: units, sensitive: units };
        let mut sum = 0u128;
        for (route, tier) in routes.into_iter().flat_map(|r| tiers.map(|t| (r, t))) {
            let Some(sheet) = bill.catalogue.sheet(model, route, Region::DEFAULT) else { continue };
            let tier = sheet.tariff(tier).tier;
            let way = (model, route, Region::DEFAULT);
            let charge = Charge::new(&bill.catalogue, way, tier, usage, guard).unwrap();
            let lines: u64 = charge.lines(&bill.catalogue).map(|line| line.cost).sum();
            prop_assert_eq!(lines, charge.cost);
            let more = Usage { output: output + 1, ..usage };
            let dearer = Charge::new(&bill.catalogue, way, tier, more, guard).unwrap();
            prop_assert!(dearer.cost > charge.cost);
            bill.book("x", "x".into(), charge);
            if !charge.is_empty() {
                sum += u128::from(charge.cost);
            }
        }
        prop_assert_eq!(bill.totals().cost_usd.picodollars(), sum);
    }
}

/// As AWS exports it: a line for each hour, usage type and model.
#[test]
fn an_export_has_every_row() {
    let bill = bill(10);
    let usage = Usage { input: 1_000_001, output: 10, ..Usage::default() };
    for _ in 0..2 {
        bill.book("a", SONNET.into(), charge(&bill, SONNET, Route::Global, Tier::Standard, usage));
    }
    let pro = "amazon.nova-pro-v1:0";
    bill.book(
        "b",
        pro.into(),
        charge(&bill, pro, Route::InRegion, Tier::Standard, Usage { output: 3, ..Usage::default() }),
    );
    let text = bill.cur().unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        "SIMULATED,2026-11-01T00:00:00.000Z,0,Usage,2026-11-23T14:00:00.000Z,2026-11-23T15:00:00.000Z,\
         AmazonBedrockFoundationModels,USE1-MP:USE1_InputTokenCount_Global-Units,Inference,2.000002,1M tokens,6.000006,USD,\
         \"2.000002 1M tokens of USE1-MP:USE1_InputTokenCount_Global-Units\",\
         \"{\"\"product_name\"\":\"\"Claude Sonnet 4.6 (Amazon Bedrock Edition)\"\"}\""
    );
    assert!(
        lines[3].contains(",AmazonBedrock,USE1-NovaPro-output-tokens,Inference,0.000003,1M tokens,0.0000096,USD,"),
        "{}",
        lines[3]
    );
    for _ in 0..10 {
        bill.book("c", pro.into(), charge(&bill, pro, Route::InRegion, Tier::Standard, usage));
    }
    // Some of it is gone: what is left is no bill.
    assert_eq!(bill.cur(), None);
}
