//! What others than the router were asked, as it is written with a record, and read again.

use std::sync::Arc;

use kairos_pipeline::judgements::{Asked as What, Judgement, Judgements, Released, Said};
use kairos_pipeline::learned::Reads;
use kairos_pipeline::policy::{
    Content, Draft, Edits, FailedAttempt, FailureFacts, Features, Offer, Passage, Remedy, RequestInfo,
};
use kairos_pipeline::record::Asked;
use kairos_pipeline::request::RequestId;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::asked::{Moving, Question, mark_names};
use super::reads::KeptReads;
use super::snapshots::{Offered, Snapshots};
use super::{Content as Keeps, Settings};

/// What its policy could read of what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Words {
    /// As the router.
    Same,
    /// Other words, as a prompter or a guard had changed them, or turns were left out.
    Other { prompt: String, system: String },
    /// Likewise, and they are not kept.
    Withheld,
}

/// The column `body`.
#[derive(Debug, Serialize, Deserialize)]
struct Column {
    policy: Arc<str>,
    setting: i64,
    offered: i64,
    words: Words,
    #[serde(flatten)]
    asked: AskedColumn,
}

/// What was asked and said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AskedColumn {
    Heal {
        features: Features,
        moving: Vec<Moving>,
        failure: FailureFacts,
        history: Vec<FailedAttempt>,
        said: Said<Remedy>,
    },
    Render {
        features: Features,
        moving: Vec<Moving>,
        first: u32,
        draft: Arc<Draft>,
        said: Said<Edits>,
    },
    Inspect {
        passage: Passage,
        text: String,
        said: Said<Released>,
    },
}

/// Writes the judgements of a request whose router was asked this.
pub(super) fn write(
    transaction: &Transaction<'_>,
    (id, judgements): (RequestId, &Judgements),
    asked: &Asked,
    snapshots: &mut Snapshots,
    settings: &Settings,
    now_ms: u64,
) -> rusqlite::Result<()> {
    for (place, judgement) in judgements.all().iter().enumerate() {
        let models = models_of(judgement).unwrap_or(&asked.models);
        let request = if models_of(judgement).is_some() { &judgement.request } else { &asked.request };
        let (offered, setting) = snapshots.of_judgement((request, models), &judgement.setting, now_ms, transaction)?;
        let column = Column {
            policy: Arc::clone(&judgement.policy),
            setting,
            offered,
            words: words(&judgement.request, &asked.request, settings.content),
            asked: column(&judgement.asked),
        };
        let body =
            serde_json::to_string(&column).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        transaction
            .prepare_cached("INSERT INTO judgement (id, place, world, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![id.as_bytes(), place, judgement.world().name(), body])?;
    }
    Ok(())
}

/// The models that were shown; none: it is about a text.
fn models_of(judgement: &Judgement) -> Option<&[Offer]> {
    match &judgement.asked {
        What::Heal { models, .. } | What::Render { models, .. } => Some(models),
        What::Inspect { .. } => None,
    }
}

fn words(request: &RequestInfo, of_router: &RequestInfo, keeps: Keeps) -> Words {
    let (prompt, system) = request.content.texts();
    if (prompt, system) == of_router.content.texts() {
        return Words::Same;
    }
    match keeps {
        Keeps::Full => Words::Other { prompt: prompt.to_owned(), system: system.to_owned() },
        Keeps::None | Keeps::Redacted => Words::Withheld,
    }
}

fn column(asked: &What) -> AskedColumn {
    let moving = |models: &[Offer]| models.iter().map(Moving::of).collect();
    match asked.clone() {
        What::Heal { features, models, failure, history, said } => {
            AskedColumn::Heal { features, moving: moving(&models), failure, history, said }
        }
        What::Render { features, models, first, draft, said } => {
            AskedColumn::Render { features, moving: moving(&models), first, draft, said }
        }
        What::Inspect { passage, text, said } => AskedColumn::Inspect { passage, text, said },
    }
}

/// A judgement, to be asked for again.
#[derive(Debug)]
pub struct KeptJudgement {
    /// The judgement. What was said is in its request where it is kept as it was.
    pub judgement: Judgement,
    /// Whether something was said that is not.
    withheld: bool,
    reads: Arc<KeptReads>,
}

impl KeptJudgement {
    /// Whether its policy, asked again, wanted to know what was said, and that is withheld: then its answer says
    /// nothing.
    pub fn was_withheld(&self) -> bool {
        self.withheld && self.judgement.request.content.was_read()
    }

    /// The same of what was learned: why it is not here.
    pub fn lacks_reads(&self) -> Option<&'static str> {
        self.reads.lacking()
    }

    /// The judgement, in which is marked which of a policy's names each model answers for.
    pub fn marked(&self, names: &[String]) -> Judgement {
        let mut judgement = self.judgement.clone();
        match &mut judgement.asked {
            What::Heal { models, .. } | What::Render { models, .. } => mark_names(&judgement.request, models, names),
            What::Inspect { .. } => {}
        }
        judgement
    }
}

/// Reads what was written. `snapshot` gives the text of a snapshot; `question` is what the router was asked.
pub(super) fn read(
    body: &str,
    question: &Question,
    snapshot: &mut dyn FnMut(i64) -> Result<Arc<str>, String>,
) -> Result<KeptJudgement, String> {
    let wrong = |error: serde_json::Error| format!("what was asked cannot be read: {error}");
    let Column { policy, setting, offered, words, asked } = serde_json::from_str(body).map_err(wrong)?;
    let offered: Offered = serde_json::from_str(&snapshot(offered)?).map_err(wrong)?;
    let setting: Arc<str> = serde_json::from_str::<String>(&snapshot(setting)?).map_err(wrong)?.into();
    let (prompt, system) = question.request.content.texts();
    let (content, withheld) = match words {
        Words::Same => (Content::new(prompt.to_owned(), system.to_owned()), question.withheld),
        Words::Other { prompt, system } => (Content::new(prompt, system), false),
        Words::Withheld => (Content::new(String::new(), String::new()), true),
    };
    let reads = Arc::new(question.reads.afresh());
    let of_router = &question.request;
    let request = Arc::new(RequestInfo {
        content,
        tags: Arc::clone(&of_router.tags),
        task_label: of_router.task_label.clone(),
        asked_model: of_router.asked_model.clone(),
        model_ids: offered.ids.clone().into(),
        regions: offered.regions.clone(),
        names: Arc::clone(&of_router.names),
        learned: Arc::new(Reads::of(Arc::clone(&reads) as _)),
    });
    let models = |moving: Vec<Moving>| {
        if offered.models.len() != moving.len() || offered.ids.len() != moving.len() {
            return Err("the record and its snapshot have different numbers of models".to_owned());
        }
        Ok(offered.models.iter().zip(moving).map(|(offer, moving)| moving.put_into(*offer)).collect())
    };
    let asked = match asked {
        AskedColumn::Heal { features, moving, failure, history, said } => {
            What::Heal { features, models: models(moving)?, failure, history, said }
        }
        AskedColumn::Render { features, moving, first, draft, said } => {
            What::Render { features, models: models(moving)?, first, draft, said }
        }
        AskedColumn::Inspect { passage, text, said } => What::Inspect { passage, text, said },
    };
    let judgement = Judgement { policy, setting, request, asked };
    Ok(KeptJudgement { judgement, withheld, reads })
}
