//! What a policy was asked, as it is written with a record, and read again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kairos_pipeline::learned::Reads;
use kairos_pipeline::policy::{Content, Features, Names, Offer, RequestInfo};
use kairos_pipeline::record::{Asked, Given, InsteadOf};
use kairos_pipeline::request::{Tags, has_no_tags};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Content as Keeps;
use super::reads::{KeptReads, ReadColumn};
use super::snapshots::{Ids, Known, Offered};

/// What of a model on offer moves from request to request, in this order: the most that the request can
/// cost there, successes and failures of late, tokens in its prompt cache, milliseconds that it is to be
/// left alone, attempts under way, quota left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moving(u64, u32, u32, u32, u32, u32, Option<u64>);

impl Moving {
    pub(super) fn of(offer: &Offer) -> Self {
        let Offer { worst_case_cost, successes, failures, cached_tokens, cooldown_ms, in_flight, quota_left, .. } =
            *offer;
        Self(worst_case_cost, successes, failures, cached_tokens, cooldown_ms, in_flight, quota_left)
    }

    pub(super) fn put_into(self, offer: Offer) -> Offer {
        let Self(worst_case_cost, successes, failures, cached_tokens, cooldown_ms, in_flight, quota_left) = self;
        Offer { worst_case_cost, successes, failures, cached_tokens, cooldown_ms, in_flight, quota_left, ..offer }
    }
}

/// What of an offer is the same for many requests. The names that a policy looks for are its own.
pub(super) fn without_what_moves(offer: &Offer) -> Offer {
    Moving(0, 0, 0, 0, 0, 0, None).put_into(Offer { names: 0, ..*offer })
}

/// A text that is kept elsewhere, or is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    bytes: usize,
    /// HMAC-SHA256, in hexadecimal: equal texts have equal ones. Left out where the text is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// The column `asked`.
#[derive(Debug, Serialize, Deserialize)]
struct Columns<'a> {
    policy: Arc<str>,
    catalogue: i64,
    offered: i64,
    setting: i64,
    /// Who was asked before and did not decide, and what that was loaded with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(Cow<'a, InsteadOf>, i64)>,
    features: Features,
    moving: Vec<Moving>,
    asked_model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_label: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "has_no_tags")]
    tags: Tags,
    prompt: Said,
    system: Said,
    /// What was read of what was learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reads: Vec<ReadColumn>,
    /// More was read than is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more_reads: bool,
    given: Cow<'a, Given>,
    /// More judgements were given beside it than are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more_judgements: bool,
    /// Of the 2⁵³ numbers in [0, 1) that there are, which: a whole number is read as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    draw: Option<u64>,
}

const DRAWS: f64 = (1u64 << 53) as f64;

/// What was said, where it is kept: the prompt, and the system prompt.
pub(super) type Kept<'a> = Option<(Cow<'a, str>, Cow<'a, str>)>;

/// Puts what was asked into writing, and gives what is kept of what was said; of what is not kept as it was, a digest
/// is written.
pub(super) fn write<'a>(
    asked: &'a Asked,
    ids: Ids,
    (reads, more_reads): (Vec<ReadColumn>, bool),
    more_judgements: bool,
    (content, digests): (Keeps, &Digests),
    column: &mut Vec<u8>,
) -> serde_json::Result<Kept<'a>> {
    let Asked { policy, before, request, features, models, given, draw, .. } = asked;
    let (prompt, system) = request.content.texts();
    let kept = match content {
        Keeps::None => Default::default(),
        Keeps::Redacted => request.content.redacted(),
        Keeps::Full => (prompt.into(), system.into()),
    };
    let said = |text: &str, kept: &str| Said { bytes: text.len(), digest: (kept != text).then(|| digests.of(text)) };
    let columns = Columns {
        policy: Arc::clone(policy),
        catalogue: ids.catalogue,
        offered: ids.offered,
        setting: ids.setting,
        before: before.as_ref().map(|(before, _)| Cow::Borrowed(before)).zip(ids.before),
        features: *features,
        moving: models.iter().map(Moving::of).collect(),
        asked_model: request.asked_model.as_str().into(),
        task_label: request.task_label.as_deref().map(Cow::Borrowed),
        tags: Arc::clone(&request.tags),
        prompt: said(prompt, &kept.0),
        system: said(system, &kept.1),
        reads,
        more_reads,
        given: Cow::Borrowed(given),
        more_judgements,
        draw: draw.map(|draw| (draw * DRAWS) as u64),
    };
    let is_kept = content != Keeps::None && !(prompt.is_empty() && system.is_empty());
    serde_json::to_writer(column, &columns)?;
    Ok(is_kept.then_some(kept))
}

/// Makes digests, under a key, of what is not kept; without one none, as anybody could guess at what was said.
pub(super) struct Digests(Option<Hmac<Sha256>>);

impl Digests {
    /// Under this key.
    pub(super) fn under(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).ok().map(|mac| mac.chain_update(b"withheld")))
    }

    fn of(&self, text: &str) -> String {
        let Some(mac) = self.0.clone() else { return String::new() };
        hex::encode(mac.chain_update(text).finalize().into_bytes())
    }
}

/// What a policy was asked once, to be asked again.
#[derive(Debug)]
pub struct Question {
    /// Who decided: `name@digest`.
    pub policy: Arc<str>,
    /// What it was loaded with: configuration and grants, as JSON.
    pub setting: String,
    /// Who was asked before and did not decide, with what that was loaded with.
    pub before: Option<(InsteadOf, String)>,
    /// What is not a number. Where what was said is withheld, it is empty, or redacted.
    pub request: Arc<RequestInfo>,
    /// What the host knew of the request.
    pub features: Features,
    /// The models on offer; `names` is to be filled in for each policy.
    pub models: Vec<Offer>,
    /// What the policy answered.
    pub given: Given,
    /// What was drawn, in [0, 1), where more than one model could have been first.
    pub draw: Option<f64>,
    /// Whether something was said that is not kept as it was.
    pub withheld: bool,
    /// Whether what the native guard let pass of it is kept instead.
    pub redacted: bool,
    /// What was read of what was learned.
    pub reads: Arc<KeptReads>,
    /// Whether more judgements were given beside it than are kept.
    pub more_judgements: bool,
    /// The version of Kairos that asked.
    pub kairos: String,
    /// SHA-256 of the source of the catalogue that was in use.
    pub catalogue: Arc<str>,
    /// The day for which its models were active or not.
    pub as_of: String,
    /// The region that was called.
    pub region: Arc<str>,
}

impl Question {
    /// Whether a policy that was asked it wanted to know what was said, and that is withheld: then its
    /// answer says nothing.
    pub fn was_withheld(&self) -> bool {
        self.withheld && self.request.content.was_read()
    }

    /// Whether a policy that was asked it read what was learned under a key whose value of then is not in the
    /// record: then its answer says nothing. Why it is not there.
    pub fn lacks_reads(&self) -> Option<&'static str> {
        self.reads.lacking()
    }

    /// Marks which of a policy's names each model answers for.
    pub fn mark_names(&mut self, names: &[String]) {
        mark_names(&self.request, &mut self.models, names);
    }
}

/// Marks which of a policy's names each model answers for.
pub(super) fn mark_names(request: &RequestInfo, models: &mut [Offer], names: &[String]) {
    models.iter_mut().for_each(|offer| offer.names = 0);
    for (place, name) in names.iter().enumerate().take(64) {
        if let Some(model) = request.find(name).and_then(|index| models.get_mut(index as usize)) {
            model.names |= 1 << place;
        }
    }
}

/// What models answered for.
#[derive(Debug)]
struct KnownNames(BTreeMap<String, Arc<str>>);

impl Names for KnownNames {
    fn answering(&self, name: &str) -> Option<Arc<str>> {
        self.0.get(name).cloned()
    }
}

/// Reads what was written. `snapshot` gives the text of a snapshot.
pub(super) fn read(
    column: &str,
    content: Option<(String, String)>,
    snapshot: &mut dyn FnMut(i64) -> Result<Arc<str>, String>,
) -> Result<Question, String> {
    let wrong = |error: serde_json::Error| format!("what was asked cannot be read: {error}");
    let columns: Columns<'_> = serde_json::from_str(column).map_err(wrong)?;
    let known: Known = serde_json::from_str(&snapshot(columns.catalogue)?).map_err(wrong)?;
    let offered: Offered = serde_json::from_str(&snapshot(columns.offered)?).map_err(wrong)?;
    let mut setting = |id| serde_json::from_str::<String>(&snapshot(id)?).map_err(wrong);
    let before = columns.before.map(|(before, id)| Ok::<_, String>((before.into_owned(), setting(id)?))).transpose()?;
    let setting = setting(columns.setting)?;
    if offered.models.len() != columns.moving.len() || offered.ids.len() != columns.moving.len() {
        return Err("the record and its snapshot have different numbers of models".to_owned());
    }
    let withheld = columns.prompt.digest.is_some() || columns.system.digest.is_some();
    let redacted = withheld && content.is_some();
    let (prompt, system) = content.unwrap_or_default();
    let reads = Arc::new(KeptReads::read(columns.reads, columns.more_reads, snapshot)?);
    let models = offered.models.iter().zip(columns.moving).map(|(offer, moving)| moving.put_into(*offer)).collect();
    let request = RequestInfo {
        content: Content::new(prompt, system),
        tags: columns.tags,
        task_label: columns.task_label.map(Cow::into_owned),
        asked_model: columns.asked_model.into_owned(),
        model_ids: offered.ids.into(),
        regions: offered.regions,
        names: Arc::new(KnownNames(known.names)),
        learned: Arc::new(Reads::of(Arc::clone(&reads) as _)),
    };
    Ok(Question {
        policy: columns.policy,
        setting,
        before,
        request: Arc::new(request),
        features: columns.features,
        models,
        given: columns.given.into_owned(),
        draw: columns.draw.map(|draw| draw as f64 / DRAWS),
        withheld,
        redacted,
        reads,
        more_judgements: columns.more_judgements,
        kairos: known.kairos,
        catalogue: known.version,
        as_of: known.as_of,
        region: known.region,
    })
}
