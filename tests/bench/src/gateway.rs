//! The gateway beside a bare proxy and beside no proxy at all.
//!
//! Load generator and upstream share one core, what is measured has the other for itself. Turn by
//! turn each is given the same load; what is told of each is its median turn.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;

use crate::load::{Shot, fire};
use crate::measure::{head, median, percentile, row};
use crate::{account, guests, root};

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The gateway's binary
    #[arg(long, default_value_os_t = beside("kairos"))]
    kairos: PathBuf,
    /// The routing policy that serves
    #[arg(long, default_value_os_t = guests().join("score-router.wasm"))]
    policy: PathBuf,
    /// Turns of each
    #[arg(long, default_value_t = 7)]
    turns: usize,
    /// A tenth of the requests: for a first look
    #[arg(long)]
    quick: bool,
    /// Only loads whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
}

fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(name)
}

/// The core of what is measured, and that of load and upstream.
const MEASURED: usize = 0;
const OTHERS: usize = 1;

/// Requests of a warm-up: pools are full, code has run, lazily made tables are there.
const WARM_UP: usize = 2_000;

/// A load: how many at once, streamed or not, how many requests a turn.
struct Load {
    name: &'static str,
    connections: usize,
    streams: bool,
    requests: usize,
}

const LOADS: [Load; 6] = [
    Load { name: "buffered, 1 at once", connections: 1, streams: false, requests: 4_000 },
    Load { name: "buffered, 16 at once", connections: 16, streams: false, requests: 20_000 },
    Load { name: "buffered, 64 at once", connections: 64, streams: false, requests: 30_000 },
    Load { name: "streamed, 1 at once", connections: 1, streams: true, requests: 1_000 },
    Load { name: "streamed, 16 at once", connections: 16, streams: true, requests: 4_000 },
    Load { name: "streamed, 64 at once", connections: 64, streams: true, requests: 4_000 },
];

/// The same against an upstream that takes its time: what a caller notices.
const SLOW: Load = Load { name: "buffered, 1 at once, upstream 20 ms", connections: 1, streams: false, requests: 150 };
const SLOW_MS: u64 = 20;

/// Records on disk are on unless this is said.
const NO_RECORDS: &str = "[records]\nenabled = false\n";

/// What is measured, by its name in the tables.
const KAIROS: &str = "Kairos";

/// Where OpenAI's clients ask.
const CHAT: &str = "/v1/chat/completions";

/// What a turn measured.
#[derive(Clone, Copy)]
struct Turn {
    /// CPU time of the process a request, in microseconds.
    cpu: f64,
    /// Microseconds.
    p50: f64,
    p99: f64,
    per_second: f64,
}

/// Runs all loads and prints their tables.
pub(crate) fn run(options: &Options) {
    say_machine();
    let upstream = Server::bench(&["upstream"], OTHERS);
    let proxy = Server::bench(&["proxy", "--upstream", &upstream.address.to_string()], MEASURED);
    let kairos = Kairos::start(options, upstream.address);
    let plain = Kairos::start_with(options, upstream.address, NO_RECORDS);
    println!("\n## The gateway beside a bare proxy\n");
    println!(
        "CPU is user and system time of the whole process for each request. “×” is the ratio to the bare proxy. Kairos \
         has everything on; “no records”: but for the records that it keeps on disk.\n"
    );
    head(&["load", "", "CPU µs", "×", "p50 µs", "added p50", "p99 µs", "requests/s"]);
    let measured = [("bare proxy", &proxy), (KAIROS, &kairos.server), ("no records", &plain.server)];
    let resident = || measured.map(|(_, server)| server.resident());
    let idle = resident();
    for load in LOADS.iter().filter(|load| load.name.contains(&options.only)) {
        compare(load, options, upstream.address, &measured);
    }
    let after = resident();
    if SLOW.name.contains(&options.only) {
        compare_slow(options);
    }
    println!("\nMemory, resident, MB:\n");
    head(&["", "idle", "after load"]);
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    for ((name, _), (idle, after)) in measured.iter().zip(idle.into_iter().zip(after)) {
        row(&[(*name).to_owned(), megabytes(idle), megabytes(after)]);
    }
}

/// The same pair before an upstream that takes its time.
fn compare_slow(options: &Options) {
    let slow = Server::bench(&["upstream", "--delay-ms", &SLOW_MS.to_string()], OTHERS);
    let slow_proxy = Server::bench(&["proxy", "--upstream", &slow.address.to_string()], MEASURED);
    let slow_kairos = Kairos::start(options, slow.address);
    compare(&SLOW, options, slow.address, &[("bare proxy", &slow_proxy), (KAIROS, &slow_kairos.server)]);
}

/// Gives all of them, and the upstream itself, the same load by turns. The first is what the others are held against.
fn compare(load: &Load, options: &Options, upstream: SocketAddr, servers: &[(&'static str, &Server)]) {
    let requests = if options.quick { load.requests / 10 } else { load.requests };
    let turns = if options.quick { 3 } else { options.turns };
    let bare_path = if load.streams { "/stream" } else { "/whole" };
    let body = body(load.streams);
    let mut measured: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
    let shot = |target, path| Shot { target, path, body: body.clone(), key: None };
    let bare = servers[0].0;
    let mut shots = vec![("direct", shot(upstream, bare_path), None)];
    shots.extend(servers.iter().map(|(name, server)| {
        let path = if *name == bare { bare_path } else { CHAT };
        (*name, shot(server.address, path), Some(server.id()))
    }));
    for (_, shot, _) in &shots {
        fire(shot, load.connections, WARM_UP.min(requests));
    }
    for _ in 0..turns {
        for (name, shot, process) in &shots {
            measured.entry(name).or_default().push(turn(shot, load.connections, requests, *process));
        }
    }
    let of = |name: &str, figure: fn(&Turn) -> f64| median(measured[name].iter().map(figure).collect());
    for (name, _, process) in &shots {
        let cpu = |ratio: bool| match (process, ratio) {
            (None, _) => String::new(),
            (Some(_), false) => format!("{:.1}", of(name, |turn| turn.cpu)),
            // Turn by turn: what drifts, drifts for both.
            (Some(_), true) => {
                let pairs = measured[name].iter().zip(&measured[bare]);
                format!("{:.2}", median(pairs.map(|(ours, bare)| ours.cpu / bare.cpu).collect()))
            }
        };
        let pairs = measured[name].iter().zip(&measured[bare]);
        let added = median(pairs.map(|(ours, bare)| ours.p50 - bare.p50).collect());
        row(&[
            if process.is_none() { load.name.to_owned() } else { String::new() },
            (*name).to_owned(),
            cpu(false),
            cpu(true),
            format!("{:.0}", of(name, |turn| turn.p50)),
            if process.is_some() && *name != bare { format!("{added:+.0}") } else { String::new() },
            format!("{:.0}", of(name, |turn| turn.p99)),
            format!("{:.0}", of(name, |turn| turn.per_second)),
        ]);
    }
}

fn turn(shot: &Shot, connections: usize, requests: usize, process: Option<u32>) -> Turn {
    let used = || process.map_or(0.0, |process| account::cpu(process).as_secs_f64());
    let before = used();
    let mut shots = fire(shot, connections, requests);
    let cpu = (used() - before) * 1e6 / requests as f64;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Turn {
        cpu,
        p50: micros(percentile(&mut shots.latencies, 50)),
        p99: micros(percentile(&mut shots.latencies, 99)),
        per_second: requests as f64 / shots.seconds,
    }
}

/// A request of some five hundred characters.
fn body(streams: bool) -> Bytes {
    let question = "Write a Python function that adds two numbers, with a docstring and type hints. ".repeat(6);
    let messages = serde_json::json!([
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": question},
    ]);
    serde_json::json!({"model": "auto", "messages": messages, "max_tokens": 512, "stream": streams}).to_string().into()
}

/// A server on a core of its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Another mode of this very program.
    fn bench(arguments: &[&str], core: usize) -> Self {
        let mut command = on_core(core, &std::env::current_exe().unwrap());
        Self::start(command.args(arguments))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "{command:?} ended before it listened");
        }
        let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn resident(&self) -> u64 {
        account::resident(self.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_core(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

/// Keys and a limit of all that is spent, which no request passes.
const FEW: &str = r#"
[auth]
require_key = true
[budget]
daily_limit_usd = "1000000.00"
"#;

/// The same, and further budgets, of every kind, and rates that hold each request.
const MANY: &str = r#"
[auth]
require_key = true
[budget]
daily_limit_usd = "1000000.00"
[[budgets]]
name = "team"
team = "search"
limit_usd = "1000000.00"
period = "month"
time_zone = "Europe/Berlin"
[[budgets]]
name = "tag"
tag = "env=prod"
limit_usd = "1000000.00"
rolling = "24h"
[[budgets]]
name = "cheap"
model = "nova-micro"
limit_usd = "1000000.00"
period = "minute"
[limits]
rates = [
    { name = "all", requests_per_minute = 1000000000, tokens_per_minute = 1000000000000 },
    { name = "each", each_key = true, requests_per_minute = 1000000000, tokens_per_minute = 1000000000000 },
    { name = "cheap", model = "nova-micro", requests_per_minute = 1000000000, tokens_per_minute = 1000000000000 },
]
"#;

/// Short runs that a turn of [`money`] is made of.
const RUNS: usize = 20;

/// What keys, budgets and rates add to a request: the same gateway with and without them, turn by turn.
pub(crate) fn money(options: &Options) {
    println!("\n## Keys, budgets and rates\n");
    println!(
        "The gateway with a key that has a budget and a rate of its own and a daily limit, then with three more \
         budgets and three more rates that hold the request, each beside the same gateway with none of them. CPU is \
         that of the whole process for each request.\n"
    );
    let upstream = Server::bench(&["upstream"], OTHERS);
    head(&["load", "budgets, rates", "CPU µs without", "CPU µs with", "added µs", "added"]);
    let loads = LOADS.iter().filter(|load| load.name.contains(&options.only));
    for (load, (name, config)) in loads.flat_map(|load| [("2, 1", FEW), ("5, 4", MANY)].map(|with| (load, with))) {
        let turns: Vec<[f64; 2]> =
            (0..options.turns).map(|number| pair(load, config, options, &upstream, number)).collect();
        let middle = |figure: fn(&[f64; 2]) -> f64| median(turns.iter().map(figure).collect());
        row(&[
            load.name.to_owned(),
            name.to_owned(),
            format!("{:.1}", middle(|turn| turn[0])),
            format!("{:.1}", middle(|turn| turn[1])),
            format!("{:+.1}", middle(|turn| turn[1] - turn[0])),
            format!("{:+.1} %", 100.0 * middle(|turn| turn[1] / turn[0] - 1.0)),
        ]);
    }
}

/// CPU of a request without and with them, of two gateways that are started for this turn: how the memory
/// of a process comes to lie makes one faster than its like by more than what is looked for here.
fn pair(load: &Load, config: &str, options: &Options, upstream: &Server, number: usize) -> [f64; 2] {
    let requests = if options.quick { load.requests / 10 } else { load.requests };
    let body = body(load.streams);
    // Each is the first as often as the second.
    let mut configs = ["", config];
    configs.rotate_left(number % 2);
    let mut started = configs.map(|config| Kairos::start_with(options, upstream.address, config));
    started.rotate_left(number % 2);
    let shots = started.each_ref().map(|kairos| {
        let (target, key) = (kairos.server.address, kairos.key.clone());
        (Shot { target, path: CHAT, body: body.clone(), key }, kairos.server.id())
    });
    for (shot, _) in &shots {
        fire(shot, load.connections, WARM_UP.min(requests));
    }
    let mut sums = [0.0; 2];
    // In short runs of each: what drifts within a second drifts for both.
    for _ in 0..RUNS {
        for (sum, (shot, id)) in sums.iter_mut().zip(&shots) {
            *sum += turn(shot, load.connections, requests / RUNS, Some(*id)).cpu / RUNS as f64;
        }
    }
    sums
}

/// The gateway with all it has: policy, ledger on disk, log, metrics, records.
struct Kairos {
    server: Server,
    /// Its callers' key, where it was made one.
    key: Option<String>,
    _folder: tempfile::TempDir,
}

impl Kairos {
    fn start(options: &Options, upstream: SocketAddr) -> Self {
        Self::start_with(options, upstream, "")
    }

    /// With a configuration of its own, and a key where that asks for one.
    fn start_with(options: &Options, upstream: SocketAddr, config: &str) -> Self {
        // Beside the checkout's build, not in /tmp: that may be memory, and a ledger's disk is none.
        let folder = tempfile::tempdir_in(root().join("target")).unwrap();
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        let ending = options.policy.extension().unwrap().to_str().unwrap();
        std::fs::copy(&options.policy, policies.join(format!("router.{ending}")))
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", options.policy.display()));
        std::fs::write(folder.path().join("kairos.toml"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = on_core(MEASURED, &options.kairos);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--policies", "policies", "--data", "data"])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
            .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("http://{upstream}"))
            .stderr(log);
        let server = Server::start(&mut command);
        let key = config.contains("require_key").then(|| make_key(options, folder.path()));
        Self { server, key, _folder: folder }
    }
}

/// A team's key, with a budget and a rate of its own.
fn make_key(options: &Options, folder: &Path) -> String {
    let mut command = Command::new(&options.kairos);
    command.args(["key", "create", "search", "--tag", "team=search", "--tag", "env=prod", "--json"]);
    command.args(["--budget-usd", "1000000", "--budget-period", "day", "--rpm", "1000000000", "--data", "data"]);
    let made = command.current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

fn say_machine() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Machine: {}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim());
}
