//! Which lines of the ledger a line of the bill belongs to: those of a model, by whichever route and in
//! whichever tier, as rows that a crash left say of neither.

use std::collections::HashMap;

use kairos_pipeline::models::{Answering, Catalogue};

use super::LineKey;
use super::usage_type::{Product, UsageType};

/// The words of usage types, and the models they name.
const WORDS: &str = include_str!("words.tsv");

/// What is compared as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Whose {
    /// The tokens of a model, by its id.
    Model(String),
    /// Tokens of all models that the Marketplace sells: this bill does not say whose.
    Marketplace,
    /// What guardrails assessed, of whatever model.
    Guardrails,
    /// A usage type, or its model, that is not known.
    Unknown(String),
}

impl std::fmt::Display for Whose {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model(id) => formatter.write_str(id),
            Self::Marketplace => formatter.write_str("models of the Marketplace"),
            Self::Guardrails => formatter.write_str("guardrails"),
            Self::Unknown(usage_type) => write!(formatter, "unknown usage type {usage_type}"),
        }
    }
}

/// Letters and digits, as names differ in what is between them.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|sign| sign.to_ascii_lowercase()).collect()
}

/// Knows whose a line is.
pub(crate) struct Names<'a> {
    catalogue: &'a Catalogue,
    words: HashMap<&'static str, &'static str>,
    products: HashMap<String, Option<usize>>,
    /// The bill does not say of every line of the Marketplace whose it is: then they are compared as one.
    together: bool,
}

impl<'a> Names<'a> {
    /// For a bill with these lines.
    pub(crate) fn new<'b>(catalogue: &'a Catalogue, lines: impl Iterator<Item = &'b LineKey>) -> Self {
        let rows = WORDS.lines().filter(|line| !line.starts_with('#'));
        let words = rows.filter_map(|row| row.split_once('\t')).collect();
        let mut products = HashMap::new();
        for (at, model) in catalogue.models.iter().enumerate() {
            // Of a name that two models have it is not known which.
            products.entry(bare(&model.name)).and_modify(|known| *known = None).or_insert(Some(at));
        }
        let mut names = Self { catalogue, words, products, together: false };
        names.together = lines.into_iter().any(|key| {
            let is_market =
                UsageType::parse(&key.usage_type).is_some_and(|parsed| parsed.product == Product::Marketplace);
            is_market && names.model(key).is_none()
        });
        names
    }

    /// The model that a line names beside its usage type.
    fn model(&self, key: &LineKey) -> Option<String> {
        let name = key.product.split(" (Amazon Bedrock").next().unwrap_or_default();
        if let Some(Some(at)) = self.products.get(&bare(name)) {
            return Some(self.catalogue.models[*at].id.to_string());
        }
        let id = key.resource.rsplit('/').next().filter(|id| !id.is_empty() && key.resource.starts_with("arn:"))?;
        // An application profile is known by the whole of its ARN.
        let named = if self.catalogue.names.contains_key(&key.resource) { &key.resource } else { id };
        match self.catalogue.answering(named) {
            Answering::Target { target, ended: None } => Some(self.catalogue.model_of(target).id.to_string()),
            _ => self.catalogue.models.iter().find(|model| *model.id == *id).map(|model| model.id.to_string()),
        }
    }

    /// Whose a line of the bill is.
    pub(crate) fn of_bill(&self, key: &LineKey) -> (Whose, Option<UsageType>) {
        let unknown = || Whose::Unknown(key.usage_type.clone());
        let Some(parsed) = UsageType::parse(&key.usage_type) else { return (unknown(), None) };
        let whose = match &parsed.product {
            Product::Guardrail => Whose::Guardrails,
            Product::Word(word) => match self.words.get(word.as_str()) {
                Some(id) => Whose::Model((*id).to_owned()),
                None => unknown(),
            },
            Product::Marketplace if self.together => Whose::Marketplace,
            Product::Marketplace => self.model(key).map_or_else(unknown, Whose::Model),
        };
        (whose, Some(parsed))
    }

    /// Whose a line of the ledger is: its model's.
    pub(crate) fn of_ledger(&self, model: &str) -> Whose {
        if self.together && !self.words.values().any(|id| *id == model) {
            Whose::Marketplace
        } else {
            Whose::Model(model.to_owned())
        }
    }
}
