//! Prompts in the markup that a family was trained on, taken apart into messages, so that a prompt gets
//! the reply that the same conversation gets by Converse.
//!
//! Sources: the prompt formats in AWS's pages on each family's parameters, and the model cards that
//! those name. A prompt that is not in its family's markup is one message of the user, as it stands.

use crate::conversation::{Block, Conversation, Role, Turn};

type Said<'a> = Vec<(Role, &'a str)>;

/// A conversation of one prompt.
pub(super) fn conversation<'a>(prompt: &'a str, markup: impl Fn(&'a str) -> Option<Said<'a>>) -> Conversation<'a> {
    let said = markup(prompt).filter(|said| takes_turns(said));
    let mut conversation = Conversation { prompt: true, ..Default::default() };
    for (role, text) in said.unwrap_or_else(|| vec![(Role::User, bare(prompt))]) {
        let block = Block::Text(text.into());
        match role {
            Role::System if text.is_empty() => {}
            Role::System => conversation.system.push(block),
            role => conversation.turns.push(Turn { role, blocks: vec![block] }),
        }
    }
    conversation
}

/// A prompt without the mark that only says where it begins.
fn bare(prompt: &str) -> &str {
    let trimmed = prompt.trim_start();
    let marks = ["<|begin_of_text|>", "<s>", "<｜begin▁of▁sentence｜>"];
    marks.iter().find_map(|mark| trimmed.strip_prefix(mark)).filter(|rest| !rest.trim().is_empty()).unwrap_or(prompt)
}

/// Whether it is a system message at most, then user and assistant in turn, the user last.
fn takes_turns(said: &Said<'_>) -> bool {
    let talk = match &said[..] {
        [(Role::System, _), rest @ ..] => rest,
        all => all,
    };
    let expected = [Role::User, Role::Assistant];
    talk.len() % 2 == 1
        && talk
            .iter()
            .zip(expected.into_iter().cycle())
            .all(|((role, text), expected)| *role == expected && !text.trim().is_empty())
}

/// Llama 3: each message behind a header with its role.
pub(super) fn llama3(prompt: &str) -> Option<Said<'_>> {
    headed(prompt, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
}

/// Llama 4: the same with shorter marks.
pub(super) fn llama4(prompt: &str) -> Option<Said<'_>> {
    headed(prompt, ["<|header_start|>", "<|header_end|>", "<|eot|>"])
}

fn headed<'a>(prompt: &'a str, [open, close, end]: [&str; 3]) -> Option<Said<'a>> {
    let (before, messages) = bare(prompt).split_once(open)?;
    if !before.trim().is_empty() {
        return None;
    }
    let mut said = Vec::new();
    for message in messages.split(open) {
        let (role, text) = message.split_once(close)?;
        let role = match role.trim() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return None,
        };
        let text = text.trim();
        said.push((role, text.strip_suffix(end).unwrap_or(text).trim()));
    }
    without_opening(said)
}

/// Llama 2 and Mistral: the user's messages between `[INST]` and `[/INST]`, the others behind them;
/// Llama 2 puts the system's message into the first, between `<<SYS>>` and `<</SYS>>`.
pub(super) fn instructions(prompt: &str) -> Option<Said<'_>> {
    let (before, messages) = bare(prompt).split_once("[INST]")?;
    if !before.trim().is_empty() {
        return None;
    }
    let mut said = Vec::new();
    for message in messages.split("[INST]") {
        let (mut asked, answered) = message.split_once("[/INST]")?;
        if let Some((system, rest)) = asked.trim_start().strip_prefix("<<SYS>>").and_then(|a| a.split_once("<</SYS>>"))
        {
            said.push((Role::System, system.trim()));
            asked = rest;
        }
        said.push((Role::User, asked.trim()));
        let answered = answered.trim().trim_end_matches("<s>").trim_end();
        said.push((Role::Assistant, answered.strip_suffix("</s>").unwrap_or(answered).trim()));
    }
    without_opening(said)
}

/// DeepSeek: what comes first is the system's, each answer ends with a mark, and the last one is opened
/// for the model to think.
pub(super) fn deepseek(prompt: &str) -> Option<Said<'_>> {
    let (system, messages) = bare(prompt).split_once("<｜User｜>")?;
    let mut said = Vec::new();
    if !system.trim().is_empty() {
        said.push((Role::System, system.trim()));
    }
    for message in messages.split("<｜User｜>") {
        let (asked, answered) = message.split_once("<｜Assistant｜>")?;
        said.push((Role::User, asked.trim()));
        let answered = answered.split_once("</think>").map_or(answered, |(_, answer)| answer).trim();
        let answered = answered.strip_suffix("<｜end▁of▁sentence｜>").unwrap_or(answered);
        said.push((Role::Assistant, answered.strip_prefix("<think>").unwrap_or(answered).trim()));
    }
    without_opening(said)
}

/// Without the place that is left open for the answer.
fn without_opening(mut said: Said<'_>) -> Option<Said<'_>> {
    match said.pop()? {
        (Role::Assistant, "") => Some(said),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Assistant, System, User};

    #[test]
    fn prompts_come_apart_into_messages() {
        let llama = |prompt| llama3(prompt).or_else(|| llama4(prompt)).or_else(|| instructions(prompt));
        let cases: &[(&str, Option<Said<'_>>)] = &[
            (
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nbe brief<|eot_id|>\
                 <|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>\
                 <|start_header_id|>assistant<|end_header_id|>\n\n",
                Some(vec![(System, "be brief"), (User, "hi")]),
            ),
            (
                "<|header_start|>user<|header_end|>\n\na<|eot|><|header_start|>assistant<|header_end|>\n\nb<|eot|>\
                 <|header_start|>user<|header_end|>\n\nc<|eot|><|header_start|>assistant<|header_end|>\n\n",
                Some(vec![(User, "a"), (Assistant, "b"), (User, "c")]),
            ),
            ("<s>[INST] <<SYS>>\nbe brief\n<</SYS>>\n\nhi [/INST]", Some(vec![(System, "be brief"), (User, "hi")])),
            ("<s>[INST] a [/INST] b</s>[INST] c [/INST]", Some(vec![(User, "a"), (Assistant, "b"), (User, "c")])),
            ("hi", None),
            // An answer that was begun is continued, so it is no conversation.
            ("<|start_header_id|>user<|end_header_id|>hi<|eot_id|>", None),
            ("[INST] hi [/INST] Well,", None),
            ("[INST] hi", None),
        ];
        for (prompt, expected) in cases {
            assert_eq!(llama(prompt), *expected, "{prompt}");
        }
        assert_eq!(
            deepseek(
                "<｜begin▁of▁sentence｜>be brief<｜User｜>a<｜Assistant｜><think>x</think>b<｜end▁of▁sentence｜><｜User｜>c\
                 <｜Assistant｜><think>\n"
            ),
            Some(vec![(System, "be brief"), (User, "a"), (Assistant, "b"), (User, "c")])
        );
    }

    #[test]
    fn a_prompt_without_markup_is_one_message() {
        for (prompt, expected) in [
            ("hi", "hi"),
            ("<|begin_of_text|>hi", "hi"),
            ("<s>", "<s>"),
            ("[INST]  [/INST]", "[INST]  [/INST]"),
            ("[INST] hi [/INST] Well,", "[INST] hi [/INST] Well,"),
        ] {
            let conversation = conversation(prompt, instructions);
            assert!(conversation.system.is_empty() && conversation.prompt, "{prompt}");
            let [Turn { role: User, blocks }] = &conversation.turns[..] else { panic!("{prompt}") };
            assert!(matches!(&blocks[..], [Block::Text(text)] if text == expected), "{prompt}");
        }
    }
}
