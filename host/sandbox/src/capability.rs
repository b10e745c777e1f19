//! What plugins may import: what they ask for and the operator grants.

use std::collections::BTreeSet;
use std::fmt;

/// A capability: an interface of the contract that a plugin may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Lines in the operator's log.
    Log,
    /// Counters and gauges.
    Metrics,
    /// Reading what was learned.
    Kv,
    /// Reading what the caller wrote.
    Content,
}

impl Capability {
    /// All capabilities.
    pub const ALL: [Self; 4] = [Self::Log, Self::Metrics, Self::Kv, Self::Content];

    /// The interface's name, which is also the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::Kv => "kv",
            Self::Content => "content",
        }
    }

    /// The capability of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What the operator grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants(BTreeSet<Capability>);

impl Default for Grants {
    /// What reaches nobody but the operator. The caller's words are granted expressly.
    fn default() -> Self {
        Self(BTreeSet::from([Capability::Log, Capability::Metrics, Capability::Kv]))
    }
}

impl Grants {
    /// Grants exactly these.
    pub fn of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self(capabilities.into_iter().collect())
    }

    /// Whether a capability is granted.
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }

    /// How to grant what is missing.
    pub fn hint(&self, missing: Capability) -> String {
        let mut names: Vec<_> = self.0.iter().map(|capability| format!("{:?}", capability.name())).collect();
        names.push(format!("{:?}", missing.name()));
        format!("to grant it, set `grants = [{}]` under [policies] in kairos.toml", names.join(", "))
    }
}
