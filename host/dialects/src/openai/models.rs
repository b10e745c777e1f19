//! Writes the list of models.

use bytes::Bytes;
use serde::Serialize;

/// A model in the list.
#[derive(Debug, Serialize)]
pub struct Model<'a> {
    /// The name to ask for.
    pub id: &'a str,
    object: &'static str,
    created: u64,
    /// Who makes it.
    pub owned_by: &'a str,
}

impl<'a> Model<'a> {
    /// A model. When it was made is not known, and said as 0.
    pub fn new(id: &'a str, owned_by: &'a str) -> Self {
        Self { id, object: "model", created: 0, owned_by }
    }
}

/// The list of models.
pub fn list(models: &[Model<'_>]) -> Bytes {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: &'a [Model<'a>],
    }
    serde_json::to_vec(&List { object: "list", data: models }).unwrap_or_default().into()
}
