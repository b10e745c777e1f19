//! `kairos.toml`: read whole, unknown keys refused.

use std::path::Path;

use super::provenance::Origins;
use super::settings::Config;
use super::{ConfigError, settings_of};

/// The file that is read where none is named.
pub(crate) const NAME: &str = "kairos.toml";

/// The file that a configuration is read from, if any.
pub(crate) fn chosen(flag: Option<&Path>) -> Option<&Path> {
    flag.or_else(|| Some(Path::new(NAME)).filter(|path| path.exists()))
}

pub(super) fn read(path: &Path) -> Result<(Config, Origins), ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: shown.clone(), cause })?;
    Ok((parse(&text, &shown)?, Origins::of_file(&text, &shown)))
}

pub(super) fn parse(text: &str, path: &str) -> Result<Config, ConfigError> {
    let form = |cause: toml::de::Error| {
        let before = cause.span().and_then(|span| text.get(..span.start));
        let at = before.map(|before| {
            let line = before.rsplit('\n').next().unwrap_or_default();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        });
        ConfigError::Form { path: path.to_owned(), at, message: cause.message().to_owned() }
    };
    let mut unknown = None;
    let reader = toml::Deserializer::parse(text).map_err(form)?;
    let config = serde_ignored::deserialize(reader, |key| {
        unknown.get_or_insert_with(|| key.to_string().replace(".?", ""));
    });
    let config: Config = config.map_err(form)?;
    match unknown {
        None => Ok(config),
        Some(key) => {
            let near = nearest(&key);
            let line = Origins::of_file(text, path).of(&key);
            Err(ConfigError::UnknownKey { at: line.to_string(), key, near })
        }
    }
}

/// The setting whose name is nearest to `key`.
fn nearest(key: &str) -> Option<String> {
    let mut known: Vec<String> = settings_of(&Config::default()).into_iter().map(|(name, _)| name).collect();
    let budget =
        ["name", "key", "team", "model", "tag", "limit_usd", "period", "rolling", "time_zone", "alerts", "over"];
    known.extend(budget.map(|name| format!("budgets.{name}")));
    known.extend(["auth.sigv4.access_key_id", "auth.sigv4.secret_access_key"].map(str::to_owned));
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let score =
        |known: &String| strsim::jaro_winkler(known, key).max(strsim::jaro_winkler(&last(known), &last(key)) * 0.99);
    known
        .into_iter()
        .map(|name| (score(&name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
