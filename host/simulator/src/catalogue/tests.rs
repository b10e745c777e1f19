use jiff::civil::date;

use super::Tier::{Flex, Priority, Standard};
use super::*;
use crate::usage::Usage;

fn today() -> Catalogue {
    Catalogue::load(date(2026, 11, 23)).unwrap()
}

fn picos(catalogue: &Catalogue, id: &str, route: Route, region: &str, tier: Tier, tokens_in: u32) -> [Option<u64>; 5] {
    let model = catalogue.find(id).unwrap();
    let sheet = catalogue.sheet(model, route, Region::find(region).unwrap()).unwrap();
    let (_, rates) = sheet.tariff(tier).band(tokens_in);
    Kind::ALL.map(|kind| rates.of(kind))
}

/// Id, route, region, tier, tokens in, and picodollars a token: dollars per million, times a million.
type Case = (&'static str, Route, &'static str, Tier, u32, [Option<u64>; 5]);

const PRICES: &[Case] = &[
    // Global 3/15, in-region and geographic 1.10 times that.
    (
        "anthropic.claude-sonnet-4-6",
        Route::Global,
        "eu-west-1",
        Standard,
        10,
        [Some(3_000_000), Some(15_000_000), Some(300_000), Some(3_750_000), Some(6_000_000)],
    ),
    (
        "anthropic.claude-sonnet-4-6",
        Route::InRegion,
        "us-east-1",
        Standard,
        10,
        [Some(3_300_000), Some(16_500_000), Some(330_000), Some(4_125_000), Some(6_600_000)],
    ),
    (
        "anthropic.claude-opus-5-5",
        Route::InRegion,
        "us-east-1",
        Standard,
        10,
        [Some(4_400_000), Some(22_000_000), Some(220_000), Some(5_500_000), Some(8_800_000)],
    ),
    // Sonnet 4 costs the same on every route.
    (
        "anthropic.claude-sonnet-4-20250514-v1:0",
        Route::InRegion,
        "us-east-1",
        Standard,
        10,
        [Some(3_000_000), Some(15_000_000), Some(300_000), Some(3_750_000), None],
    ),
    // Above 200,000 tokens.
    (
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        Route::Us,
        "us-west-2",
        Standard,
        200_001,
        [Some(6_600_000), Some(24_750_000), Some(660_000), Some(8_250_000), Some(13_200_000)],
    ),
    (
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        Route::Us,
        "us-west-2",
        Standard,
        200_000,
        [Some(3_300_000), Some(16_500_000), Some(330_000), Some(4_125_000), Some(6_600_000)],
    ),
    // us-gov has its own rows.
    (
        "anthropic.claude-opus-5",
        Route::InRegion,
        "us-gov-west-1",
        Standard,
        10,
        [Some(6_000_000), Some(30_000_000), Some(600_000), Some(7_500_000), Some(12_000_000)],
    ),
    (
        "anthropic.claude-opus-5",
        Route::UsGov,
        "us-gov-east-1",
        Standard,
        10,
        [Some(6_000_000), Some(30_000_000), Some(600_000), Some(7_500_000), Some(12_000_000)],
    ),
    // No published price for one-hour writes.
    (
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        Route::Apac,
        "ap-south-1",
        Standard,
        10,
        [Some(1_100_000), Some(5_500_000), Some(110_000), Some(1_375_000), None],
    ),
    // Nova 2 Lite in a region costs what the profile of that geography costs.
    (
        "amazon.nova-2-lite-v1:0",
        Route::InRegion,
        "us-east-1",
        Standard,
        10,
        [Some(330_000), Some(2_750_000), Some(82_500), None, None],
    ),
    (
        "amazon.nova-2-lite-v1:0",
        Route::InRegion,
        "eu-west-1",
        Standard,
        10,
        [Some(429_000), Some(3_597_000), Some(107_250), None, None],
    ),
    (
        "amazon.nova-2-lite-v1:0",
        Route::InRegion,
        "ap-south-1",
        Standard,
        10,
        [Some(396_000), Some(3_311_000), Some(99_000), None, None],
    ),
    (
        "amazon.nova-2-lite-v1:0",
        Route::InRegion,
        "ap-northeast-1",
        Priority,
        10,
        [Some(693_000), Some(5_794_250), Some(173_250), None, None],
    ),
    (
        "amazon.nova-pro-v1:0",
        Route::Us,
        "us-east-1",
        Flex,
        10,
        [Some(400_000), Some(1_600_000), Some(100_000), None, None],
    ),
    // A tier without a row is served at the standard one.
    (
        "amazon.nova-micro-v1:0",
        Route::InRegion,
        "us-east-1",
        Flex,
        10,
        [Some(35_000), Some(140_000), Some(8_750), None, None],
    ),
    (
        "meta.llama3-8b-instruct-v1:0",
        Route::InRegion,
        "ap-south-1",
        Standard,
        10,
        [Some(360_000), Some(720_000), None, None, None],
    ),
    // Doubled for legacy access.
    (
        "anthropic.claude-3-5-sonnet-20240620-v1:0",
        Route::InRegion,
        "us-east-1",
        Standard,
        10,
        [Some(6_000_000), Some(30_000_000), None, None, None],
    ),
];

#[test]
fn the_price_of_a_token() {
    let catalogue = today();
    for (id, route, region, tier, tokens, expected) in PRICES {
        let found = picos(&catalogue, id, *route, region, *tier, *tokens);
        assert_eq!(found, *expected, "{id} {route:?} {region} {tier:?} {tokens}");
    }
    let before = Catalogue::load(date(2025, 11, 30)).unwrap();
    let old = "anthropic.claude-3-5-sonnet-20240620-v1:0";
    let price = picos(&before, old, Route::InRegion, "us-east-1", Standard, 10);
    assert_eq!(price[0], Some(3_000_000));
}

#[test]
fn a_partition_sells_only_what_it_prices() {
    let catalogue = today();
    let model = catalogue.find("anthropic.claude-sonnet-4-6").unwrap();
    let gov = Region::find("us-gov-west-1").unwrap();
    for (route, _) in ROUTES {
        assert!(catalogue.sheet(model, route, gov).is_none(), "{route:?}");
    }
}

#[test]
fn every_model_can_be_reached_and_priced() {
    let catalogue = today();
    for which in catalogue.all() {
        let model = catalogue.model(which);
        let routes: Vec<Route> = ROUTES.iter().map(|r| r.0).filter(|r| catalogue.has_route(which, *r)).collect();
        assert!(!routes.is_empty(), "{} has no price", model.id);
        let reachable = |r: &Route| !model.profile_only || *r != Route::InRegion;
        assert!(routes.iter().any(reachable), "{} cannot be called", model.id);
        assert!(model.max_in > 0 && model.max_out > 0);
        assert_eq!(model.cache_min.is_some(), model.has(Features::CACHE), "{}", model.id);
    }
}

#[test]
fn bands_price_all_that_their_base_prices() {
    let catalogue = today();
    for (model, sheets) in &catalogue.models {
        for tariff in sheets.iter().flat_map(|s| [Standard, Flex].map(|t| s.tariff(t))) {
            for kind in Kind::ALL {
                let base = tariff.band(0).1.of(kind).is_some();
                assert_eq!(tariff.prices(kind), base, "{} {kind:?}", model.id);
            }
        }
    }
}

#[test]
fn cost_is_exact_and_never_guessed() {
    let catalogue = today();
    let model = catalogue.find("anthropic.claude-sonnet-4-6").unwrap();
    let sheet = catalogue.sheet(model, Route::Global, Region::DEFAULT).unwrap();
    let tariff = sheet.tariff(Standard);
    let usage =
        Usage { input: 7, output: 3, cache_read: 100, cache_write_5m: 20, cache_write_1h: 10, ..Usage::default() };
    // 7×3.00 + 3×15 + 100×0.30 + 20×3.75 + 10×6 = 21 + 45 + 30 + 75 + 60 = 231 microdollars.
    assert_eq!(tariff.cost(&usage), Some(231_000_000));

    let nova = catalogue.find("amazon.nova-lite-v1:0").unwrap();
    let sheet = catalogue.sheet(nova, Route::InRegion, Region::DEFAULT).unwrap();
    assert_eq!(sheet.tariff(Standard).cost(&usage), None, "Nova publishes no write price");
}

#[test]
fn a_price_without_a_model_is_refused() {
    let prices = "no.such\tglobal\t*\tstandard\t0\t-\t0.1\t0.2\t-\t-\t-\n";
    let message = Catalogue::read("", prices, date(2026, 1, 1)).unwrap_err().to_string();
    assert_eq!(message, "bad model \"no.such\"");
    let prices = "x\tglobal\t*\tstandard\t0\t-\t0.1\tcheap\t-\t-\t-\n";
    let message = Catalogue::read("", prices, date(2026, 1, 1)).unwrap_err().to_string();
    assert_eq!(message, "prices.tsv line 1: bad price \"cheap\"");
}
