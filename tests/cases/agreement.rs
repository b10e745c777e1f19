//! The three forms of each router, and one in Python that was written from the seed and
//! `policies/ROUTING.md` alone, decide alike on generated contexts; so do components of `score` that are
//! written in Python and in JavaScript. Of the healer there are three forms; of the prompter, of what learns
//! latencies and of what routes by them, two; of the evaluator and the mutator, three.

mod evolving;
mod guards;
mod healers;
mod observers;
mod prompters;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kairos_bedrock::catalogue;
use kairos_pipeline::features;
use kairos_pipeline::policy::{
    Answer, Complexity, Content, Family, Features, Names, Needs, Offer, Plan, Priority, Question as Asked, RequestInfo,
    Route, RouteInput, Router, Strengths, Task,
};
use kairos_pipeline::request::Hints;
use kairos_pipeline::routers;
use kairos_sandbox::capability::Grants;
use kairos_sandbox::cases::Catalogues;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::limits::Limits;
use kairos_sandbox::load::Loader;
use kairos_sandbox::wasm::WasmEngine;
use kairos_tests::{author, guest, policy, process, python, root};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

/// Contexts that are generated.
const CONTEXTS: usize = 10_000;

#[derive(Clone, Debug)]
struct Context {
    prompt: String,
    hinted_task: Option<Task>,
    hinted_complexity: Option<Complexity>,
    estimated_tokens: Option<u32>,
    max_latency_ms: Option<u32>,
    accuracy: f64,
    cost_sensitivity: f64,
    budget_used: f64,
    named: bool,
    models: Vec<Offer>,
    /// Index of the model that answers for titan, claude, jurassic.
    seeds: [Option<u32>; 3],
}

fn offer() -> impl Strategy<Value = Offer> {
    let prices = prop_oneof![
        1 => Just(0u64),
        4 => prop::sample::select(vec![35_000u64, 60_000, 800_000, 1_100_000, 2_000_000, 3_300_000, 15_000_000]),
        4 => 1u64..50_000_000,
    ];
    let history = prop_oneof![2 => Just((0u32, 0u32)), 3 => (0u32..=64).prop_flat_map(|length| (0..=length).prop_map(move |ok| (ok, length - ok)))];
    let latency = prop_oneof![Just(400u32), Just(500), Just(900), Just(2000), 1u32..5000];
    (prices, history, latency, 0u32..(1 << 11)).prop_map(|(price, (successes, failures), latency_ms, strengths)| {
        Offer {
            names: 0,
            family: Family::Other,
            route: Route::InRegion,
            region: 0,
            legacy: false,
            strengths: Strengths(strengths),
            capabilities: Needs(0b111),
            max_input_tokens: 100_000,
            max_output_tokens: 4_096,
            input_price: price,
            output_price: price.saturating_mul(4),
            cache_read_price: None,
            cache_write_5m_price: None,
            cache_write_1h_price: None,
            worst_case_cost: 1,
            latency_ms,
            successes,
            failures,
            cached_tokens: 0,
            cooldown_ms: 0,
            in_flight: 0,
            quota_left: None,
        }
    })
}

fn prompt() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "python",
        "code",
        "function",
        "Rust",
        "SQL",
        "prove",
        "why",
        "Compare",
        "theorem",
        "the",
        "a",
        "hello",
        "capital",
        "decode",
        "```",
        "plan",
        "test_case",
        "unit",
        "tests",
        "Ünïcode",
        "naïve",
        "analysis",
        "日本語",
        "x1",
        "İstanbul",
    ]);
    let separators = prop::sample::select(vec![" ", "\n", ", ", "-", "_", "", "。"]);
    let short = prop::collection::vec((words, separators), 0..12);
    let short = short
        .prop_map(|parts| parts.into_iter().map(|(word, separator)| format!("{word}{separator}")).collect::<String>());
    let long = (
        short.clone(),
        prop::sample::select(vec![90usize, 396, 400, 7_999, 8_000, 8_185, 8_192, 9_000]),
        short.clone(),
    )
        .prop_map(|(before, padding, after)| format!("{before}{}{after}", "é ".repeat(padding / 3)));
    prop_oneof![8 => short, 1 => long, 1 => any::<String>()]
}

fn context() -> impl Strategy<Value = Context> {
    let fraction = || prop_oneof![Just(0.0), Just(0.5), Just(0.7), Just(0.8), Just(1.0), 0.0..=1.0];
    let hints = (
        prop::option::weighted(0.5, prop::sample::select(Task::ALL.to_vec())),
        prop::option::weighted(0.5, prop::sample::select(Complexity::ALL.to_vec())),
        prop::option::weighted(0.5, prop_oneof![Just(0u32), Just(1), 1u32..10_000]),
        prop::option::weighted(0.5, prop_oneof![Just(500u32), Just(900), 1u32..5000]),
    );
    let wishes = (fraction(), fraction(), fraction(), prop::bool::weighted(0.1));
    let models = prop::collection::vec(offer(), 1..=16);
    let seeds = [0; 3].map(|_| prop::option::weighted(0.85, 0u32..16));
    (prompt(), hints, wishes, models, seeds).prop_map(|(prompt, hints, wishes, models, seeds)| {
        let (hinted_task, hinted_complexity, estimated_tokens, max_latency_ms) = hints;
        let (accuracy, cost_sensitivity, budget_used, named) = wishes;
        let seeds = seeds.map(|seed| seed.filter(|index| (*index as usize) < models.len()));
        Context {
            prompt,
            hinted_task,
            hinted_complexity,
            estimated_tokens,
            max_latency_ms,
            accuracy,
            cost_sensitivity,
            budget_used,
            named,
            models,
            seeds,
        }
    })
}

/// The same contexts on every run and machine.
fn contexts() -> Vec<Context> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = context();
    (0..CONTEXTS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[derive(Debug)]
struct SeedNames(HashMap<&'static str, Arc<str>>);

impl Names for SeedNames {
    fn answering(&self, name: &str) -> Option<Arc<str>> {
        self.0.get(name).cloned()
    }
}

const SEEDS: [&str; 3] = ["titan", "claude", "jurassic"];

/// What a router is asked with, and what the host found.
pub(crate) struct Question {
    pub(crate) request: Arc<RequestInfo>,
    pub(crate) features: Features,
    pub(crate) models: Vec<Offer>,
}

/// As many questions as are asked for, the same on every run.
pub(crate) fn questions(most: usize) -> Vec<Question> {
    contexts().iter().take(most).map(question).collect()
}

fn question(context: &Context) -> Question {
    let mut outline = kairos_dialects::Outline { prompt: context.prompt.clone(), turns: 1, ..Default::default() };
    outline.text_bytes = context.prompt.len() as u64;
    let hints = Hints { task: context.hinted_task, complexity: context.hinted_complexity, ..Hints::default() };
    let found = features::find(&outline, &hints);
    let ids: Vec<Arc<str>> = (0..context.models.len()).map(|index| Arc::from(format!("m{index}"))).collect();
    let named_ids =
        SEEDS.iter().zip(context.seeds).filter_map(|(name, index)| Some((*name, Arc::clone(&ids[index? as usize]))));
    let request = RequestInfo {
        content: Content::new(context.prompt.clone(), String::new()),
        tags: Default::default(),
        task_label: None,
        asked_model: "auto".into(),
        model_ids: ids.clone().into(),
        regions: vec!["us-east-1".into()],
        names: Arc::new(SeedNames(named_ids.collect())),
        learned: Arc::default(),
    };
    let features = Features {
        task: found.task,
        task_hinted: context.hinted_task.is_some(),
        complexity: found.complexity,
        complexity_hinted: context.hinted_complexity.is_some(),
        estimated_tokens: context.estimated_tokens.unwrap_or_else(|| outline.estimated_tokens()),
        max_output_tokens: None,
        max_latency_ms: context.max_latency_ms,
        accuracy: context.accuracy,
        cost_sensitivity: context.cost_sensitivity,
        priority: Priority::Normal,
        needs: Needs::default(),
        streaming: false,
        turns: 1,
        text_bytes: context.prompt.len() as u32,
        named: context.named.then_some(0),
        budget_remaining: None,
        budget_used: context.budget_used,
        budget_level: 0,
    };
    Question { request: Arc::new(request), features, models: context.models.clone() }
}

/// Asks with the names that a policy wants to know about.
fn ask(question: &Question, names: &[String], context: &Context, route: impl Fn(RouteInput<'_>) -> Plan) -> Plan {
    let mut models = question.models.clone();
    for (bit, name) in names.iter().enumerate() {
        let seed = SEEDS.iter().position(|seed| seed == name).and_then(|seed| context.seeds[seed]);
        if let Some(index) = seed {
            models[index as usize].names |= 1 << bit;
        }
    }
    route(RouteInput { request: &question.request, features: &question.features, models: &models })
}

pub(crate) fn loader() -> Loader {
    // What is compared is what is decided, not how fast an unoptimised build decides it.
    let limits =
        Arc::new(Limits { deadline: std::time::Duration::from_secs(5), purity_sample: u64::MAX, ..Limits::default() });
    let wasm = WasmEngine::new(Arc::clone(&limits), None).unwrap();
    let (dropped, configs) = (Arc::default(), Arc::default());
    // The tests that the policies bring along say their day and region themselves.
    let catalogues: Catalogues = Arc::new(|asked| {
        let as_of = asked.as_of.unwrap_or_default().parse().map_err(|_| "a day is needed")?;
        let view = catalogue::View::plain(asked.region.unwrap_or_default(), as_of);
        catalogue::load(catalogue::BUILT_IN, &view).map_err(|error| error.to_string())
    });
    Loader { limits, wasm, grants: Grants::default(), trust: Default::default(), dropped, catalogues, configs }
}

/// A component of `score` in a language with an interpreter, built as an author does.
fn interpreted(folder: &Path, lang: &str, source: &str) -> PathBuf {
    let project = folder.join(lang);
    let begin = format!("kairos plugin new score --lang {lang} --dir {lang}");
    let overwrite = |from: PathBuf, name: &str| std::fs::copy(from, project.join(name)).unwrap();
    assert!(author(folder, &begin).status().unwrap().success());
    overwrite(root().join(format!("plugins/score-{lang}/{source}")), source);
    overwrite(policy("score.test.toml"), "score.test.toml");
    assert!(author(&project, "kairos plugin build").status().unwrap().success());
    // The tests of the script and of the Rust component hold for it too: loading runs them.
    overwrite(policy("score.test.toml"), "target/score.test.toml");
    project.join("target/score.wasm")
}

fn load(loader: &Loader, path: &Path) -> Generation {
    loader.load(path).unwrap_or_else(|refusal| panic!("{}", refusal.explain(&path.display().to_string())))
}

fn line(context: &Context, question: &Question) -> serde_json::Value {
    let models = context.models.iter().map(|model| {
        let strengths: Vec<_> = model.strengths.names().collect();
        json!({
            "strengths": strengths, "input_price": model.input_price, "latency_ms": model.latency_ms,
            "successes": model.successes, "failures": model.failures,
        })
    });
    let names: BTreeMap<_, _> = SEEDS.iter().zip(context.seeds).collect();
    json!({
        "prompt": context.prompt,
        "hints": {
            "task": context.hinted_task.map(Task::name), "complexity": context.hinted_complexity.map(Complexity::name),
            "est_tokens": context.estimated_tokens, "max_latency_ms": context.max_latency_ms,
            "accuracy": context.accuracy, "cost_sensitivity": context.cost_sensitivity,
        },
        "budget_used": context.budget_used,
        "named": question.features.named,
        "models": models.collect::<Vec<_>>(),
        "names": names,
    })
}

/// What the routers in Python decide: a line of answers for each line of contexts.
fn python_decides(lines: &str) -> Vec<serde_json::Value> {
    let script = root().join("tests/clients/routers.py");
    let mut child = Command::new(python()).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let answers = process::text(child.stdout.take().unwrap());
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn shown(plan: &Plan) -> serde_json::Value {
    let order: Vec<_> = plan.candidates.iter().map(|candidate| candidate.model).collect();
    json!({"order": order, "reason": plan.reason})
}

#[test]
fn all_forms_of_the_routers_decide_alike() {
    let contexts = contexts();
    let questions: Vec<_> = contexts.iter().map(question).collect();
    let lines: Vec<_> =
        contexts.iter().zip(&questions).map(|(context, question)| line(context, question).to_string()).collect();
    let in_python = python_decides(&lines.join("\n"));
    assert_eq!(in_python.len(), contexts.len());
    let loader = loader();
    let folder = tempfile::tempdir().unwrap();
    let native: [(&str, Box<dyn Router>); 2] =
        [("task", Box::new(routers::Task::default())), ("score", Box::new(routers::Score::default()))];
    let mut reasons = BTreeMap::new();
    for (name, native) in &native {
        let script = load(&loader, &policy(&format!("{name}.rhai")));
        let mut forms = vec![script, load(&loader, &guest(&format!("{name}-router")))];
        if *name == "score" {
            for (lang, source) in [("python", "plugin.py"), ("js", "plugin.js")] {
                forms.push(load(&loader, &interpreted(folder.path(), lang, source)));
                assert_eq!(forms.last().map(Generation::tests), Some(10), "{lang}");
            }
        }
        for (place, (context, question)) in contexts.iter().zip(&questions).enumerate() {
            let expected = ask(question, &native.identity().model_names, context, |input| native.route(input).unwrap());
            expected.check(question.models.len()).unwrap();
            for (form, generation) in forms.iter().enumerate() {
                let names = &generation.identity().model_names;
                let plan = ask(question, names, context, |input| {
                    generation.ask(Asked::Route(input), 0).0.and_then(Answer::plan).unwrap()
                });
                assert_eq!(plan, expected, "form {form} on context {place}: {context:?}");
            }
            assert_eq!(in_python[place][*name], shown(&expected), "Python's {name} on context {place}: {context:?}");
            *reasons.entry((*name, expected.reason)).or_insert(0) += 1;
        }
    }
    // Every rule was met, or the comparison says nothing of it.
    assert_eq!(reasons.len(), 5 + 3, "{reasons:?}");
    assert!(reasons.values().all(|count| *count > 50), "{reasons:?}");
    for (place, question) in questions.iter().enumerate() {
        let found = json!({"task": question.features.task.name(), "complexity": question.features.complexity.name()});
        assert_eq!(in_python[place]["features"], found, "context {place}: {:?}", contexts[place].prompt);
    }
}
