//! What a key may do, and between steps 2 and 3 whether a request keeps to it.

use std::sync::Arc;

use kairos_dialects::{Failure, Kind};
use serde::{Deserialize, Serialize};

use crate::budget::OfKey;
use crate::decode::{AUTO, Decoded};
use crate::models::{Answering, Catalogue};
use crate::rates::Limit;
use crate::request::{Dialect, MOST_TAGS, Tags, has_no_tags};

/// What the holder of a key may ask for. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Names of the models that may answer, as callers write them; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The dialects that may be spoken; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialects: Option<Vec<Dialect>>,
    /// Whether another model may answer than the one that was named.
    pub fallback: Fallback,
    /// Requests that it may make in a minute; none: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens that they may count for, as Bedrock counts them against a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Tags of every request, which no caller can change.
    #[serde(skip_serializing_if = "has_no_tags")]
    pub tags: Tags,
    /// What may be spent with the key, beside what other budgets say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<OfKey>,
}

/// Whether another model may answer than the one that was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Where the request allows it (`x-kairos-fallback: any`).
    #[default]
    Asked,
    /// Always.
    Any,
    /// Never.
    Never,
}

/// The tag of a key that says of which team it is.
const TEAM: &str = "team";

impl Scope {
    /// The team: the key's tag of this name. A caller's own tag does not count, as it could be any.
    pub fn team(&self) -> Option<&str> {
        self.tags.iter().find(|(name, _)| name == TEAM).map(|(_, team)| team.as_str())
    }

    /// What may go through in a minute.
    pub fn rate(&self) -> Limit {
        Limit { requests: self.requests_per_minute, tokens: self.tokens_per_minute }
    }

    /// The indices of the models that may answer; none: all may.
    pub fn models_of(&self, catalogue: &Catalogue) -> Option<Vec<usize>> {
        let names = self.models.as_ref()?;
        Some(names.iter().filter_map(|name| answers_for(catalogue, name)).collect())
    }

    /// Why a model that was named may not answer.
    pub(crate) fn refuse_model(&self, asked: &str) -> Failure {
        let shown = &asked[..asked.floor_char_boundary(100)];
        let models = self.models.as_deref().unwrap_or_default().join(", ");
        let message = format!("this key may not use {shown:?}; it may use {models}");
        Failure::new(Kind::Forbidden, message).with_param("model")
    }

    /// Refuses a dialect that may not be spoken.
    pub fn speaks(&self, dialect: Dialect) -> Result<(), Failure> {
        if self.dialects.as_ref().is_none_or(|dialects| dialects.contains(&dialect)) {
            return Ok(());
        }
        let dialects: Vec<_> = self.dialects.iter().flatten().map(|dialect| dialect.name()).collect();
        let message = format!(
            "this key may not speak the dialect {}, which this address does; it may speak {}",
            dialect.name(),
            dialects.join(", ")
        );
        Err(Failure::new(Kind::Forbidden, message))
    }

    /// Holds a request to it: what it may not do is refused, what the key says of it is added.
    pub(crate) fn admit(&self, dialect: Dialect, request: &mut Decoded) -> Result<(), Failure> {
        self.speaks(dialect)?;
        match self.fallback {
            Fallback::Any => request.hints.any_model = true,
            Fallback::Never if request.hints.any_model => {
                let message = "this key may not let another model answer than the one that is named";
                return Err(Failure::new(Kind::Forbidden, message).with_param("x-kairos-fallback"));
            }
            Fallback::Asked | Fallback::Never => {}
        }
        self.add_tags(&mut request.hints.tags)
    }

    fn add_tags(&self, tags: &mut Tags) -> Result<(), Failure> {
        if self.tags.is_empty() {
            return Ok(());
        }
        if tags.is_empty() {
            *tags = Arc::clone(&self.tags);
            return Ok(());
        }
        let wrong = |message: String| Failure::new(Kind::InvalidValue, message).with_param("x-kairos-tags");
        let mut all = tags.to_vec();
        for (name, value) in self.tags.iter() {
            match tags.iter().find(|(known, _)| known == name) {
                None => all.push((name.clone(), value.clone())),
                Some((_, asked)) if asked == value => {}
                Some(_) => return Err(wrong(format!("the tag {name} is the key's: it is {value:?}"))),
            }
        }
        if all.len() > MOST_TAGS {
            let own = MOST_TAGS - self.tags.len();
            return Err(wrong(format!("with those of the key there are more than {MOST_TAGS} tags: {own} are left")));
        }
        *tags = all.into();
        Ok(())
    }
}

/// The model that answers for a name.
fn answers_for(catalogue: &Catalogue, name: &str) -> Option<usize> {
    match catalogue.known(name)? {
        Answering::Target { target, .. } => Some(catalogue.targets[target].model),
        Answering::Ended(_) | Answering::NotHere(_) | Answering::Unknown(_) => None,
    }
}

/// The id of the model that answers for a name.
pub fn model_id(catalogue: &Catalogue, name: &str) -> Option<Arc<str>> {
    answers_for(catalogue, name).map(|model| Arc::clone(&catalogue.models[model].id))
}

/// Whether a scope can name a model so: by a name that some model answers for, and not `auto`.
pub fn is_model(catalogue: &Catalogue, name: &str) -> bool {
    name != AUTO && answers_for(catalogue, name).is_some()
}
