//! Models that are no chats: embeddings, rerank, images. From a body to its answer and what is billed of it.
//!
//! Only what is billed and answered is worked out; vectors and pictures stand for nothing. It must not know
//! prices.

mod embed;
mod images;
mod rerank;

use serde_json::{Value, json};

use super::fields::Result;
use crate::catalogue::{Model, Pieces};
use crate::error::ApiError;
use crate::usage::Usage;

/// An answer, and what it used.
pub(crate) struct Done {
    pub(crate) body: Value,
    pub(crate) usage: Usage,
    /// Whether a header beside it counts the tokens of the input.
    pub(crate) counts: bool,
}

/// Carries a request out.
pub(crate) fn answer(pieces: Pieces, model: &Model, body: &Value) -> Result<Done> {
    match pieces {
        Pieces::Titan => embed::titan(model, body),
        Pieces::Nova => embed::nova(model, body),
        Pieces::Cohere => embed::cohere(model, body),
        Pieces::Marengo => embed::marengo(model, body),
        Pieces::Rerank => rerank::answer(body),
        Pieces::Canvas => images::canvas(body),
        Pieces::Stability => images::stability(body),
        Pieces::Reel => Err(ApiError::validation("The provided model is invoked asynchronously only.")),
    }
}

/// A vector that is another for another text, and the same for the same.
fn vector(seed: &str, dimensions: u32) -> Value {
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let numbers = (0..dimensions).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let thousandths = i32::try_from((state >> 33) % 2_001).unwrap_or(0) - 1_000;
        json!(f64::from(thousandths) / 1_000.0)
    });
    Value::Array(numbers.collect())
}
