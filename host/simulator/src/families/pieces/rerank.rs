//! Rerank. Sources: AWS's page "Use a reranker model in Amazon Bedrock", Cohere's reference, and AWS's price
//! list: a query holds 100 documents; one of more than 512 tokens, with the query, is several.

use serde_json::{Value, json};

use super::super::fields::{Fields, Result};
use super::Done;
use crate::catalogue::Piece;
use crate::tokens;
use crate::usage::Usage;

const DOCUMENTS: u32 = 100;
/// Tokens of a document with its query, less what stands around them.
const WINDOW: u32 = 509;

pub(super) fn answer(body: &Value) -> Result<Done> {
    let fields = Fields::of(body, &["query", "documents", "top_n", "api_version", "max_tokens_per_doc"])?;
    let query = tokens::count(fields.required_text("query")?).min(256);
    let documents = fields.list("documents")?;
    if documents.is_empty() {
        return Err(fields.missing("documents"));
    }
    let pieces = documents.iter().fold(0u32, |sum, document| {
        let text = document.as_str().map_or_else(|| document.to_string(), str::to_owned);
        let own = tokens::count(&text);
        sum.saturating_add(if own + query <= WINDOW { 1 } else { own.div_ceil(WINDOW - query) })
    });
    let most = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    let shown = fields.integer("top_n", 1..=1_000)?.unwrap_or(most).min(most);
    let results: Vec<Value> =
        (0..shown).map(|index| json!({"index": index, "relevance_score": 1.0 / f64::from(index + 1)})).collect();
    let mut usage = Usage::default();
    usage.add(Piece::Query, pieces.div_ceil(DOCUMENTS));
    Ok(Done { body: json!({"results": results}), usage, counts: false })
}
