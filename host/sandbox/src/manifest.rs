//! `plugin.toml`: what the author of a plugin says of it, and what it asks for.

use std::collections::BTreeSet;

use kairos_pipeline::policy::{Identity, World};

use crate::capability::Capability;
use crate::cases::place;
use crate::cases::table::{self, Read, Wrong};
use crate::load::SLOTS;
use crate::refusal::{Reason, Refusal};

/// The file's name in a project's folder.
pub const FILE: &str = "plugin.toml";

/// Bytes of a manifest.
pub const BYTES: usize = 64 * 1024;

/// Bytes of a plugin's name.
const NAME_BYTES: usize = 64;

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// Rust, compiled.
    Rust,
    /// A script.
    Rhai,
    /// Python, with its interpreter.
    Python,
    /// JavaScript, with its interpreter.
    Js,
}

impl Lang {
    /// All languages.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Rhai, Self::Python, Self::Js];

    /// The name in the manifest and on the command line.
    pub fn name(self) -> &'static str {
        ["rust", "rhai", "python", "js"][self as usize]
    }
}

/// A manifest that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What the plugin is called: what its `describe` says, and the name of its files.
    pub name: String,
    /// What it is written in.
    pub lang: Lang,
    /// The world that it is of, which is also the slot that it is for.
    pub world: World,
    /// What it asks for. What it imports is among these, and these among what the operator grants.
    pub capabilities: BTreeSet<Capability>,
}

impl Manifest {
    /// Reads a manifest. What is wrong is told with its line and column.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |at, message| {
            let place = Some(place(text.as_bytes(), at));
            Refusal::new(Reason::BadDescription, message).at(place)
        };
        if text.len() > BYTES {
            return Err(refuse(0, format!("the manifest has more than {BYTES} bytes")));
        }
        read(text).map_err(|Wrong { at, message }| refuse(at, message))
    }

    /// Whether a plugin calls itself as its manifest does, and is for the slot of its world.
    pub fn is_of(&self, identity: &Identity, world: World) -> Result<(), Refusal> {
        if self.world != world {
            let (own, slot) = (self.world.name(), world.name());
            let message = format!("{FILE} says that it is of the world `{own}`; the slot `{slot}` takes `{slot}`");
            return Err(Refusal::new(Reason::WrongWorld, message).hint(format!("it fits the slot `{own}`")));
        }
        if identity.name == self.name {
            return Ok(());
        }
        let message = format!("{FILE} calls it {:?}, its `describe` {:?}", self.name, identity.name);
        Err(Refusal::new(Reason::BadDescription, message).hint("give both the same name"))
    }
}

/// Whether policies and spaces of what was learned may be called so: it becomes a label of metrics.
pub(crate) fn is_label(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

/// What is wrong with a name: it is a folder, a package and a label of metrics.
pub fn name_is_wrong(name: &str) -> Option<String> {
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if begins && is_label(name) && !name.ends_with('-') {
        return None;
    }
    Some(format!("{name:?} is no name: 1 to {NAME_BYTES} of a-z, 0-9 and -, from a letter to a letter or digit"))
}

fn read(text: &str) -> Read<Manifest> {
    let mut file = table::parse(text)?;
    let (name, lang, world) = (file.take("name"), file.take("lang"), file.take("world"));
    let capabilities = file.take("capabilities");
    file.finish()?;
    let missing = |key: &str| table::wrong(0, format!("there is no `{key}`"));
    let Some(name) = name else { return missing("name") };
    if let Some(wrong) = name_is_wrong(name.text()?) {
        return name.wrong(wrong);
    }
    let Some(lang) = lang else { return missing("lang") };
    let lang = Lang::ALL[lang.one_of(&Lang::ALL.map(Lang::name))?];
    let Some(world) = world else { return missing("world") };
    let names = Capability::ALL.map(Capability::name);
    let asked = match capabilities {
        Some(list) => list.list()?.map(|name| Ok(Capability::ALL[name.one_of(&names)?])).collect::<Read<_>>()?,
        None => BTreeSet::new(),
    };
    Ok(Manifest { name: name.text()?.to_owned(), lang, world: World::ALL[world.one_of(&SLOTS)?], capabilities: asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_and_what_is_wrong_told_with_its_place() {
        let whole = "name = \"x-1\"\nlang = \"js\"\nworld = \"router\"\ncapabilities = [\"kv\", \"log\"]\n";
        let read = Manifest::parse(whole).unwrap();
        assert_eq!((read.name.as_str(), read.lang, read.world), ("x-1", Lang::Js, World::Router));
        assert_eq!(read.capabilities, BTreeSet::from([Capability::Log, Capability::Kv]));
        let mut told = String::new();
        for (from, to) in [
            ("x-1", "X"),
            ("x-1", "1x"),
            ("x-1", "x-"),
            ("x-1", "../x"),
            ("\"x-1\"", "1"),
            ("\"js\"", "\"rusty\""),
            ("router", "oracle"),
            ("\"log\"", "\"https\""),
            ("[\"kv\", \"log\"]", "\"kv\""),
            ("capabilities", "capability"),
            ("name = \"x-1\"\n", ""),
            ("=", "= ="),
        ] {
            let refusal = Manifest::parse(&whole.replacen(from, to, 1)).unwrap_err();
            told.push_str(&refusal.explain(FILE));
            told.push('\n');
        }
        insta::assert_snapshot!(told);
        assert!(Manifest::parse(&" ".repeat(BYTES + 1)).unwrap_err().message.contains("more than"));
    }

    #[test]
    fn names_are_in_the_order_of_languages() {
        assert_eq!(Lang::ALL.map(Lang::name), ["rust", "rhai", "python", "js"]);
        assert_eq!((name_is_wrong(&"x".repeat(64)), name_is_wrong(&"x".repeat(65)).is_some()), (None, true));
    }
}
