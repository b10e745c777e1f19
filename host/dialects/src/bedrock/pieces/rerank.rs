//! Rerank. Shapes: AWS's user guide, "Use a reranker model in Amazon Bedrock", and Cohere's reference of
//! Rerank, whose fields both models take by InvokeModel: `query`, `documents`, `top_n`, `api_version`,
//! `max_tokens_per_doc`.
//!
//! AWS's price list: a query holds up to 100 documents; one that is longer than 512 tokens, the query's
//! included, counts as several. How many tokens a text has is not known here, and no answer says how many
//! pieces there were: where that is not certain the row is an estimate between the least and the most.

use serde_json::Value;

use super::{Object, add_text, list, number, text, whole};
use crate::invalid::Invalid;
use crate::outline::{Needs, Outline};
use crate::usage::{Unit, Units};

/// Documents, or pieces of them, that one query holds.
pub const PIECES_OF_A_QUERY: u32 = 100;
/// Tokens of a piece, the query's included.
const PIECE: usize = 512;
/// Tokens that stand around both.
const AROUND: usize = 3;
/// Tokens of a document that are looked at, unless the request says more; the rest is cut off.
const TOKENS_OF_A_DOCUMENT: usize = 4_096;

pub(super) fn outline(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = Outline { needs: Needs::RERANK, ..Outline::default() };
    let query = text(fields, "query")?.ok_or_else(|| Invalid::value("query", "it is missing"))?;
    add_text(&mut outline, query);
    let documents = list(fields, "documents")?;
    // Fewer than usual lower nothing: whether each model cuts there is not known.
    let longest = whole(fields, "max_tokens_per_doc")?.map_or(0, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let longest = longest.max(TOKENS_OF_A_DOCUMENT);
    let mut pieces = 0u32;
    for document in documents {
        let bytes = match document {
            Value::String(text) => {
                add_text(&mut outline, text);
                text.len()
            }
            other => {
                let text = other.to_string();
                add_text(&mut outline, &text);
                text.len()
            }
        };
        pieces = pieces.saturating_add(number(most_pieces(query.len(), bytes, longest)));
    }
    let queries = |pieces: u32| Units::of(Unit::Query, pieces.div_ceil(PIECES_OF_A_QUERY).max(1));
    (outline.least_units, outline.units) = (queries(number(documents.len())), queries(pieces));
    Ok(outline)
}

/// The most pieces that a document of so many bytes can be, of which so many tokens are looked at: a token is
/// a byte at least. The query is in each piece as a whole; one that fills a piece leaves the document a token.
fn most_pieces(query: usize, document: usize, longest: usize) -> usize {
    let room = (PIECE - AROUND).saturating_sub(query).max(1);
    document.min(longest).div_ceil(room).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is billed of tokens: each piece is filled in turn.
    fn billed(query: usize, documents: &[usize]) -> u32 {
        let mut pieces = 0u32;
        for tokens in documents {
            let mut left = (*tokens).min(TOKENS_OF_A_DOCUMENT);
            loop {
                pieces += 1;
                left = left.saturating_sub(if query < PIECE - AROUND { PIECE - AROUND - query } else { 1 });
                if left == 0 {
                    break;
                }
            }
        }
        pieces.div_ceil(PIECES_OF_A_QUERY).max(1)
    }

    proptest! {
        /// Whatever number of tokens the bytes are, the bill lies within.
        #[test]
        fn the_bill_is_never_above_the_most_nor_below_the_least(
            (query, of_query) in (1usize..3_000).prop_flat_map(|bytes| (Just(bytes), 1..=bytes)),
            documents in prop::collection::vec(
                (0usize..6_000).prop_flat_map(|bytes| (Just(bytes), 0..=bytes)), 1..120),
        ) {
            let texts: Vec<_> = documents.iter().map(|(bytes, _)| "x".repeat(*bytes)).collect();
            let body = serde_json::json!({"query": "q".repeat(query), "documents": texts, "max_tokens_per_doc": 9});
            let found = outline(body.as_object().unwrap()).unwrap();
            let tokens: Vec<_> = documents.iter().map(|(_, tokens)| *tokens).collect();
            let bill = billed(of_query, &tokens);
            prop_assert!(found.least_units.count(Unit::Query) <= bill);
            prop_assert!(bill <= found.units.count(Unit::Query));
        }
    }
}
