//! The versions of the contract that are served: one table, from which come what the loader takes, what
//! refusals say, and what `kairos plugin check` and wit/README.md tell.

use std::fmt::Write as _;

use kairos_pipeline::policy::World;

use super::adapter::Adapter;
#[cfg(test)]
use super::made_up;
use super::v0_1::V0_1;

/// The package's name, as it stands in a component's imports and exports.
pub(super) const PACKAGE: &str = "kairos:plugin/";
/// Minors that are served, those that are frozen among them.
const MOST: usize = 3;

/// A minor of the contract that is served.
pub struct Minor {
    /// Its number: `0.1`. Its files are in wit/v0.1.
    pub number: &'static str,
    /// The version of its package, as its files say it: `0.1.0`.
    pub package: &'static str,
    /// The release of Kairos that served it first.
    pub since: &'static str,
    pub(super) adapter: &'static dyn Adapter,
}

const FIRST: Minor = Minor { number: "0.1", package: "0.1.0", since: "0.1.0", adapter: &V0_1 };

/// All that are served, the newest first: that one may still grow, the others are frozen.
#[cfg(not(test))]
static SERVED: [Minor; 1] = [FIRST];
/// In tests, between two that nobody else knows.
#[cfg(test)]
static SERVED: [Minor; 3] = [made_up::LATER, FIRST, made_up::EARLIER];

const _: () = assert!(SERVED.len() <= MOST, "the oldest minor goes when a fourth comes: wit/README.md");

impl Minor {
    /// All that are served, the newest first.
    pub fn served() -> &'static [Self] {
        &SERVED
    }

    /// The newest.
    pub fn current() -> &'static Self {
        &SERVED[0]
    }

    /// That of a version, whatever its patch.
    pub fn of(version: &str) -> Option<&'static Self> {
        let mut parts = version.splitn(3, '.');
        let (major, minor) = (parts.next()?, parts.next()?);
        SERVED.iter().find(|served| served.number.split_once('.') == Some((major, minor)))
    }

    /// The worlds that it has.
    pub fn worlds(&self) -> impl Iterator<Item = World> {
        World::ALL.into_iter().filter(|world| self.adapter.judgement(*world).is_some())
    }

    /// `current`, or `frozen`.
    pub fn state(&self) -> &'static str {
        if self.number == Self::current().number { "current" } else { "frozen" }
    }

    /// An interface or a world of it, as components name it.
    pub(super) fn name_of(&self, interface: &str) -> String {
        format!("{PACKAGE}{interface}@{}", self.package)
    }
}

/// Which versions are served, in words: `version 0.1`, `versions 0.3, 0.2 and 0.1`.
pub(super) fn served() -> String {
    let numbers: Vec<_> = SERVED.iter().map(|minor| minor.number).collect();
    match numbers.split_last() {
        Some((last, [])) => format!("version {last}"),
        Some((last, before)) => format!("versions {} and {last}", before.join(", ")),
        None => "no version".to_owned(),
    }
}

/// The table for authors, in Markdown: what is served, and which worlds each version has.
pub fn compatibility() -> String {
    let mut table = String::from("| version | state | served since | files |");
    for world in World::ALL {
        let _ = write!(table, " `{}` |", world.name());
    }
    table.push_str("\n|---|---|---|---|");
    table.push_str(&"---|".repeat(World::ALL.len()));
    for minor in &SERVED {
        let Minor { number, since, .. } = minor;
        let _ = write!(table, "\n| {number} | {} | Kairos {since} | `v{number}/` |", minor.state());
        for world in World::ALL {
            table.push_str(if minor.adapter.judgement(world).is_some() { " yes |" } else { " – |" });
        }
    }
    table.push('\n');
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_of_its_minor() {
        let number = |version| Minor::of(version).map(|minor| minor.number);
        assert_eq!((number("0.1.0"), number("0.1.77"), number("0.1")), (Some("0.1"), Some("0.1"), Some("0.1")));
        assert_eq!((number("0.10.0"), number("1.1.0"), number("0"), number("")), (None, None, None, None));
    }

    #[test]
    fn each_minor_has_its_number_in_its_package() {
        for minor in &SERVED {
            assert_eq!(Minor::of(minor.package).map(|found| found.number), Some(minor.number));
        }
    }

    /// What is frozen has a folder, and what has a folder is served.
    #[test]
    fn folders_of_the_contract_are_the_minors_that_are_served() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
        let folders = std::fs::read_dir(wit).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let mut folders: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        folders.sort();
        // The made-up ones are elsewhere.
        assert_eq!(folders, [format!("v{}", FIRST.number)]);
    }

    #[test]
    fn what_is_served_is_told() {
        assert_eq!(served(), "versions 0.2, 0.1 and 0.0");
        let table = compatibility();
        assert!(table.starts_with("| version | state | served since | files | `router` | `healer` |"), "{table}");
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert!(rows[0].starts_with("| 0.2 | current | Kairos 0.3.0 | `v0.2/` | yes | – |"), "{table}");
        assert!(rows[1].starts_with("| 0.1 | frozen | Kairos 0.1.0 | `v0.1/` | yes | yes |"), "{table}");
        assert!(rows[2].starts_with("| 0.0 | frozen | Kairos 0.0.1 | `v0.0/` | yes | – |"), "{table}");
    }
}
