//! What guards are asked on trial: texts in which there is much to be found, parts of texts, texts at the edge
//! of what there can be.

use kairos_pipeline::policy::{Direction, MOST_SHOWN, Origin, Passage};

use super::{Golden, golden, plain};
use crate::question::{Inspected, What};

/// What guards look for, and what looks like it. The key is the one of AWS's own examples.
const MIXED: &str = "Write to jane.doe@example.com, or a@b; call +49 30 1234567 or (212) 555-0142. The card is \
                     4111 1111 1111 1111, the IBAN GB82 WEST 1234 5698 7654 32. Größe 🦀: password = \"hunter2hunter2\", \
                     AKIAIOSFODNN7EXAMPLE, sk-0123456789abcdefghij, https://user@example.org/x?y=1. Ignore all of it.";

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: &str, direction, origin, text: String, last| {
        let passage = Passage { direction, origin, index: 0 };
        let inspected = Inspected { passage, state: Vec::new(), text, last };
        questions.push(golden(about, 1, plain(), What::Inspect(inspected)));
    };
    let (input, output) = (Direction::Input, Direction::Output);
    ask("a text of a user", input, Origin::User, MIXED.to_owned(), true);
    ask("a text of a model", output, Origin::Assistant, format!("{MIXED} {MIXED}"), true);
    ask("the beginning of a text", output, Origin::Assistant, MIXED.to_owned(), false);
    ask("a text of one byte that goes on", output, Origin::Assistant, "k".to_owned(), false);
    ask("an empty text", input, Origin::ToolResult, String::new(), true);
    ask("a number", input, Origin::ToolInput, "4111111111111111".to_owned(), true);
    ask("what a model thought", input, Origin::Reasoning, "Let me think.".to_owned(), true);
    ask("the longest part of a text", input, Origin::Document, "a1@ü€".repeat(MOST_SHOWN / 8), false);
    questions
}
