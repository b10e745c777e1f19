//! What others than the router were asked of a request, asked again: its healer, its prompter, its guard.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::policy::World;
use kairos_pipeline::request::RequestId;
use kairos_store::records::{Question, Reader};
use serde_json::{Value, json};

use super::super::{Failed, counted};
use super::verdict;
use crate::replay::{Again, Past, judged_again};

/// What came of asking again.
#[derive(Default)]
pub(super) struct Beside {
    /// Who was asked, and what came of it.
    asked: Vec<(&'static str, Arc<str>, Again)>,
    /// Who was not, and why.
    not_kept: Vec<(&'static str, &'static str)>,
}

/// Where it is said of a request that a world's policy judged, by its names in the record.
const JUDGED: [(World, &str, &str); 3] = [
    (World::Healer, "healing", "what it was asked is not kept"),
    (World::Prompter, "prompted", "what it read is not kept (`content` under [records] in kairos.toml)"),
    (World::Guard, "guarded", "what it judged is not kept (`content` under [records] in kairos.toml)"),
];
/// More were given than are kept.
const MORE: &str = "more judgements were given than are kept of a request, 64, or of more text than 256 KiB";

/// Asks again who judged a request beside its router, which was asked `question`; `body` is its record.
pub(super) fn again(
    reader: &mut Reader,
    past: &mut Past,
    id: RequestId,
    question: &Question,
    body: &Value,
) -> Result<Beside, Failed> {
    let mut found = Beside::default();
    for kept in reader.judgements(id, question)? {
        match kept {
            Ok(kept) => {
                let (world, policy) = (kept.judgement.world().name(), Arc::clone(&kept.judgement.policy));
                let again = judged_again(past, &kept, &question.kairos);
                found.asked.push((world, policy, again));
            }
            Err(why) => found.asked.push(("-", Arc::from("-"), Again::NotExecuted(why))),
        }
    }
    for (world, field, why) in JUDGED {
        let judged = match &body[field] {
            Value::Array(all) => !all.is_empty(),
            other => !other.is_null(),
        };
        if judged && !found.asked.iter().any(|(asked, ..)| *asked == world.name()) {
            found.not_kept.push((world.name(), if question.more_judgements { MORE } else { why }));
        }
    }
    if question.more_judgements && found.not_kept.is_empty() {
        found.not_kept.push(("others", MORE));
    }
    Ok(found)
}

impl Beside {
    /// Whether all that is kept was judged alike.
    pub(super) fn is_identical(&self) -> bool {
        self.asked.iter().all(|(.., again)| *again == Again::Identical)
    }

    /// A line each.
    pub(super) fn text(&self) -> String {
        let line = |(world, policy, again): &(&str, Arc<str>, Again)| {
            let (name, digest) = policy.split_once('@').unwrap_or((policy, ""));
            let policy = format!("{name}@{}", super::short(digest));
            match again {
                Again::Identical => format!("judged again: {world} {policy}: identical\n"),
                Again::Differs(what) => format!("judged again: {world} {policy}: DIFFERS: {what}\n"),
                Again::NotExecuted(why) => format!("not judged again: {world} {policy}: {why}\n"),
            }
        };
        let not_kept = self.not_kept.iter().map(|(world, why)| format!("not judged again: {world}: {why}\n"));
        self.asked.iter().map(line).chain(not_kept).collect()
    }

    pub(super) fn json(&self) -> Value {
        let asked = self.asked.iter().map(|(world, policy, again)| {
            let (verdict, why) = verdict(again);
            json!({"world": world, "policy": policy, "verdict": verdict, "why": why})
        });
        let not_kept = self
            .not_kept
            .iter()
            .map(|(world, why)| json!({"world": world, "policy": null, "verdict": "not_executed", "why": why}));
        asked.chain(not_kept).collect()
    }
}

/// What came of all of them, over many requests.
#[derive(Default)]
pub(super) struct Tally {
    judged: usize,
    identical: usize,
    differ: Vec<(RequestId, String)>,
    not_executed: BTreeMap<String, usize>,
    /// Requests of which something is not kept, by what and why.
    not_kept: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn add(&mut self, id: RequestId, beside: Beside) {
        for (world, _, again) in beside.asked {
            self.judged += 1;
            match again {
                Again::Identical => self.identical += 1,
                Again::Differs(what) => self.differ.push((id, format!("{world}: {what}"))),
                Again::NotExecuted(why) => *self.not_executed.entry(format!("{world}: {why}")).or_default() += 1,
            }
        }
        for (world, why) in beside.not_kept {
            *self.not_kept.entry(format!("{world}: {why}")).or_default() += 1;
        }
    }

    /// Whether all that is kept was judged alike.
    pub(super) fn is_identical(&self) -> bool {
        self.identical == self.judged
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.judged > 0 {
            let (judged, differ) = (counted(self.judged, "other judgement"), self.differ.len());
            text.push_str(&format!("{judged}: {} identical, {differ} differ\n", self.identical));
        }
        self.differ.iter().for_each(|(id, what)| text.push_str(&format!("  differs  {id}  {what}\n")));
        for (why, count) in &self.not_executed {
            text.push_str(&format!("  {count} not judged again: {why}\n"));
        }
        for (why, count) in &self.not_kept {
            text.push_str(&format!("  of {} not judged again: {why}\n", counted(*count, "request")));
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let differ = self.differ.iter().map(|(id, what)| json!({"request_id": id.to_string(), "what": what}));
        json!({
            "judged": self.judged,
            "identical": self.identical,
            "differ": differ.collect::<Vec<_>>(),
            "not_executed": self.not_executed,
            "not_kept": self.not_kept,
        })
    }
}
