//! Genomes: texts by slot, the numbers in them, and what becomes of them by proposals.
//!
//! Nothing here knows what a text is for.

mod apply;
mod draw;
mod numbers;

use std::collections::BTreeMap;

pub use self::apply::{Candidate, Candidates, Change, Edit, LeftOut, Proposal};
pub use self::draw::draw;
pub use self::numbers::{Number, numbers};

/// Slots of a genome.
pub const MOST_SLOTS: usize = 64;
/// Bytes of a slot's name.
const SLOT_BYTES: usize = 64;
/// Numbers of a text that are shown.
pub const MOST_NUMBERS: usize = 1_024;
/// Edits of a proposal.
pub const MOST_EDITS: usize = 64;

/// The text of each slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genome(BTreeMap<String, String>);

/// Whether a slot may be called so.
fn is_slot(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=SLOT_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

impl Genome {
    /// A genome of these texts, none longer than `most` bytes. Says what is wrong with them.
    pub fn new(texts: impl IntoIterator<Item = (String, String)>, most: usize) -> Result<Self, String> {
        let mut slots = BTreeMap::new();
        for (slot, text) in texts {
            if !is_slot(&slot) {
                let shown = &slot[..slot.floor_char_boundary(SLOT_BYTES)];
                return Err(format!(
                    "{shown:?} is no name of a slot: 1 to {SLOT_BYTES} of A-Z, a-z, 0-9, -, _ and . are"
                ));
            }
            if text.len() > most {
                return Err(format!("the text of {slot} has {} bytes; {most} are allowed", text.len()));
            }
            if slots.contains_key(&slot) {
                return Err(format!("the slot {slot} is there twice"));
            }
            slots.insert(slot, text);
        }
        match slots.len() {
            1..=MOST_SLOTS => Ok(Self(slots)),
            count => Err(format!("there are {count} slots; 1 to {MOST_SLOTS} are allowed")),
        }
    }

    /// The text of a slot.
    pub fn text(&self, slot: &str) -> Option<&str> {
        self.0.get(slot).map(String::as_str)
    }

    /// Names and texts, in the order of the names.
    pub fn slots(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(slot, text)| (slot.as_str(), text.as_str()))
    }

    /// The same with other texts of some slots.
    fn with(&self, changed: BTreeMap<String, String>) -> Self {
        let mut slots = self.0.clone();
        slots.extend(changed);
        Self(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_genome_is_told() {
        let of = |texts: &[(&str, &str)]| {
            Genome::new(texts.iter().map(|(slot, text)| ((*slot).to_owned(), (*text).to_owned())), 4)
        };
        for (texts, says) in [
            (&[][..], "0 slots"),
            (&[("a b", "")][..], "no name of a slot"),
            (&[("", "")][..], "no name of a slot"),
            (&[("a", "12345")][..], "5 bytes; 4"),
            (&[("a", "1"), ("a", "2")][..], "twice"),
        ] {
            let error = of(texts).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let many = (0..65).map(|place| (format!("s{place}"), String::new()));
        assert!(Genome::new(many, 4).unwrap_err().contains("65 slots"));
        assert_eq!(of(&[("b", "1"), ("a", "2")]).unwrap().slots().collect::<Vec<_>>(), [("a", "2"), ("b", "1")]);
    }
}
