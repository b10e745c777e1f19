//! What `kairos policy evaluate` and `propose` share: the policy, whom it may call, and when it is given up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_pipeline::evaluators::Quality;
use kairos_pipeline::money::dollars;
use kairos_pipeline::mutators::Numbers;
use kairos_pipeline::policy::{
    Answer, Evaluator as _, Fault, FaultKind, Identity, Mutator as _, Outside, PolicyError, Question, World,
};
use kairos_pipeline::request::Secret;
use kairos_sandbox::generation::Generation;
use serde_json::{Value, json};

use super::super::{Failed, counted, models};
use super::{load, on_a_loaders_thread};
use crate::assemble;
use crate::config::{Config, Flags};
use crate::outside::{Callers, Gateway, HttpCaller, ModelCaller, Used};

/// The environment's variable with a key of the gateway.
const KEY: &str = "KAIROS_KEY";

/// Where models are called, and what holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Within {
    /// Gateway through which the policy calls models, where it is granted `model`
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Key of that gateway [default: the environment's KAIROS_KEY]
    #[arg(long, value_name = "KEY", requires = "gateway")]
    key: Option<String>,
    /// Configuration file: what it grants, bounds and configures holds [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Who is asked.
pub(super) enum Asked {
    Native(Native),
    Loaded(Box<Generation>),
}

/// The gateway's own.
pub(super) enum Native {
    Evaluator(Quality),
    Mutator(Numbers),
}

impl Within {
    pub(super) fn config(&self) -> Result<Config, Failed> {
        super::super::read_config(&Flags { config: self.config.clone(), ..Flags::default() })
    }

    /// Whom a run may call.
    pub(super) fn callers(&self, config: &Config) -> Result<Arc<Callers>, Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed::new(error.to_string());
        let http = HttpCaller::new(&config.policies.http).map_err(|error| failed(&error))?;
        let model = self.gateway.as_deref().map(|url| {
            let key = self.key.clone().or_else(|| std::env::var(KEY).ok()).filter(|key| !key.is_empty());
            let gateway = Gateway::read(url, key.map(Secret::new)).map_err(Failed::usage)?;
            let region = models::region_or_default(config);
            let catalogue = assemble::read_catalogue(config, &region, assemble::as_of(config))?;
            ModelCaller::new(&gateway, &config.policies.model, Arc::new(catalogue)).map_err(|error| failed(&error))
        });
        Callers::new(http, model.transpose()?).map(Arc::new).map_err(|error| failed(&error))
    }

    /// The policy of a file, which is to be of a world; without one, the native default.
    pub(super) fn policy(&self, config: &Config, file: Option<&Path>, world: World) -> Result<Asked, Failed> {
        let Some(file) = file else {
            return Ok(Asked::Native(match world {
                World::Mutator => Native::Mutator(Numbers::default()),
                _ => Native::Evaluator(Quality::default()),
            }));
        };
        let shown = file.display().to_string();
        let generation = load(config, file.to_owned())?.map_err(|refusal| Failed::new(refusal.explain(&shown)))?;
        if generation.world() != world {
            let (is, needed) = (generation.world().policy(), world.policy());
            return Err(Failed::usage(format!("{shown} is {is}; {needed} is needed")));
        }
        Ok(Asked::Loaded(Box::new(generation)))
    }
}

impl Asked {
    /// Who it is.
    pub(super) fn identity(&self) -> &Identity {
        match self {
            Self::Native(Native::Evaluator(native)) => native.identity(),
            Self::Native(Native::Mutator(native)) => native.identity(),
            Self::Loaded(generation) => generation.identity(),
        }
    }

    /// Asks, and sees that what is answered is valid.
    pub(super) fn ask(&self, question: Question<'_>) -> Result<Answer, PolicyError> {
        let answer = match (self, question) {
            (Self::Loaded(generation), question) => generation.ask(question, 0).0?,
            (Self::Native(Native::Evaluator(native)), Question::Score(input)) => {
                Answer::Score(Box::new(native.score(input)?))
            }
            (Self::Native(Native::Mutator(native)), Question::Propose(input)) => {
                Answer::Proposals(native.propose(input)?)
            }
            (Self::Native(_), _) => return Err(PolicyError::Declined),
        };
        match question.check(&answer, self.identity()) {
            Ok(()) => Ok(answer),
            Err(wrong) => {
                Err(PolicyError::Fault(Fault::new(FaultKind::Error, format!("its answer is not valid: {wrong}"))))
            }
        }
    }
}

/// Works where scripts have the stack that they need.
pub(super) fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failed> + Send + 'static) -> Result<T, Failed> {
    on_a_loaders_thread(work)?
}

/// As policies are given whom they may call.
pub(super) fn outside(callers: &Arc<Callers>) -> Arc<dyn Outside> {
    Callers::outside(Some(callers))
}

/// What calls of others came to.
pub(super) struct Called {
    spent: Option<String>,
    bounds: Vec<Used>,
}

impl Called {
    pub(super) fn by(callers: &Callers) -> Self {
        let (spent, calls) = callers.spent();
        let spent = (calls > 0).then(|| format!("{calls} calls of models cost {} USD", dollars(spent.into())));
        Self { spent, bounds: callers.used() }
    }

    /// For programs: what models cost, where any was called, and how the run stands with its bounds.
    pub(super) fn add_to(&self, told: &mut Value) {
        told["spent"] = json!(self.spent);
        let bounds = self.bounds.iter().map(|bound| {
            let told = json!({"limit": bound.limit, "used": bound.used, "refused": bound.refused});
            (bound.name.to_owned(), told)
        });
        told["bounds"] = Value::Object(bounds.collect());
    }

    /// For people: what models cost, and at which bounds something was refused.
    pub(super) fn text(&self) -> String {
        let spent = self.spent.iter().map(|spent| format!("{spent}\n"));
        let refused = self
            .bounds
            .iter()
            .filter(|bound| bound.refused > 0)
            .map(|bound| format!("refused {}: {} is {}\n", counted_calls(bound.refused), bound.name, bound.limit));
        spent.chain(refused).collect()
    }
}

fn counted_calls(calls: u64) -> String {
    counted(usize::try_from(calls).unwrap_or(usize::MAX), "call")
}
