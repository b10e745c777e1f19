//! Calls of a router in each of its forms, beside an empty call of a component in the same engine;
//! and how long it takes until a changed file decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use kairos_bedrock::catalogue;
use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::policy::{
    Complexity, Content, Family, Features, Names, Needs, Offer, Policies as _, Priority, Question as Asked,
    RequestInfo, Route, RouteInput, Router, Strengths, Task,
};
use kairos_pipeline::routers;
use kairos_sandbox::capability::Grants;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::host::Clock;
use kairos_sandbox::limits::Limits;
use kairos_sandbox::load::Loader;
use kairos_sandbox::slots::{Natives, Slots};
use kairos_sandbox::versions::Versions;
use kairos_sandbox::wasm::WasmEngine;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::measure::{head, median, percentile, row};
use crate::root;

/// Turns, of which the middle one is told.
const TURNS: usize = 9;
/// Calls of one contender in a turn; a tenth of it for those that start afresh.
const CALLS: usize = 20_000;
const SWAPS: usize = 100;

/// A component whose one function does nothing: the floor of any call.
const EMPTY: &str = r#"(component
    (core module $m (func (export "nothing")))
    (core instance $i (instantiate $m))
    (func (export "nothing") (canon lift (core func $i "nothing"))))"#;

/// What is measured.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only calls whose name has this in it, beside the empty one; and no swaps
    #[arg(long, default_value = "")]
    only: String,
}

impl Options {
    fn takes(&self, name: &str) -> bool {
        name.contains(&self.only) || name.starts_with("empty")
    }
}

/// A call by its name, and how many of it make a turn.
type Contender<'a> = (&'static str, usize, Box<dyn FnMut() + 'a>);

/// Measures calls and swaps, and prints their tables.
pub(crate) fn run(guests: &Path, options: &Options) {
    println!("\n## A router's call\n");
    println!("The router `score` over 8 models, in each of its forms. “×” is the ratio to the empty component call.\n");
    let loader = loader(None);
    let script = load(&loader, &root().join("policies/score.rhai"));
    let thin = load(&loader, &root().join("policies/task.rhai"));
    let component = load(&loader, &guests.join("score-router.wasm"));
    let native = routers::Score::default();
    let empty = empty(loader.wasm.engine());
    let question = Question::new();
    let input = question.input();
    let asked = Asked::Route(input);
    let mut contenders: Vec<Contender<'_>> = vec![
        ("empty component call", CALLS, Box::new(empty)),
        ("native", CALLS, Box::new(|| drop(native.route(input).unwrap()))),
        ("WASM, instance reused", CALLS, Box::new(|| drop(component.ask(asked, 0).0.unwrap()))),
        ("WASM, fresh instance", CALLS / 10, Box::new(|| drop(component.ask_afresh(asked).unwrap()))),
        ("Rhai", CALLS, Box::new(|| drop(script.ask(asked, 0).0.unwrap()))),
        ("Rhai, thin (`task`)", CALLS, Box::new(|| drop(thin.ask(asked, 0).0.unwrap()))),
    ];
    let mut measured: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..TURNS {
        for (name, calls, call) in contenders.iter_mut().filter(|(name, ..)| options.takes(name)) {
            let started = Instant::now();
            (0..*calls).for_each(|_| call());
            measured.entry(name).or_default().push(started.elapsed().as_secs_f64() * 1e9 / *calls as f64);
        }
    }
    head(&["call", "ns", "×"]);
    for (name, ..) in contenders.iter().filter(|(name, ..)| options.takes(name)) {
        let pairs = measured[name].iter().zip(&measured["empty component call"]);
        let ratio = median(pairs.map(|(ours, empty)| ours / empty).collect());
        row(&[(*name).to_owned(), format!("{:.0}", median(measured[name].clone())), format!("{ratio:.1}")]);
    }
    if options.only.is_empty() {
        swaps(guests);
    }
}

fn empty(engine: &Engine) -> impl FnMut() + use<> {
    let component = Component::new(engine, EMPTY).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = Linker::new(engine).instantiate(&mut store, &component).unwrap();
    let nothing = instance.get_typed_func::<(), ()>(&mut store, "nothing").unwrap();
    move || nothing.call(&mut store, ()).unwrap()
}

fn loader(cache: Option<&Path>) -> Loader {
    // None of the calls is repeated for purity: that would be measured too.
    let limits = Arc::new(Limits { purity_sample: u64::MAX, ..Limits::default() });
    let wasm = WasmEngine::new(Arc::clone(&limits), cache).unwrap();
    Loader {
        limits,
        wasm,
        grants: Grants::default(),
        trust: Default::default(),
        catalogues: Arc::new(|asked| {
            let as_of = asked.as_of.unwrap_or_default().parse().map_err(|_| "a day is needed")?;
            let view = catalogue::View::plain(asked.region.unwrap_or_default(), as_of);
            catalogue::load(catalogue::BUILT_IN, &view).map_err(|error| error.to_string())
        }),
        configs: Arc::default(),
        dropped: Arc::default(),
    }
}

fn load(loader: &Loader, path: &Path) -> Generation {
    loader
        .load(path)
        .unwrap_or_else(|refusal| panic!("{}; run `cargo xtask guests`", refusal.explain(&path.display().to_string())))
}

/// From the rename of a file to the first call that it decides, while calls are made all the time.
fn swaps(guests: &Path) {
    println!("\n## A swap under load\n");
    println!("From the rename of a component in the watched folder to the first call that it decides, in ms.\n");
    let folder = tempfile::tempdir().unwrap();
    let (compiled, policies) = (folder.path().join("compiled"), folder.path().join("policies"));
    std::fs::create_dir(&compiled).unwrap();
    std::fs::create_dir(&policies).unwrap();
    let native: Arc<dyn Router> = Arc::new(routers::Score::default());
    let natives = Natives { router: native, healer: Arc::new(Backoff::new(BackoffBounds::default())), guard: None };
    let (clock, kept): (Clock, Arc<dyn Versions>) = (Arc::new(|| 0), Arc::new(()));
    let host = Slots::new(loader(Some(&compiled)), natives, &clock, &kept, (&Arc::default(), &clock)).unwrap();
    let _watching = host.watch(&policies).unwrap();
    let component = std::fs::read(guests.join("score-router.wasm")).unwrap();
    let (sender, decided) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let calling = std::thread::spawn({
        let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
        move || call_until(&host, &stop, &sender)
    });
    // What serves before the first swap is the native router.
    decided.recv().unwrap();
    let mut swap = |number: usize| {
        let beside = folder.path().join("next.wasm");
        std::fs::write(&beside, variant(&component, number)).unwrap();
        let started = Instant::now();
        std::fs::rename(&beside, policies.join("router.wasm")).unwrap();
        let first: Instant = decided.recv().unwrap();
        u64::try_from(first.duration_since(started).as_nanos()).unwrap()
    };
    let mut cold: Vec<u64> = (0..SWAPS).map(&mut swap).collect();
    // Each of these was compiled before.
    let mut cached: Vec<u64> = (0..SWAPS).map(&mut swap).collect();
    stop.store(true, Ordering::Relaxed);
    let (calls, failed) = calling.join().unwrap();
    head(&["", "p50", "p99"]);
    for (name, times) in [("compiled anew", &mut cold), ("compiled before", &mut cached)] {
        let millis = |nanos: u64| format!("{:.2}", nanos as f64 / 1e6);
        row(&[name.to_owned(), millis(percentile(times, 50)), millis(percentile(times, 99))]);
    }
    println!("\n{} swaps, {calls} calls meanwhile, {failed} failed.", 2 * SWAPS);
}

/// Calls whatever serves, and says when another policy decided for the first time.
fn call_until(host: &Slots, stop: &AtomicBool, decided: &Sender<Instant>) -> (u64, u64) {
    let question = Question::new();
    let (mut calls, mut failed) = (0, 0);
    let mut last = String::new();
    while !stop.load(Ordering::Relaxed) {
        let router = Arc::clone(&host.serving().router);
        let answer = router.route(question.input());
        calls += 1;
        failed += u64::from(answer.is_err());
        if router.identity().digest != last {
            last.clone_from(&router.identity().digest);
            let _ = decided.send(Instant::now());
        }
    }
    (calls, failed)
}

/// A component that no other is equal to: an empty custom section has a name of its own.
fn variant(component: &[u8], number: usize) -> Vec<u8> {
    let label = format!("variant {number}");
    let length = u8::try_from(label.len()).unwrap();
    [component, &[0, length + 1, length], label.as_bytes()].concat()
}

/// What the routers are asked.
struct Question {
    request: Arc<RequestInfo>,
    features: Features,
    models: Vec<Offer>,
}

#[derive(Debug)]
struct NoNames;

impl Names for NoNames {
    fn answering(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

impl Question {
    fn new() -> Self {
        let models: Vec<Offer> = (0..8).map(offer).collect();
        let request = RequestInfo {
            content: Content::new("Write a Python function that adds two numbers".to_owned(), String::new()),
            tags: Default::default(),
            task_label: None,
            asked_model: "auto".to_owned(),
            model_ids: (0..models.len()).map(|model| format!("model-{model}").into()).collect(),
            regions: vec!["us-east-1".into()],
            names: Arc::new(NoNames),
            learned: Arc::default(),
        };
        Self { request: Arc::new(request), features: features(), models }
    }

    fn input(&self) -> RouteInput<'_> {
        RouteInput { request: &self.request, features: &self.features, models: &self.models }
    }
}

fn features() -> Features {
    Features {
        task: Task::Code,
        task_hinted: false,
        complexity: Complexity::Medium,
        complexity_hinted: false,
        estimated_tokens: 120,
        max_output_tokens: Some(512),
        max_latency_ms: None,
        accuracy: 0.5,
        cost_sensitivity: 0.5,
        priority: Priority::Normal,
        needs: Needs::default(),
        streaming: false,
        turns: 1,
        text_bytes: 480,
        named: None,
        budget_remaining: None,
        budget_used: 0.0,
        budget_level: 0,
    }
}

fn offer(number: u32) -> Offer {
    Offer {
        names: 0,
        family: Family::Other,
        route: Route::InRegion,
        region: 0,
        legacy: false,
        strengths: Strengths(0b101 << (number % 8)),
        capabilities: Needs(0b111),
        max_input_tokens: 100_000,
        max_output_tokens: 4_096,
        input_price: 60_000 * (u64::from(number) + 1),
        output_price: 240_000 * (u64::from(number) + 1),
        cache_read_price: None,
        cache_write_5m_price: None,
        cache_write_1h_price: None,
        worst_case_cost: 1_000_000,
        latency_ms: 400 + 100 * number,
        successes: 40 + number,
        failures: number,
        cached_tokens: 0,
        cooldown_ms: 0,
        in_flight: 0,
        quota_left: None,
    }
}
