//! Why a file does not become a policy: a closed list of reasons, and what to say to its author.

use std::fmt;
use std::path::{Path, PathBuf};

use kairos_pipeline::policy::bounded;

/// Why a file is refused: the label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It cannot be read.
    Unreadable,
    /// It is larger than it may be.
    TooLarge,
    /// It has no signature, and needs one.
    NotSigned,
    /// Its signature is not right.
    BadSignature,
    /// It is neither a script nor a component.
    NotAPolicy,
    /// A component that is not whole.
    Damaged,
    /// A script that cannot be parsed.
    Syntax,
    /// Built for a version of the contract that is not served.
    WrongVersion,
    /// Without the functions of its slot's world, or with others of their names.
    WrongWorld,
    /// It asks for a capability that the operator does not grant.
    NotGranted,
    /// It asks for something that no policy can have.
    UnknownImport,
    /// It is whole and cannot be compiled within the bounds.
    NotCompiled,
    /// It cannot be instantiated, or its `init` fails.
    NotStarted,
    /// What it says of itself fails or makes no sense.
    BadDescription,
    /// It fails when asked on trial.
    FailedTrial,
    /// A test of its own fails, or its tests cannot be read.
    FailedTests,
    /// It answers the same question differently the second time.
    Impure,
    /// The very same file failed while it served.
    Quarantined,
    /// The gateway's own fault.
    Internal,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Self; 19] = [
        Self::Unreadable,
        Self::TooLarge,
        Self::NotSigned,
        Self::BadSignature,
        Self::NotAPolicy,
        Self::Damaged,
        Self::Syntax,
        Self::WrongVersion,
        Self::WrongWorld,
        Self::NotGranted,
        Self::UnknownImport,
        Self::NotCompiled,
        Self::NotStarted,
        Self::BadDescription,
        Self::FailedTrial,
        Self::FailedTests,
        Self::Impure,
        Self::Quarantined,
        Self::Internal,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        [
            "unreadable",
            "too_large",
            "not_signed",
            "bad_signature",
            "not_a_policy",
            "damaged",
            "syntax",
            "wrong_version",
            "wrong_world",
            "not_granted",
            "unknown_import",
            "not_compiled",
            "not_started",
            "bad_description",
            "failed_trial",
            "failed_tests",
            "impure",
            "quarantined",
            "internal",
        ][self as usize]
    }
}

/// Why a file is not a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason it is.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
    /// Line and column, where there are some.
    pub at: Option<(usize, usize)>,
    /// The file that they are in, where it is not the policy's own: its tests, beside it.
    pub beside: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal. The message may hold what the file says: it is cut, and put on one line.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: bounded(message.into()), at: None, beside: None, hint: None }
    }

    /// The same, at a line and column.
    pub fn at(mut self, at: Option<(usize, usize)>) -> Self {
        self.at = at;
        self
    }

    /// The same, about another file than the policy's own: the name of one beside it.
    pub fn beside(mut self, file: &str) -> Self {
        self.beside = Some(bounded(file.to_owned()));
        self
    }

    /// The same, with what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(bounded(hint.into()));
        self
    }

    /// The file that is wrong, of a policy's file.
    pub fn file(&self, policy: &Path) -> PathBuf {
        self.beside.as_ref().map_or_else(|| policy.to_owned(), |name| policy.with_file_name(name))
    }

    /// File, line and column, message, and on a second line the hint.
    pub fn explain(&self, policy: &str) -> String {
        let file = self.file(Path::new(policy));
        let file = file.display();
        let at = self.at.map_or(String::new(), |(line, column)| format!(":{line}:{column}"));
        let hint = self.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        format!("{file}{at}: {}{hint}", self.message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}
