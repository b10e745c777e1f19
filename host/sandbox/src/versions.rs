//! What is kept of policies from one run to the next: every version that was staged or served, and
//! what the last act made of each. Who keeps it is not known here.

use kairos_pipeline::policy::{World, bounded};

use crate::cases::TestFile;

/// A policy as it came: its bytes, and the tests and the signature beside them.
#[derive(Clone, Debug)]
pub struct Version {
    /// The world that it is to be of: that of its slot.
    pub world: World,
    /// Its file's name.
    pub file: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its tests.
    pub tests: Option<TestFile>,
    /// Its signature, as it came: base64, if it is one.
    pub signature: Option<String>,
}

/// A version as it is kept, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// `rhai` or `wasm`.
    pub engine: String,
    /// Its file's name.
    pub file: String,
    /// When it came first, in milliseconds since 1970.
    pub added_ms: u64,
}

/// What is so in a slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    /// The version that serves; none: the native default does.
    pub active: Option<String>,
    /// Those before it, the newest last.
    pub previous: Vec<String>,
    /// Those that are ready to serve, the newest last.
    pub staged: Vec<String>,
    /// Those that failed while they served.
    pub quarantined: Vec<String>,
    /// The version that is asked as well, and the part of the questions that it is asked.
    pub shadow: Option<(String, f64)>,
    /// What the watched folder last said: a file, and its digest.
    pub folder: Option<(String, String)>,
    /// Nothing serves, as what did failed, and nothing was before it.
    pub lost: bool,
    /// The version that served until the act: not the one that the act before said, where that could not be
    /// loaded at a restart, or was quarantined. Nobody reads it back.
    pub served: Option<String>,
}

/// An experiment as it is kept. One without an end is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its number: from 1, in a slot.
    pub id: u64,
    /// The slot.
    pub slot: &'static str,
    /// The digest of what is tried.
    pub digest: String,
    /// What it is compared with, as `name@digest`.
    pub baseline: String,
    /// What was registered when it began, as JSON.
    pub plan: String,
    /// What was measured, as JSON: with it, it goes on.
    pub state: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// What is said of it, as JSON.
    pub report: String,
}

/// Who acts, and why.
#[derive(Clone, Debug, Default)]
pub struct By {
    /// `admin`, `folder` or `kairos`.
    pub actor: &'static str,
    /// Who it is, as it says itself. Nothing vouches for it.
    pub claimed: Option<String>,
    /// Why.
    pub why: Option<String>,
}

impl By {
    /// The folder was changed.
    pub(crate) fn folder() -> Self {
        Self { actor: "folder", ..Self::default() }
    }

    /// The gateway itself acts.
    pub(crate) fn kairos(why: &str) -> Self {
        Self { actor: "kairos", why: Some(bounded(why.to_owned())), ..Self::default() }
    }

    /// Whoever has the admin token.
    pub fn admin(claimed: Option<String>, why: Option<String>) -> Self {
        Self { actor: "admin", claimed: claimed.map(bounded), why: why.map(bounded) }
    }
}

/// An act: what is written into the audit log.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// Who, and why.
    pub by: &'a By,
    /// `stage`, `activate`, `rollback`, `retire`, `remove`, `quarantine`, `refuse`, `shadow`, `canary`,
    /// `share`, `promote` or, of what was learned, `clear`.
    pub what: &'static str,
    /// The slot.
    pub slot: &'static str,
    /// The version that it is about.
    pub digest: Option<&'a str>,
    /// What came of it, where there is more to say.
    pub detail: Option<&'a str>,
}

/// A version that is to be kept, with what it calls itself and what it runs in.
pub type ToKeep<'a> = (&'a Version, &'a str, &'static str);

/// Keeps versions, roles and acts.
pub trait Versions: Send + Sync {
    /// Writes an act, what is so after it, a version that is new and the experiment that it is about,
    /// all or nothing, so that it outlives the machine. Says why it cannot.
    fn commit(
        &self,
        act: &Act<'_>,
        roles: &Roles,
        version: Option<ToKeep<'_>>,
        trial: Option<&Trial>,
    ) -> Result<(), String>;

    /// Writes what was measured meanwhile.
    fn keep_trial(&self, trial: &Trial) -> Result<(), String>;

    /// Experiments of a slot, the newest first, so many at most.
    fn trials(&self, slot: &'static str, most: usize) -> Result<Vec<Trial>, String>;

    /// How many experiments there have been with a version.
    fn tries(&self, slot: &'static str, digest: &str) -> Result<u64, String>;

    /// What is so in a slot.
    fn roles(&self, slot: &'static str) -> Result<Roles, String>;

    /// A version with its bytes.
    fn version(&self, slot: &'static str, digest: &str) -> Result<Option<Version>, String>;

    /// Versions of a slot whose digests begin so, the newest first, so many at most.
    fn known(&self, slot: &'static str, beginning: &str, most: usize) -> Result<Vec<Known>, String>;
}

/// Keeps nothing: every run begins anew.
impl Versions for () {
    fn commit(&self, _: &Act<'_>, _: &Roles, _: Option<ToKeep<'_>>, _: Option<&Trial>) -> Result<(), String> {
        Ok(())
    }

    fn keep_trial(&self, _: &Trial) -> Result<(), String> {
        Ok(())
    }

    fn trials(&self, _: &'static str, _: usize) -> Result<Vec<Trial>, String> {
        Ok(Vec::new())
    }

    fn tries(&self, _: &'static str, _: &str) -> Result<u64, String> {
        Ok(0)
    }

    fn roles(&self, _: &'static str) -> Result<Roles, String> {
        Ok(Roles::default())
    }

    fn version(&self, _: &'static str, _: &str) -> Result<Option<Version>, String> {
        Ok(None)
    }

    fn known(&self, _: &'static str, _: &str, _: usize) -> Result<Vec<Known>, String> {
        Ok(Vec::new())
    }
}
