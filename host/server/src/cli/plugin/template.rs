//! What a new project consists of: files of `plugins/template`, the SDK and the contract, as they were
//! when this binary was built.

use kairos_pipeline::policy::World;
use kairos_sandbox::manifest::{FILE, Lang};

/// What stands in the templates where a project's name does.
const PLACE: &str = "my-plugin";
/// What stands in the manifests where a project's world does.
const MANIFEST_WORLD: &str = World::Router.name();

macro_rules! file {
    ($name:literal, $path:literal) => {
        ($name, include_str!(concat!("../../../../../", $path)))
    };
}

/// A file's name in the project, and its text.
type File = (&'static str, &'static str);

const SHARED: &[File] = &[file!("my-plugin.test.toml", "plugins/template/my-plugin.test.toml")];

const RHAI: &[File] = &[
    file!("plugin.toml", "plugins/template/rhai/plugin.toml"),
    file!("README.md", "plugins/template/rhai/README.md"),
    file!("my-plugin.rhai", "plugins/template/rhai/my-plugin.rhai"),
];

const RUST: &[File] = &[
    file!("plugin.toml", "plugins/template/rust/plugin.toml"),
    file!("README.md", "plugins/template/rust/README.md"),
    file!(".gitignore", "plugins/template/rust/.gitignore"),
    file!(".cargo/config.toml", "plugins/template/rust/.cargo/config.toml"),
    file!("Cargo.toml", "plugins/template/rust/Cargo.toml"),
    file!("Cargo.lock", "plugins/template/rust/Cargo.lock"),
    file!("src/lib.rs", "plugins/template/rust/src/lib.rs"),
    file!("vendor/kairos-plugin/Cargo.toml", "plugins/sdk/Cargo.toml"),
    file!("vendor/kairos-plugin/src/lib.rs", "plugins/sdk/src/lib.rs"),
    file!("vendor/kairos-plugin/src/allocator.rs", "plugins/sdk/src/allocator.rs"),
    file!("vendor/kairos-plugin/src/bindings/evaluator.rs", "plugins/sdk/src/bindings/evaluator.rs"),
    file!("vendor/kairos-plugin/src/bindings/guard.rs", "plugins/sdk/src/bindings/guard.rs"),
    file!("vendor/kairos-plugin/src/bindings/healer.rs", "plugins/sdk/src/bindings/healer.rs"),
    file!("vendor/kairos-plugin/src/bindings/mod.rs", "plugins/sdk/src/bindings/mod.rs"),
    file!("vendor/kairos-plugin/src/bindings/mutator.rs", "plugins/sdk/src/bindings/mutator.rs"),
    file!("vendor/kairos-plugin/src/bindings/prompter.rs", "plugins/sdk/src/bindings/prompter.rs"),
    file!("vendor/kairos-plugin/src/bindings/observer.rs", "plugins/sdk/src/bindings/observer.rs"),
    file!("vendor/kairos-plugin/src/bindings/router.rs", "plugins/sdk/src/bindings/router.rs"),
    file!("vendor/kairos-plugin/src/evolving.rs", "plugins/sdk/src/evolving.rs"),
    file!("vendor/kairos-plugin/src/host.rs", "plugins/sdk/src/host.rs"),
    file!("vendor/kairos-plugin/src/testing.rs", "plugins/sdk/src/testing.rs"),
    file!("vendor/kairos-plugin/src/testing/evolving.rs", "plugins/sdk/src/testing/evolving.rs"),
    file!("vendor/kairos-plugin/src/world.rs", "plugins/sdk/src/world.rs"),
];

const PYTHON: &[File] = &[
    file!("plugin.toml", "plugins/template/python/plugin.toml"),
    file!("README.md", "plugins/template/python/README.md"),
    file!(".gitignore", "plugins/template/python/.gitignore"),
    file!("requirements.txt", "plugins/template/python/requirements.txt"),
    file!("plugin.py", "plugins/template/python/plugin.py"),
    file!("kairos_plugin.py", "plugins/template/python/kairos_plugin.py"),
];

const JS: &[File] = &[
    file!("plugin.toml", "plugins/template/js/plugin.toml"),
    file!("README.md", "plugins/template/js/README.md"),
    file!(".gitignore", "plugins/template/js/.gitignore"),
    file!("kairos.toml", "plugins/template/js/kairos.toml"),
    file!("package.json", "plugins/template/js/package.json"),
    file!("package-lock.json", "plugins/template/js/package-lock.json"),
    file!("plugin.js", "plugins/template/js/plugin.js"),
    file!("kairos-plugin.js", "plugins/template/js/kairos-plugin.js"),
];

/// What a healer has instead of a router's files: the name there, and the text.
const HEALER: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/healer/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/healer/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/healer/lib.rs"),
];

/// The same of a guard.
const GUARD: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/guard/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/guard/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/guard/lib.rs"),
];

/// The same of a prompter.
const PROMPTER: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/prompter/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/prompter/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/prompter/lib.rs"),
];
/// The same of an observer.
const OBSERVER: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/observer/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/observer/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/observer/lib.rs"),
];

/// The same of an evaluator.
const EVALUATOR: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/evaluator/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/evaluator/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/evaluator/lib.rs"),
];

/// The same of a mutator.
const MUTATOR: &[File] = &[
    file!("my-plugin.test.toml", "plugins/template/mutator/my-plugin.test.toml"),
    file!("my-plugin.rhai", "plugins/template/mutator/my-plugin.rhai"),
    file!("src/lib.rs", "plugins/template/mutator/lib.rs"),
];

/// The contract, which components are built against.
const WIT: &[File] = &[
    file!("wit/v0.1/content.wit", "wit/v0.1/content.wit"),
    file!("wit/v0.1/evaluator.wit", "wit/v0.1/evaluator.wit"),
    file!("wit/v0.1/guard.wit", "wit/v0.1/guard.wit"),
    file!("wit/v0.1/healer.wit", "wit/v0.1/healer.wit"),
    file!("wit/v0.1/http.wit", "wit/v0.1/http.wit"),
    file!("wit/v0.1/kv-write.wit", "wit/v0.1/kv-write.wit"),
    file!("wit/v0.1/kv.wit", "wit/v0.1/kv.wit"),
    file!("wit/v0.1/lifecycle.wit", "wit/v0.1/lifecycle.wit"),
    file!("wit/v0.1/log.wit", "wit/v0.1/log.wit"),
    file!("wit/v0.1/metrics.wit", "wit/v0.1/metrics.wit"),
    file!("wit/v0.1/model.wit", "wit/v0.1/model.wit"),
    file!("wit/v0.1/mutator.wit", "wit/v0.1/mutator.wit"),
    file!("wit/v0.1/prompter.wit", "wit/v0.1/prompter.wit"),
    file!("wit/v0.1/observer.wit", "wit/v0.1/observer.wit"),
    file!("wit/v0.1/router.wit", "wit/v0.1/router.wit"),
    file!("wit/v0.1/types.wit", "wit/v0.1/types.wit"),
];

/// The files of the contract, by their names in `wit`.
pub(super) fn contract() -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<_> = WIT.iter().map(|(name, text)| (name.trim_start_matches("wit/"), *text)).collect();
    files.sort_unstable();
    files
}

/// What is wrong with a project of a world in a language: there is no template of it.
pub(super) fn is_missing(lang: Lang, world: World) -> Option<String> {
    let is_there = world == World::Router || matches!(lang, Lang::Rust | Lang::Rhai);
    let (name, policy) = (lang.name(), world.policy());
    (!is_there).then(|| format!("there is no template of {policy} in {name}; there are those in rust and rhai"))
}

/// The files of a new project of this name: their names and texts.
pub(super) fn files(name: &str, lang: Lang, world: World) -> Vec<(String, String)> {
    let (own, contract) = match lang {
        Lang::Rhai => (RHAI, &[][..]),
        Lang::Rust => (RUST, WIT),
        Lang::Python => (PYTHON, WIT),
        Lang::Js => (JS, WIT),
    };
    let instead = match world {
        World::Router => &[][..],
        World::Healer => HEALER,
        World::Guard => GUARD,
        World::Prompter => PROMPTER,
        World::Observer => OBSERVER,
        World::Evaluator => EVALUATOR,
        World::Mutator => MUTATOR,
    };
    let all = own.iter().chain(SHARED).chain(contract).map(|(file, text)| {
        let own = instead.iter().find(|(other, _)| other == file).map_or(*text, |(_, own)| own);
        let of_world = if *file == FILE { manifest(own, world) } else { own.to_owned() };
        (file.replace(PLACE, name), of_world.replace(PLACE, name))
    });
    all.collect()
}

/// The manifest of a project of a world: what an observer learns it may read and write.
fn manifest(text: &str, world: World) -> String {
    let text = text.replace(MANIFEST_WORLD, world.name());
    if world != World::Observer {
        return text;
    }
    text.replace("capabilities = [", "capabilities = [\"kv\", \"kv-write\", ").replace(", ]", "]")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use kairos_sandbox::manifest::Manifest;

    use super::*;

    /// All files below a folder, by their names there.
    fn below(folder: &str) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let (mut found, mut folders) = (BTreeSet::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.insert(entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found
    }

    fn named(files: &[File], folder: &str) -> BTreeSet<String> {
        files.iter().filter_map(|(name, _)| name.strip_prefix(folder)).map(str::to_owned).collect()
    }

    /// A file that is added to a template, the SDK or the contract reaches new projects.
    #[test]
    fn nothing_is_left_out() {
        assert_eq!(named(WIT, "wit/v0.1/"), below("wit/v0.1"));
        assert_eq!(named(RUST, "vendor/kairos-plugin/"), below("plugins/sdk"));
        let own: Vec<_> = RUST.iter().filter(|(name, _)| !name.starts_with("vendor/")).copied().collect();
        let others = [
            (HEALER, "healer"),
            (GUARD, "guard"),
            (PROMPTER, "prompter"),
            (OBSERVER, "observer"),
            (EVALUATOR, "evaluator"),
            (MUTATOR, "mutator"),
        ];
        for (files, folder) in others {
            let own: BTreeSet<_> = files.iter().map(|(name, _)| name.rsplit('/').next().unwrap().to_owned()).collect();
            assert_eq!(own, below(&format!("plugins/template/{folder}")));
        }
        for (files, folder) in [(&own[..], "rust"), (RHAI, "rhai"), (PYTHON, "python"), (JS, "js")] {
            assert_eq!(named(files, ""), below(&format!("plugins/template/{folder}")), "{folder}");
        }
    }

    #[test]
    fn a_project_has_its_own_name_everywhere() {
        let all = Lang::ALL.into_iter().flat_map(|lang| World::ALL.map(|world| (lang, world)));
        for (lang, world) in all.filter(|(lang, world)| is_missing(*lang, *world).is_none()) {
            let files = files("cheap-2", lang, world);
            assert!(files.iter().all(|(file, text)| !file.contains(PLACE) && !text.contains(PLACE)));
            let (_, manifest) = files.iter().find(|(file, _)| file == FILE).unwrap();
            let manifest = Manifest::parse(manifest).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.lang, manifest.world), ("cheap-2", lang, world));
        }
    }
}
