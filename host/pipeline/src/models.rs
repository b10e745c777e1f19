//! The models, as the pipeline knows them. They are read and priced by `kairos-bedrock`.

use std::collections::HashMap;
use std::sync::Arc;

use kairos_dialects::Needs;
use kairos_dialects::bedrock::pieces::Body;
use kairos_dialects::generate::parameters::{Accepts, Sampling, TopK};
use kairos_dialects::outline::ServiceTier;

use crate::policy::{Family, Names, Offer, Route, Strengths};
use crate::price::{Day, GuardrailPrices, PriceTable, Prices, Rates, day_of};

/// What a model is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Conversations and prompts, answered in tokens.
    #[default]
    Chat,
    /// Vectors that stand for what it is given.
    Embedding,
    /// Documents, in the order of their relevance.
    Rerank,
    /// Images.
    Image,
    /// Videos.
    Video,
}

impl ModelKind {
    /// The name in the catalogue.
    pub const fn name(self) -> &'static str {
        ["chat", "embedding", "rerank", "image", "video"][self as usize]
    }

    /// How such a model is asked, for who asked it otherwise.
    pub const fn asked_by(self) -> &'static str {
        match self {
            Self::Chat => "ask it by /v1/chat/completions, Converse or InvokeModel",
            Self::Embedding => "ask it by /v1/embeddings or InvokeModel",
            Self::Rerank | Self::Image => "ask it by InvokeModel",
            Self::Video => "Bedrock answers it by StartAsyncInvoke only",
        }
    }
}

/// A model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Bedrock's id of it, without profile.
    pub id: Arc<str>,
    /// What it is asked for. Only chat models are offered to policies beside the one that is named.
    pub kind: ModelKind,
    /// Whose body it takes by InvokeModel, where it is no chat model; none: not by InvokeModel.
    pub body: Option<Body>,
    /// How many numbers its vectors can have, where that can be chosen.
    pub dimensions: Vec<u32>,
    /// What people call it.
    pub name: String,
    /// Who made it.
    pub family: Family,
    /// Other names that a caller may use.
    pub aliases: Vec<String>,
    /// What it can do.
    pub capabilities: Needs,
    /// What it is good at.
    pub strengths: Strengths,
    /// The most input tokens it takes.
    pub max_input_tokens: u32,
    /// The most output tokens it gives.
    pub max_output_tokens: u32,
    /// Typical time to a whole answer.
    pub latency_ms: u32,
    /// How often a token that it writes counts against a quota.
    pub burndown: u32,
    /// What it takes of `temperature` and `top_p`.
    pub sampling: Sampling,
    /// Where `top_k` goes; none where it has no such parameter.
    pub top_k: Option<TopK>,
    /// The day from which it no longer answers, where that is known.
    pub ends: Option<String>,
    /// Whether it answers on the catalogue's date.
    pub active: bool,
    /// Index of the model that answers in its place once it has ended.
    pub successor: Option<usize>,
    /// Place among the models offered for `auto`; none where it is only called by name.
    pub auto: Option<u32>,
    /// Index of the target that is called when the model is named without a route.
    pub target: Option<usize>,
}

impl Model {
    /// What it takes of the parameters of Kairos's own API.
    pub fn accepts(&self) -> Accepts {
        Accepts { sampling: self.sampling, top_k: self.top_k, max_output_tokens: self.max_output_tokens }
    }
}

/// A model at one route: what is called, and what it costs there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Index of the model.
    pub model: usize,
    /// What Bedrock is asked for: a model id, a profile id or an ARN.
    pub invocation_id: Arc<str>,
    /// Where it is served.
    pub route: Route,
    /// What it costs.
    pub prices: PriceTable,
}

/// All models, on one date, seen from one region.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Models, in the catalogue's order.
    pub models: Vec<Model>,
    /// What can be called.
    pub targets: Vec<Target>,
    /// Ids, aliases, profile ids and ARNs.
    pub names: HashMap<String, Named, foldhash::fast::RandomState>,
    /// Targets offered for `auto`, in order.
    pub auto: Vec<usize>,
    /// Targets that are tried, in order, after the plan of a request that any model may answer.
    pub fallback: Vec<usize>,
    /// The region that is called.
    pub region: Arc<str>,
    /// The date for which models are active or not, as `YYYY-MM-DD`.
    pub as_of: String,
    /// The same date, in days since 1970.
    pub day: Day,
    /// Whether the date was set by hand: then prices are those of that day, whatever the clock says.
    pub is_day_set: bool,
    /// What guardrails cost.
    pub guardrail_prices: GuardrailPrices,
    /// What is taken for a model without a price, by family: the dearest of each kind that there is. Empty
    /// where what has no price is refused.
    pub stand_ins: Vec<(Family, Rates)>,
    /// SHA-256 of the catalogue's source and the operator's own prices, so that a row can say which prices it
    /// used.
    pub version: Arc<str>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A model, at the route that the gateway prefers.
    Model(usize),
    /// A model at this very route: who names one may need it, for where the data goes.
    Target(usize),
}

/// What answers for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answering {
    /// This target. Where the model asked for has ended, `ended` is its index.
    Target {
        /// What is called.
        target: usize,
        /// The model that was asked for and has ended.
        ended: Option<usize>,
    },
    /// The model has ended and has no successor that is active.
    Ended(usize),
    /// The model, or its successor, cannot be called from this region at a known price.
    NotHere(usize),
    /// No such name; the nearest that there is, if any is near.
    Unknown(Option<String>),
}

impl Catalogue {
    /// The model of a target.
    pub fn model_of(&self, target: usize) -> &Model {
        &self.models[self.targets[target].model]
    }

    /// The day whose prices hold for what is reserved at this time.
    pub fn day_at(&self, at_ms: u64) -> Day {
        if self.is_day_set { self.day } else { day_of(at_ms) }
    }

    /// What a target costs on a day.
    pub fn prices<'a>(&'a self, target: &'a Target, day: Day) -> Prices<'a> {
        let family = self.models[target.model].family;
        let stand_in = self.stand_ins.iter().find(|(of, _)| *of == family).map(|(_, rates)| *rates);
        Prices { table: &target.prices, guardrail: &self.guardrail_prices, day, stand_in }
    }

    /// A target as policies see it on a day, in what does not move: what was learned, what is under way and
    /// what a request can cost at most are 0.
    pub fn fixed_offer(&self, target: usize, tier: ServiceTier, input: u64, day: Day) -> Offer {
        let at = &self.targets[target];
        let model = &self.models[at.model];
        let rates = self.prices(at, day).rates(tier, input);
        Offer {
            names: 0,
            family: model.family,
            route: at.route,
            region: 0,
            legacy: model.ends.is_some(),
            strengths: model.strengths,
            capabilities: model.capabilities,
            max_input_tokens: model.max_input_tokens,
            max_output_tokens: model.max_output_tokens,
            input_price: rates.map_or(0, |rates| rates.input),
            output_price: rates.map_or(0, |rates| rates.output),
            cache_read_price: rates.and_then(|rates| rates.cache_read),
            cache_write_5m_price: rates.and_then(|rates| rates.cache_write_5m),
            cache_write_1h_price: rates.and_then(|rates| rates.cache_write_1h),
            worst_case_cost: 0,
            latency_ms: model.latency_ms,
            successes: 0,
            failures: 0,
            cached_tokens: 0,
            cooldown_ms: 0,
            in_flight: 0,
            quota_left: None,
        }
    }

    /// Marks which of a policy's names each offered target answers for.
    pub fn mark_names(&self, names: &[String], targets: &[usize], offers: &mut [Offer]) {
        for (place, name) in names.iter().enumerate().take(64) {
            let Some(Answering::Target { target, .. }) = self.known(name) else { continue };
            let model = self.targets[target].model;
            if let Some(index) = targets.iter().position(|&offer| self.targets[offer].model == model) {
                offers[index].names |= 1 << place;
            }
        }
    }

    /// What answers for `name`.
    pub fn answering(&self, name: &str) -> Answering {
        self.known(name).unwrap_or_else(|| Answering::Unknown(self.nearest(name)))
    }

    /// The same; none where there is no such name.
    pub(crate) fn known(&self, name: &str) -> Option<Answering> {
        let named = self.names.get(name)?;
        Some(self.answering_named(*named))
    }

    fn answering_named(&self, named: Named) -> Answering {
        let (asked, at) = match named {
            Named::Model(model) => (model, None),
            Named::Target(target) => (self.targets[target].model, Some(target)),
        };
        if self.models[asked].active {
            return match at.or(self.models[asked].target) {
                Some(target) => Answering::Target { target, ended: None },
                None => Answering::NotHere(asked),
            };
        }
        let Some(model) = self.active_successor(asked) else {
            return Answering::Ended(asked);
        };
        // Whoever asked for a profile gets the successor at the same one, where it is there.
        let profile = at.map(|target| &*self.targets[target].invocation_id);
        let same_route = profile.and_then(|id| id.strip_suffix(&*self.models[asked].id)).and_then(|prefix| {
            let id = format!("{prefix}{}", self.models[model].id);
            self.targets.iter().position(|target| *target.invocation_id == *id)
        });
        match same_route.or(self.models[model].target) {
            Some(target) => Answering::Target { target, ended: Some(asked) },
            None => Answering::NotHere(model),
        }
    }

    /// The first model after `model`, along successors, that is active.
    pub fn active_successor(&self, model: usize) -> Option<usize> {
        let mut at = model;
        // A chain longer than the catalogue would be a circle.
        for _ in 0..self.models.len() {
            at = self.models[at].successor?;
            if self.models[at].active {
                return Some(at);
            }
        }
        None
    }

    /// The name that is nearest to `name`, if any is near.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let name = name.get(..name.floor_char_boundary(128)).unwrap_or(name);
        // An account's own ARNs are nothing that a caller learns by asking for others.
        let names = self.names.keys().filter(|known| !known.starts_with("arn:"));
        let scored = names.map(|known| (strsim::jaro_winkler(known, name), known));
        let best = scored.max_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| y.cmp(x)))?;
        (best.0 > 0.85).then(|| best.1.clone())
    }
}

/// Whether an ARN is of capacity that is paid by the time: provisioned throughput, imported models.
pub fn is_rented(arn: &str) -> bool {
    arn.starts_with("arn:") && [":provisioned-model/", ":imported-model/"].iter().any(|kind| arn.contains(kind))
}

impl Names for Catalogue {
    fn answering(&self, name: &str) -> Option<Arc<str>> {
        match self.known(name)? {
            Answering::Target { target, .. } => Some(Arc::clone(&self.models[self.targets[target].model].id)),
            Answering::Ended(_) | Answering::NotHere(_) | Answering::Unknown(_) => None,
        }
    }
}
