//! `kairos policy test`.

use std::path::{Path, PathBuf};

use kairos_sandbox::cases::{self, Report};
use kairos_sandbox::load::Loader;
use kairos_sandbox::refusal::Refusal;
use serde::Serialize;

use super::super::{Failed, counted};
use super::{loader, on_a_loaders_thread};
use crate::config::Flags;

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Scripts (.rhai) and components (.wasm)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file of tests, of all that are named [default: STEM.test.toml beside each]
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// Configuration file: what it grants holds [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of a file's tests.
enum Ran {
    Tested(Report),
    Refused(Refusal),
    /// There are none.
    Untested,
}

/// A policy and its tests, for programs.
#[derive(Serialize)]
struct Row {
    file: String,
    tests_file: String,
    passed: bool,
    tests: Vec<TestRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalRow>,
}

#[derive(Serialize)]
struct TestRow {
    name: String,
    line: usize,
    passed: bool,
    /// What is not as expected.
    wrong: Vec<String>,
    answer: String,
}

/// Why no test was run.
#[derive(Serialize)]
struct RefusalRow {
    file: String,
    message: String,
    line: Option<usize>,
    column: Option<usize>,
    hint: Option<String>,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failed> {
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let config = super::super::read_config(&flags)?;
        if let Some(file) = self.files.iter().find(|file| file.extension().is_some_and(|ending| ending == "toml")) {
            let shown = file.display();
            return Err(Failed::usage(format!("{shown} is no policy; name the .rhai or .wasm file that it tests")));
        }
        let work = self.files.into_iter().map(|file| {
            let tests = self.tests.clone().unwrap_or_else(|| cases::beside(&file));
            (file, tests)
        });
        run(loader(&config, None)?, work.collect(), self.json)
    }
}

/// Runs the tests of policies, each in a file of its own, and says what came of it.
pub(crate) fn run(loader: Loader, work: Vec<(PathBuf, PathBuf)>, json: bool) -> Result<(), Failed> {
    let ran = on_a_loaders_thread(move || {
        let run = |(file, tests): (PathBuf, PathBuf)| {
            let ran = match loader.test(&file, &tests) {
                Ok(Some(report)) => Ran::Tested(report),
                Ok(None) => Ran::Untested,
                Err(refusal) => Ran::Refused(refusal),
            };
            (file, tests, ran)
        };
        work.into_iter().map(run).collect::<Vec<_>>()
    })?;
    if json {
        let rows: Vec<_> = ran.iter().map(|(file, tests, ran)| row(file, tests, ran)).collect();
        let json = serde_json::to_string_pretty(&rows).map_err(|error| Failed::new(error.to_string()))?;
        println!("{json}");
    } else {
        ran.iter().for_each(|(file, tests, ran)| print!("{}", text(file, tests, ran)));
    }
    verdict(&ran)
}

/// What was not tested has not passed.
fn verdict(ran: &[(PathBuf, PathBuf, Ran)]) -> Result<(), Failed> {
    let failed = |ran: &Ran| match ran {
        Ran::Tested(report) => report.failed().next().is_some(),
        Ran::Refused(_) => true,
        Ran::Untested => false,
    };
    if ran.iter().any(|(_, _, ran)| failed(ran)) {
        return Err(Failed::new(""));
    }
    if ran.iter().any(|(_, _, ran)| matches!(ran, Ran::Untested)) {
        return Err(Failed::usage(""));
    }
    Ok(())
}

/// `3 tests passed`.
pub(super) fn passed(count: usize) -> String {
    format!("{} passed", counted(count, "test"))
}

fn text(file: &Path, tests: &Path, ran: &Ran) -> String {
    let shown = file.display();
    let report = match ran {
        Ran::Tested(report) => report,
        Ran::Refused(refusal) => return format!("{}\n", refusal.explain(&shown.to_string())),
        Ran::Untested => return format!("{shown}: it has no tests: there is no {}\n", tests.display()),
    };
    let (failed, all) = (report.failed().count(), report.outcomes.len());
    if failed == 0 {
        return format!("{shown}: {}\n", passed(all));
    }
    let mut text = format!("{shown}: {failed} of {all} {} failed\n", if all == 1 { "test" } else { "tests" });
    for outcome in report.failed() {
        text.push_str(&format!("  {}:{}  {:?}\n", report.file, outcome.line, outcome.name));
        for line in outcome.wrong.iter().chain([&outcome.answer]) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn row(file: &Path, tests: &Path, ran: &Ran) -> Row {
    let empty = Row {
        file: file.display().to_string(),
        tests_file: tests.display().to_string(),
        passed: false,
        tests: Vec::new(),
        refusal: None,
    };
    match ran {
        Ran::Untested => empty,
        Ran::Refused(refusal) => {
            let refusal = RefusalRow {
                file: refusal.file(file).display().to_string(),
                message: refusal.message.clone(),
                line: refusal.at.map(|(line, _)| line),
                column: refusal.at.map(|(_, column)| column),
                hint: refusal.hint.clone(),
            };
            Row { refusal: Some(refusal), ..empty }
        }
        Ran::Tested(report) => {
            let tests = report.outcomes.iter().map(|outcome| TestRow {
                name: outcome.name.clone(),
                line: outcome.line,
                passed: outcome.wrong.is_empty(),
                wrong: outcome.wrong.clone(),
                answer: outcome.answer.clone(),
            });
            Row { passed: report.failed().next().is_none(), tests: tests.collect(), ..empty }
        }
    }
}
