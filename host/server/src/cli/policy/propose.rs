//! `kairos policy propose`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_pipeline::genome::{Candidate, Candidates, Genome};
use kairos_pipeline::policy::{Answer, Evidence, Identity, MutatorBounds, PolicyError, ProposeInput, Question, World};
use serde_json::{Map, Value, json};
use similar::TextDiff;

use super::super::gateway::print_json;
use super::super::{Failed, counted};
use super::evidence;
use super::evolving::{self, Called, Within};

/// Lines around a change that are shown.
const CONTEXT: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Propose {
    /// A mutator: a script (.rhai) or a component (.wasm) [default: the gateway's own]
    #[arg(value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// Files of the genome: each is a slot of its name
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    genome: Vec<PathBuf>,
    /// What is known of its fitness: a file that `kairos policy evaluate --evidence` writes
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The only randomness: the same seed, the same proposals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 53))]
    seed: u64,
    #[command(flatten)]
    within: Within,
}

impl Propose {
    pub(super) fn run(self) -> Result<(), Failed> {
        let config = self.within.config()?;
        let bounds = config.policy_limits().proposals;
        let asked = self.within.policy(&config, self.policy.as_deref(), World::Mutator)?;
        let genome = Arc::new(genome(&self.genome, bounds)?);
        let evidence = Arc::new(self.evidence.as_deref().map_or_else(|| Ok(Evidence::default()), evidence::read)?);
        let (callers, seed, parent) = (self.within.callers(&config)?, self.seed, Arc::clone(&genome));
        let (identity, proposed, called) = evolving::aside(move || {
            let outside = evolving::outside(&callers);
            let input = ProposeInput { genome: &parent, evidence: &evidence, seed, bounds, outside: &outside };
            let proposed = asked.ask(Question::Propose(input)).and_then(Answer::proposals);
            Ok((asked.identity().clone(), proposed, Called::by(&callers)))
        })?;
        let came = match proposed {
            Ok(proposals) => Candidates::of(&genome, proposals, bounds.text_bytes),
            Err(PolicyError::Declined | PolicyError::Refused(_)) => Candidates::default(),
            Err(error) => return Err(Failed::new(format!("{}: {error}", identity.label()))),
        };
        if self.within.json {
            let mut told = as_json(&came, &genome, &identity);
            called.add_to(&mut told);
            return print_json(&told);
        }
        print!("{}{}", as_text(&came, &genome, &identity), called.text());
        Ok(())
    }
}

/// The genome of these files.
fn genome(files: &[PathBuf], bounds: MutatorBounds) -> Result<Genome, Failed> {
    let read = |file: &PathBuf| {
        let slot = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text =
            text(file, bounds.text_bytes).map_err(|error| Failed::usage(format!("{}: {error}", file.display())))?;
        Ok((slot, text))
    };
    let texts = files.iter().map(read).collect::<Result<Vec<_>, Failed>>()?;
    Genome::new(texts, bounds.text_bytes).map_err(|error| Failed::usage(format!("--genome: {error}")))
}

fn text(file: &Path, most: usize) -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    opened.map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("it has more than {most} bytes ([mutator] text_bytes)"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// The texts of a candidate that are not its parent's.
fn changed<'a>(candidate: &'a Candidate, parent: &'a Genome) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    candidate.genome.slots().filter_map(|(slot, text)| {
        let before = parent.text(slot)?;
        (before != text).then_some((slot, before, text))
    })
}

fn as_json(came: &Candidates, parent: &Genome, identity: &Identity) -> Value {
    let candidate = |one: &Candidate| {
        let slots: Map<_, _> = changed(one, parent).map(|(slot, _, text)| (slot.to_owned(), text.into())).collect();
        let reason = identity.reason(one.reason).map(|name| name.to_string());
        json!({"proposal": one.place, "reason": reason, "remark": one.remark, "slots": slots})
    };
    json!({
        "policy": &**identity.label(),
        "candidates": came.candidates.iter().map(candidate).collect::<Value>(),
        "left_out": came.left_out.iter().map(|one| json!({"proposal": one.place, "why": one.why})).collect::<Value>(),
    })
}

fn as_text(came: &Candidates, parent: &Genome, identity: &Identity) -> String {
    let mut text = format!("{}: {}\n", identity.label(), counted(came.candidates.len(), "candidate"));
    for one in &came.candidates {
        let reason = identity.reason(one.reason).map_or_else(|| one.reason.to_string(), |name| name.to_string());
        let remark = one.remark.as_ref().map_or(String::new(), |remark| format!(": {}", remark.escape_debug()));
        text.push_str(&format!("\nproposal {}, {reason}{remark}\n", one.place));
        for (slot, before, after) in changed(one, parent) {
            let diff = TextDiff::from_lines(before, after);
            let diff = diff.unified_diff().context_radius(CONTEXT).header(slot, slot).to_string();
            for sign in diff.chars() {
                // A terminal would do what it is told.
                if sign.is_control() && !matches!(sign, '\n' | '\t') {
                    text.extend(sign.escape_debug());
                } else {
                    text.push(sign);
                }
            }
        }
    }
    if !came.left_out.is_empty() {
        text.push('\n');
    }
    for one in &came.left_out {
        text.push_str(&format!("proposal {} comes to nothing: {}\n", one.place, one.why.escape_debug()));
    }
    text
}
