//! What a mutator sees of a genome and of its fitness, and its proposals, as scripts make them.

use std::sync::Arc;

use kairos_pipeline::genome::{Change, Edit, Genome, MOST_EDITS, Number, Proposal, draw, numbers};
use kairos_pipeline::policy::{Evidence, ProposeInput, Summary, Weakness, part};
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::super::api::{Ctx, amount, code};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::Judgement;
use super::evaluator::{metric, start, word};

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "propose",
    parameters: 4,
    hint: "a mutator has `fn propose(ctx, genome, evidence, seed) { … }`, which gives an array of proposal(reason), \
           each changed by its methods",
};

/// What it begins with.
#[derive(Clone)]
struct GenomeView(Arc<Genome>);

/// The numbers of a text.
#[derive(Clone)]
struct NumbersView(Arc<[Number]>);

/// What is known of its fitness.
#[derive(Clone)]
struct EvidenceView(Arc<Evidence>);

pub(super) fn call(script: &Script, input: ProposeInput<'_>, ctx: Ctx) -> Fallible<Vec<Proposal>> {
    let (genome, evidence) = (GenomeView(Arc::clone(input.genome)), EvidenceView(Arc::clone(input.evidence)));
    let given: Array = script.call(JUDGEMENT.function, (ctx, genome, evidence, amount(input.seed)))?;
    let proposal = |one: Dynamic| {
        let kind = one.type_name();
        one.try_cast::<Proposal>().ok_or_else(|| format!("{kind} is no proposal").into())
    };
    given.into_iter().map(proposal).collect()
}

pub(super) fn register(api: &mut Api<'_>) {
    register_genome(api);
    register_evidence(api);
    register_proposal(api);
}

fn register_genome(api: &mut Api<'_>) {
    type G = GenomeView;
    api.section(
        "`genome`: what is to become better",
        "Of a mutator, as are the next two tables. `seed` is the only randomness.",
    )
    .of::<G>("Genome", "genome")
    .property("slots: array", "Names of the slots, in ascending order.", |genome: &mut G| -> Array {
        genome.0.slots().map(|(slot, _)| word(Some(slot))).collect()
    })
    .function("bytes(slot: string) -> int?", "Bytes of a slot's text.", |genome: &mut G, slot: &str| {
        genome.0.text(slot).map_or(Dynamic::UNIT, |text| Dynamic::from_int(text.len() as i64))
    })
    .function(
        "text(slot: string, start: int) -> string?",
        "A slot's text, from this byte.",
        |genome: &mut G, slot: &str, from: i64| word(genome.0.text(slot).map(|text| part(text, start(from)))),
    )
    .function(
        "numbers(slot: string) -> numbers",
        "The first 1,024 numbers of a slot's text; none where there is no such slot.",
        |genome: &mut G, slot: &str| NumbersView(genome.0.text(slot).map(numbers).unwrap_or_default().into()),
    );
    api.section("Numbers `n`", "Of a mutator: `genome.numbers(slot)`.")
        .of::<NumbersView>("Numbers", "n")
        .property("len: int", "How many there are.", |found: &mut NumbersView| found.0.len() as i64)
        .index(
            "[i]",
            "`#{ start, end, value, whole }` of one: its bytes, its value, and whether it is a whole number.",
            |found: &mut NumbersView, index: i64| -> Fallible<Map> {
                let one = usize::try_from(index).ok().and_then(|index| found.0.get(index));
                one.map(number).ok_or_else(|| format!("there are {} numbers, and none {index}", found.0.len()).into())
            },
        );
    api.section("Randomness", "Of a mutator.").function(
        "draw(seed: int, n: int) -> float",
        "The n-th draw of a seed, in [0, 1).",
        |seed: i64, n: i64| draw(seed as u64, n as u64),
    );
}

fn number(number: &Number) -> Map {
    Map::from([
        ("start".into(), Dynamic::from_int(number.start.into())),
        ("end".into(), Dynamic::from_int(number.end.into())),
        ("value".into(), Dynamic::from_float(number.value)),
        ("whole".into(), Dynamic::from_bool(number.whole)),
    ])
}

fn register_evidence(api: &mut Api<'_>) {
    type E = EvidenceView;
    fn weakness(evidence: &E, index: i64) -> Option<&Weakness> {
        usize::try_from(index).ok().and_then(|index| evidence.0.weaknesses.get(index))
    }
    api.section("`evidence`: what is known of its fitness", "Of a case that went badly: its index, from 0.")
        .of::<E>("Evidence", "evidence")
        .property("summary: array", "`#{ name, measure, mean, n }` of each metric.", |evidence: &mut E| -> Array {
            evidence.0.summary.iter().map(|one| Dynamic::from_map(summary(one))).collect()
        })
        .property("weaknesses: int", "How many cases are told of that went badly.", |evidence: &mut E| {
            evidence.0.weaknesses.len() as i64
        })
        .function(
            "weakness(index: int) -> map?",
            "`#{ id, task, remark, metrics }` of such a case.",
            |evidence: &mut E, index: i64| -> Dynamic {
                let Some(found) = weakness(evidence, index) else { return Dynamic::UNIT };
                let metrics: Array = found.metrics.iter().map(|one| Dynamic::from_map(metric(one))).collect();
                Dynamic::from_map(Map::from([
                    ("id".into(), word(Some(&found.id))),
                    ("task".into(), word(found.task.as_deref())),
                    ("remark".into(), word(found.remark.as_deref())),
                    ("metrics".into(), Dynamic::from_array(metrics)),
                ]))
            },
        )
        .function(
            "prompt(index: int, start: int) -> string",
            "What was asked in such a case.",
            |evidence: &mut E, index: i64, from: i64| {
                ImmutableString::from(weakness(evidence, index).map_or("", |one| part(&one.prompt, start(from))))
            },
        )
        .function(
            "answer(index: int, start: int) -> string",
            "What was answered.",
            |evidence: &mut E, index: i64, from: i64| {
                ImmutableString::from(weakness(evidence, index).map_or("", |one| part(&one.answer, start(from))))
            },
        )
        .property("notes: array", "What else is to be considered.", |evidence: &mut E| -> Array {
            evidence.0.notes.iter().map(|note| word(Some(note))).collect()
        });
}

fn summary(summary: &Summary) -> Map {
    Map::from([
        ("name".into(), word(Some(&summary.name))),
        ("measure".into(), word(Some(summary.measure.name()))),
        ("mean".into(), Dynamic::from_float(summary.mean)),
        ("n".into(), Dynamic::from_int(summary.n.into())),
    ])
}

fn register_proposal(api: &mut Api<'_>) {
    fn push(proposal: &mut Proposal, slot: &str, change: Change) -> Fallible<()> {
        if proposal.edits.len() >= MOST_EDITS {
            return Err(format!("there are more than {MOST_EDITS} edits").into());
        }
        proposal.edits.push(Edit { slot: slot.to_owned(), change });
        Ok(())
    }
    api.section(
        "A mutator's answer",
        "An array of proposals `p`, each of at least one edit. All edits speak of the genome as it is shown; one that \
         does not apply, or changes nothing, leaves its proposal out of the candidates.",
    )
    .function(
        "proposal(reason: int) -> proposal",
        "`reason` is a code that `describe` names.",
        |reason: i64| -> Fallible<Proposal> { Ok(Proposal { reason: code(reason)?, ..Proposal::default() }) },
    )
    .of::<Proposal>("Proposal", "p")
    .function(
        "replace(slot: string, text: string)",
        "This is the slot's text.",
        |proposal: &mut Proposal, slot: &str, text: &str| push(proposal, slot, Change::Replace(text.to_owned())),
    )
    .function(
        "passage(slot: string, find: string, text: string)",
        "The one place where `find` stands has this text.",
        |proposal: &mut Proposal, slot: &str, find: &str, text: &str| {
            push(proposal, slot, Change::Passage(find.to_owned(), text.to_owned()))
        },
    )
    .function(
        "number(slot: string, start: int, value: float)",
        "The number that begins at this byte has this value. A whole number will do for `value`.",
        |proposal: &mut Proposal, slot: &str, at: i64, value: f64| {
            push(proposal, slot, Change::Number(code(at)?, value))
        },
    )
    .also("number", |proposal: &mut Proposal, slot: &str, at: i64, value: i64| {
        push(proposal, slot, Change::Number(code(at)?, value as f64))
    })
    .function(
        "remark(text: string)",
        "Says why in words: 4,096 bytes at most.",
        |proposal: &mut Proposal, text: &str| proposal.remark = Some(text.to_owned()),
    );
}
