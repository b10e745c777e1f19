//! Prompts in which a caller wrote out a model's own chat template, read back into turns.
//!
//! Only where that is exact: a prompt that does not keep to its template to the last marker is sent
//! as it is, as one turn of the user. Sources: the model cards of Llama 3 and 4, Mistral's and
//! Llama 2's `[INST]` format, DeepSeek-R1's tokenizer configuration; all of them public.

use crate::canonical::Role;

/// A conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turns {
    /// The system prompt, empty where there is none.
    pub(super) system: String,
    /// Turns, in order: the user's first and last, roles alternating.
    pub(super) turns: Vec<(Role, String)>,
}

impl Turns {
    /// A prompt as one turn of the user.
    fn plain(prompt: &str) -> Self {
        Self { system: String::new(), turns: vec![(Role::User, prompt.to_owned())] }
    }

    /// Whether Converse takes it, unchanged: nothing blank, roles alternating, the user's last.
    fn is_whole(&self) -> bool {
        let expected = [Role::User, Role::Assistant].into_iter().cycle();
        self.turns.len() % 2 == 1
            && self
                .turns
                .iter()
                .zip(expected)
                .all(|((role, text), expected)| *role == expected && !text.trim().is_empty())
    }

    fn or_plain(found: Option<Self>, prompt: &str) -> Self {
        found.filter(Self::is_whole).unwrap_or_else(|| Self::plain(prompt))
    }
}

/// Markers of a template in which each turn has a header.
struct Headers {
    open: &'static str,
    close: &'static str,
    end: &'static str,
}

const LLAMA_3: Headers = Headers { open: "<|start_header_id|>", close: "<|end_header_id|>", end: "<|eot_id|>" };
const LLAMA_4: Headers = Headers { open: "<|header_start|>", close: "<|header_end|>", end: "<|eot|>" };

/// Reads a prompt for Llama.
pub(super) fn llama(prompt: &str) -> Turns {
    let rest = prompt.strip_prefix("<|begin_of_text|>").unwrap_or(prompt);
    let markers = [LLAMA_3, LLAMA_4].into_iter().find(|markers| rest.contains(markers.open));
    match markers {
        Some(markers) => Turns::or_plain(headed(rest, &markers), prompt),
        None if rest.contains("[INST]") => instruct(prompt),
        None => Turns::plain(rest),
    }
}

fn headed(mut rest: &str, markers: &Headers) -> Option<Turns> {
    let mut found = Turns { system: String::new(), turns: Vec::new() };
    loop {
        let (role, after) = rest.trim_start().strip_prefix(markers.open)?.split_once(markers.close)?;
        let Some((text, after)) = after.split_once(markers.end) else {
            // The last header asks for the answer; what stands after it would be its beginning.
            return (role == "assistant" && after.trim().is_empty()).then_some(found);
        };
        let text = text.strip_prefix("\n\n").unwrap_or(text).to_owned();
        match role {
            "system" if found.turns.is_empty() && found.system.is_empty() => found.system = text,
            "user" => found.turns.push((Role::User, text)),
            "assistant" => found.turns.push((Role::Assistant, text)),
            _ => return None,
        }
        rest = after;
    }
}

/// Reads a prompt with `[INST]`, as Mistral and Llama 2 take it.
pub(super) fn instruct(prompt: &str) -> Turns {
    let rest = prompt.trim_start();
    let rest = rest.strip_prefix("<s>").unwrap_or(rest);
    if rest.contains("[INST]") { Turns::or_plain(instructions(rest), prompt) } else { Turns::plain(rest) }
}

fn instructions(mut rest: &str) -> Option<Turns> {
    let mut found = Turns { system: String::new(), turns: Vec::new() };
    loop {
        let (text, after) = rest.trim_start().strip_prefix("[INST]")?.split_once("[/INST]")?;
        let mut text = text.trim();
        if let Some(inner) = text.strip_prefix("<<SYS>>").filter(|_| found.turns.is_empty()) {
            let (system, user) = inner.split_once("<</SYS>>")?;
            system.trim().clone_into(&mut found.system);
            text = user.trim();
        }
        if text.contains("[INST]") {
            return None;
        }
        found.turns.push((Role::User, text.to_owned()));
        if after.trim().is_empty() {
            return Some(found);
        }
        let (answer, after) = after.split_once("</s>")?;
        found.turns.push((Role::Assistant, answer.trim().to_owned()));
        let after = after.trim_start();
        rest = after.strip_prefix("<s>").unwrap_or(after);
    }
}

const DEEPSEEK_BEGIN: &str = "<\u{ff5c}begin\u{2581}of\u{2581}sentence\u{ff5c}>";
const DEEPSEEK_END: &str = "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>";
const DEEPSEEK_USER: &str = "<\u{ff5c}User\u{ff5c}>";
const DEEPSEEK_ASSISTANT: &str = "<\u{ff5c}Assistant\u{ff5c}>";
/// Where a prompt ends with it, the answer begins within the reasoning.
const THINK: &str = "<think>";

/// Reads a prompt for DeepSeek; and whether it opens the model's reasoning.
pub(super) fn deepseek(prompt: &str) -> (Turns, bool) {
    let trimmed = prompt.trim_end();
    let (asked, thinks) = match trimmed.strip_suffix(THINK) {
        Some(asked) => (asked, true),
        None => (prompt, false),
    };
    let rest = asked.strip_prefix(DEEPSEEK_BEGIN).unwrap_or(asked);
    let turns =
        if rest.contains(DEEPSEEK_USER) { Turns::or_plain(deepseek_turns(rest), asked) } else { Turns::plain(rest) };
    (turns, thinks)
}

fn deepseek_turns(rest: &str) -> Option<Turns> {
    let (system, mut rest) = rest.split_once(DEEPSEEK_USER)?;
    let mut found = Turns { system: system.trim().to_owned(), turns: Vec::new() };
    loop {
        let (text, after) = rest.split_once(DEEPSEEK_ASSISTANT)?;
        found.turns.push((Role::User, text.to_owned()));
        if after.trim().is_empty() {
            return Some(found);
        }
        let (answer, after) = after.split_once(DEEPSEEK_END)?;
        found.turns.push((Role::Assistant, answer.to_owned()));
        rest = after.trim_start().strip_prefix(DEEPSEEK_USER)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `system|user|assistant|user`.
    fn shown(turns: &Turns) -> String {
        let texts: Vec<_> = turns.turns.iter().map(|(_, text)| text.as_str()).collect();
        format!("{}|{}", turns.system, texts.join("|"))
    }

    #[test]
    fn templates_that_are_kept_to_become_turns() {
        for (prompt, expected) in [
            ("hi", "|hi"),
            ("<|begin_of_text|>hi", "|hi"),
            (
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nbe brief<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
                "be brief|hi",
            ),
            (
                "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>\n<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
                "|a|b|c",
            ),
            (
                "<|begin_of_text|><|header_start|>user<|header_end|>\n\nhi<|eot|><|header_start|>assistant<|header_end|>",
                "|hi",
            ),
            ("<s>[INST] <<SYS>>\nbe brief\n<</SYS>>\n\nhi [/INST]", "be brief|hi"),
        ] {
            assert_eq!(shown(&llama(prompt)), expected, "{prompt}");
        }
        for (prompt, expected) in [
            ("hi", "|hi"),
            ("<s>[INST] hi [/INST]", "|hi"),
            ("[INST]a[/INST] b</s>[INST] c [/INST]", "|a|b|c"),
            ("<s>[INST] a [/INST]b</s> <s>[INST] c [/INST]", "|a|b|c"),
        ] {
            assert_eq!(shown(&instruct(prompt)), expected, "{prompt}");
        }
    }

    #[test]
    fn prompts_that_do_not_keep_to_a_template_stay_as_they_are() {
        for prompt in [
            // The beginning of the answer, a role that Converse has not, no question, a torn marker.
            "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nSure",
            "<|start_header_id|>ipython<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
            "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|start_header_id|>user",
            "before <|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
        ] {
            assert_eq!(llama(prompt), Turns::plain(prompt), "{prompt}");
        }
        for prompt in
            ["[INST] a", "[INST] a [/INST] b", "[INST] [/INST]", "x [INST] a [/INST]", "[INST] a [INST] b [/INST]"]
        {
            assert_eq!(instruct(prompt), Turns::plain(prompt), "{prompt}");
        }
    }

    #[test]
    fn deepseek_prompts_may_open_the_reasoning() {
        for (prompt, expected, thinks) in [
            ("hi", "|hi", false),
            ("<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\n", "|hi", true),
            (
                "<｜begin▁of▁sentence｜>be brief<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>c<｜Assistant｜>",
                "be brief|a|b|c",
                false,
            ),
            ("<｜User｜>a", "|<｜User｜>a", false),
        ] {
            let (turns, opened) = deepseek(prompt);
            assert_eq!((shown(&turns).as_str(), opened), (expected, thinks), "{prompt}");
        }
    }
}
