//! From proposals to candidates: what applies cleanly, changes something and is not there already.

use std::collections::BTreeMap;

use super::numbers::{numbers, written};
use super::{Genome, MOST_EDITS};
use crate::policy::Identity;

/// One change of a slot's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This is the text.
    Replace(String),
    /// The one place where the first stands has the second.
    Passage(String, String),
    /// The number that begins at this byte has this value.
    Number(u32, f64),
}

/// A change, and of which slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The slot.
    pub slot: String,
    /// What is changed.
    pub change: Change,
}

/// What a mutator proposes. See `proposal` in the contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Proposal {
    pub edits: Vec<Edit>,
    pub reason: u32,
    pub remark: Option<String>,
    pub settings: Vec<(u32, u64)>,
}

impl Proposal {
    /// Says what is not valid about it, whatever the genome is.
    pub fn check(&self, policy: &Identity) -> Result<(), String> {
        let count = self.edits.len();
        if !(1..=MOST_EDITS).contains(&count) {
            return Err(format!("it has {count} edits; 1 to {MOST_EDITS} are allowed"));
        }
        if policy.reason(self.reason).is_none() {
            return Err(format!("the reason {} is none that `describe` names", self.reason));
        }
        crate::policy::said(&self.remark, &self.settings)
    }
}

/// A genome that was proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which of the proposals it comes of.
    pub place: usize,
    /// The reason that was given.
    pub reason: u32,
    /// The same in words.
    pub remark: Option<String>,
    /// It.
    pub genome: Genome,
}

/// A proposal that comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which of the proposals.
    pub place: usize,
    /// Why.
    pub why: String,
}

/// What comes of proposals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// Each another genome than the parent, and than those before it.
    pub candidates: Vec<Candidate>,
    /// The others.
    pub left_out: Vec<LeftOut>,
}

impl Candidates {
    /// Carries proposals out on a genome, whose texts may have so many bytes.
    pub fn of(parent: &Genome, proposals: Vec<Proposal>, text_bytes: usize) -> Self {
        let mut all = Self::default();
        for (place, proposal) in proposals.into_iter().enumerate() {
            let applied = parent.apply(&proposal.edits, text_bytes).and_then(|genome| {
                if genome == *parent {
                    return Err("it changes nothing".to_owned());
                }
                match all.candidates.iter().find(|earlier| earlier.genome == genome) {
                    Some(earlier) => Err(format!("the same comes of proposal {}", earlier.place)),
                    None => Ok(genome),
                }
            });
            match applied {
                Ok(genome) => {
                    let Proposal { reason, remark, .. } = proposal;
                    all.candidates.push(Candidate { place, reason, remark, genome });
                }
                Err(why) => all.left_out.push(LeftOut { place, why }),
            }
        }
        all
    }
}

/// What is put in the place of a part of a text.
struct Patch {
    start: usize,
    end: usize,
    text: String,
}

impl Genome {
    /// Carries edits out; all speak of the texts as they are. Says why they do not apply.
    fn apply(&self, edits: &[Edit], text_bytes: usize) -> Result<Self, String> {
        let mut patches: BTreeMap<&str, Vec<Patch>> = BTreeMap::new();
        for Edit { slot, change } in edits {
            let Some((slot, text)) = self.0.get_key_value(slot) else {
                return Err(format!("there is no slot {:?}", &slot[..slot.floor_char_boundary(64)]));
            };
            let patch = patch(text, change).map_err(|why| format!("{slot}: {why}"))?;
            patches.entry(slot).or_default().push(patch);
        }
        let mut changed = BTreeMap::new();
        for (slot, patches) in patches {
            let text = self.0.get(slot).map_or("", String::as_str);
            let text = spliced(text, patches, text_bytes).map_err(|why| format!("{slot}: {why}"))?;
            changed.insert(slot.to_owned(), text);
        }
        Ok(self.with(changed))
    }
}

fn patch(text: &str, change: &Change) -> Result<Patch, String> {
    match change {
        Change::Replace(new) => Ok(Patch { start: 0, end: text.len(), text: new.clone() }),
        Change::Passage(find, new) => {
            let start = only(text, find)?;
            Ok(Patch { start, end: start + find.len(), text: new.clone() })
        }
        Change::Number(start, value) => {
            let all = numbers(text);
            let number = all.iter().find(|number| number.start == *start);
            let number = number.ok_or_else(|| format!("no number begins at byte {start}"))?;
            let new = written(*value, number.whole).ok_or_else(|| {
                let kind = if number.whole { "a whole number below 2^53" } else { "a finite number, 0 or more" };
                format!("the number at byte {start} cannot be {value}: {kind} can stand there")
            })?;
            Ok(Patch { start: number.start as usize, end: number.end as usize, text: new })
        }
    }
}

/// The one place where a passage stands.
fn only(text: &str, find: &str) -> Result<usize, String> {
    if find.is_empty() {
        return Err("the passage is empty".to_owned());
    }
    let shown = crate::policy::one_line(find.to_owned(), 80);
    let Some(first) = text.find(find) else { return Err(format!("the passage {shown:?} is not there")) };
    // A second one may begin within the first.
    let next = first + text[first..].chars().next().map_or(1, char::len_utf8);
    if text[next..].contains(find) {
        return Err(format!("the passage {shown:?} is there more than once"));
    }
    Ok(first)
}

fn spliced(text: &str, mut patches: Vec<Patch>, most: usize) -> Result<String, String> {
    patches.sort_by_key(|patch| (patch.start, patch.end));
    if patches
        .windows(2)
        .any(|two| two[1].start < two[0].end || (two[0].start, two[0].end) == (two[1].start, two[1].end))
    {
        return Err("two edits change the same place".to_owned());
    }
    let removed: usize = patches.iter().map(|patch| patch.end - patch.start).sum();
    let added = patches.iter().fold(0usize, |sum, patch| sum.saturating_add(patch.text.len()));
    let bytes = (text.len() - removed).saturating_add(added);
    if bytes > most {
        return Err(format!("the text would have {bytes} bytes; {most} are allowed"));
    }
    let (mut new, mut at) = (String::with_capacity(bytes), 0);
    for patch in &patches {
        new.push_str(&text[at..patch.start]);
        new.push_str(&patch.text);
        at = patch.end;
    }
    new.push_str(&text[at..]);
    Ok(new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn genome() -> Genome {
        let texts = [("prompt", "Be kind. Be brief, in 20 words."), ("weights", "a = 0.5\nb = 3\n"), ("empty", "")];
        Genome::new(texts.map(|(slot, text)| (slot.to_owned(), text.to_owned())), 1_000).unwrap()
    }

    fn edit(slot: &str, change: Change) -> Edit {
        Edit { slot: slot.to_owned(), change }
    }

    fn passage(find: &str, new: &str) -> Change {
        Change::Passage(find.to_owned(), new.to_owned())
    }

    #[test]
    fn edits_speak_of_the_genome_as_it_is_shown() {
        let edits = vec![
            edit("weights", Change::Number(12, 4.0)),
            edit("weights", Change::Number(4, 0.25)),
            edit("weights", passage("a =", "alpha =")),
            edit("prompt", passage("kind", "honest")),
            edit("empty", Change::Replace("x".to_owned())),
        ];
        let all = Candidates::of(&genome(), vec![Proposal { edits, reason: 1, ..Proposal::default() }], 40);
        assert_eq!(all.left_out, []);
        let new = &all.candidates[0].genome;
        assert_eq!(new.text("weights"), Some("alpha = 0.25\nb = 4\n"));
        assert_eq!(new.text("prompt"), Some("Be honest. Be brief, in 20 words."));
        assert_eq!(new.text("empty"), Some("x"));
    }

    #[test]
    fn what_comes_to_nothing_says_why() {
        let one = |slot, change| vec![edit(slot, change)];
        let two = |slot, first, second| vec![edit(slot, first), edit(slot, second)];
        let refusals = [
            (one("other", passage("a", "b")), "there is no slot \"other\""),
            (one("prompt", passage("cruel", "b")), "prompt: the passage \"cruel\" is not there"),
            (one("prompt", passage("Be", "b")), "prompt: the passage \"Be\" is there more than once"),
            (one("prompt", passage("", "b")), "prompt: the passage is empty"),
            (one("weights", Change::Number(5, 1.0)), "weights: no number begins at byte 5"),
            (one("weights", Change::Number(12, 1.5)), "cannot be 1.5: a whole number below 2^53"),
            (one("weights", Change::Number(4, f64::NAN)), "cannot be NaN: a finite number"),
            (one("weights", Change::Number(4, -1.0)), "cannot be -1"),
            (one("prompt", Change::Replace("x".repeat(41))), "prompt: the text would have 41 bytes; 40 are allowed"),
            (one("prompt", passage("kind", &"x".repeat(40))), "bytes; 40 are allowed"),
            (two("weights", passage("0.5", "1"), Change::Number(4, 1.0)), "two edits change the same place"),
            (two("weights", Change::Replace("x".into()), passage("b", "c")), "two edits change the same place"),
            (two("empty", Change::Replace("x".into()), Change::Replace("x".into())), "two edits change the same place"),
            (one("prompt", passage("kind", "kind")), "it changes nothing"),
            (one("weights", Change::Number(4, 0.5)), "it changes nothing"),
        ];
        for (edits, says) in refusals {
            let all = Candidates::of(&genome(), vec![Proposal { edits, ..Proposal::default() }], 40);
            assert_eq!(all.candidates, []);
            assert!(all.left_out[0].why.contains(says), "{}", all.left_out[0].why);
        }
        let same = || Proposal { edits: one("prompt", passage("kind", "good")), ..Proposal::default() };
        let all = Candidates::of(&genome(), vec![same(), same()], 40);
        assert_eq!((all.candidates.len(), all.left_out[0].why.as_str()), (1, "the same comes of proposal 0"));
    }

    #[test]
    fn a_passage_that_overlaps_itself_is_there_twice() {
        assert!(only("aaa", "aa").is_err() && only("ééé", "éé").is_err());
        assert_eq!(only("baab", "aa"), Ok(1));
    }

    proptest! {
        /// Whatever is proposed: what comes of it is within bounds, and another genome each time.
        #[test]
        fn candidates_are_other_genomes_within_bounds(
            finds in prop::collection::vec(("[a-c .0-9=]{0,3}", "[a-c]{0,12}", 0u32..20, -2.0f64..9.0), 1..12),
        ) {
            let text = "a = 0.5 b c 3 bc 12 a.";
            let parent = Genome::new([("s".to_owned(), text.to_owned())], 99).unwrap();
            let proposals = finds.into_iter().map(|(find, new, at, value)| Proposal {
                edits: vec![edit("s", passage(&find, &new)), edit("s", Change::Number(at, value))],
                ..Proposal::default()
            });
            let proposals: Vec<_> = proposals.flat_map(|both| {
                let half = Proposal { edits: both.edits[..1].to_vec(), ..Proposal::default() };
                [both, half]
            }).collect();
            let count = proposals.len();
            let all = Candidates::of(&parent, proposals, 24);
            prop_assert_eq!(all.candidates.len() + all.left_out.len(), count);
            for (place, one) in all.candidates.iter().enumerate() {
                prop_assert!(one.genome != parent && one.genome.text("s").unwrap().len() <= 24);
                prop_assert!(all.candidates[..place].iter().all(|other| other.genome != one.genome));
            }
        }
    }
}
