//! Environment variables: the one place where each is said, with what it does. `serve --help`,
//! `doctor` and the reading itself go by this table.

use std::fmt::Write as _;

use kairos_pipeline::request::Secret;

use super::provenance::{Origin, Origins};
use super::settings::Config;
use super::values::{Dollars, Seconds, SecretText};
use super::{ConfigError, shortened};

/// A variable that Kairos knows.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// What it does, in a line.
    pub(crate) about: &'static str,
    pub(crate) effect: Effect,
}

/// What a variable does.
pub(crate) enum Effect {
    /// It is a setting's value.
    Sets {
        /// The setting, as in kairos.toml.
        setting: &'static str,
        /// What the value must be.
        expected: &'static str,
        /// Takes the value; none where it is not one.
        take: fn(&mut Config, &str) -> Option<()>,
    },
    /// It is checked, and changes nothing.
    Nothing {
        /// What the value must be.
        expected: &'static str,
        /// Whether it is.
        is_valid: fn(&str) -> bool,
        /// What is missing for it to have an effect.
        why: &'static str,
    },
    /// It is read where it is needed: by the log, or as AWS's tools do.
    ReadElsewhere,
}

const SECONDS: &str = "a time in seconds, above 0 and at most 86400";
const DOLLARS: &str = "an amount of US dollars, as 100.00 is";
const SWITCH: &str = "true or false";

/// All variables that Kairos knows: the seed's own, then what it reads as AWS's tools do.
pub(crate) const VARIABLES: &[Variable] = &[
    Variable {
        name: "AWS_BEDROCK_REGION",
        about: "the region; before AWS_REGION",
        effect: Effect::Sets {
            setting: "upstream.region",
            expected: "the name of an AWS region",
            take: |config, value| {
                config.upstream.region = Some(value.to_owned());
                Some(())
            },
        },
    },
    Variable {
        name: "AWS_BEDROCK_ACCESS_KEY_ID",
        about: "credentials, before all others; with the next",
        effect: Effect::ReadElsewhere,
    },
    Variable {
        name: "AWS_BEDROCK_SECRET_ACCESS_KEY",
        about: "their secret; AWS_BEDROCK_SESSION_TOKEN too where they are temporary",
        effect: Effect::ReadElsewhere,
    },
    Variable { name: "AWS_BEDROCK_SESSION_TOKEN", about: "", effect: Effect::ReadElsewhere },
    Variable {
        name: "BEDROCK_DEFAULT_MODEL",
        about: "the model of requests that name none",
        effect: Effect::Sets {
            setting: "models.default",
            expected: "the name of a model, or auto",
            take: |config, value| {
                config.models.default = value.to_owned();
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_FALLBACK_MODELS",
        about: "tried in order when the plan's models fail, separated by commas",
        effect: Effect::Sets {
            setting: "models.fallback",
            expected: "names of models, separated by commas",
            take: |config, value| {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                config.models.fallback = names.map(str::to_owned).collect();
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_MAX_CONCURRENT_REQUESTS",
        about: "requests at once on each model",
        effect: Effect::Sets {
            setting: "upstream.concurrent_requests",
            expected: "a whole number",
            take: |config, value| {
                config.upstream.concurrent_requests = Some(value.parse().ok()?);
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_REQUEST_TIMEOUT",
        about: "seconds to connect, to a stream's first event, and to a whole answer",
        effect: Effect::Sets {
            setting: "upstream.request_seconds",
            expected: SECONDS,
            take: |config, value| {
                config.upstream.request_seconds = Some(Seconds::checked(value.parse().ok()?)?);
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_CACHE_TTL",
        about: "seconds that answers are cached",
        effect: Effect::Nothing {
            expected: "a whole number of seconds",
            is_valid: |value| value.parse::<u32>().is_ok(),
            why: "this version has no cache of answers",
        },
    },
    Variable {
        name: "BEDROCK_DAILY_COST_LIMIT",
        about: "US dollars in a UTC day; what could pass it is refused",
        effect: Effect::Sets {
            setting: "budget.daily_limit_usd",
            expected: DOLLARS,
            take: |config, value| {
                config.budget.daily_limit_usd = Some(Dollars::parse(value)?);
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_COST_ALERT_THRESHOLD",
        about: "US dollars in a UTC day at which you are told",
        effect: Effect::Sets {
            setting: "budget.alert_threshold_usd",
            expected: DOLLARS,
            take: |config, value| {
                config.budget.alert_threshold_usd = Some(Dollars::parse(value)?);
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_METRICS_ENABLED",
        about: "whether metrics are collected and served",
        effect: Effect::Sets {
            setting: "metrics.enabled",
            expected: SWITCH,
            take: |config, value| {
                config.metrics.enabled = switch(value)?;
                Some(())
            },
        },
    },
    Variable {
        name: "BEDROCK_LANGFUSE_ENABLED",
        about: "whether traces go to Langfuse",
        effect: Effect::Nothing {
            expected: SWITCH,
            is_valid: |value| switch(value).is_some(),
            why: "this version sends no traces",
        },
    },
    Variable {
        name: "KAIROS_ADMIN_TOKEN",
        about: "what changes of policies need; else DATA/admin-token",
        effect: Effect::Sets {
            setting: "auth.admin_token",
            expected: "a token",
            take: |config, value| {
                config.auth.admin_token = Some(SecretText(Secret::new(value)));
                Some(())
            },
        },
    },
    Variable {
        name: "KAIROS_LOG",
        about: "what is logged: error, warn, info, debug, or per module",
        effect: Effect::ReadElsewhere,
    },
    Variable {
        name: "AWS_BEARER_TOKEN_BEDROCK",
        about: "a Bedrock API key, before other credentials of AWS's tools",
        effect: Effect::ReadElsewhere,
    },
    Variable {
        name: "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        about: "another endpoint; AWS_ENDPOINT_URL_BEDROCK of the control plane; then AWS_ENDPOINT_URL",
        effect: Effect::ReadElsewhere,
    },
    Variable { name: "AWS_CA_BUNDLE", about: "further certificate authorities, as PEM", effect: Effect::ReadElsewhere },
    Variable {
        name: "HTTPS_PROXY",
        about: "and HTTP_PROXY, ALL_PROXY, NO_PROXY: a proxy on the way to Bedrock",
        effect: Effect::ReadElsewhere,
    },
];

/// Reads a switch.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Takes what the environment sets. An empty variable sets nothing.
pub(super) fn apply(
    config: &mut Config,
    origins: &mut Origins,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for known in VARIABLES {
        let Some(value) = variable(known.name).filter(|value| !value.is_empty()) else { continue };
        let (valid, expected) = match known.effect {
            Effect::Sets { setting, expected, take } => {
                origins.set(setting, Origin::Variable(known.name));
                (take(config, value.trim()).is_some(), expected)
            }
            Effect::Nothing { expected, is_valid, .. } => (is_valid(value.trim()), expected),
            Effect::ReadElsewhere => continue,
        };
        if !valid {
            let what = format!("{}={:?} is not {expected}", known.name, shortened(&value));
            return Err(ConfigError::Value { what });
        }
    }
    Ok(())
}

/// The variables that are set and have no effect, with the reason.
pub(crate) fn without_effect(
    variable: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().filter_map(move |known| match known.effect {
        Effect::Nothing { why, .. } if variable(known.name).is_some_and(|value| !value.is_empty()) => {
            Some((known.name, why))
        }
        _ => None,
    })
}

/// The table, for people: a line a variable.
pub(crate) fn table() -> String {
    let width = VARIABLES.iter().map(|variable| variable.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Variable { name, about, effect } in VARIABLES.iter().filter(|variable| !variable.about.is_empty()) {
        let also = match effect {
            Effect::Sets { setting, .. } => format!(" [{setting}]"),
            Effect::Nothing { why, .. } => format!(" (no effect: {why})"),
            Effect::ReadElsewhere => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<width$}  {about}{also}");
    }
    text
}

/// Beginnings of variables that are nobody's but ours.
pub(crate) const OURS: [&str; 3] = ["BEDROCK_", "KAIROS_", "AWS_BEDROCK_"];

/// The variable of ours that `name` seems to mean. Names of AWS's own are near to some of them, and
/// mean something else.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    if name.starts_with("AWS_") && !name.starts_with("AWS_BED") {
        return None;
    }
    let ours = VARIABLES.iter().filter(|known| OURS.iter().any(|prefix| known.name.starts_with(prefix)));
    let scored = ours.map(|known| (strsim::jaro_winkler(known.name, name), known.name));
    scored.filter(|(score, _)| *score > 0.92).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_a_variable_sets_is_one() {
        let known = super::super::settings_of(&Config::default());
        for variable in VARIABLES {
            if let Effect::Sets { setting, .. } = variable.effect {
                assert!(known.iter().any(|(name, _)| name == setting), "{} sets {setting}", variable.name);
            }
        }
    }

    #[test]
    fn misspelt_variables_are_recognised() {
        for (name, meant) in [
            ("BEDROCK_DAILY_COST_LIMT", Some("BEDROCK_DAILY_COST_LIMIT")),
            ("BEDROK_CACHE_TTL", Some("BEDROCK_CACHE_TTL")),
            ("AWS_BEDROCK_REGOIN", Some("AWS_BEDROCK_REGION")),
            ("KAIROS_LOGS", Some("KAIROS_LOG")),
            ("BEDROCK_AGENT_ID", None),
            ("AWS_REGION", None),
            ("AWS_SECRET_ACCESS_KEY", None),
            ("AWS_ENDPOINT_URL_BEDROCK", None),
            ("HTTP_PROXY", None),
            ("PATH", None),
        ] {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }
}
