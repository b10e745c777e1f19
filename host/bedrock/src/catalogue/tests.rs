//! The catalogue as it is read: prices, routes, names, ends.

mod kinds;

use kairos_dialects::usage::Unit;

use super::*;

fn on(region: &str, as_of: &str) -> Catalogue {
    let view = View::plain(region, as_of.parse().unwrap());
    load(BUILT_IN, &view).unwrap()
}

fn called(catalogue: &Catalogue, name: &str) -> String {
    match catalogue.answering(name) {
        Answering::Target { target, ended } => {
            let target = &catalogue.targets[target];
            let ended = ended.map_or(String::new(), |model| format!(" for {}", catalogue.models[model].id));
            format!("{} {}{ended}", target.invocation_id, target.route.name())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn successor_chains_end_at_the_first_active_model_of_the_date() {
    for (date, titan, claude, jurassic) in [
        (
            "2024-06-01",
            "amazon.titan-text-express-v1 in-region",
            "anthropic.claude-3-5-sonnet-20241022-v2:0 in-region",
            "ai21.j2-ultra-v1 in-region",
        ),
        (
            "2025-03-13",
            "amazon.titan-text-express-v1 in-region",
            "anthropic.claude-3-5-sonnet-20241022-v2:0 in-region",
            "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1",
        ),
        (
            "2026-11-25",
            "amazon.nova-lite-v1:0 in-region for amazon.titan-text-express-v1",
            "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
            "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1",
        ),
        (
            "2026-11-26",
            "amazon.nova-lite-v1:0 in-region for amazon.titan-text-express-v1",
            "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
            "amazon.nova-pro-v1:0 in-region for ai21.j2-ultra-v1",
        ),
    ] {
        let catalogue = on("us-east-1", date);
        assert_eq!(
            [called(&catalogue, "titan"), called(&catalogue, "claude"), called(&catalogue, "jurassic")],
            [titan, claude, jurassic],
            "{date}"
        );
    }
}

#[test]
fn names_of_every_kind() {
    let catalogue = on("us-east-1", "2026-11-23");
    for (name, expected) in [
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0 in-region"),
        ("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0 geo"),
        ("nova-lite", "amazon.nova-lite-v1:0 in-region"),
        (
            "anthropic.claude-3-5-sonnet",
            "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
        ),
        (
            "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
            "us.anthropic.claude-sonnet-4-6 geo for anthropic.claude-3-5-sonnet-20241022-v2:0",
        ),
        ("global.anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6 global"),
        ("anthropic.claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-6 geo"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0 in-region"),
        ("ai21.j2-ultra", "ai21.jamba-1-5-large-v1:0 in-region for ai21.j2-ultra-v1"),
        ("eu.amazon.nova-lite-v1:0", "Unknown(Some(\"us.amazon.nova-lite-v1:0\"))"),
        ("xyz", "Unknown(None)"),
    ] {
        assert_eq!(called(&catalogue, name), expected, "{name}");
    }
    assert_eq!(
        strip_arn("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"),
        "us.amazon.nova-lite-v1:0"
    );
    assert_eq!(
        strip_arn("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x"),
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x"
    );
}

#[test]
fn prices_are_those_of_the_region_and_never_another_continents() {
    let rates = |region: &str, name: &str| {
        let catalogue = on(region, "2026-11-23");
        match catalogue.answering(name) {
            Answering::Target { target, .. } => catalogue.targets[target]
                .prices
                .rates(Default::default(), 1, catalogue.day)
                .map(|rates| (rates.input, rates.output)),
            _ => None,
        }
    };
    assert_eq!(rates("us-east-1", "nova-lite"), Some((60_000, 240_000)));
    assert_eq!(rates("eu-west-1", "nova-lite"), Some((78_000, 312_000)));
    assert_eq!(rates("us-gov-west-1", "nova-lite"), Some((72_000, 288_000)));
    assert_eq!(rates("us-east-1", "claude-sonnet-4-6"), Some((3_300_000, 16_500_000)));
    assert_eq!(rates("us-east-1", "global.anthropic.claude-sonnet-4-6"), Some((3_000_000, 15_000_000)));
    assert_eq!(rates("eu-west-1", "mistral-large-3"), None);
    assert_eq!(rates("eu-west-2", "llama3-8b"), Some((390_000, 780_000)));
    assert_eq!(rates("eu-central-1", "minimax-m2-5"), Some((360_000, 1_440_000)));
    assert_eq!(rates("us-east-1", "gpt-oss-120b"), Some((150_000, 600_000)));
    assert_eq!(rates("us-east-1", "us.xai.grok-4.6"), Some((2_200_000, 6_600_000)));
    // Listed at the global price; charged as the geography's profile is.
    assert_eq!(rates("us-east-1", "openai.gpt-6-sol"), Some((2_200_000, 11_000_000)));
    assert_eq!(called(&on("ap-south-1", "2026-11-23"), "in.moonshotai.kimi-k3"), "in.moonshotai.kimi-k3 geo");
}

#[test]
fn auto_offers_active_models_in_order_and_every_one_is_priced() {
    let catalogue = on("us-east-1", "2026-11-23");
    let ids: Vec<_> = catalogue.auto.iter().map(|&target| &*catalogue.targets[target].invocation_id).collect();
    assert_eq!(
        ids,
        [
            "amazon.nova-lite-v1:0",
            "us.anthropic.claude-sonnet-4-6",
            "ai21.jamba-1-5-large-v1:0",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "amazon.nova-pro-v1:0",
            "amazon.nova-micro-v1:0",
            "us.amazon.nova-2-lite-v1:0",
            "us.meta.llama4-maverick-17b-instruct-v1:0",
            "mistral.mistral-large-3-675b-instruct"
        ]
    );
    assert!(on("us-east-1", "2026-12-01").auto.len() == ids.len() - 1);
    assert!(catalogue.targets.iter().all(|target| !target.prices.is_empty(catalogue.day)));
}

#[test]
fn what_families_and_models_take_of_the_parameters() {
    let catalogue = on("us-east-1", "2026-11-23");
    let says = |name: &str| match catalogue.answering(name) {
        Answering::Target { target, .. } => {
            let model = &catalogue.models[catalogue.targets[target].model];
            let top_k = model.top_k.map(|top_k| format!("{:?} {:?}", top_k.field, top_k.most));
            format!("{:?}, {}", model.sampling, top_k.unwrap_or("none".to_owned()))
        }
        other => format!("{other:?}"),
    };
    for (name, expected) in [
        ("nova-lite", "Both, Inference None"),
        ("claude-sonnet-4-6", "One, TopK Some(500)"),
        ("us.anthropic.claude-opus-5", "None, TopK Some(500)"),
        ("ai21.jamba-1-5-large-v1:0", "Both, none"),
        ("mistral.mistral-7b-instruct-v0:2", "Both, TopK Some(200)"),
        ("mistral.mistral-large-3-675b-instruct", "Both, none"),
    ] {
        assert_eq!(says(name), expected, "{name}");
    }
}

#[test]
fn the_configuration_adds_names() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let names =
        [("cheap".to_owned(), "nova-micro".to_owned()), (arn.to_owned(), "us.anthropic.claude-sonnet-4-6".to_owned())];
    let auto = ["cheap".to_owned(), "titan".to_owned(), "nova-lite".to_owned()];
    let fallback = ["claude".to_owned(), "cheap".to_owned(), "anthropic.claude-3-5-sonnet".to_owned()];
    let as_of = "2026-11-23".parse().unwrap();
    let view = View { names: &names, auto: Some(&auto), fallback: &fallback, ..View::plain("us-east-1", as_of) };
    let catalogue = load(BUILT_IN, &view).unwrap();
    assert_eq!(called(&catalogue, "cheap"), "amazon.nova-micro-v1:0 in-region");
    assert_eq!(called(&catalogue, arn), format!("{arn} account"));
    assert_eq!(catalogue.auto.len(), 2);
    let fallback: Vec<_> = catalogue.fallback.iter().map(|&target| &*catalogue.model_of(target).id).collect();
    assert_eq!(fallback, ["anthropic.claude-sonnet-4-6", "amazon.nova-micro-v1:0"]);
    let refusal = |view: View<'_>| load(BUILT_IN, &view).unwrap_err().to_string();
    let bad = View { names: &[("x".to_owned(), "y".to_owned())], ..view.clone() };
    assert_eq!(refusal(bad), "x: the model \"y\" is not known");
    let bad = View { fallback: &["nova-lte".to_owned()], ..view };
    assert_eq!(refusal(bad), "models.fallback: the model \"nova-lte\" is not known; did you mean \"nova-lite\"?");
}

#[test]
fn a_bad_catalogue_is_refused_with_what_and_where() {
    let view = View::plain("us-east-1", "2026-11-23".parse().unwrap());
    for (from, to, says) in [
        ("input = \"0.2\"", "input = \"0.2000001\"", "\"0.2000001\" is not a decimal number"),
        ("input = \"0.2\"", "inptu = \"0.2\"", "unknown field `inptu`"),
        ("sampling = \"one\"", "sampling = \"two\"", "unknown variant `two`"),
        ("field = \"k\"", "field = \"q\"", "unknown variant `q`"),
        ("\"titan\", ", "\"claude\", ", "\"claude\" names two models"),
        ("successor = \"amazon.nova-lite-v1:0\"", "successor = \"nova\"", "the successor \"nova\" is not known"),
        ("[\"streaming\", \"guardrails\"]", "[\"steaming\"]", "the capability \"steaming\" is not known"),
        ("2025-08-31", "2025-02-31", "2025-02-31"),
    ] {
        let source = BUILT_IN.replacen(from, to, 1);
        let error = load(&source, &view).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

const OWN: &str = r#"
[[price]]
model = "claude-sonnet-4-6"
at = "global"
from = "2026-12-01"
until = "2027-01-01"
input = "2.4"
output = "12"
cache_write_5m = "3"
cache_write_1h = "4.8"

[[price]]
model = "amazon.nova-lite-v1:0"
at = "in-region"
input = "0.05"
output = "0.2"

[[price]]
model = "amazon.nova-lite-v1:0"
at = "in-region"
region = "us-west-2"
input = "0.04"
output = "0.2"

[[price]]
model = "mistral-large-3"
at = "in-region"
region = "eu-west-1"
input = "0.6"
output = "1.8"
"#;

/// Input and output of a name in millionths of a dollar a million, and whether something stands in.
fn priced(view: &View<'_>, name: &str, day: &str) -> Option<(u64, u64)> {
    let catalogue = load(BUILT_IN, view).unwrap();
    let Answering::Target { target, .. } = catalogue.answering(name) else { return None };
    let day = prices::day(day.parse().unwrap());
    let rates = catalogue.prices(&catalogue.targets[target], day).rates(Default::default(), 1)?;
    Some((rates.input, rates.output))
}

#[test]
fn a_price_holds_on_its_days() {
    let view = View::plain("us-east-1", "2025-11-30".parse().unwrap());
    let of = |day| priced(&view, "claude-3-5-sonnet-20240620", day);
    assert_eq!(of("2025-11-30"), Some((3_000_000, 15_000_000)));
    assert_eq!(of("2025-12-01"), Some((6_000_000, 30_000_000)));
    let catalogue = load(BUILT_IN, &view).unwrap();
    assert_eq!(catalogue.day_at(0), prices::day(view.as_of));
    let live = load(BUILT_IN, &View { is_day_set: false, ..view }).unwrap();
    // 2026-11-30T23:59:59.999Z, and a millisecond more.
    assert_eq!([1_796_083_199_999, 1_796_083_200_000].map(|at| live.day_at(at)), [20_787, 20_788]);
    assert_eq!(prices::date(20_788), "2026-12-01");
}

#[test]
fn own_prices_go_before_the_catalogues_where_and_when_they_are_for() {
    let at = |region| View { own_prices: OWN, ..View::plain(region, "2026-11-23".parse().unwrap()) };
    let sonnet = |day| priced(&at("us-east-1"), "global.anthropic.claude-sonnet-4-6", day);
    assert_eq!(
        ["2026-11-30", "2026-12-01", "2026-12-31", "2027-01-01"].map(sonnet),
        [(3_000_000, 15_000_000), (2_400_000, 12_000_000), (2_400_000, 12_000_000), (3_000_000, 15_000_000)].map(Some)
    );
    let day = "2026-11-23";
    assert_eq!(priced(&at("us-east-1"), "nova-lite", day), Some((50_000, 200_000)));
    assert_eq!(priced(&at("eu-west-1"), "nova-lite", day), Some((50_000, 200_000)));
    assert_eq!(priced(&at("us-west-2"), "nova-lite", day), Some((40_000, 200_000)));
    assert_eq!(priced(&at("us-east-1"), "us.amazon.nova-lite-v1:0", day), Some((60_000, 240_000)));
    // A way that had no price has one.
    assert_eq!(priced(&at("eu-west-1"), "mistral-large-3", day), Some((600_000, 1_800_000)));
    assert_eq!(priced(&at("eu-west-3"), "mistral-large-3", day), None);
    // Other prices are another version; the sheet has both, and can be taken apart.
    let version = |view: &View<'_>| load(BUILT_IN, view).unwrap().version;
    let own = version(&at("us-east-1"));
    let text = sheet(BUILT_IN, OWN);
    assert_eq!(*own, *hex::encode(Sha256::digest(&text)));
    assert_eq!(parts(&text), (BUILT_IN, OWN));
    assert_eq!(parts(BUILT_IN), (BUILT_IN, ""));
    assert_ne!(own, version(&View::plain("us-east-1", "2026-11-23".parse().unwrap())));
    assert_eq!(own, version(&at("eu-west-1")));
    // Guardrails have all prices, and own ones in their place.
    let units = View { own_prices: "[guardrail_units]\nword_policy_units = \"0.00001\"\n", ..at("us-east-1") };
    let prices = load(BUILT_IN, &units).unwrap().guardrail_prices;
    assert_eq!((prices.word, prices.topic, prices.reasoning), (10_000_000, 150_000_000, 170_000_000));
    assert!([prices.content, prices.image, prices.sensitive, prices.grounding].iter().all(|price| *price > 0));
}

#[test]
fn the_example_of_the_readme_is_right() {
    let readme = include_str!("../../../../README.md");
    let (_, example) = readme.split_once("```toml\n[[price]]").unwrap();
    let example = format!("[[price]]{}", example.split_once("```").unwrap().0);
    let view = View { own_prices: &example, ..View::plain("us-east-1", "2026-11-23".parse().unwrap()) };
    let of = |day| priced(&view, "global.anthropic.claude-sonnet-4-6", day);
    assert_eq!(of("2026-12-31"), Some((3_000_000, 15_000_000)));
    assert_eq!(of("2027-01-01"), Some((2_700_000, 13_500_000)));
}

#[test]
fn own_prices_that_are_wrong_are_told_with_their_line() {
    let row = |more: &str| format!("# Ours\n[[price]]\n{more}\n");
    let sonnet = "model = \"claude-sonnet-4-6\"\nat = \"us\"\n";
    let prices = "input = \"1\"\noutput = \"2\"\n";
    let whole = format!("{prices}cache_write_5m = \"1\"\ncache_write_1h = \"2\"\n");
    let twice = format!("{sonnet}{whole}[[price]]\n{sonnet}from = \"2026-12-01\"\n{whole}");
    let told = [
        "[[price]".to_owned(),
        row(&format!("{sonnet}input = \"1\"\ndiscount = 0.9\n{prices}")),
        row(&format!("{sonnet}{prices}discount = \"0.9\"")),
        row(&format!("at = \"us\"\n{prices}")),
        row(&format!("model = \"claude-sonet-4-6\"\nat = \"us\"\n{prices}")),
        row(&format!("model = \"nova-lite\"\nat = \"usa\"\n{prices}")),
        row(&format!("model = \"anthropic.claude-opus-5\"\nat = \"in-region\"\n{prices}")),
        row(&format!("{sonnet}region = \"Virginia\"\n{prices}")),
        row(&format!("{sonnet}from = \"2026-12-01\"\nuntil = \"2026-12-01\"\n{prices}")),
        row(&format!("{sonnet}from = \"yesterday\"\n{prices}")),
        row(&format!("{sonnet}input = \"1e-3\"\noutput = \"2\"")),
        row(&format!("{sonnet}input = 1.5\noutput = \"2\"")),
        row(&format!("{sonnet}input = \"0\"\noutput = \"2\"")),
        row(&format!("{sonnet}{prices}cache_write_5m = \"1\"")),
        row(&twice),
        "\n[guardrail_units]\ntopic_policy_units = \"free\"\n".to_owned(),
        "[prices]\n".to_owned(),
    ]
    .map(|own_prices| {
        let view = View { own_prices: &own_prices, ..View::plain("us-east-1", "2026-11-23".parse().unwrap()) };
        load(BUILT_IN, &view).unwrap_err().to_string()
    });
    insta::assert_snapshot!(told.join("\n"), @r#"
    line 1: unclosed array table, expected `]`
    line 7: duplicate key
    line 7: unknown field `discount`, expected one of `model`, `at`, `region`, `tier`, `over`, `from`, `until`, `input`, `output`, `cache_read`, `cache_write_5m`, `cache_write_1h`, `image`, `image_made`, `query`, `audio_second`, `video_second`, `video_second_made`
    line 2: `model` is missing: the id of a model, or a name of it
    line 2: there is no model "claude-sonet-4-6"; did you mean "claude-sonnet-4-6"?; `kairos models` lists what there is
    line 2: there is no route "usa"; did you mean "us"?; there are in-region, global, us, eu, apac, jp, au, in, us-gov
    line 2: anthropic.claude-opus-5 is served through profiles only: `at` is one of global, us, eu, apac, jp, au, in, us-gov
    line 2: "Virginia" is not the name of an AWS region
    line 2: it ends on 2026-12-01, and begins no earlier: it would never hold
    line 5: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y
    line 2: "1e-3" is not a decimal number of dollars per million tokens with at most 6 places
    line 5: invalid type: floating point `1.5`, expected a string
    line 2: a price of 0 would make it free: what has no price is left out
    line 2: `cache_write_1h` is missing: anthropic.claude-sonnet-4-6 has such a price, so it can be billed
    line 9: anthropic.claude-sonnet-4-6 has two prices for us, standard on 2026-12-01: an earlier row is one
    line 2: "free" is not a decimal number of dollars per guardrail unit with at most 12 places
    line 1: unknown field `prices`, expected `price` or `guardrail_units`
    "#);
}

#[test]
fn what_has_no_price_is_called_only_where_that_is_allowed() {
    let view = View::plain("eu-west-1", "2026-11-23".parse().unwrap());
    let allowed = View { allow_unpriced: true, ..view.clone() };
    assert_eq!(priced(&view, "mistral-large-3", "2026-11-23"), None);
    let catalogue = load(BUILT_IN, &allowed).unwrap();
    assert_eq!(called(&catalogue, "mistral-large-3"), "mistral.mistral-large-3-675b-instruct in-region");
    // The dearest of its family: no row of it is dearer.
    let dearest = priced(&allowed, "mistral-large-3", "2026-11-23").unwrap();
    let family = catalogue.models.iter().enumerate().filter(|(_, model)| model.family == Family::Mistral);
    for target in family.flat_map(|(index, _)| catalogue.targets.iter().filter(move |target| target.model == index)) {
        assert!(target.prices.rows().iter().all(|row| row.rates.input <= dearest.0 && row.rates.output <= dearest.1));
    }
    assert!(dearest.0 > 0 && dearest.1 > 0 && catalogue.stand_ins.len() == Family::ALL.len());
    // No row of the family has a price of an image that is made: the dearest of all stands in.
    let made = |family: Option<Family>| {
        let known = catalogue.stand_ins.iter().filter(|(of, _)| family == Some(*of) || family.is_none());
        known.filter_map(|(_, rates)| rates.units.of(Unit::ImageMade)).max()
    };
    assert!(made(None).is_some() && made(Some(Family::Mistral)) == made(None));
    // Rented capacity has no price by the token, whatever it stands for.
    let arn = "arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/abc".to_owned();
    let names = [(arn.clone(), "nova-lite".to_owned())];
    let error = load(BUILT_IN, &View { names: &names, ..view }).unwrap_err();
    assert!(matches!(error, CatalogueError::ByTheHour { .. }), "{error}");
    let rented = View { names: &names, ..allowed };
    let nova = load(BUILT_IN, &rented).unwrap().stand_ins.iter().find(|(of, _)| *of == Family::Nova).unwrap().1;
    assert_eq!(priced(&rented, &arn, "2026-11-23"), Some((nova.input, nova.output)));
}

#[test]
fn an_operators_burndown_goes_before_the_catalogues() {
    let of = |figures: &[(&str, u32)]| {
        let figures: Vec<_> = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        let plain = View::plain("us-east-1", "2026-11-23".parse().unwrap());
        let catalogue = load(BUILT_IN, &View { burndown: &figures, ..plain }).map_err(|error| error.to_string())?;
        let burndown = |name: &str| {
            let Answering::Target { target, .. } = catalogue.answering(name) else { panic!() };
            catalogue.model_of(target).burndown
        };
        Ok::<_, String>((burndown("nova-lite"), burndown("claude-sonnet-4-6")))
    };
    let (nova, sonnet) = of(&[]).unwrap();
    assert_ne!(sonnet, 7);
    assert_eq!(of(&[("us.anthropic.claude-sonnet-4-6", 7)]), Ok((nova, 7)));
    let wrong = "limits.burndown: the model \"nova-lit\" is not known; did you mean \"nova-lite\"?";
    assert_eq!(of(&[("nova-lit", 2)]), Err(wrong.to_owned()));
}
