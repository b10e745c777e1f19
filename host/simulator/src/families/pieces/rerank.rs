//! Rerank. Sources: AWS's page "Use a reranker model in Amazon Bedrock", Cohere's reference, and AWS's price
//! list: a query holds 100 documents; one of more than 512 tokens, with the query, is several. Of a document
//! 4,096 tokens are looked at, unless `max_tokens_per_doc` says otherwise.

use serde_json::{Value, json};

use super::super::fields::{Fields, Result};
use super::Done;
use crate::catalogue::Piece;
use crate::tokens;
use crate::usage::Usage;

const DOCUMENTS: u32 = 100;
/// Tokens of a document with its query, less what stands around them.
const WINDOW: u32 = 509;
/// Tokens of a document that are looked at, as a rule.
const USUAL: u32 = 4_096;

pub(super) fn answer(body: &Value) -> Result<Done> {
    let fields = Fields::of(body, &["query", "documents", "top_n", "api_version", "max_tokens_per_doc"])?;
    let query = tokens::count(fields.required_text("query")?);
    let longest = fields.integer("max_tokens_per_doc", 1..=100_000)?.unwrap_or(USUAL);
    let documents = fields.list("documents")?;
    if documents.is_empty() {
        return Err(fields.missing("documents"));
    }
    let pieces = documents.iter().fold(0u32, |sum, document| {
        let text = document.as_str().map_or_else(|| document.to_string(), str::to_owned);
        let mut own = tokens::count(&text).min(longest);
        let mut cut = 1u32;
        // A query that fills the window leaves one token of it.
        while own.saturating_add(query) > WINDOW && own > 1 {
            own -= WINDOW.saturating_sub(query).clamp(1, own - 1);
            cut += 1;
        }
        sum.saturating_add(cut)
    });
    let most = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    let shown = fields.integer("top_n", 1..=1_000)?.unwrap_or(most).min(most);
    let results: Vec<Value> =
        (0..shown).map(|index| json!({"index": index, "relevance_score": 1.0 / f64::from(index + 1)})).collect();
    let mut usage = Usage::default();
    usage.add(Piece::Query, pieces.div_ceil(DOCUMENTS));
    Ok(Done { body: json!({"results": results}), usage, counts: false })
}
