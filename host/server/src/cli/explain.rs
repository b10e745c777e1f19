//! `kairos explain`.

mod as_test;
mod beside;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kairos_pipeline::learned::SpaceId;
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::record::Given;
use kairos_pipeline::request::RequestId;
use kairos_store::records::{FILE, Question, Reader, RecordsError, Row};
use kairos_store::{ledger, policies};
use serde_json::{Value, json};

use self::beside::{Beside, Tally};
use super::gateway::{Place, print_json};
use super::policy::on_a_loaders_thread;
use super::{Failed, counted, models, short};
use crate::admin::{NOTE_FILE, moment};
use crate::assemble;
use crate::config::Config;
use crate::replay::{Again, Past, again};

/// Say why a request went where it went, and whether its policy would decide the same again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos explain 0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e    the id is in x-kairos-request-id
  kairos explain 0193f3a1 --json                         as much of it as names one request
  kairos explain --all                                   every decision that is kept, again
  kairos explain 0193f3a1 --as-test > router.test.toml   a test that holds a policy to this decision

Reads the files in the data folder: the gateway may be running or not. The policy is loaded as it was
then, with the configuration of then, and asked what it was asked then; and so are the healer, and with
`content` \"full\" under [records] the prompter and the guard. What of these is not kept cannot be asked
again: it is named (`not judged again`), and the exit code is 0 all the same.
Exit codes: 0 the decision, and all that is kept beside it, are identical, 1 another decision or not decided
again: it says why, 2 wrong usage")]
pub(super) struct Explain {
    /// The request's id, or how it begins
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    id: Option<String>,
    /// Every decision that is kept
    #[arg(long)]
    all: bool,
    /// Print a file of tests that holds the policy to this decision
    #[arg(long, conflicts_with_all = ["all", "json"])]
    as_test: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How long a record is waited for that a running gateway may be about to write.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(50);
/// Requests that are named where several begin as asked for.
const NAMED: usize = 5;

impl From<RecordsError> for Failed {
    fn from(error: RecordsError) -> Self {
        Self::new(error.to_string())
    }
}

/// What decided once, from a data folder.
pub(super) fn past(config: &Config) -> Result<Past, Failed> {
    let file = config.data.join(policies::FILE);
    let versions = if file.exists() { Some(policies::Reader::open(&file)?) } else { None };
    // What the gateway has compiled is not compiled again.
    Ok(Past::new(
        versions,
        assemble::loader(config, &models::region_or_default(config), Some(&assemble::compiled_policies(config)))?,
    ))
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failed> {
        let config = self.place.config()?;
        let reader = Reader::open(&config.data.join(FILE))?;
        let past = past(&config)?;
        on_a_loaders_thread(move || match &self.id {
            Some(id) => self.one(id, &config, reader, past),
            // Another connection: the first one is at its records meanwhile.
            None => self.every(reader, Reader::open(&config.data.join(FILE))?, past),
        })?
    }

    fn one(&self, id: &str, config: &Config, mut reader: Reader, mut past: Past) -> Result<(), Failed> {
        let mut row = find(&mut reader, id, config)?;
        if self.as_test {
            print!("{}", as_test::text(&row).map_err(Failed::new)?);
            return Ok(());
        }
        let (quarantined, found) = match &mut row.asked {
            None => (false, Again::NotExecuted("no policy was asked: the request ended before".to_owned())),
            Some(Err(why)) => (false, Again::NotExecuted(why.clone())),
            Some(Ok(question)) => {
                (past.is_quarantined(&question.policy), again(&mut past, question, &row.body["decision"]))
            }
        };
        let beside = match &row.asked {
            Some(Ok(question)) => beside::again(&mut reader, &mut past, row.id, question, &row.body)?,
            Some(Err(_)) | None => Beside::default(),
        };
        let ratings = reader.ratings(row.id)?;
        if self.json {
            let ratings: BTreeMap<_, _> = ratings.iter().map(|rating| (&rating.metric, rating.value)).collect();
            let (verdict, why) = verdict(&found);
            print_json(&json!({
                "request": row.body,
                "asked": row.asked.as_ref().and_then(|asked| asked.as_ref().ok()).map(asked_json),
                "feedback": ratings,
                "again": {"verdict": verdict, "why": why, "quarantined_since": quarantined},
                "judged_again": beside.json(),
            }))?;
        } else {
            print!("{}", text(&row));
            for rating in &ratings {
                println!("feedback     {} {}", rating.metric, rating.value);
            }
            println!("{}", sentence(&found));
            if quarantined {
                println!("the policy was taken out of service since: `kairos audit` says when and why");
            }
            print!("{}", beside.text());
        }
        if found == Again::Identical && beside.is_identical() { Ok(()) } else { Err(Failed::new("")) }
    }

    /// Every decision that is kept.
    fn every(&self, mut reader: Reader, mut beside_it: Reader, mut past: Past) -> Result<(), Failed> {
        let (mut identical, mut undecided) = (0usize, 0usize);
        let (mut beside, mut failed) = (Tally::default(), None);
        let mut differ = Vec::new();
        let mut not_executed = BTreeMap::<String, usize>::new();
        reader.each(0, |row| {
            let found = match row.asked {
                None => {
                    undecided += 1;
                    return true;
                }
                Some(Err(why)) => Again::NotExecuted(why),
                Some(Ok(mut question)) => {
                    let found = again(&mut past, &mut question, &row.body["decision"]);
                    match beside::again(&mut beside_it, &mut past, row.id, &question, &row.body) {
                        Ok(judged) => beside.add(row.id, judged),
                        Err(error) => failed = Some(error),
                    }
                    found
                }
            };
            match found {
                Again::Identical => identical += 1,
                Again::Differs(what) => differ.push((row.id, what)),
                Again::NotExecuted(why) => *not_executed.entry(why).or_default() += 1,
            }
            failed.is_none()
        })?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        let all = identical + differ.len() + not_executed.values().sum::<usize>();
        if self.json {
            let differing: Vec<_> =
                differ.iter().map(|(id, what)| json!({"request_id": id.to_string(), "what": what})).collect();
            print_json(&json!({
                "decisions": all,
                "identical": identical,
                "differ": differing,
                "not_executed": not_executed,
                "without_a_decision": undecided,
                "judgements": beside.json(),
            }))?;
        } else {
            println!("{}: {identical} identical, {} differ", counted(all, "decision"), differ.len());
            differ.iter().for_each(|(id, what)| println!("  differs  {id}  {what}"));
            not_executed.iter().for_each(|(why, count)| println!("  {count} not decided again: {why}"));
            if undecided > 0 {
                println!("  {} more ended before a policy was asked", counted(undecided, "request"));
            }
            print!("{}", beside.text());
        }
        if identical == all && beside.is_identical() { Ok(()) } else { Err(Failed::new("")) }
    }
}

/// The record of a request that is named by its id, or by how it begins.
fn find(reader: &mut Reader, id: &str, config: &Config) -> Result<Row, Failed> {
    let hex: String = id.chars().filter(|character| *character != '-').collect();
    if hex.len() < 6 || hex.len() > 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let what = format!("{id:?} is not the id of a request, nor the first 6 or more of its digits");
        return Err(Failed::usage(format!("{what}: x-kairos-request-id has it")));
    }
    // A gateway that runs writes what has ended a moment later.
    let until = Instant::now() + if config.data.join(NOTE_FILE).exists() { PATIENCE } else { Duration::ZERO };
    let found = loop {
        let found = match RequestId::parse(id) {
            Some(whole) => vec![whole],
            None => reader.beginning(&hex, NAMED)?,
        };
        if let [one] = found[..]
            && let Some(row) = reader.row(one)?
        {
            return Ok(row);
        }
        if found.len() > 1 || Instant::now() >= until {
            break found;
        }
        std::thread::sleep(BETWEEN);
    };
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(ToString::to_string).collect();
        return Err(Failed::usage(format!("{id} is the beginning of several requests: {}", ids.join(", "))));
    }
    let (_, oldest) = reader.extent(u64::MAX)?;
    let oldest = oldest.map_or("none is kept".to_owned(), |ms| format!("the oldest that is kept is of {}", moment(ms)));
    let missing = format!("no record of the request {id} is in {}; {oldest}", config.data.display());
    Err(Failed::usage(format!("{missing}{}", in_the_ledger(id, config))))
}

/// What the ledger has of a request without a record: it was under way when the gateway ended, perhaps.
fn in_the_ledger(id: &str, config: &Config) -> String {
    let rows = RequestId::parse(id).and_then(|id| {
        let ledger = ledger::Reader::open(&config.data.join(ledger::FILE)).ok()?;
        ledger.request(id).ok()
    });
    match rows.map(|rows| rows.len()) {
        None | Some(0) => String::new(),
        Some(rows) => {
            format!("\n  the ledger has {} of it: kairos ledger show --request {id}", counted(rows, "row"))
        }
    }
}

/// What came of it, for programs.
fn verdict(found: &Again) -> (&'static str, Option<&str>) {
    match found {
        Again::Identical => ("identical", None),
        Again::Differs(what) => ("differs", Some(what)),
        Again::NotExecuted(why) => ("not_executed", Some(why)),
    }
}

fn sentence(found: &Again) -> String {
    match found {
        Again::Identical => "decided again: identical".to_owned(),
        Again::Differs(what) => format!("decided again: DIFFERS: {what}"),
        Again::NotExecuted(why) => format!("not decided again: {why}"),
    }
}

/// What the policy was asked, for programs.
fn asked_json(question: &Question) -> Value {
    let Question { policy, setting, request, features, models, given, draw, catalogue, as_of, region, .. } = question;
    let models = request.model_ids.iter().zip(models).map(|(id, offer)| json!({"id": id, "facts": offer}));
    json!({
        "policy": policy,
        "loaded_with": serde_json::from_str::<Value>(setting).unwrap_or_default(),
        "catalogue": {"version": catalogue, "as_of": as_of, "region": region},
        "features": features,
        "asked_model": request.asked_model,
        "task_label": request.task_label,
        "tags": request.tags.iter().cloned().collect::<BTreeMap<_, _>>(),
        "models": models.collect::<Vec<_>>(),
        "learned": question.reads.values().map(read_json).collect::<Vec<_>>(),
        "given": given,
        "draw": draw,
    })
}

/// A key that was read, and the value that it had, for programs.
fn read_json((space, key, value): (&SpaceId, &str, Option<&[u8]>)) -> Value {
    match value.map(|value| std::str::from_utf8(value).map_err(|_| hex::encode(value))) {
        None => json!({"space": space.to_string(), "key": key, "value": null}),
        Some(Ok(text)) => json!({"space": space.to_string(), "key": key, "value": text}),
        Some(Err(hex)) => json!({"space": space.to_string(), "key": key, "hex": hex}),
    }
}

/// The record, for people.
fn text(row: &Row) -> String {
    let of = |name: &str| row.body[name].as_str().unwrap_or("-");
    let mut text = format!(
        "request      {}  {}\nasked        {} by key {} for {:?}; task {}, complexity {}\n",
        row.id,
        moment(row.at_ms),
        of("operation"),
        of("key"),
        of("asked_model"),
        of("task"),
        of("complexity"),
    );
    if let Some(Ok(question)) = &row.asked {
        text.push_str(&decision(question, &row.body["decision"]));
    }
    for attempt in row.body["attempts"].as_array().into_iter().flatten() {
        let of = |name: &str| attempt[name].as_str().unwrap_or("-");
        let ms = attempt["duration_ms"].as_f64().unwrap_or_default();
        text.push_str(&format!(
            "attempt {:<4} {} ({}): {} after {ms:.0} ms, {} USD {}\n",
            attempt["attempt"],
            of("model"),
            of("route"),
            of("status"),
            attempt["cost_usd"].as_str().map_or_else(|| attempt["cost_usd"].to_string(), str::to_owned),
            of("ledger"),
        ));
    }
    let ms = row.body["duration_ms"].as_f64().unwrap_or_default();
    text.push_str(&format!("ended        {} after {ms:.0} ms\n", of("status")));
    text
}

/// What was decided, and upon what.
fn decision(question: &Question, decision: &Value) -> String {
    let (name, digest) = question.policy.split_once('@').unwrap_or((&question.policy, ""));
    let (reason, plan) = match &question.given {
        Given::Plan(plan) => (plan.reason, Some(plan)),
        Given::Refused(reason) => (*reason, None),
    };
    let reason_name = decision["reason_name"].as_str().map_or(String::new(), |name| format!(" {name:?}"));
    let verb = if plan.is_some() { "decided" } else { "refused" };
    let mut text = format!("{verb:<12} by {name}@{}, reason {reason}{reason_name}\n", short(digest));
    if let Some(instead) = decision["instead_of"]["policy"].as_str() {
        let outcome = &decision["instead_of"]["outcome"];
        let why = outcome["fault"].as_str().or(outcome.as_str()).unwrap_or("-");
        text.push_str(&format!("             in place of {instead}, which did not decide: {why}\n"));
    }
    text.push_str("             place  chance  model                                             USD per M in/out    at most USD\n");
    let place_of = |model: usize| plan?.candidates.iter().position(|candidate| candidate.model as usize == model);
    let mut models: Vec<_> = question.models.iter().enumerate().collect();
    models.sort_by_key(|(model, _)| place_of(*model).unwrap_or(usize::MAX));
    for (model, offer) in models {
        let place = place_of(model);
        let chance =
            place.zip(plan).map_or(String::new(), |(place, plan)| plan.candidates[place].probability.to_string());
        let per_million = |price: u64| Picodollars(price.saturating_mul(1_000_000)).to_string();
        text.push_str(&format!(
            "             {:>5}  {chance:>6}  {:<48}  {:>16}  {:>13}\n",
            place.map_or("-".to_owned(), |place| (place + 1).to_string()),
            question.request.model_ids[model],
            format!("{}/{}", per_million(offer.input_price), per_million(offer.output_price)),
            Picodollars(offer.worst_case_cost).to_string(),
        ));
    }
    for (space, key, value) in question.reads.values() {
        let value =
            value.map_or("absent".to_owned(), |value| String::from_utf8_lossy(value).escape_debug().to_string());
        text.push_str(&format!("read         {} of {space}: {value}\n", key.escape_debug()));
    }
    if question.reads.more() {
        text.push_str("             and more, which is not kept: at most 16 KiB are\n");
    }
    if let Some(draw) = question.draw {
        text.push_str(&format!("drawn        {draw:.6}: {} is first\n", decision["order"][0].as_str().unwrap_or("-")));
    }
    text
}
