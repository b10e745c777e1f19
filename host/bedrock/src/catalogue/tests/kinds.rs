//! Models of another kind than chat: what they cost by the piece, and where they may not stand.

use kairos_dialects::usage::Unit;

use super::*;

fn price(own: &str, region: &str, name: &str, unit: Unit) -> Option<u64> {
    let view = View { own_prices: own, ..View::plain(region, "2026-11-23".parse().unwrap()) };
    let catalogue = load(BUILT_IN, &view).unwrap();
    let Answering::Target { target, .. } = catalogue.answering(name) else { return None };
    catalogue.prices(&catalogue.targets[target], catalogue.day).rates(Default::default(), 0)?.units.of(unit)
}

#[test]
fn pieces_have_prices_by_region_and_route_as_tokens_do() {
    for (region, name, unit, dollars) in [
        ("us-east-1", "nova-embed", Unit::Image, Some("0.00006")),
        ("us-gov-west-1", "nova-embed", Unit::Image, Some("0.000072")),
        ("us-east-1", "nova-embed", Unit::VideoSecond, Some("0.0007")),
        ("us-east-1", "nova-embed", Unit::ImageMade, None),
        ("eu-west-1", "eu.twelvelabs.marengo-embed-3-0-v1:0", Unit::AudioSecond, Some("0.00014")),
        ("us-west-2", "cohere-rerank", Unit::Query, Some("0.002")),
        ("us-west-2", "us.stability.stable-creative-upscale-v1:0", Unit::ImageMade, Some("0.6")),
        // Nobody's price list here has it.
        ("us-east-1", "nova-reel", Unit::VideoSecondMade, None),
    ] {
        let expected = dollars.map(|text| kairos_pipeline::money::Picodollars::parse_dollars(text).unwrap().0);
        assert_eq!(price("", region, name, unit), expected, "{region} {name}");
    }
    let catalogue = on("us-east-1", "2026-11-23");
    let reel = catalogue.models.iter().position(|model| &*model.id == "amazon.nova-reel-v1:1");
    assert_eq!(catalogue.answering("nova-reel"), Answering::NotHere(reel.unwrap()));
    // Nothing is offered beside the model that is named.
    assert!(catalogue.auto.iter().all(|&target| catalogue.model_of(target).kind == ModelKind::Chat));
    let priced = |model: &Model| model.kind != ModelKind::Chat && model.active && model.target.is_some();
    assert!(catalogue.models.iter().filter(|model| priced(model)).count() > 25);
}

#[test]
fn an_operator_prices_pieces_in_the_same_form() {
    let reel = "[[price]]\nmodel = \"nova-reel\"\nat = \"in-region\"\nvideo_second_made = \"0.08\"\n";
    assert_eq!(price(reel, "us-east-1", "nova-reel", Unit::VideoSecondMade), Some(80_000_000_000));
    let told = [
        "model = \"cohere-rerank\"\nat = \"in-region\"\ninput = \"1\"",
        "model = \"cohere-rerank\"\nat = \"in-region\"\nquery = \"0.0000000000001\"",
        "model = \"cohere-rerank\"\nat = \"in-region\"\nquery = \"0.0\"",
        "model = \"cohere-rerank\"\nat = \"in-region\"",
        "model = \"nova-embed\"\nat = \"in-region\"\ninput = \"1\"\nimage = \"1\"\nvideo_second = \"1\"",
        "model = \"nova-lite\"\nat = \"in-region\"\ninput = \"1\"",
        "model = \"nova-lite\"\nat = \"in-region\"\ninput = \"1\"\noutput = \"1\"\nimage = \"1\"",
    ]
    .map(|row| {
        let own_prices = &format!("[[price]]\n{row}\n");
        let view = View { own_prices, ..View::plain("us-east-1", "2026-11-23".parse().unwrap()) };
        load(BUILT_IN, &view).unwrap_err().to_string()
    });
    insta::assert_snapshot!(told.join("\n"), @r#"
    line 1: `query` is missing: cohere.rerank-v3-5:0 has such a price, so it can be billed
    line 1: "0.0000000000001" is not a decimal number of dollars with at most 12 places, which the price of one `query` is
    line 1: a price of 0 would make it free: what has no price is left out
    line 1: it names no price
    line 1: `audio_second` is missing: amazon.nova-2-multimodal-embeddings-v1:0 has such a price, so it can be billed
    line 1: `output` is missing: a chat model has prices of input and output
    line 1: `image` is not priced apart on a chat model: it has prices of tokens
    "#);
}

#[test]
fn only_chat_models_are_offered_or_fallen_back_on() {
    let listed = ["titan-embed".to_owned()];
    let view = View::plain("us-east-1", "2026-11-23".parse().unwrap());
    let auto = load(BUILT_IN, &View { auto: Some(&listed), ..view.clone() }).unwrap_err().to_string();
    let fallback = load(BUILT_IN, &View { fallback: &listed, ..view }).unwrap_err().to_string();
    insta::assert_snapshot!(format!("{auto}\n{fallback}"), @r#"
    models.auto names "titan-embed", which is no chat model but one of kind "embedding": ask it by /v1/embeddings or InvokeModel
    models.fallback names "titan-embed", which is no chat model but one of kind "embedding": ask it by /v1/embeddings or InvokeModel
    "#);
}
