//! What plugins may import: what they ask for and the operator grants.

use std::collections::BTreeSet;
use std::fmt;

use kairos_pipeline::policy::World;

/// A capability: an interface of the contract that a plugin may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Lines in the operator's log.
    Log,
    /// Counters and gauges.
    Metrics,
    /// Reading what was learned.
    Kv,
    /// Writing it.
    KvWrite,
    /// Reading what the caller wrote.
    Content,
    /// Calling other services.
    Http,
    /// Calling models.
    Model,
}

impl Capability {
    /// All capabilities.
    pub const ALL: [Self; 7] =
        [Self::Log, Self::Metrics, Self::Kv, Self::KvWrite, Self::Content, Self::Http, Self::Model];

    /// The interface's name, which is also the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::Kv => "kv",
            Self::KvWrite => "kv-write",
            Self::Content => "content",
            Self::Http => "http",
            Self::Model => "model",
        }
    }

    /// Whether policies of a world can have it at all. What was learned has one writer; and no caller's words
    /// are in it, as whoever reads it may see them. Who calls others is asked where no request waits, and knows
    /// of no request.
    pub fn is_of(self, world: World) -> bool {
        match self {
            Self::KvWrite => world == World::Observer,
            Self::Content => world != World::Observer && !world.is_of_evolution(),
            Self::Kv => !world.is_of_evolution(),
            Self::Http | Self::Model => world.is_of_evolution(),
            Self::Log | Self::Metrics => true,
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

/// What a policy may import: what the operator grants, and of that what its manifest asks for, where it
/// has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    granted: BTreeSet<Capability>,
    asked: Option<BTreeSet<Capability>>,
    /// Whose they are; none: of any world's policies.
    world: Option<World>,
}

impl Default for Grants {
    /// What reaches nobody but the operator. The caller's words are granted expressly.
    fn default() -> Self {
        Self::of([Capability::Log, Capability::Metrics, Capability::Kv, Capability::KvWrite])
    }
}

impl Grants {
    /// Grants exactly these.
    pub fn of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self { granted: capabilities.into_iter().collect(), asked: None, world: None }
    }

    /// The same for a policy whose manifest asks for these.
    #[must_use]
    pub fn asked(self, capabilities: &BTreeSet<Capability>) -> Self {
        Self { asked: Some(capabilities.clone()), ..self }
    }

    /// The same for a policy of a world: what that cannot have is not granted.
    #[must_use]
    pub(crate) fn in_world(self, world: World) -> Self {
        Self { world: Some(world), ..self }
    }

    /// What the manifest asks for and the policy cannot have.
    pub(crate) fn refused(&self) -> Option<Capability> {
        self.asked.iter().flatten().find(|capability| !self.has(**capability)).copied()
    }

    /// Whether a capability may be imported.
    pub fn has(&self, capability: Capability) -> bool {
        self.fits(capability) && self.granted.contains(&capability) && self.is_asked(capability)
    }

    fn is_asked(&self, capability: Capability) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.contains(&capability))
    }

    fn fits(&self, capability: Capability) -> bool {
        self.world.is_none_or(|world| capability.is_of(world))
    }

    /// What keeps a capability from a policy.
    pub(crate) fn why_not(&self, missing: Capability) -> &'static str {
        match missing {
            Capability::KvWrite if !self.fits(missing) => "is for observers only",
            Capability::Http | Capability::Model if !self.fits(missing) => "is for evaluators and mutators only",
            _ if !self.fits(missing) && self.world.is_some_and(World::is_of_evolution) => {
                "is not for evaluators and mutators"
            }
            _ if !self.fits(missing) => "is not for observers",
            _ if self.is_asked(missing) => "is not granted",
            _ => "is not asked for in plugin.toml",
        }
    }

    /// How to grant what is missing: the manifest's key, then the operator's.
    pub fn hint(&self, missing: Capability) -> String {
        match missing {
            Capability::KvWrite if !self.fits(missing) => {
                return "what was learned has one writer: a policy in the slot `observer`".to_owned();
            }
            Capability::Http | Capability::Model if !self.fits(missing) => {
                return "a policy that is asked while a request waits calls nobody".to_owned();
            }
            _ if !self.fits(missing) && self.world.is_some_and(World::is_of_evolution) => {
                return "these are asked where there is no request: nothing is said, and nothing learned".to_owned();
            }
            _ if !self.fits(missing) => {
                return "what an observer learns is read by other policies: no caller's words belong there".to_owned();
            }
            _ => {}
        }
        let with = |names: &BTreeSet<Capability>| {
            let names = names.iter().chain([&missing]).map(|capability| format!("{:?}", capability.name()));
            names.collect::<Vec<_>>().join(", ")
        };
        match &self.asked {
            Some(asked) if !asked.contains(&missing) => {
                format!("to ask for it, set `capabilities = [{}]` in plugin.toml", with(asked))
            }
            _ => format!("to grant it, set `grants = [{}]` under [policies] in kairos.toml", with(&self.granted)),
        }
    }
}
