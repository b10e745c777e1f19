//! What a prompter reads of a request, and its edits, as scripts make them.

use std::sync::Arc;

use kairos_pipeline::policy::{
    Draft, DraftMessage, Edit, Edits, MOST_EXAMPLES, MOST_TEXT_EDITS, Piece, Place, PromptInput, Shown, SystemEdit,
    TextEdit,
};
use rhai::{Array, Dynamic, ImmutableString};

use super::super::api::{Ctx, code, option};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::{Judgement, shown};

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "render",
    parameters: 5,
    hint: "a prompter has `fn render(ctx, features, models, first, draft) { … }`, which gives edits(reason), changed \
           by its methods",
};

/// The request, as it would go to a model.
#[derive(Clone)]
struct DraftView(Arc<Draft>);

/// A message of it.
#[derive(Clone)]
struct MessageView {
    draft: Arc<Draft>,
    index: u32,
}

pub(super) fn call(script: &Script, input: PromptInput<'_>, ctx: Ctx) -> Fallible<Edits> {
    let (features, models) = shown(input.request, input.features, input.models);
    let draft = DraftView(Arc::clone(input.draft));
    script.call(JUDGEMENT.function, (ctx, features, models, i64::from(input.first), draft))
}

pub(super) fn register(api: &mut Api<'_>) {
    register_draft(api);
    register_message(api);
    register_edits(api);
    register_texts(api);
    register_parameters(api);
}

fn texts<'a>(shown: impl Iterator<Item = &'a str>) -> Array {
    shown.map(|text| Dynamic::from(ImmutableString::from(text))).collect()
}

fn register_draft(api: &mut Api<'_>) {
    api.section(
        "`draft`: the request, as it would go to a model",
        "Of a prompter, as are the next tables. `first` is the index in `models` of the model that is tried first. Of \
         each text the first 65,536 bytes are shown, of all together 524,288: the system prompt's, then those of the \
         newest messages.",
    )
    .of::<DraftView>("Draft", "draft")
    .property("system: array", "The texts of the system prompt.", |draft: &mut DraftView| -> Array {
        texts(draft.0.system.iter().map(|shown| shown.text.as_str()))
    })
    .property("messages: int", "How many messages there are.", |draft: &mut DraftView| -> i64 {
        i64::from(draft.0.earlier).saturating_add(draft.0.messages.len() as i64)
    })
    .function(
        "message(index: int) -> message?",
        "The message with this index, from 0; `()` where 1,024 others come behind it.",
        |draft: &mut DraftView, index: i64| -> Dynamic {
            let index = u32::try_from(index).ok().filter(|index| draft.0.message(*index).is_some());
            let view = |index| Dynamic::from(MessageView { draft: Arc::clone(&draft.0), index });
            index.map_or(Dynamic::UNIT, view)
        },
    )
    .property("tools: array", "Names of the tools that the model may call.", |draft: &mut DraftView| -> Array {
        texts(draft.0.tools.iter().map(String::as_str))
    })
    .property("max_output_tokens: int?", "The output limit that the request sets.", |draft: &mut DraftView| {
        option(draft.0.parameters.max_output_tokens)
    })
    .property("temperature: float?", "The temperature that it sets.", |draft: &mut DraftView| {
        draft.0.parameters.temperature.map_or(Dynamic::UNIT, Dynamic::from_float)
    })
    .property("top_p: float?", "The nucleus that it sets.", |draft: &mut DraftView| {
        draft.0.parameters.top_p.map_or(Dynamic::UNIT, Dynamic::from_float)
    })
    .property("stop: array", "Texts that end the answer.", |draft: &mut DraftView| -> Array {
        texts(draft.0.parameters.stop.iter().map(String::as_str))
    })
    .property(
        "template: string?",
        "The template that the caller named: `name@version`.",
        |draft: &mut DraftView| {
            let named = draft.0.template.as_ref().map(|(name, version)| format!("{name}@{version}"));
            named.map_or(Dynamic::UNIT, Dynamic::from)
        },
    );
}

impl MessageView {
    fn message(&self) -> Option<&DraftMessage> {
        self.draft.message(self.index)
    }

    fn piece(&self, index: i64) -> Fallible<&Piece> {
        let pieces = self.message().map_or(&[][..], |message| &message.pieces);
        let piece = usize::try_from(index).ok().and_then(|index| pieces.get(index));
        piece.ok_or_else(|| format!("message {} has {} pieces, and none {index}", self.index, pieces.len()).into())
    }

    fn shown(&self, index: i64) -> Fallible<Option<&Shown>> {
        Ok(match self.piece(index)? {
            Piece::Text(shown) => Some(shown),
            _ => None,
        })
    }
}

fn register_message(api: &mut Api<'_>) {
    api.section("A message `m`", "`draft.message(i)`. `piece` is the index of one of its pieces, from 0.")
        .of::<MessageView>("Message", "m")
        .property("role: string", "`user`, `assistant`, or `system` within a conversation.", |m: &mut MessageView| {
            ImmutableString::from(m.message().map_or("", |message| message.role.name()))
        })
        .property(
            "pieces: array",
            "What its pieces are: `text`, `image`, `tool-use`, … as in prompter.wit.",
            |m: &mut MessageView| -> Array {
                texts(m.message().into_iter().flat_map(|message| &message.pieces).map(Piece::name))
            },
        )
        .function(
            "text(piece: int) -> string?",
            "What is shown of a text; `()` of what is none.",
            |m: &mut MessageView, piece: i64| -> Fallible<Dynamic> {
                let shown = m.shown(piece)?;
                Ok(shown.map_or(Dynamic::UNIT, |shown| ImmutableString::from(shown.text.as_str()).into()))
            },
        )
        .function(
            "is_whole(piece: int) -> bool",
            "Whether all of a text is shown, so that it can be replaced.",
            |m: &mut MessageView, piece: i64| -> Fallible<bool> {
                Ok(m.shown(piece)?.is_some_and(|shown| shown.text.len() == shown.bytes as usize))
            },
        )
        .function(
            "tool(piece: int) -> string?",
            "The tool that a `tool-use` calls.",
            |m: &mut MessageView, piece: i64| -> Fallible<Dynamic> {
                Ok(match m.piece(piece)? {
                    Piece::ToolUse(name) => ImmutableString::from(name.as_str()).into(),
                    _ => Dynamic::UNIT,
                })
            },
        );
}

fn register_edits(api: &mut Api<'_>) {
    api.section(
        "A prompter's answer",
        "Edits `e`: of what nothing is said, that stays. They are carried out in the order of prompter.wit.",
    )
    .function(
        "edits(reason: int) -> edits",
        "`reason` is a code that `describe` names.",
        |reason: i64| -> Fallible<Edits> { Ok(Edits::new(code(reason)?)) },
    )
    .of::<Edits>("Edits", "e")
    .function(
        "system(text: string)",
        "This is in the place of the system prompt's texts.",
        |edits: &mut Edits, text: &str| {
            edits.system = SystemEdit::Replace(text.to_owned());
        },
    )
    .function("remove_system()", "The system prompt's texts go.", |edits: &mut Edits| edits.system = SystemEdit::Remove)
    .function(
        "system_before(text: string)",
        "A text in front of the system prompt.",
        |edits: &mut Edits, text: &str| {
            edits.system_before = Some(text.to_owned());
        },
    )
    .function(
        "system_after(text: string)",
        "A text behind it, cache points included.",
        |edits: &mut Edits, text: &str| {
            edits.system_after = Some(text.to_owned());
        },
    )
    .function(
        "example(user: string, assistant: string)",
        "What a user says and what the assistant answers, in front of the conversation, behind the example before.",
        |edits: &mut Edits, user: &str, assistant: &str| -> Fallible<()> {
            if edits.examples.len() >= MOST_EXAMPLES {
                return Err(format!("there are more than {MOST_EXAMPLES} examples").into());
            }
            edits.examples.push((user.to_owned(), assistant.to_owned()));
            Ok(())
        },
    )
    .function(
        "keep_last(messages: int)",
        "The oldest messages are left out; at least so many stay, and every tool's result with its call.",
        |edits: &mut Edits, messages: i64| -> Fallible<()> {
            edits.keep_last = Some(code(messages)?);
            Ok(())
        },
    );
}

fn register_texts(api: &mut Api<'_>) {
    fn change(edits: &mut Edits, message: i64, piece: i64, change: TextEdit) -> Fallible<()> {
        if edits.texts.len() >= MOST_TEXT_EDITS {
            return Err(format!("there are more than {MOST_TEXT_EDITS} changes of texts").into());
        }
        edits.texts.push((Place { message: code(message)?, piece: code(piece)? }, change));
        Ok(())
    }
    api.function(
        "replace(message: int, piece: int, text: string)",
        "This is in the place of a text that was shown whole.",
        |edits: &mut Edits, message: i64, piece: i64, text: &str| {
            change(edits, message, piece, TextEdit::Replace(text.to_owned()))
        },
    )
    .function(
        "before(message: int, piece: int, text: string)",
        "A text in front of one of a message.",
        |edits: &mut Edits, message: i64, piece: i64, text: &str| {
            change(edits, message, piece, TextEdit::Before(text.to_owned()))
        },
    )
    .function(
        "after(message: int, piece: int, text: string)",
        "A text behind one of a message.",
        |edits: &mut Edits, message: i64, piece: i64, text: &str| {
            change(edits, message, piece, TextEdit::After(text.to_owned()))
        },
    )
    .function(
        "remove(message: int, piece: int)",
        "A text of a message goes.",
        |edits: &mut Edits, message: i64, piece: i64| change(edits, message, piece, TextEdit::Remove),
    );
}

fn register_parameters(api: &mut Api<'_>) {
    api.setter(
        "max_output_tokens = int",
        "Lowers the output limit, never raises it.",
        |edits: &mut Edits, limit: i64| {
            edits.max_output_tokens = Some(code(limit)?);
            Ok(())
        },
    )
    .setter(
        "temperature = float?",
        "Sets it; `()`: the model's own default holds.",
        |edits: &mut Edits, value: Dynamic| {
            edits.temperature = number(&value)?;
            Ok(())
        },
    )
    .setter("top_p = float?", "Likewise.", |edits: &mut Edits, value: Dynamic| {
        edits.top_p = number(&value)?;
        Ok(())
    })
    .setter(
        "stop = array?",
        "Texts that end the answer, 4 at most; `()`: none of the request's.",
        |edits: &mut Edits, value: Dynamic| {
            edits.stop = stop(value)?;
            Ok(())
        },
    );
}

fn number(value: &Dynamic) -> Fallible<Edit<f64>> {
    if value.is_unit() {
        return Ok(Edit::Unset);
    }
    let number = value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64));
    number.map(Edit::Set).ok_or_else(|| format!("{} is no number", value.type_name()).into())
}

fn stop(value: Dynamic) -> Fallible<Edit<Vec<String>>> {
    if value.is_unit() {
        return Ok(Edit::Unset);
    }
    let kind = value.type_name();
    let Some(list) = value.try_cast::<Array>() else { return Err(format!("{kind} is no array of texts").into()) };
    let text = |value: Dynamic| value.into_string().map_err(|kind| format!("{kind} is no text").into());
    list.into_iter().map(text).collect::<Fallible<Vec<String>>>().map(Edit::Set)
}
