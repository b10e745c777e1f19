//! A Converse body as a policy reads it that may change it: bounded, and nothing that is not text whole.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::short;
use crate::invalid::Invalid;

/// Bytes of a text that are shown.
const MOST_TEXT: usize = 65_536;
/// Bytes of all texts that are shown.
const MOST_TEXTS: usize = 524_288;
/// Messages that are shown: the newest.
const MOST_MESSAGES: usize = 1_024;
/// Pieces of a message that are shown, and texts of the system prompt.
const MOST_PIECES: usize = 1_024;
/// Tools that are named, and bytes of each name.
const MOST_TOOLS: usize = 256;
const TOOL_BYTES: usize = 64;
/// Texts that end an answer that are shown, and bytes of each.
const MOST_STOPS: usize = 64;
const STOP_BYTES: usize = 256;

/// A request, as it would go to a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Texts of the system prompt.
    pub system: Vec<Shown>,
    /// Messages before those that are shown.
    pub earlier: u32,
    /// The newest messages.
    pub messages: Vec<Message>,
    /// Names of tools.
    pub tools: Vec<String>,
    /// How the answer is drawn.
    pub parameters: Parameters,
    /// The template that the caller named: its name, and its version as text.
    pub template: Option<(String, String)>,
}

impl Draft {
    /// The message with this index, where it is shown.
    pub fn message(&self, index: u32) -> Option<&Message> {
        self.messages.get(index.checked_sub(self.earlier)? as usize)
    }

    /// Bytes of the texts that are shown.
    pub fn bytes(&self) -> usize {
        let of_piece = |piece: &Piece| if let Piece::Text(shown) = piece { shown.text.len() } else { 0 };
        let messages = self.messages.iter().flat_map(|message| &message.pieces).map(of_piece).sum::<usize>();
        self.system.iter().map(|shown| shown.text.len()).sum::<usize>() + messages
    }
}

/// A text, or the beginning of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What is shown of it.
    pub text: String,
    /// Bytes of the whole.
    pub bytes: u32,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whose it is.
    pub role: Speaker,
    /// Its pieces, the first of them.
    pub pieces: Vec<Piece>,
    /// Pieces that are not shown.
    pub more: u32,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Speaker {
    /// The user's.
    User,
    /// The model's.
    Assistant,
    /// An instruction within the conversation.
    System,
}

impl Speaker {
    /// All, in the contract's order.
    pub const ALL: [Self; 3] = [Self::User, Self::Assistant, Self::System];

    /// Bedrock's name.
    pub fn name(self) -> &'static str {
        ["user", "assistant", "system"][self as usize]
    }
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Piece {
    Text(Shown),
    Image,
    Document,
    Video,
    Audio,
    ToolUse(String),
    ToolResult,
    Reasoning,
    CachePoint,
    Other,
}

impl Piece {
    /// The contract's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Image => "image",
            Self::Document => "document",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::ToolUse(_) => "tool-use",
            Self::ToolResult => "tool-result",
            Self::Reasoning => "reasoning",
            Self::CachePoint => "cache-point",
            Self::Other => "other",
        }
    }
}

/// How the answer is drawn, where the request says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Parameters {
    pub max_output_tokens: Option<u32>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub stop: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a Converse request")]
struct View<'a> {
    #[serde(default, borrow)]
    messages: Option<Vec<MessageView<'a>>>,
    #[serde(default, borrow)]
    system: Option<Vec<BlockView<'a>>>,
    #[serde(default)]
    inference_config: Option<InferenceView>,
    #[serde(default, borrow)]
    tool_config: Option<ToolsView<'a>>,
}

#[derive(Deserialize)]
struct MessageView<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Vec<BlockView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockView<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    image: Option<IgnoredAny>,
    document: Option<IgnoredAny>,
    video: Option<IgnoredAny>,
    audio: Option<IgnoredAny>,
    #[serde(default, borrow)]
    tool_use: Option<Named<'a>>,
    tool_result: Option<IgnoredAny>,
    reasoning_content: Option<IgnoredAny>,
    cache_point: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(default, borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InferenceView {
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ToolsView<'a> {
    #[serde(default, borrow)]
    tools: Vec<ToolView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolView<'a> {
    #[serde(default, borrow)]
    tool_spec: Option<Named<'a>>,
}

/// What of all texts may still be shown.
struct Room(usize);

impl Room {
    fn show(&mut self, text: &str) -> Shown {
        let cut = text.floor_char_boundary(MOST_TEXT.min(self.0));
        self.0 -= cut;
        Shown { text: text[..cut].to_owned(), bytes: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }
}

/// Reads a Converse body.
pub fn draft(body: &[u8]) -> Result<Draft, Invalid> {
    let View { messages, system, inference_config, tool_config } = Invalid::parse(body)?;
    let mut room = Room(MOST_TEXTS);
    let texts = system.iter().flatten().filter_map(|block| block.text.as_deref());
    let system = texts.take(MOST_PIECES).map(|text| room.show(text)).collect();
    let messages = messages.unwrap_or_default();
    let earlier = messages.len().saturating_sub(MOST_MESSAGES);
    let mut shown: Vec<Message> = messages[earlier..].iter().rev().map(|message| read(message, &mut room)).collect();
    shown.reverse();
    let tools = tool_config.map_or_else(Vec::new, |config| config.tools);
    let tools = tools.into_iter().filter_map(|tool| tool.tool_spec).take(MOST_TOOLS);
    Ok(Draft {
        system,
        earlier: u32::try_from(earlier).unwrap_or(u32::MAX),
        messages: shown,
        tools: tools.map(|tool| cut(&tool.name, TOOL_BYTES)).collect(),
        parameters: inference_config.map_or_else(Parameters::default, |inference| Parameters {
            max_output_tokens: inference.max_tokens,
            temperature: inference.temperature,
            top_p: inference.top_p,
            stop: bounded(inference.stop_sequences.as_deref().unwrap_or_default()),
        }),
        template: None,
    })
}

/// Texts that end an answer, as they are shown.
pub(crate) fn bounded(stop: &[String]) -> Vec<String> {
    stop.iter().take(MOST_STOPS).map(|text| cut(text, STOP_BYTES)).collect()
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

fn read(message: &MessageView<'_>, room: &mut Room) -> Message {
    let role = match short(&message.role) {
        "assistant" => Speaker::Assistant,
        "system" => Speaker::System,
        _ => Speaker::User,
    };
    let pieces = message.content.iter().take(MOST_PIECES).map(|block| piece(block, room)).collect();
    let more = message.content.len().saturating_sub(MOST_PIECES);
    Message { role, pieces, more: u32::try_from(more).unwrap_or(u32::MAX) }
}

fn piece(block: &BlockView<'_>, room: &mut Room) -> Piece {
    if let Some(text) = &block.text {
        return Piece::Text(room.show(text));
    }
    if let Some(call) = &block.tool_use {
        return Piece::ToolUse(cut(&call.name, TOOL_BYTES));
    }
    let kinds = [
        (&block.image, Piece::Image),
        (&block.document, Piece::Document),
        (&block.video, Piece::Video),
        (&block.audio, Piece::Audio),
        (&block.tool_result, Piece::ToolResult),
        (&block.reasoning_content, Piece::Reasoning),
        (&block.cache_point, Piece::CachePoint),
    ];
    kinds.into_iter().find(|(there, _)| there.is_some()).map_or(Piece::Other, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_shown_within_bounds() {
        let body = json!({
            "system": [{"text": "one"}, {"cachePoint": {}}, {"text": "two"}],
            "messages": [
                {"role": "user", "content": [{"text": "hi"}, {"image": {}}, {"new": 1}]},
                {"role": "assistant", "content": [{"reasoningContent": {}}, {"toolUse": {"name": "f", "input": {}}}]},
                {"role": "user", "content": [{"toolResult": {"content": []}}, {"cachePoint": {}}]},
            ],
            "inferenceConfig": {"maxTokens": 5, "stopSequences": ["x"]},
            "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}]},
        });
        let draft = draft(body.to_string().as_bytes()).unwrap();
        let texts: Vec<_> = draft.system.iter().map(|shown| shown.text.as_str()).collect();
        assert_eq!((texts, draft.tools.as_slice()), (vec!["one", "two"], &["f".to_owned()][..]));
        let kinds: Vec<Vec<_>> =
            draft.messages.iter().map(|message| message.pieces.iter().map(Piece::name).collect()).collect();
        assert_eq!(
            kinds,
            [vec!["text", "image", "other"], vec!["reasoning", "tool-use"], vec!["tool-result", "cache-point"]]
        );
        assert_eq!((draft.parameters.max_output_tokens, draft.parameters.stop.len()), (Some(5), 1));
    }

    #[test]
    fn the_newest_texts_are_shown_first() {
        let long = "ü".repeat(MOST_TEXT);
        let message = json!({"role": "user", "content": [{"text": long}]});
        let body = json!({"messages": vec![message; 2_000]});
        let draft = draft(body.to_string().as_bytes()).unwrap();
        assert_eq!((draft.earlier, draft.messages.len()), (976, MOST_MESSAGES));
        let shown: Vec<usize> = draft
            .messages
            .iter()
            .map(|message| match &message.pieces[0] {
                Piece::Text(shown) => {
                    assert_eq!(shown.bytes as usize, long.len());
                    shown.text.len()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(shown.iter().sum::<usize>(), MOST_TEXTS);
        assert!(
            shown[..1_016].iter().all(|bytes| *bytes == 0) && shown[1_016..].iter().all(|bytes| *bytes == MOST_TEXT)
        );
    }
}
