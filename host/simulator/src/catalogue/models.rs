//! The table of models: which exist, until when, and what each can take.
//!
//! It must not know prices, nor how a request is written.

use jiff::civil::Date;

use super::{BadTable, Route};

/// Whose body and manners a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Claude,
    Nova,
    Titan,
    Llama,
    /// Mistral's models that take prompts only.
    MistralText,
    /// Those that take prompts or chats.
    MistralEither,
    /// Those that take chats only; so do models of other makers, in the same bodies.
    Mistral,
    Jamba,
    Jurassic,
    Cohere,
    /// DeepSeek's model that takes prompts, and always thinks.
    DeepSeekR1,
    DeepSeek,
    /// No chat.
    Pieces(Pieces),
}

/// What is no chat: embeddings, rerank, images, videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    Titan,
    Nova,
    Cohere,
    Marengo,
    Rerank,
    /// Amazon's images.
    Canvas,
    Stability,
    /// Amazon's videos, which only jobs make.
    Reel,
}

/// What a model can take or do, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(u32);

const FEATURES: &[(&str, Features)] = &[
    ("stream", Features::STREAM),
    ("multi-turn", Features::MULTI_TURN),
    ("system", Features::SYSTEM),
    ("tools", Features::TOOLS),
    ("forced-tools", Features::FORCED_TOOLS),
    ("images", Features::IMAGES),
    ("documents", Features::DOCUMENTS),
    ("video", Features::VIDEO),
    ("audio", Features::AUDIO),
    ("reasoning", Features::REASONING),
    ("json-schema", Features::JSON_SCHEMA),
    ("cache", Features::CACHE),
    ("mid-system", Features::MID_SYSTEM),
    ("prefill", Features::PREFILL),
    ("sampling", Features::SAMPLING),
];

impl Features {
    /// Answers that come piece by piece.
    pub(crate) const STREAM: Self = Self(1 << 1);
    /// More than one message in a conversation.
    pub(crate) const MULTI_TURN: Self = Self(1 << 2);
    pub(crate) const SYSTEM: Self = Self(1 << 3);
    pub(crate) const TOOLS: Self = Self(1 << 4);
    /// `toolChoice` any or a named tool.
    pub(crate) const FORCED_TOOLS: Self = Self(1 << 5);
    pub(crate) const IMAGES: Self = Self(1 << 6);
    pub(crate) const DOCUMENTS: Self = Self(1 << 7);
    pub(crate) const VIDEO: Self = Self(1 << 8);
    pub(crate) const AUDIO: Self = Self(1 << 9);
    pub(crate) const REASONING: Self = Self(1 << 10);
    /// Replies bound to a JSON schema.
    pub(crate) const JSON_SCHEMA: Self = Self(1 << 11);
    /// Prompt caching.
    pub(crate) const CACHE: Self = Self(1 << 12);
    /// System messages in the middle of a conversation.
    pub(crate) const MID_SYSTEM: Self = Self(1 << 13);
    /// A conversation may end with the beginning of the answer.
    pub(crate) const PREFILL: Self = Self(1 << 14);
    /// Temperature and its kin other than their defaults.
    pub(crate) const SAMPLING: Self = Self(1 << 15);

    pub(crate) fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    fn parse(list: &str) -> Result<Self, BadTable> {
        if list == "-" {
            return Ok(Self::default());
        }
        list.split(',').try_fold(Self::default(), |all, word| {
            let (_, bit) =
                FEATURES.iter().find(|(name, _)| *name == word).ok_or_else(|| BadTable::value("feature", word))?;
            Ok(Self(all.0 | bit.0))
        })
    }
}

/// One model, as every id that leads to it shares it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) id: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) family: Family,
    /// The word of its usage types; none for what the Marketplace sells.
    pub(crate) product: Option<Box<str>>,
    pub(crate) max_in: u32,
    pub(crate) long_in: Option<u32>,
    pub(crate) max_out: u32,
    pub(crate) cache_min: Option<u32>,
    pub(crate) profile_only: bool,
    ends: Vec<(Option<Route>, Date)>,
    pub(crate) features: Features,
}

impl Model {
    pub(crate) fn has(&self, feature: Features) -> bool {
        self.features.has(feature)
    }

    /// Whether this way to the model is gone on that day.
    pub(crate) fn ended(&self, route: Route, today: Date) -> bool {
        self.ends.iter().any(|(which, day)| which.is_none_or(|w| w == route) && today >= *day)
    }

    /// The first day without the model, by any way; none if it is not known or only some ways end.
    pub(crate) fn end(&self) -> Option<Date> {
        self.ends.iter().find(|(route, _)| route.is_none()).map(|(_, day)| *day)
    }

    /// A line of the table, its columns in the order the file's head gives.
    pub(super) fn parse(line: &str) -> Result<Self, BadTable> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, name, family, product, max_in, long_in, max_out, cache_min, reach, ends, features] = columns[..]
        else {
            return Err(BadTable::Columns { found: columns.len(), wanted: 11 });
        };
        let number = |what: &'static str, text: &str| text.parse::<u32>().map_err(|_| BadTable::value(what, text));
        let maybe = |what: &'static str, text: &str| {
            if text == "-" { Ok(None) } else { number(what, text).map(Some) }
        };
        Ok(Self {
            id: id.into(),
            name: name.into(),
            family: parse_family(family)?,
            product: (product != "MP").then(|| product.into()),
            max_in: number("max_in", max_in)?,
            long_in: maybe("long_in", long_in)?,
            max_out: number("max_out", max_out)?,
            cache_min: maybe("cache_min", cache_min)?,
            profile_only: match reach {
                "region" => false,
                "profile" => true,
                other => return Err(BadTable::value("reach", other)),
            },
            ends: parse_ends(ends)?,
            features: Features::parse(features)?,
        })
    }
}

fn parse_family(word: &str) -> Result<Family, BadTable> {
    Ok(match word {
        "claude" => Family::Claude,
        "nova" => Family::Nova,
        "titan" => Family::Titan,
        "llama" => Family::Llama,
        "mistral-text" => Family::MistralText,
        "mistral-either" => Family::MistralEither,
        "mistral" | "chat" => Family::Mistral,
        "jamba" => Family::Jamba,
        "j2" => Family::Jurassic,
        "cohere" => Family::Cohere,
        "deepseek-r1" => Family::DeepSeekR1,
        "deepseek" => Family::DeepSeek,
        "titan-embed" => Family::Pieces(Pieces::Titan),
        "nova-embed" => Family::Pieces(Pieces::Nova),
        "cohere-embed" => Family::Pieces(Pieces::Cohere),
        "marengo" => Family::Pieces(Pieces::Marengo),
        "rerank" => Family::Pieces(Pieces::Rerank),
        "canvas" => Family::Pieces(Pieces::Canvas),
        "stability" => Family::Pieces(Pieces::Stability),
        "reel" => Family::Pieces(Pieces::Reel),
        other => return Err(BadTable::value("family", other)),
    })
}

fn parse_ends(list: &str) -> Result<Vec<(Option<Route>, Date)>, BadTable> {
    if list == "-" {
        return Ok(Vec::new());
    }
    list.split(',')
        .map(|entry| {
            let (route, day) = match entry.split_once('=') {
                Some((route, day)) => (Some(Route::parse(route)?), day),
                None => (None, entry),
            };
            Ok((route, day.parse().map_err(|_| BadTable::value("date", day))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const LINE: &str = "a.b\tB\tclaude\tMP\t10\t-\t5\t-\tprofile\teu=2026-10-15\tstream,tools";

    #[test]
    fn a_line_becomes_a_model() {
        let model = Model::parse(LINE).unwrap();
        assert!(model.profile_only && model.product.is_none());
        assert!(model.has(Features::TOOLS) && !model.has(Features::SYSTEM));
        assert!(model.ended(Route::Eu, date(2026, 10, 15)));
        assert!(!model.ended(Route::Eu, date(2026, 10, 14)));
        assert!(!model.ended(Route::Us, date(2030, 1, 1)));
    }

    #[test]
    fn a_bad_line_is_refused() {
        for (from, to) in [
            ("claude", "gpt"),
            ("\t10\t", "\tten\t"),
            ("profile", "moon"),
            ("2026-10-15", "2026-13-15"),
            ("tools", "teapots"),
            ("\tB", ""),
        ] {
            assert!(Model::parse(&LINE.replacen(from, to, 1)).is_err(), "{to:?}");
        }
    }
}
