//! `kairos replay`.

mod others;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kairos_pipeline::policy::World;
use kairos_pipeline::routers;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::refusal::Refusal;
use kairos_store::records::{FILE, Reader};
use serde_json::{Value, json};

use super::explain::past;
use super::gateway::{Place, print_json};
use super::policy::on_a_loaders_thread;
use super::{Failed, age, counted, policy};
use crate::admin::{self, moment};
use crate::replay::{Decider, Estimate, Judge, MEASURES, Past, Replay, Report, Selection};

/// Ask another policy what it would have done with the requests that are recorded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos replay --policy ./cheaper.rhai                  over all that is kept
  kairos replay --policy ./cheaper.rhai --since 24h --task code
  kairos replay --policy 3c91ab --key mobile --json      a version that was staged or served
  kairos replay --policy native                          the native default

Says what would be done otherwise, and what would come of it: `observed` where the same would have come
of it for certain; `estimated` from how likely each action was, where the policy that decided explores;
`unknown` where what was done tells nothing, with bounds only. An interval is wrong in at most 5 of 100.
What is estimated is one request decided otherwise, not what all together would change for the next.
Of a healer, a prompter or a guard it says how often it would have said the same.

Reads the files in the data folder: the gateway may be running or not.
Exit codes: 0 replayed, 1 failed or nothing is recorded, 2 wrong usage, 3 the policy is refused")]
pub(super) struct ReplayCommand {
    /// A script or a component of any of these, the first characters of a version's SHA-256, or `native`
    #[arg(long, value_name = "FILE|DIGEST")]
    policy: String,
    /// How far back: 90s, 30m, 24h, 7d [default: all that is kept]
    #[arg(long, value_name = "TIME", value_parser = age)]
    since: Option<u64>,
    /// Only requests of this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only requests of this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// So many requests at most: the first
    #[arg(long, value_name = "N", default_value = "100000")]
    limit: usize,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Records between two signs of progress.
const BETWEEN: usize = 1_000;
/// Changes of the first model that are shown.
const SHOWN: usize = 10;

impl ReplayCommand {
    pub(super) fn run(self) -> Result<(), Failed> {
        let config = self.place.config()?;
        let mut reader = Reader::open(&config.data.join(FILE))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let selection = Selection {
            since_ms: self.since.map_or(0, |age| now.saturating_sub(age)),
            key: self.key.clone(),
            task: self.task.clone(),
            most: self.limit,
        };
        on_a_loaders_thread(move || {
            let past = past(&config)?;
            let decider = match self.decider(&past)? {
                Asked::Router(decider) => decider,
                Asked::Other(world, judge) => {
                    let beside_it = Reader::open(&config.data.join(FILE))?;
                    return others::run(&self, world, &judge, (reader, beside_it), &selection);
                }
            };
            let label = decider.identity().label().to_string();
            let (kept, oldest) = reader.extent(selection.since_ms)?;
            let shows = !self.json && std::io::stderr().is_terminal();
            let report = Replay::of(*decider, past).run(&mut reader, &selection, |read| {
                if shows && read % BETWEEN == 0 {
                    eprint!("\r{read} of {kept} records");
                }
            })?;
            if shows {
                eprint!("\r\x1b[K");
            }
            if report.replayed == 0 {
                return Err(Failed::new(nothing(&report, oldest)));
            }
            if self.json {
                return print_json(&report_json(&label, &report));
            }
            print!("{}", text(&label, &report, oldest));
            Ok(())
        })?
    }

    /// The policy that is replayed.
    fn decider(&self, past: &Past) -> Result<Asked, Failed> {
        if self.policy == "native" {
            return Ok(Asked::Router(Box::new(Decider::Native(routers::Task::default()))));
        }
        let loader = policy::authors(past.loader().clone());
        let path = Path::new(&self.policy);
        let refused = |refusal: Refusal| Failed::refused(refusal.explain(&self.policy));
        if path.exists() {
            let generation = loader.load(&PathBuf::from(path)).map_err(refused)?;
            return Asked::of(generation);
        }
        let digits = self.policy.len() >= 6 && self.policy.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits {
            let what = format!("there is no file {}, and it is no digest: at least 6 hexadecimal digits", self.policy);
            return Err(Failed::usage(what));
        }
        let unknown = || Failed::usage(format!("no version begins with {}: kairos policy list", self.policy));
        let versions = past.versions().ok_or_else(unknown)?;
        let mut known = Vec::new();
        for world in World::ALL {
            let found = versions.versions(world.name(), &self.policy.to_ascii_lowercase(), 2)?;
            known.extend(found.into_iter().map(|one| (world, one.digest)));
        }
        let (world, found) = match &known[..] {
            [] => return Err(unknown()),
            [(world, digest)] => (*world, versions.version(world.name(), digest)?),
            [(_, one), (_, other), ..] => {
                let what = format!("{} is the beginning of two versions: {one}, {other}", self.policy);
                return Err(Failed::usage(what));
            }
        };
        let found = found.ok_or_else(|| Failed::new("the version was removed this moment"))?;
        loader.load_again(&admin::version(world, found)).map_err(refused).and_then(Asked::of)
    }
}

/// What is replayed.
enum Asked {
    /// A router.
    Router(Box<Decider>),
    /// A healer, a prompter or a guard.
    Other(World, Arc<Judge>),
}

impl Asked {
    fn of(generation: Generation) -> Result<Self, Failed> {
        match generation.world() {
            World::Router => Ok(Self::Router(Box::new(Decider::Version(generation)))),
            world @ (World::Healer | World::Prompter | World::Guard) => {
                Ok(Self::Other(world, Arc::new(Judge::Version(generation))))
            }
            world => {
                let message =
                    format!("{} judges nothing that a request waits for: there is nothing to replay", world.policy());
                Err(Failed::usage(message))
            }
        }
    }
}

/// Why nothing was replayed.
fn nothing(report: &Report, oldest: Option<u64>) -> String {
    let mut why = match oldest {
        None => "no request is recorded yet".to_owned(),
        Some(oldest) => format!("no decision is recorded that fits; the oldest record is of {}", moment(oldest)),
    };
    for (reason, count) in &report.not_replayed {
        why.push_str(&format!("\n  {} not replayed: {reason}", counted(*count, "request")));
    }
    why
}

/// Parts of 100.
fn percent(part: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / of.max(1) as f64)
}

/// A difference with its sign, in as many digits as people read.
fn signed(value: f64, measure: usize) -> String {
    match measure {
        0 if value == 0.0 => "0".to_owned(),
        0 => format!("{value:+.3e}"),
        1 => format!("{:+.2} %", 100.0 * value),
        _ => format!("{value:+.0}"),
    }
}

fn within(bounds: (f64, f64), measure: usize) -> String {
    format!("[{}, {}]", signed(bounds.0, measure), signed(bounds.1, measure))
}

fn text(label: &str, report: &Report, oldest: Option<u64>) -> String {
    let all = report.replayed;
    let oldest = oldest.map_or(String::new(), |oldest| format!("; the oldest that is kept is of {}", moment(oldest)));
    let first = report.first_ms.unwrap_or_default();
    let (name, digest) = label.split_once('@').unwrap_or((label, ""));
    let mut text = format!(
        "replay of {name}@{} over {} from {} to {}{oldest}\n",
        super::short(digest),
        counted(all, "decision"),
        moment(first),
        moment(report.last_ms),
    );
    text.push_str(&format!(
        "decisions   the same {} ({}) · first the same, else other {} · another first {} · refused {}\n",
        report.same,
        percent(report.same, all),
        report.same_first,
        report.other_first,
        report.refused,
    ));
    for (why, count) in &report.undecided {
        text.push_str(&format!("            {count} × it did not decide ({why}): the native default would have\n"));
    }
    for (why, count) in &report.not_replayed {
        text.push_str(&format!("            {} not replayed: {why}\n", counted(*count, "decision")));
    }
    for ((then, now), count) in report.changes.iter().take(SHOWN) {
        text.push_str(&format!("            {count} × {then} → {now}\n"));
    }
    if report.changes.len() > SHOWN {
        text.push_str(&format!("            and {} other changes\n", report.changes.len() - SHOWN));
    }
    text.push_str(&format!(
        "{:<18}{:<16}{:<44}{:<36}all\n",
        "",
        format!("observed {}", percent(report.observed, all)),
        format!("estimated {} (worth {:.0})", percent(report.estimated, all), report.effective),
        format!("unknown {}", percent(report.unknown, all)),
    ));
    for (measure, name) in ["cost, USD/request", "errors", "latency, ms"].into_iter().enumerate() {
        let estimated = match (report.estimated, report.estimates[measure]) {
            (0, _) => "-".to_owned(),
            (_, None) => "too few to say".to_owned(),
            (_, Some(found)) => {
                format!("{} {}", signed(found.mean, measure), within((found.low, found.high), measure))
            }
        };
        let unknown = match report.unknown_bounds.get(measure) {
            _ if report.unknown == 0 => "-".to_owned(),
            Some(bounds) => within(*bounds, measure),
            None => "unknown".to_owned(),
        };
        let all = match report.all.get(measure) {
            Some(Some(bounds)) => within(*bounds, measure),
            None if report.unknown + report.estimated == 0 => "0".to_owned(),
            Some(None) | None => "unknown".to_owned(),
        };
        text.push_str(&format!("{name:<18}{:<16}{estimated:<44}{unknown:<36}{all}\n", observed(report, measure)));
    }
    let (then, now) = report.projected;
    if then > 0.0 {
        let change = 100.0 * (now / then - 1.0);
        text.push_str(&format!(
            "projected, not evidence: cost {change:+.1} %, had each first model read and written as many tokens\n"
        ));
    }
    text
}

/// What is known for certain: nothing changes, but for what would have been refused.
fn observed(report: &Report, measure: usize) -> &'static str {
    match (report.refused, measure) {
        (0, _) => "0",
        (_, 0) => "less",
        (_, 1) => "more",
        _ => "-",
    }
}

fn report_json(label: &str, report: &Report) -> Value {
    let bounds = |bounds: (f64, f64)| json!({"low": bounds.0, "high": bounds.1});
    let estimate = |found: Estimate| json!({"mean": found.mean, "low": found.low, "high": found.high, "cut_above": found.most, "count": found.count});
    let measures = MEASURES.into_iter().enumerate().map(|(measure, name)| {
        let unknown = report.unknown_bounds.get(measure).filter(|_| report.unknown > 0);
        let of = json!({
            "estimated": report.estimates[measure].map(estimate),
            "unknown": unknown.copied().map(bounds),
            "all": report.all.get(measure).copied().flatten().map(bounds),
        });
        (name.to_owned(), of)
    });
    json!({
        "policy": label,
        "from": report.first_ms.map(moment),
        "to": moment(report.last_ms),
        "decisions": report.replayed,
        "same": report.same,
        "same_first": report.same_first,
        "other_first": report.other_first,
        "refused": report.refused,
        "undecided": report.undecided,
        "not_replayed": report.not_replayed,
        "never_asked": report.never_asked,
        "changes": report.changes.iter().map(|((then, now), count)| json!({"from": then, "to": now, "count": count})).collect::<Vec<_>>(),
        "observed": report.observed,
        "estimated": report.estimated,
        "effective": report.effective,
        "unknown": report.unknown,
        "differences": measures.collect::<serde_json::Map<_, _>>(),
        "projected_usd": {"then": report.projected.0, "now": report.projected.1},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let read = ["90s", "30m", "24h", "7d"].map(|text| age(text).unwrap());
        assert_eq!(read, [90_000, 1_800_000, 86_400_000, 604_800_000]);
        for wrong in ["", "24", "h", "1w", "-1h", "99999999999999999999d", "9999999999999999999d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
