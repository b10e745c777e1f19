//! The catalogue as it is read: prices, routes, names, ends.

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
                .rates(ServiceTier::Standard, 1)
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
    assert!(catalogue.targets.iter().all(|target| !target.prices.is_empty()));
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
    let view = View { region: "us-east-1", as_of, names: &names, auto: Some(&auto), fallback: &fallback };
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
