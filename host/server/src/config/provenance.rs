//! Where each setting's value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing sets it.
    Default,
    /// A file sets it, on this line.
    File { path: Arc<str>, line: usize },
    /// A variable of the environment.
    Variable(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
    /// Another setting gives it.
    Setting(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) | Self::Setting(name) => formatter.write_str(name),
        }
    }
}

/// The origins of all settings that do not have their default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// The origins of what a file of TOML sets. `text` is known to be TOML.
    pub(super) fn of_file(text: &str, path: &str) -> Self {
        let mut origins = Self::default();
        if let Ok(table) = toml::de::DeTable::parse(text) {
            let mut at = At { text, path: path.into(), line: 1, byte: 0, found: Vec::new() };
            at.collect("", table.get_ref());
            // Lines are counted in one pass, in the order of the text.
            at.found.sort_by_key(|(byte, _)| *byte);
            for (byte, name) in std::mem::take(&mut at.found) {
                let line = at.line_of(byte);
                origins.set(&name, Origin::File { path: Arc::clone(&at.path), line });
            }
        }
        origins
    }

    pub(super) fn set(&mut self, setting: &str, origin: Origin) {
        self.0.insert(setting.to_owned(), origin);
    }

    /// Where a setting's value came from. A whole table may have been set in one place.
    pub(crate) fn of(&self, setting: &str) -> Origin {
        let mut name = setting;
        loop {
            if let Some(origin) = self.0.get(name) {
                return origin.clone();
            }
            match name.rsplit_once('.') {
                Some((parent, _)) => name = parent,
                None => return Origin::Default,
            }
        }
    }
}

/// Walks the tables of a file.
struct At<'a> {
    text: &'a str,
    path: Arc<str>,
    line: usize,
    byte: usize,
    found: Vec<(usize, String)>,
}

impl At<'_> {
    fn collect(&mut self, prefix: &str, table: &toml::de::DeTable<'_>) {
        for (key, value) in table {
            let name =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            match value.get_ref() {
                toml::de::DeValue::Table(inner) if !inner.is_empty() => self.collect(&name, inner),
                _ => self.found.push((key.span().start, name)),
            }
        }
    }

    fn line_of(&mut self, byte: usize) -> usize {
        let between = self.text.get(self.byte..byte).unwrap_or_default();
        self.line += between.matches('\n').count();
        self.byte = byte;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_form_of_table() {
        let text = "listen = \"127.0.0.1:1\"\n\n[limits]\n# a comment\nrecords = 5\n[models.names]\ncheap = \"nova\"\n\
                    [auth]\nsigv4 = { access_key_id = \"a\",\n secret_access_key = \"b\" }\n";
        let origins = Origins::of_file(text, "k.toml");
        for (setting, origin) in [
            ("listen", "k.toml:1"),
            ("limits.records", "k.toml:5"),
            ("models.names.cheap", "k.toml:7"),
            ("auth.sigv4.access_key_id", "k.toml:9"),
            ("auth.sigv4.secret_access_key", "k.toml:10"),
            ("limits.headers", "default"),
        ] {
            assert_eq!(origins.of(setting).to_string(), origin, "{setting}");
        }
    }
}
