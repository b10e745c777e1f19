//! Who a policy is.

use std::sync::Arc;

use crate::learned::SpaceId;

/// Who a policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal; the version for what is built in.
    pub digest: String,
    /// Names of its reasons.
    pub reasons: Vec<(u32, Arc<str>)>,
    /// Model names that it wants in [`Offer::names`](super::Offer::names).
    pub model_names: Vec<String>,
    /// Bytes that it may leave undecided of a text: of a guard.
    hold_back: usize,
    /// The space of what was learned that it reads, and writes where it is an observer.
    space: Option<SpaceId>,
    /// What it was loaded with: configuration and grants, as JSON.
    setting: Arc<str>,
    /// Name and digest, as they are shown.
    label: Arc<str>,
}

impl Identity {
    /// Who a policy of this name and digest is.
    pub fn new(
        name: impl Into<String>,
        digest: impl Into<String>,
        reasons: Vec<(u32, Arc<str>)>,
        model_names: Vec<String>,
    ) -> Self {
        let (name, digest) = (name.into(), digest.into());
        let label = format!("{name}@{digest}").into();
        Self { name, digest, reasons, model_names, hold_back: 0, space: None, setting: "{}".into(), label }
    }

    /// The same, loaded with this configuration and these grants, as JSON.
    pub fn loaded_with(self, setting: impl Into<Arc<str>>) -> Self {
        Self { setting: setting.into(), ..self }
    }

    /// The same of a guard that may leave so many bytes of a text undecided, up to [`MOST_HELD`](super::MOST_HELD).
    pub fn holding(self, hold_back: usize) -> Self {
        Self { hold_back, ..self }
    }

    /// The same of one that reads this space of what was learned, and writes it where it is an observer.
    pub fn learning(self, space: Option<SpaceId>) -> Self {
        Self { space, ..self }
    }

    /// The space of what was learned that it reads.
    pub fn space(&self) -> Option<&SpaceId> {
        self.space.as_ref()
    }

    /// Bytes that it may leave undecided of a text: 0 where it is no guard.
    pub fn hold_back(&self) -> usize {
        self.hold_back
    }

    /// What it was loaded with: configuration and grants, as JSON.
    pub fn setting(&self) -> &Arc<str> {
        &self.setting
    }

    /// `name@digest`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The name of a reason.
    pub fn reason(&self, code: u32) -> Option<&Arc<str>> {
        self.reasons.iter().find(|(known, _)| *known == code).map(|(_, name)| name)
    }
}
