//! Whether a healer, a prompter or a guard judges the same again.

use std::sync::Arc;

use kairos_pipeline::guard::{Guarding, OnFailure};
use kairos_pipeline::judgements::{Asked, Judgement, Released, Said, released};
use kairos_pipeline::policy::{
    Edits, Guard, HealInput, Identity, InspectInput, PolicyError, PromptInput, Question, Remedy, RequestInfo,
    Undecided, Verdict,
};
use kairos_store::records::KeptJudgement;

use super::again::{Again, differs_since};
use super::past::{Judge, Past};

/// Asks once more who judged. `kairos` is the version that asked then.
pub(crate) fn judged_again(past: &mut Past, kept: &KeptJudgement, kairos: &str) -> Again {
    let Judgement { policy, setting, asked, .. } = &kept.judgement;
    if let Some(why) = undecided(asked).filter(|why| !why.is_of_the_question()) {
        return Again::NotExecuted(format!("it did not decide ({}), and that is no matter of its input", why.name()));
    }
    let judge = match past.judge(kept.judgement.world(), policy, setting) {
        Ok(judge) => judge,
        Err(why) => return Again::NotExecuted(why),
    };
    match said_again(&judge, kept) {
        Err(why) => Again::NotExecuted(why),
        Ok((_, None)) => Again::Identical,
        Ok((then, Some(now))) => differs_since(kairos, &format!("then {then}, now {now}")),
    }
}

/// What was said, and what this one says where that is something else, in a few words. An error: why it says
/// nothing that counts.
pub(super) fn said_again(judge: &Arc<Judge>, kept: &KeptJudgement) -> Result<(String, Option<String>), String> {
    let judgement = kept.marked(&judge.identity().model_names);
    let (then, now) = ask(judge, &judgement);
    if let Some(why) = kept.lacks_reads() {
        return Err(format!("it reads what was learned, and not all of it is kept: {why}"));
    }
    if kept.was_withheld() {
        let setting = "`content` under [records] in kairos.toml";
        return Err(format!("it reads what was said, and that is not kept as it was ({setting})"));
    }
    Ok((then, now?))
}

/// Why it did not decide then, where it did not.
fn undecided(asked: &Asked) -> Option<Undecided> {
    fn of<T>(said: &Said<T>) -> Option<Undecided> {
        if let Said::Nothing(why) = said { Some(*why) } else { None }
    }
    match asked {
        Asked::Heal { said, .. } => of(said),
        Asked::Render { said, .. } => of(said),
        Asked::Inspect { said, .. } => of(said),
    }
}

/// What was said, and what is said now where that is something else, in a few words: texts are not told.
fn ask(judge: &Arc<Judge>, judgement: &Judgement) -> (String, Result<Option<String>, String>) {
    let request = &judgement.request;
    match &judgement.asked {
        Asked::Heal { features, models, failure, history, said } => {
            let input = HealInput { request, features, models, failure, history };
            let given = judge.ask(Question::Heal(input)).and_then(|answer| answer.remedy()?.checked(input));
            compared(said, not_run(&given).map(|()| Said::of(&given)), remedy_told)
        }
        Asked::Render { features, models, first, draft, said } => {
            let input = PromptInput { request, features, models, first: *first, draft };
            let given =
                judge.ask(Question::Render(input)).and_then(|answer| answer.edits()?.checked(input, judge.identity()));
            compared(said, not_run(&given).map(|()| Said::of(&given)), edits_told)
        }
        Asked::Inspect { passage, text, said } => {
            let guard = Arc::new(Inspects { judge: Arc::clone(judge) });
            let guarding = guarding(guard, request);
            let (passing, judged) = guarding.whole(*passage, text);
            let now = match released(*passage, passing.text, &judged, passing.stopped) {
                Some(Said::Nothing(Undecided::NotRun)) => Err("it could not be run".to_owned()),
                Some(_) if judged.declined => Ok(Said::Nothing(Undecided::Declined)),
                Some(now) => Ok(now),
                None => Err("it is no text".to_owned()),
            };
            compared(said, now, released_told)
        }
    }
}

fn guarding(guard: Arc<Inspects>, request: &Arc<RequestInfo>) -> Guarding {
    Guarding { guard, native: None, on_failure: OnFailure::Block, request: Arc::clone(request) }
}

fn not_run<T>(given: &Result<T, PolicyError>) -> Result<(), String> {
    match given {
        Err(PolicyError::NotRun(why)) => Err(why.clone()),
        _ => Ok(()),
    }
}

fn compared<T: PartialEq>(
    then: &Said<T>,
    now: Result<Said<T>, String>,
    told: fn(&T) -> String,
) -> (String, Result<Option<String>, String>) {
    let said = |said: &Said<T>| match said {
        Said::Gave(given) => told(given),
        Said::Refused(reason) => format!("refused for reason {reason}"),
        Said::Nothing(why) => format!("no decision ({})", why.name()),
    };
    let (was, now) = (said(then), now.map(|now| if now == *then { None } else { Some(said(&now)) }));
    // What they differ in is a text.
    let now =
        now.map(|now| now.map(|now| if now == was { format!("{now}, with other texts or numbers") } else { now }));
    (was, now)
}

fn remedy_told(remedy: &Remedy) -> String {
    let wait = remedy.wait.map_or(String::new(), |wait| {
        format!(" after {} ms and up to {} ms, at most {} ms", wait.least, wait.base, wait.cap)
    });
    format!("{}{wait}, reason {}", remedy.action.name(), remedy.reason)
}

fn edits_told(edits: &Edits) -> String {
    let names = edits.names();
    let changed = if names.is_empty() { "no change".to_owned() } else { format!("a change of {}", names.join(", ")) };
    format!("{changed}, reason {}", edits.reason)
}

fn released_told(released: &Released) -> String {
    let Released { text, findings, blocked } = released;
    let found: Vec<_> = findings.iter().map(|(code, count)| format!("{count} of code {code}")).collect();
    let found = if found.is_empty() { "nothing found".to_owned() } else { format!("found {}", found.join(", ")) };
    let blocked = blocked.map_or(String::new(), |code| format!(", blocked for {code}"));
    format!("{} bytes passed, {found}{blocked}", text.len())
}

/// A guard that is asked again.
struct Inspects {
    judge: Arc<Judge>,
}

impl Guard for Inspects {
    fn identity(&self) -> &Identity {
        self.judge.identity()
    }

    fn hold_back(&self) -> usize {
        match &*self.judge {
            Judge::Guard(guard) => guard.hold_back(),
            Judge::Healer(_) | Judge::Version(_) => self.identity().hold_back(),
        }
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        self.judge.ask(Question::Inspect(input))?.verdict()
    }
}
