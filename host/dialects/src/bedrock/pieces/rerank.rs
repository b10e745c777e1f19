//! Rerank. Shapes: AWS's user guide, "Use a reranker model in Amazon Bedrock", and Cohere's reference of
//! Rerank, whose fields both models take by InvokeModel: `query`, `documents`, `top_n`, `api_version`.
//!
//! AWS's price list: a query holds up to 100 documents; one that is longer than 512 tokens, the query's
//! included, counts as several. No answer says how many there were, so where that is not certain the row is an
//! estimate between the least and the most.

use serde_json::Value;

use super::{Object, add_text, list, number, text};
use crate::invalid::Invalid;
use crate::outline::{Needs, Outline};
use crate::usage::{Unit, Units};

/// Documents, or pieces of them, that one query holds.
pub const PIECES_OF_A_QUERY: u32 = 100;
/// Tokens of a piece, the query's included.
const PIECE: usize = 512;
/// Tokens that stand around both.
const AROUND: usize = 3;
/// The most that a query takes of a piece: half of it (Cohere's reference: a longer one is cut).
const MOST_OF_QUERY: usize = PIECE / 2;

pub(super) fn outline(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = Outline { needs: Needs::RERANK, ..Outline::default() };
    let query = text(fields, "query")?.ok_or_else(|| Invalid::value("query", "it is missing"))?;
    add_text(&mut outline, query);
    let documents = list(fields, "documents")?;
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
        pieces = pieces.saturating_add(number(most_pieces(query.len(), bytes)));
    }
    let queries = |pieces: u32| Units::of(Unit::Query, pieces.div_ceil(PIECES_OF_A_QUERY).max(1));
    (outline.least_units, outline.units) = (queries(number(documents.len())), queries(pieces));
    Ok(outline)
}

/// The most pieces that a document can be. A token is a byte at least.
fn most_pieces(query: usize, document: usize) -> usize {
    let room = PIECE - AROUND;
    if query.saturating_add(document) <= room {
        return 1;
    }
    document.div_ceil(room - query.min(MOST_OF_QUERY)).max(1)
}
