//! Components from `guests/raw.wat`: guests that lie to the host about their own memory, as no
//! compiler's output would. Made in the test, from text.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::root;

/// Where the bad answer lies, and what it refers to.
pub const BAD: u32 = 320;
const CANDIDATES: u32 = 384;
/// Where text lies: the name, `raw`, and the version, `1`.
pub const TEXT: u32 = 4096;
const PLAN_BYTES: usize = 64;

/// What is put into the braces of `raw.wat`, and how the contract is changed that it is built against.
pub struct Raw {
    /// Imports of the module.
    pub imports: String,
    /// Pages of memory.
    pub memory: String,
    /// Instructions of `describe`, before it gives the description.
    pub describe: String,
    /// Name and version, reasons, names, schema and notes, as they lie in memory.
    pub description: [u32; 11],
    /// Instructions of `init`.
    pub init: String,
    /// Instructions that answer a request.
    pub bad: String,
    /// Further fields of the module.
    pub fields: String,
    /// Bytes, and where they lie.
    pub data: Vec<(u32, Vec<u8>)>,
    /// Texts of contract and module that are replaced.
    pub changes: Vec<(&'static str, &'static str)>,
}

impl Default for Raw {
    /// A router that chooses the first model on trial, and none for a request.
    fn default() -> Self {
        Self {
            imports: String::new(),
            memory: "2".into(),
            describe: String::new(),
            description: [TEXT, 3, TEXT + 3, 1, 0, 0, 0, 0, 0, 0, 0],
            init: String::new(),
            bad: format!("(call $drop (local.get $request)) (i32.const {BAD})"),
            fields: String::new(),
            data: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// Numbers as they lie in memory.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An answer that is a plan of so many candidates, from `at` on.
fn plan(at: u32, candidates: u32) -> Vec<u8> {
    let mut bytes = words(&[0, 0, at, candidates]);
    bytes.resize(PLAN_BYTES, 0);
    bytes
}

/// Model and chance, as they lie in memory.
fn candidates(list: &[(u32, f64)]) -> Vec<u8> {
    list.iter().flat_map(|(model, chance)| [words(&[*model, 0]), chance.to_le_bytes().to_vec()].concat()).collect()
}

impl Raw {
    /// Answers with these candidates.
    pub fn candidates(list: &[(u32, f64)]) -> Vec<u8> {
        let data = vec![(BAD, plan(CANDIDATES, list.len() as u32)), (CANDIDATES, candidates(list))];
        Self { data, ..Self::default() }.build()
    }

    /// Answers with a list of candidates that is said to be at `at` and so long.
    pub fn candidates_at(at: u32, count: u32) -> Vec<u8> {
        Self::answers(plan(at, count))
    }

    /// Answers with these bytes.
    pub fn answers(bytes: Vec<u8>) -> Vec<u8> {
        Self { data: vec![(BAD, bytes)], ..Self::default() }.build()
    }

    /// Answers with an error of this case, whose text is said to be at `at` and so long.
    pub fn error(case: u32, at: u32, length: u32) -> Vec<u8> {
        Self::answers(words(&[1, 0, case, at, length]))
    }

    /// Answers by these instructions.
    pub fn does(bad: &str) -> Vec<u8> {
        Self { bad: bad.into(), ..Self::default() }.build()
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let mut data = vec![
            (64, words(&self.description)),
            (192, plan(256, 1)),
            (256, candidates(&[(0, 1.0)])),
            (TEXT, b"raw1".to_vec()),
        ];
        data.extend(self.data.iter().cloned());
        let data = data.iter().map(|(at, bytes)| segment(*at, bytes)).collect::<String>();
        let mut text = std::fs::read_to_string(root().join("tests/guests/raw.wat")).unwrap();
        for (place, with) in [
            ("{imports}", &self.imports),
            ("{memory}", &self.memory),
            ("{describe}", &self.describe),
            ("{init}", &self.init),
            ("{bad}", &self.bad),
            ("{fields}", &self.fields),
            ("{data}", &data),
        ] {
            text = text.replace(place, with);
        }
        let mut contract = contract();
        for (from, to) in &self.changes {
            assert!(text.contains(from) || contract.contains(from), "{from} is not there to be replaced");
            text = text.replace(from, to);
            contract = contract.replace(from, to);
        }
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let package = resolve.push_str("contract.wit", &contract).unwrap();
        let world = resolve.select_world(&[package], Some("raw")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }
}

fn segment(at: u32, bytes: &[u8]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")\n"
}

/// The contract as one text, and a world with all that there is to import.
fn contract() -> String {
    let package = "package kairos:plugin@0.1.0;";
    let mut files: Vec<_> = root().join("wit/v0.1").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let parts = files.iter().map(|file| std::fs::read_to_string(file).unwrap().replace(package, ""));
    let world = "world raw { import types; import log; import metrics; import kv; import content; export lifecycle; export routing; }";
    format!("{package}\n{}\n{world}\n", parts.collect::<String>())
}
