//! Application profiles that the configuration names. What such a profile stands for is not the configuration's to
//! know: a gateway starts, and goes on, without, and what is set of it holds once it is known.

use std::collections::BTreeSet;
use std::time::Duration;

use kairos_pipeline::models::{Answering, Catalogue, ModelKind};
use kairos_pipeline::profile::is_application;

use super::Resolver;
use super::questions::Asker;
use crate::config::Config;

/// For all that the configuration names to be found out before the gateway serves.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A profile that a setting names and that has no part in it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The setting.
    pub(crate) setting: &'static str,
    /// The profile.
    pub(crate) arn: String,
    /// Why, and from when on that is otherwise.
    pub(crate) why: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {} is left out: {}", self.setting, self.arn, self.why)
    }
}

/// Every application profile that a setting names, without those that a request makes known.
fn named(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let (models, limits) = (&config.models, &config.limits);
    let auto = models.auto.iter().flatten().map(|name| (AUTO, name.as_str()));
    let fallback = models.fallback.iter().map(|name| (FALLBACK, name.as_str()));
    let burndown = limits.burndown.keys().map(|name| ("limits.burndown", name.as_str()));
    let rates = limits.rates.iter().filter_map(|rate| rate.model.as_deref()).map(|name| ("limits.rates", name));
    let budgets = config.budgets.iter().filter_map(|budget| budget.model()).map(|name| ("budgets", name));
    let all = auto.chain(fallback).chain(burndown).chain(rates).chain(budgets);
    all.filter(|(_, name)| is_application(name))
}

const AUTO: &str = "models.auto";
const FALLBACK: &str = "models.fallback";

/// Whether a name is a profile's, and nobody knows what it stands for.
pub(crate) fn is_unknown(catalogue: &Catalogue, name: &str) -> bool {
    is_application(name) && !catalogue.names.contains_key(name)
}

/// What has no part in what a setting says, as it is not known what it stands for, or as that is no chat model.
pub(crate) fn left_out(config: &Config, catalogue: &Catalogue) -> Vec<LeftOut> {
    let one = |(setting, arn): (&'static str, &str)| {
        let why = match catalogue.answering(arn) {
            Answering::Unknown(_) => unknown(config, setting).to_owned(),
            Answering::Target { target, .. } if matches!(setting, AUTO | FALLBACK) => {
                let model = catalogue.model_of(target);
                if model.kind == ModelKind::Chat {
                    return None;
                }
                format!("it stands for {}, which is of kind {:?} and no chat model", model.id, model.kind.name())
            }
            Answering::Target { .. } | Answering::Ended(_) | Answering::NotHere(_) => return None,
        };
        Some(LeftOut { setting, arn: arn.to_owned(), why })
    };
    named(config).filter_map(one).collect()
}

fn unknown(config: &Config, setting: &str) -> &'static str {
    match setting {
        _ if config.profiles.kept == 0 => {
            "what it stands for is not known, and `kept` under [profiles] is 0, so that Bedrock is not asked"
        }
        "limits.rates" | "budgets" => {
            "what it stands for is not known, so that this limits nothing; it does from the first start on at which \
             that is known"
        }
        _ => "what it stands for is not known; it takes part once it is",
    }
}

impl Resolver {
    /// What the configuration names and nobody knows.
    pub(super) fn unknown(&self) -> BTreeSet<String> {
        let catalogue = self.book.catalogue().load_full();
        let unknown = named(self.book.config()).filter(|(_, arn)| is_unknown(&catalogue, arn));
        unknown.map(|(_, arn)| arn.to_owned()).collect()
    }

    /// Finds out what the configuration names, before the gateway serves. That Bedrock's control plane does not
    /// answer keeps no gateway from starting.
    pub(crate) async fn find_named(&self) {
        let asking = async {
            for arn in self.unknown() {
                self.tried(&arn, (self.clock)());
                match self.find_out(Asker::Gateway, &arn).await {
                    // The others would be asked about in vain, too.
                    Err(failure) if failure.retry_after.is_some() => break,
                    Ok(()) | Err(_) => {}
                }
            }
        };
        // Those that are late are asked about again while the gateway serves.
        let _ = tokio::time::timeout(START_PATIENCE, asking).await;
        for left_out in left_out(self.book.config(), &self.book.catalogue().load()) {
            tracing::warn!("{left_out}");
        }
    }
}
