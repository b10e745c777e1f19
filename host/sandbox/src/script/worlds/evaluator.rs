//! What an evaluator sees of a case and of what came of it, and its score, as scripts make it.

use std::sync::Arc;

use kairos_pipeline::policy::{Case, CaseEnding, CaseOutcome, MOST_METRICS, Measure, Metric, Score, ScoreInput, part};
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::super::api::{Ctx, amount, option};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::Judgement;

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "score",
    parameters: 3,
    hint: "an evaluator has `fn score(ctx, item, outcome) { … }`, which gives score(), to which metrics were added",
};

/// The case.
#[derive(Clone)]
struct CaseView(Arc<Case>);

/// What came of it.
#[derive(Clone)]
struct OutcomeView(Arc<CaseOutcome>);

pub(super) fn call(script: &Script, input: ScoreInput<'_>, ctx: Ctx) -> Fallible<Score> {
    let (case, outcome) = (CaseView(Arc::clone(input.case)), OutcomeView(Arc::clone(input.outcome)));
    script.call(JUDGEMENT.function, (ctx, case, outcome))
}

pub(super) fn register(api: &mut Api<'_>) {
    register_case(api);
    register_outcome(api);
    register_score(api);
}

/// Text, or that there is none.
pub(super) fn word(text: Option<&str>) -> Dynamic {
    text.map_or(Dynamic::UNIT, |text| ImmutableString::from(text).into())
}

/// Where a part of a text begins.
pub(super) fn start(byte: i64) -> u32 {
    u32::try_from(byte.max(0)).unwrap_or(u32::MAX)
}

/// A metric, as scripts see it.
pub(super) fn metric(metric: &Metric) -> Map {
    let Metric { name, measure, value } = metric;
    Map::from([
        ("name".into(), word(Some(name))),
        ("measure".into(), word(Some(measure.name()))),
        ("value".into(), Dynamic::from_float(*value)),
    ])
}

fn register_case(api: &mut Api<'_>) {
    api.section(
        "`item`: the case, and what was asked",
        "`case` is a word of Rhai's own. Of an evaluator, as are the next two tables; of its `ctx`, and of a mutator's, only `config` says something. \
         Of a text, 65,536 bytes are shown at a time, from the byte that is named.",
    )
    .of::<CaseView>("Case", "item")
    .property("id: string", "What the data set calls it.", |case: &mut CaseView| word(Some(&case.0.id)))
    .property("task: string?", "What it is about, where the data set says.", |case: &mut CaseView| {
        word(case.0.task.as_deref())
    })
    .property("prompt_bytes: int", "Bytes of what was asked.", |case: &mut CaseView| case.0.prompt.len() as i64)
    .function("prompt(start: int) -> string", "What was asked, from this byte.", |case: &mut CaseView, from: i64| {
        part(&case.0.prompt, start(from)).to_owned()
    })
    .property(
        "expected: string?",
        "What a good answer is, where the data set says; its first 65,536 bytes.",
        |case: &mut CaseView| word(case.0.expected.as_deref().map(|text| part(text, 0))),
    )
    .function(
        "member(name: string) -> string?",
        "Any other member of the case, as JSON.",
        |case: &mut CaseView, name: &str| word(case.0.member(name)),
    )
    .property(
        "qualities: array",
        "`#{ model, quality }` of each model that the data set has an answer of, in the order of the names.",
        |case: &mut CaseView| -> Array {
            let one = |(model, quality): &(String, f64)| {
                let map = [("model".into(), word(Some(model))), ("quality".into(), Dynamic::from_float(*quality))];
                Dynamic::from_map(Map::from(map))
            };
            case.0.qualities.iter().map(one).collect()
        },
    );
}

fn register_outcome(api: &mut Api<'_>) {
    type O = OutcomeView;
    api.section("`outcome`: what came of it", "What is not known is `()`.")
        .of::<O>("Outcome", "outcome")
        .property("ending: string", "`answered`, `failed` or `refused`.", |o: &mut O| word(Some(o.0.ending.name())))
        .property("failure: string?", "Where it failed: `throttled`, `server`, … as in types.wit.", |o: &mut O| {
            match o.0.ending {
                CaseEnding::Failed(kind) => word(Some(kind.name())),
                CaseEnding::Answered | CaseEnding::Refused => Dynamic::UNIT,
            }
        })
        .property("model: string?", "The model that answered, or was to.", |o: &mut O| word(o.0.model.as_deref()))
        .property("text_bytes: int", "Bytes of the answer.", |o: &mut O| o.0.text.len() as i64)
        .function("text(start: int) -> string", "The answer, from this byte.", |o: &mut O, from: i64| {
            part(&o.0.text, start(from)).to_owned()
        })
        .property("quality: float?", "What the data set says of its quality, 0 to 1.", |o: &mut O| {
            o.0.quality.map_or(Dynamic::UNIT, Dynamic::from_float)
        })
        .property("cost: int?", "In picodollars.", |o: &mut O| option(o.0.cost.map(amount)))
        .property("input_tokens: int?", "Tokens of what was asked.", |o: &mut O| option(o.0.input_tokens))
        .property("output_tokens: int?", "Tokens of the answer.", |o: &mut O| option(o.0.output_tokens))
        .property("latency_ms: int?", "How long it took.", |o: &mut O| option(o.0.latency_ms));
}

fn register_score(api: &mut Api<'_>) {
    api.section(
        "An evaluator's answer",
        "A score `s`. What is not known is left out. A measure says the unit, and which way is better: of `quality`, \
         `safety` and `share` more, from 0 to 1; of `cost`, `latency` and `count` less, in whole numbers.",
    )
    .function("score() -> score", "A score without a metric.", Score::default)
    .of::<Score>("Score", "s")
    .function(
        "metric(name: string, measure: string, value: float)",
        "Adds a metric: 32 at most, each name once. A whole number will do for `value`.",
        |score: &mut Score, name: &str, measure: &str, value: f64| add(score, name, measure, value),
    )
    .also("metric", |score: &mut Score, name: &str, measure: &str, value: i64| add(score, name, measure, value as f64))
    .function(
        "remark(text: string)",
        "Says why, for whoever proposes something better: 4,096 bytes at most.",
        |score: &mut Score, text: &str| score.remark = Some(text.to_owned()),
    );
}

fn add(score: &mut Score, name: &str, measure: &str, value: f64) -> Fallible<()> {
    let Some(measure) = Measure::from_name(measure) else {
        let known = Measure::ALL.map(Measure::name).join(", ");
        return Err(format!("there is no measure {measure:?}; there are {known}").into());
    };
    if score.metrics.len() >= MOST_METRICS {
        return Err(format!("there are more than {MOST_METRICS} metrics").into());
    }
    score.metrics.push(Metric { name: name.to_owned(), measure, value });
    Ok(())
}
