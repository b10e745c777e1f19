//! Asks another healer, prompter or guard what the one of then was asked: how often it would have said the same.
//! What would have come of anything else is not known: the attempts that follow another word were never made.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kairos_pipeline::judgements::{Asked, Said};
use kairos_pipeline::policy::World;
use kairos_store::records::{KeptJudgement, Reader, RecordsError};
use serde_json::Value;

use super::judged::said_again;
use super::past::Judge;
use super::run::Selection;

/// Kinds of changes that are told apart.
const MOST_CHANGES: usize = 1_000;

/// What the replay found.
#[derive(Default)]
pub(crate) struct OthersReport {
    /// When the first and the last of the records came, in milliseconds since 1970.
    pub(crate) first_ms: Option<u64>,
    pub(crate) last_ms: u64,
    /// Judgements that were made again.
    pub(crate) replayed: usize,
    /// Of them: the same is said.
    pub(crate) same: usize,
    /// How often something else is, the most frequent first.
    pub(crate) changes: Vec<((String, String), usize)>,
    /// Judgements that could not be made again, by why.
    pub(crate) not_replayed: BTreeMap<String, usize>,
    /// Requests of which not all judgements are kept.
    pub(crate) not_kept: usize,
}

/// Replays over all that is selected. `beside_it` is another reader of the same records; `progress` is told how
/// many were read.
pub(crate) fn replay(
    judge: &Arc<Judge>,
    world: World,
    (reader, beside_it): (&mut Reader, &mut Reader),
    selection: &Selection,
    mut progress: impl FnMut(usize),
) -> Result<OthersReport, RecordsError> {
    let (mut report, mut changes, mut failed, mut read) = (OthersReport::default(), HashMap::new(), None, 0);
    let is = |wanted: &Option<String>, value: &Value| wanted.as_deref().is_none_or(|wanted| value == wanted);
    reader.each(selection.since_ms, |row| {
        if !is(&selection.key, &row.body["key"]) || !is(&selection.task, &row.body["task"]) {
            return true;
        }
        read += 1;
        progress(read);
        let Some(Ok(question)) = &row.asked else { return read < selection.most };
        match beside_it.judgements(row.id, question) {
            Err(error) => failed = Some(error),
            Ok(kept) => {
                report.not_kept += usize::from(question.more_judgements);
                let kept: Vec<_> = kept.into_iter().filter(|kept| is_of(kept, world)).collect();
                if !kept.is_empty() {
                    report.first_ms.get_or_insert(row.at_ms);
                    report.last_ms = row.at_ms;
                }
                kept.iter().zip(1..).for_each(|(one, next)| {
                    if !gave_way(one, kept.get(next)) {
                        report.count(judge, one, &mut changes);
                    }
                });
            }
        }
        failed.is_none() && read < selection.most
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    report.changes = changes.into_iter().collect();
    report.changes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(report)
}

type Kept = Result<KeptJudgement, String>;

fn is_of(kept: &Kept, world: World) -> bool {
    kept.as_ref().map_or(true, |kept| kept.judgement.world() == world)
}

/// Whether who was asked did not decide, and the next was asked the same in its place: that one's word held.
fn gave_way(one: &Kept, next: Option<&Kept>) -> bool {
    let (Ok(one), Some(Ok(next))) = (one, next) else { return false };
    match (&one.judgement.asked, &next.judgement.asked) {
        (Asked::Heal { failure, history, said: Said::Nothing(_), .. }, Asked::Heal { failure: f, history: h, .. }) => {
            failure == f && history == h
        }
        (Asked::Inspect { passage, text, said: Said::Nothing(_) }, Asked::Inspect { passage: p, text: t, .. }) => {
            passage == p && text == t
        }
        _ => false,
    }
}

impl OthersReport {
    fn count(&mut self, judge: &Arc<Judge>, kept: &Kept, changes: &mut HashMap<(String, String), usize>) {
        let said = match kept {
            Ok(kept) => said_again(judge, kept),
            Err(why) => Err(why.clone()),
        };
        match said {
            Err(why) => *self.not_replayed.entry(why).or_default() += 1,
            Ok((then, now)) => {
                self.replayed += 1;
                let Some(now) = now else { return self.same += 1 };
                let change = (then, now);
                let change = if changes.len() < MOST_CHANGES || changes.contains_key(&change) {
                    change
                } else {
                    ("something".to_owned(), "something else".to_owned())
                };
                *changes.entry(change).or_default() += 1;
            }
        }
    }
}
