//! What decides, and among what: policies, and the models that the configuration names.

use kairos_bedrock::catalogue::{self, View};
use kairos_dialects::Outline;
use kairos_pipeline::models::{Answering, Catalogue};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::price::{Limits, worst_case};
use kairos_sandbox::host::{newest, strangers};
use kairos_sandbox::load::SLOTS;

use super::super::{models, policy, prompt};
use super::report::Check;
use crate::admin::moment;
use crate::assemble;
use crate::config::{Config, EndedModels};
use crate::prices;
use crate::profiles::{self, LeftOut, Pin};
use crate::signers;

/// The keys that are pinned, and the policies of the folder.
pub(super) fn policies(config: &Config) -> Vec<Check> {
    let pinned = config.policies.keys.keys().cloned().collect::<Vec<_>>().join(", ");
    let needed = if config.policies.require_signature { "; every policy needs one" } else { "" };
    match signers::pinned(config) {
        Err(error) => {
            let todo = "pin a public key, as `kairos policy keygen` makes one: `kairos serve` does not start like this";
            vec![Check::problem("signatures", error.0, todo)]
        }
        Ok(_) if pinned.is_empty() => vec![of_folder(config)],
        Ok(_) => vec![Check::ok("signatures", format!("by {pinned} count{needed}")), of_folder(config)],
    }
}

/// The policies of the folder, by the loader that `serve` uses.
fn of_folder(config: &Config) -> Check {
    const CHECK: &str = "policies";
    let Some(folder) = &config.policies.folder else {
        return Check::ok(CHECK, "no folder is set: the native default decides");
    };
    let shown = folder.display();
    if !folder.is_dir() {
        let todo = "make it, or name another with --policies: `kairos serve` does not start like this";
        return Check::problem(CHECK, format!("there is no folder {shown}"), todo);
    }
    let mut serving = Vec::new();
    for path in SLOTS.into_iter().filter_map(|slot| newest(folder, slot)) {
        let file = path.display().to_string();
        match policy::load(config, path) {
            Ok(Ok(generation)) => serving.push(format!("{} from {file}", generation.identity().label())),
            Ok(Err(refusal)) => {
                let todo = "correct it; `kairos policy check` says the same. Until then the native default decides";
                return Check::problem(CHECK, refusal.explain(&file), todo);
            }
            Err(failed) => return Check::problem(CHECK, failed.message, "correct it, or report it"),
        }
    }
    if let Some(stranger) = strangers(folder).first() {
        let found = format!("{} is not loaded: its name is no slot's", stranger.display());
        let names = SLOTS.map(|slot| format!("{slot}.rhai or .wasm")).join(", ");
        return Check::warning(CHECK, found, format!("name it {names}, or take it away"));
    }
    if serving.is_empty() {
        return Check::ok(CHECK, format!("{shown} holds no policy: the native default decides"));
    }
    Check::ok(CHECK, format!("{} would serve", serving.join(", ")))
}

/// The templates of the folder, by the reader that `serve` uses; nothing where there are none.
pub(super) fn prompts(config: &Config) -> Vec<Check> {
    const CHECK: &str = "templates";
    let Some(folder) = config.policies.folder.as_ref().filter(|folder| folder.is_dir()) else { return Vec::new() };
    let found = prompt::read(config, folder);
    let todo = "correct it: a gateway that runs serves what it served before, one that starts serves the others";
    let mut checks: Vec<Check> =
        found.refused.iter().map(|refused| Check::problem(CHECK, refused.to_string(), todo)).collect();
    if checks.is_empty() && found.library.versions() > 0 {
        let names: Vec<_> = found.library.all().map(|(name, _)| name).collect();
        checks.push(Check::ok(CHECK, format!("{} would serve: {}", names.len(), names.join(", "))));
    }
    checks
}

/// The models that the configuration names, and what one request of the default can cost.
pub(super) fn models(config: &Config, region: Option<&str>) -> Vec<Check> {
    const CHECK: &str = "models";
    let region = region.map_or_else(|| models::region_or_default(config), str::to_owned);
    // With the lists left out: a name that is unknown is told by its setting, not as a whole.
    let own = match prices::own(config) {
        Ok(own) => own,
        Err(wrong) => return vec![wrong_prices(&wrong)],
    };
    let as_of = assemble::as_of(config);
    let (pins, mut checks) = match profiles::read(&config.data) {
        Ok(pins) => (pins, Vec::new()),
        Err(error) => (Vec::new(), vec![unreadable_profiles(&error)]),
    };
    let known = profiles::names(config.profiles, &region, &pins);
    let loaded = assemble::view(config, &region, as_of, &own, |view| {
        catalogue::load(catalogue::BUILT_IN, &View { auto: None, fallback: &[], profiles: &known, ..view.clone() })
    });
    let catalogue = match loaded {
        Ok(catalogue) => catalogue,
        Err(error) => {
            return vec![match prices::wrong(config, &error) {
                Some(wrong) => wrong_prices(&wrong),
                None => Check::problem(CHECK, format!("models.names: {error}"), "`kairos models` lists the names"),
            }];
        }
    };
    let wrong: Vec<Check> =
        named(config).filter_map(|(setting, name)| name_check(config, &catalogue, setting, name)).collect();
    let left_out = profiles::left_out(config, &catalogue);
    let wrong: Vec<Check> = wrong.into_iter().chain(left_out.iter().map(left_out_check)).collect();
    if wrong.is_empty() {
        let found = format!("every model that the configuration names answers from {region} at a known price");
        checks.push(Check::ok(CHECK, found));
    }
    checks.extend(wrong);
    let pins: Vec<_> = pins.iter().filter(|pin| pin.is_of(&region)).collect();
    checks.extend(pins.iter().take(SHOWN_PROFILES).map(|pin| profile_check(&catalogue, pin)));
    if let Some(more) = pins.len().checked_sub(SHOWN_PROFILES).filter(|more| *more > 0) {
        checks.push(Check::ok(PROFILES, format!("{more} more are known: `kairos models` lists them")));
    }
    if let Some(date) = config.models.as_of {
        checks.push(Check::warning(
            CHECK,
            format!("models.as_of is {date}: no model ends after that day, nor begins"),
            "unset it, unless this is a test",
        ));
    }
    checks.extend(affordable(config, &catalogue));
    checks
}

/// The operator's own prices, where something is wrong with them.
fn wrong_prices(wrong: &prices::Wrong) -> Check {
    let todo = "correct it: a gateway that runs serves the prices from before, one that starts does not start";
    Check::problem("prices", wrong.to_string(), todo)
}

const PROFILES: &str = "application profiles";
const SHOWN_PROFILES: usize = 16;

fn unreadable_profiles(error: &str) -> Check {
    let todo = "nothing: the next start moves it aside and asks Bedrock anew";
    Check::warning(PROFILES, format!("what they stand for cannot be read: {error}"), todo)
}

/// An application profile that a setting names, and that has no part in it.
fn left_out_check(left_out: &LeftOut) -> Check {
    let todo = "start a gateway that may ask Bedrock's control plane (bedrock:GetInferenceProfile), say under \
                [models.names] what it stands for, or take it away";
    Check::warning(PROFILES, left_out.to_string(), todo)
}

/// An application profile that Bedrock was asked about.
fn profile_check(catalogue: &Catalogue, pin: &Pin) -> Check {
    let found = format!("{} stands for {}, said Bedrock on {}", pin.arn, pin.stands_for, moment(pin.said_ms));
    if catalogue.names.contains_key(&pin.arn) {
        return Check::ok(PROFILES, found);
    }
    let todo = "say what it stands for under [models.names], or set `unpriced = \"allow\"` under [models]";
    Check::warning(PROFILES, format!("{found}, which has no known price here: it is refused"), todo)
}

/// The names of the configuration, each with its setting.
fn named(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let models = &config.models;
    let default = Some(models.default.as_str()).filter(|name| *name != "auto");
    let auto = models.auto.iter().flatten();
    let default = default.into_iter().map(|name| ("models.default", name));
    let auto = auto.map(|name| ("models.auto", name.as_str()));
    let rates = config.limits.rates.iter().filter_map(|rate| rate.model.as_deref());
    let fallback = models.fallback.iter().map(|name| ("models.fallback", name.as_str()));
    default.chain(auto).chain(fallback).chain(rates.map(|name| ("limits.rates", name)))
}

fn name_check(config: &Config, catalogue: &Catalogue, setting: &str, name: &str) -> Option<Check> {
    const CHECK: &str = "models";
    let id = |model: usize| &catalogue.models[model].id;
    let ends = |model: usize| catalogue.models[model].ends.as_deref().unwrap_or("a day that is not known");
    let lists = "`kairos models` lists what there is";
    Some(match catalogue.answering(name) {
        Answering::Target { ended: None, .. } => return None,
        Answering::Target { target, ended: Some(ended) } => {
            let successor = &catalogue.model_of(target).id;
            let found = format!("{setting}: {} ended on {}", id(ended), ends(ended));
            let todo = format!("name {successor}");
            if config.models.ended == EndedModels::Refuse {
                Check::problem(CHECK, format!("{found}, and models.ended is \"refuse\""), todo)
            } else {
                Check::warning(CHECK, format!("{found}; {successor} answers in its place"), todo)
            }
        }
        Answering::Ended(model) => Check::problem(
            CHECK,
            format!("{setting}: {} ended on {} and has no successor", id(model), ends(model)),
            lists,
        ),
        Answering::NotHere(model) => {
            let found = format!("{setting}: {} has no known price from {}", id(model), catalogue.region);
            Check::problem(CHECK, found, lists)
        }
        // The default is asked about when it is needed; the others are told of with what is left out.
        Answering::Unknown(_) if profiles::is_unknown(catalogue, name) => return None,
        Answering::Unknown(near) => {
            let todo = near.map_or(lists.to_owned(), |near| format!("did you mean {near:?}?"));
            Check::problem(CHECK, format!("{setting}: there is no model {name:?}"), todo)
        }
    })
}

/// Whether the day's limit has room for a single request, of the least that there is, that states no
/// output limit: of the default model, or of the cheapest that `auto` offers.
fn affordable(config: &Config, catalogue: &Catalogue) -> Option<Check> {
    const CHECK: &str = "budget";
    let limit = config.budget.daily_limit_usd?.0;
    let target = |name: &String| match catalogue.answering(name) {
        Answering::Target { target, .. } => Some(target),
        Answering::Ended(_) | Answering::NotHere(_) | Answering::Unknown(_) => None,
    };
    let offered = || match &config.models.auto {
        Some(names) => names.iter().filter_map(target).collect(),
        None => catalogue.auto.clone(),
    };
    let targets = target(&config.models.default).map_or_else(offered, |target| vec![target]);
    let worst = |target: &usize| {
        let model = catalogue.model_of(*target);
        let limits = Limits { input: model.max_input_tokens, output: model.max_output_tokens };
        let prices = catalogue.prices(&catalogue.targets[*target], catalogue.day);
        let worst = worst_case(&Outline::default(), 0, &prices, limits).ok()?;
        Some((worst.amount.0, &model.id))
    };
    let (worst, model) = targets.iter().filter_map(worst).min()?;
    if limit.0 >= worst {
        return Some(Check::ok(CHECK, format!("the daily limit of {limit} USD has room for a request")));
    }
    let found = format!(
        "the daily limit of {limit} USD is below what one request of {model} can cost, {} USD: every request that states no output limit is refused",
        Picodollars(worst)
    );
    Some(Check::problem(CHECK, found, "raise it, or have callers state an output limit (max_tokens)"))
}
