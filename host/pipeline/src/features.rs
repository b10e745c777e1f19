//! What the host finds in a request, by the rules of `policies/ROUTING.md`.

use kairos_dialects::Outline;

use crate::policy::{Complexity, Task};
use crate::request::Hints;

/// Bytes of the prompt that are looked at.
const LOOKED_AT: usize = 8_192;

/// Task and complexity, and whether the caller said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the request is about.
    pub task: Task,
    /// How hard it is.
    pub complexity: Complexity,
}

/// Finds task and complexity. Hints win.
pub fn find(outline: &Outline, hints: &Hints) -> Found {
    let task = hints.task.unwrap_or_else(|| task_of(&outline.prompt));
    let complexity = hints.complexity.unwrap_or_else(|| complexity_of(task, outline.estimated_tokens()));
    Found { task, complexity }
}

fn complexity_of(task: Task, estimated_tokens: u32) -> Complexity {
    let reasons = matches!(task, Task::Reasoning | Task::Analysis | Task::Decision | Task::Strategy | Task::Resolution);
    if reasons || estimated_tokens >= 2000 {
        Complexity::High
    } else if task != Task::Code && estimated_tokens < 100 {
        Complexity::Low
    } else {
        Complexity::Medium
    }
}

/// A word of the lists, and its weight.
type Weighted = (&'static str, u8);

const CODE: &[Weighted] = &[
    ("algorithm", 1),
    ("api", 1),
    ("array", 1),
    ("bash", 2),
    ("bug", 1),
    ("class", 1),
    ("code", 1),
    ("codebase", 2),
    ("coding", 2),
    ("compile", 1),
    ("compiler", 2),
    ("cpp", 2),
    ("css", 2),
    ("debug", 2),
    ("dockerfile", 2),
    ("exception", 1),
    ("function", 1),
    ("functions", 1),
    ("git", 1),
    ("golang", 2),
    ("html", 2),
    ("implement", 1),
    ("java", 2),
    ("javascript", 2),
    ("json", 1),
    ("kotlin", 2),
    ("kubernetes", 2),
    ("loop", 1),
    ("method", 1),
    ("programming", 2),
    ("pytest", 2),
    ("python", 2),
    ("refactor", 2),
    ("regex", 2),
    ("rust", 2),
    ("script", 1),
    ("segfault", 2),
    ("sql", 2),
    ("stacktrace", 2),
    ("swift", 2),
    ("test", 1),
    ("tests", 1),
    ("traceback", 2),
    ("typescript", 2),
    ("unit", 1),
    ("variable", 1),
    ("yaml", 1),
];

const REASONING: &[Weighted] = &[
    ("analyse", 1),
    ("analysis", 1),
    ("analyze", 1),
    ("argument", 1),
    ("compare", 1),
    ("consequences", 1),
    ("counterexample", 2),
    ("critique", 1),
    ("decide", 1),
    ("decision", 1),
    ("deduce", 2),
    ("deduction", 2),
    ("derive", 2),
    ("dilemma", 2),
    ("evaluate", 1),
    ("hypothesis", 2),
    ("implications", 1),
    ("infer", 1),
    ("justify", 1),
    ("logic", 1),
    ("logical", 1),
    ("optimize", 1),
    ("paradox", 2),
    ("plan", 1),
    ("proof", 2),
    ("prove", 2),
    ("puzzle", 2),
    ("reasoning", 2),
    ("riddle", 2),
    ("strategic", 1),
    ("strategy", 1),
    ("syllogism", 2),
    ("theorem", 2),
    ("tradeoff", 1),
    ("tradeoffs", 1),
    ("why", 1),
];

/// The longest word of the lists: longer ones are not looked up.
const LONGEST_WORD: usize = 14;

fn task_of(prompt: &str) -> Task {
    let text = &prompt[..prompt.floor_char_boundary(LOOKED_AT)];
    let words = &*WORDS;
    let (mut code, mut reasoning) = (Tally::default(), Tally::default());
    each_word(text.as_bytes(), |word| {
        let Some(Entry { code: in_code, reasoning: in_reasoning, .. }) = words.find(word) else { return };
        code.count(*in_code);
        reasoning.count(*in_reasoning);
    });
    if text.contains("```") {
        code.sum += 2;
    }
    if code.sum >= 2 && code.sum >= reasoning.sum {
        Task::Code
    } else if reasoning.sum >= 2 {
        Task::Reasoning
    } else {
        Task::General
    }
}

/// Calls for each run of letters, digits and `_`, in order. Where words end no processor can guess: that is found for
/// 64 bytes at once, and without a branch.
fn each_word<'a>(text: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let (blocks, rest) = text.as_chunks();
    // What is beyond the end is of no word.
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    let (mut start, mut within) = (0, 0);
    for (place, block) in blocks.iter().chain([&last]).enumerate() {
        let of_words = of_words(block);
        let mut edges = of_words ^ (of_words << 1 | within);
        within = of_words >> 63;
        while edges != 0 {
            let edge = edges.trailing_zeros();
            let at = place * 64 + edge as usize;
            if of_words >> edge & 1 == 1 {
                start = at;
            } else {
                each(&text[start..at]);
            }
            edges &= edges - 1;
        }
    }
}

/// Which of 64 bytes are of words, a bit for each. In fixed numbers and without `||`, so that many are looked at in
/// one instruction.
fn of_words(block: &[u8; 64]) -> u64 {
    let flags = block.map(|byte| u8::from(byte.is_ascii_alphabetic() | byte.is_ascii_digit() | (byte == b'_')));
    let (eights, _) = flags.as_chunks();
    eights.iter().enumerate().fold(0, |bits, (place, eight)| {
        // Moves the eight flags into the uppermost byte.
        let eight = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits | eight << (8 * place)
    })
}

/// The weights of the words that occurred, each once.
#[derive(Default)]
struct Tally {
    seen: u64,
    sum: u32,
}

impl Tally {
    fn count(&mut self, word: Place) {
        let Some((at, weight)) = word else { return };
        if self.seen & (1 << at) == 0 {
            self.seen |= 1 << at;
            self.sum += u32::from(weight);
        }
    }
}

/// Where a word is in a list, and its weight there.
type Place = Option<(u8, u8)>;

/// A word of either list.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The word, packed; 0 where there is none.
    word: u128,
    code: Place,
    reasoning: Place,
}

/// Both lists as one table of hashes: every word of every prompt is looked up.
struct Words {
    slots: [Entry; Words::SLOTS],
    /// Which lengths words have that begin so: most words of a prompt never get to the table.
    lengths: [u16; 32],
}

static WORDS: std::sync::LazyLock<Words> = std::sync::LazyLock::new(Words::new);

impl Words {
    /// A power of two, four times as many as there are words.
    const SLOTS: usize = 512;

    fn new() -> Self {
        let mut words = Self { slots: [Entry::default(); Self::SLOTS], lengths: [0; 32] };
        for (list, of) in [(CODE, 0), (REASONING, 1)] {
            for (at, (word, weight)) in (0..).zip(list) {
                let Some(packed) = pack(word.as_bytes()) else { continue };
                let slot = words.slot(packed);
                words.lengths[beginning(word.as_bytes())] |= 1 << word.len();
                let entry = &mut words.slots[slot];
                entry.word = packed;
                *(if of == 0 { &mut entry.code } else { &mut entry.reasoning }) = Some((at, *weight));
            }
        }
        words
    }

    fn find(&self, word: &[u8]) -> Option<&Entry> {
        // First what costs least: few words are of a length that the lists have of their letter.
        if word.len() > LONGEST_WORD || self.lengths[beginning(word)] & (1 << word.len()) == 0 {
            return None;
        }
        let packed = pack(word)?;
        Some(&self.slots[self.slot(packed)]).filter(|entry| entry.word == packed)
    }

    /// Where the word is, or the free place where it would be.
    fn slot(&self, packed: u128) -> usize {
        let folded = (packed as u64) ^ (packed >> 64) as u64;
        let mut slot = (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize;
        while self.slots[slot].word != 0 && self.slots[slot].word != packed {
            slot = (slot + 1) % Self::SLOTS;
        }
        slot
    }
}

/// Where a word's first letter is in a table of 32, small or capital.
fn beginning(word: &[u8]) -> usize {
    word.first().map_or(0, |letter| usize::from(letter & 31))
}

/// A word in lower case as a number; none for a word of a length that no list has.
fn pack(word: &[u8]) -> Option<u128> {
    let mut bytes = [0u8; 16];
    let place = bytes.get_mut(..word.len()).filter(|_| (3..=LONGEST_WORD).contains(&word.len()))?;
    for (place, byte) in place.iter_mut().zip(word) {
        *place = byte.to_ascii_lowercase();
    }
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_fit() {
        for list in [CODE, REASONING] {
            assert!(list.is_sorted_by(|(a, _), (b, _)| a < b));
            assert!(list.len() <= 64);
            assert!(list.iter().all(|(word, _)| word.len() <= LONGEST_WORD && word.len() > 2));
            assert!(list.iter().all(|(word, _)| WORDS.find(word.as_bytes()).is_some()));
        }
        assert!(Words::SLOTS > 2 * (CODE.len() + REASONING.len()));
    }

    #[test]
    fn words_are_what_lies_between_other_characters() {
        let text = "a_b, (12)  c3\u{f6}d e\n".repeat(40);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let text = &text.as_bytes()[..end];
            let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let expected = text.split(|byte| !is_of_word(byte)).filter(|word| !word.is_empty());
            let mut found = Vec::new();
            each_word(text, |word| found.push(word));
            assert!(expected.eq(found), "{end}");
        }
        let long = [b'x'; 200];
        let mut found = Vec::new();
        each_word(&long, |word| found.push(word.len()));
        assert_eq!(found, [200]);
    }

    #[test]
    fn tasks_without_hints() {
        for (prompt, task) in [
            ("", Task::General),
            ("What is the capital of Norway?", Task::General),
            ("Write a Python script", Task::Code),
            ("PYTHON!", Task::Code),
            ("the dress code", Task::General),
            ("the code of this function", Task::Code),
            ("code code code", Task::General),
            ("```\nx\n```", Task::Code),
            ("Prove it", Task::Reasoning),
            ("Why? Compare them.", Task::Reasoning),
            ("why is this python slow", Task::Code),
            ("prove this theorem about code and the function", Task::Reasoning),
            ("decode encoded pythonic_code", Task::General),
            ("die Größe der Funktion: rust", Task::Code),
        ] {
            assert_eq!(task_of(prompt), task, "{prompt}");
        }
        let far = format!("{}python", " ".repeat(LOOKED_AT));
        assert_eq!(task_of(&far), Task::General);
        let cut_in_a_character = format!("{}ö python", " ".repeat(LOOKED_AT - 1));
        assert_eq!(task_of(&cut_in_a_character), Task::General);
    }

    #[test]
    fn complexity_without_hints() {
        for (task, tokens, complexity) in [
            (Task::General, 0, Complexity::Low),
            (Task::General, 99, Complexity::Low),
            (Task::General, 100, Complexity::Medium),
            (Task::General, 2000, Complexity::High),
            (Task::Code, 5, Complexity::Medium),
            (Task::Strategy, 5, Complexity::High),
            (Task::Other, 5, Complexity::Low),
        ] {
            assert_eq!(complexity_of(task, tokens), complexity, "{task:?} {tokens}");
        }
    }
}
