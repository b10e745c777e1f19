//! Development tasks: `cargo xtask demo | test | dist | guests | contract | bench | prove`.
//!
//! Each does the set-up that it needs on a fresh machine: the WASM target, the guests, a Python
//! environment with the real clients, what components in Python and JavaScript are made with. What only a package manager can bring is named in a hint.

mod clients;
mod contract;
mod dist;
mod guests;
mod process;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::process::{Failed, cargo, run};

const USAGE: &str = "\
Development tasks.

Usage: cargo xtask <TASK>

Tasks:
  demo    Build Kairos and run `kairos demo`: simulator and gateway, no AWS account needed
  test    Format, lints, documentation and all tests, with everything they need set up first
  dist    Build Kairos as it is shipped, into target/dist: built twice, as the first runs through what
          gateways do, and the second is optimised for that, and laid out by llvm-bolt (Debian's bolt-19)
          where it is installed. Some fifty minutes on two cores
  guests  Build the plugins and the tests' guests as WASM components, into target/guests
  contract
          Write the versions that are served, and the hashes of their files, into wit/README.md
  bench   The benchmarks: the gateway beside a bare proxy, router calls, swaps, the ledger; prints
          Markdown. `cargo xtask bench calls` runs one of them, `… bench --help` lists them
  prove   The long counts: all of what `test` runs a tenth of, and a summary of what came of each.
          They are the tests in modules named `counts`; a further argument picks some of them

What stands after the task is passed on: `cargo xtask demo --listen 127.0.0.1:9000`
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match task.as_str() {
        "demo" => demo(&rest),
        "test" => test(&rest),
        "dist" => dist::build(),
        "guests" => guests::build(),
        "contract" => contract::write(),
        "bench" => bench(&rest),
        "prove" => prove(&rest),
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("xtask: there is no task {other:?}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("xtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}

fn demo(rest: &[String]) -> Result<(), Failed> {
    guests::build()?;
    eprintln!("xtask: building kairos (the first build takes some minutes) …");
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "kairos-server", "--bin", "kairos", "--", "demo"])
        .args(rest);
    run(&mut command)
}

fn test(rest: &[String]) -> Result<(), Failed> {
    guests::build()?;
    let python = clients::python()?;
    clients::node()?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    guests::lint()?;
    guests::test()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    run(cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    run(cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    // The end-to-end tests start the binary, which must be there. Built with the tests: alone it would
    // have other features, and all dependencies be built twice.
    run(cargo().args(["build", "--workspace", "--tests", "--bin", "kairos", "--quiet"]))?;
    let mut tests = cargo();
    if has_nextest() {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        tests.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    run(tests.args(rest).env("KAIROS_PYTHON", python))
}

fn bench(rest: &[String]) -> Result<(), Failed> {
    guests::build()?;
    println!("building as it is shipped, which takes a while: some fifty minutes the first time, on two cores");
    dist::build_benchmarks()?;
    let mut bench = Command::new(root().join("target/dist/kairos-bench"));
    let all = rest.first().is_none_or(|first| first.starts_with("--") && first != "--help");
    run(bench.args(all.then_some("all")).args(rest))
}

fn prove(rest: &[String]) -> Result<(), Failed> {
    guests::build()?;
    let python = clients::python()?;
    // With the features of the whole workspace, as everything else is built: the tests build them anyway.
    run(cargo().args(["build", "--release", "--workspace", "--bin", "kairos", "--quiet"]))?;
    let report = root().join("target/counts.tsv");
    fs::write(&report, "").map_err(Failed::at(&report))?;
    let filters = if rest.is_empty() { &["counts::".to_owned()][..] } else { rest };
    let mut tests = cargo();
    tests.args(["test", "--release", "--workspace", "--test", "e2e", "--"]);
    tests.args(["--nocapture", "--test-threads=1"]).args(filters);
    tests.env("KAIROS_PYTHON", python).env("KAIROS_COUNTS", "full").env("KAIROS_COUNTS_REPORT", &report);
    let done = run(&mut tests);
    println!("{}", summary(&fs::read_to_string(&report).unwrap_or_default()));
    done
}

/// What came of each count: a line of `state, times, what, result` each, as tests wrote them.
fn summary(report: &str) -> String {
    let mut lines = vec![String::new(), "What was counted:".to_owned()];
    for line in report.lines() {
        let mut parts = line.splitn(4, '\t');
        let mut next = || parts.next().unwrap_or_default();
        let (state, times, what, result) = (next(), next(), next(), next());
        lines.push(format!("  {state:<6}  {times:>9} × {what}: {result}"));
    }
    if report.is_empty() {
        lines.push("  nothing".to_owned());
    }
    lines.join("\n")
}

fn has_nextest() -> bool {
    let asked = cargo().args(["nextest", "--version"]).output();
    asked.is_ok_and(|answer| answer.status.success())
}
