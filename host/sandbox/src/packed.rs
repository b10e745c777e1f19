//! A component that carries its manifest and its tests, as custom sections: one file is all of it.

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::{Encoding, Parser, Payload};

use crate::cases::TestFile;
use crate::limits::Limits;
use crate::load::Source;
use crate::manifest::{FILE, Manifest};
use crate::refusal::{Reason, Refusal};

/// The sections' names.
const MANIFEST: &str = "kairos:manifest";
const TESTS: &str = "kairos:tests";

/// What a component carries.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) manifest: Option<Manifest>,
    pub(crate) tests: Option<TestFile>,
}

/// The component with a manifest, and tests where there are some.
pub fn pack(component: &[u8], manifest: &str, tests: Option<&[u8]>) -> Vec<u8> {
    let mut packed = component.to_vec();
    for (name, data) in [(MANIFEST, Some(manifest.as_bytes())), (TESTS, tests)] {
        if let Some(data) = data {
            CustomSection { name: name.into(), data: data.into() }.append_to_component(&mut packed);
        }
    }
    packed
}

/// Reads what a component carries. Bytes that are none carry nothing: what is wrong with them is said
/// by who checks them.
pub(crate) fn read(source: &Source<'_>, limits: &Limits) -> Result<Packed, Refusal> {
    if !Parser::is_component(source.bytes) {
        return Ok(Packed::default());
    }
    let manifest = section(source.bytes, MANIFEST)?.map(manifest).transpose()?;
    let tests = section(source.bytes, TESTS)?;
    let name = format!("{} (the tests in it)", source.file);
    let tests = tests.map(|bytes| TestFile::bounded(name, bytes.to_vec(), limits)).transpose()?;
    Ok(Packed { manifest, tests })
}

fn manifest(bytes: &[u8]) -> Result<Manifest, Refusal> {
    let refuse = |why: String| Refusal::new(Reason::BadDescription, format!("the {FILE} in it: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".to_owned()))?;
    Manifest::parse(text).map_err(|refusal| {
        let (line, column) = refusal.at.unwrap_or_default();
        refuse(format!("{line}:{column}: {}", refusal.message))
    })
}

/// The one section of this name of the component itself, not of those within.
fn section<'a>(bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Refusal> {
    let (mut found, mut depth) = (Vec::new(), 0usize);
    // Where the parser fails, the check of the whole says so.
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == name => found.push(section.data()),
            _ => {}
        }
    }
    if found.len() > 1 {
        let message = format!("there are {} sections {name}: it was packed more than once", found.len());
        return Err(Refusal::new(Reason::BadDescription, message).hint("pack what was built"));
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::World;

    use super::*;

    /// A component with a module within that carries a manifest of its own.
    fn component() -> Vec<u8> {
        let inner = CustomSection { name: MANIFEST.into(), data: b"nonsense"[..].into() };
        let mut module = wasm_encoder::Module::new();
        module.section(&inner);
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::ModuleSection(&module));
        component.finish()
    }

    fn carried(bytes: &[u8]) -> Result<Packed, Refusal> {
        let source = Source { file: "x.wasm", world: World::Router, bytes, digest: "", config: "{}" };
        read(&source, &Limits::default())
    }

    const PLUGIN: &str = "name = \"x\"\nlang = \"rust\"\nworld = \"router\"\n";

    #[test]
    fn what_is_packed_is_carried() {
        let bare = component();
        assert!(carried(&bare).is_ok_and(|packed| packed.manifest.is_none() && packed.tests.is_none()));
        assert!(carried(b"\0asm").is_ok_and(|packed| packed.manifest.is_none()));
        let packed = carried(&pack(&bare, PLUGIN, Some(b"[[test]]"))).unwrap();
        assert_eq!(packed.manifest.map(|manifest| manifest.name).as_deref(), Some("x"));
        let tests = packed.tests.unwrap();
        assert_eq!((tests.name.as_str(), &tests.bytes[..]), ("x.wasm (the tests in it)", &b"[[test]]"[..]));
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        let bare = component();
        let says = |bytes: &[u8]| carried(bytes).unwrap_err().message;
        let twice = pack(&pack(&bare, PLUGIN, None), PLUGIN, None);
        assert_eq!(says(&twice), "there are 2 sections kairos:manifest: it was packed more than once");
        let wrong = says(&pack(&bare, "name = \"x\"\nlang = \"basic\"\nworld = \"router\"\n", None));
        assert!(wrong.starts_with("the plugin.toml in it: 2:8: lang: there is no \"basic\""), "{wrong}");
        let large = vec![b' '; Limits::default().test_bytes as usize + 1];
        assert!(says(&pack(&bare, PLUGIN, Some(&large))).contains("tests have more than"));
    }
}
