//! Writing a plugin, by the commands of the README that a new project has: begun, built, tested,
//! checked, measured, packed, staged, replayed, tried as a canary, activated, taken back. And what is
//! refused on the way.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Instant;

use kairos_sandbox::packed;
use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, ended, kairos, metrics};
use kairos_tests::{author, guest, policy};

/// What a line that is to succeed says. Compiled code is kept in `cache`.
fn done(folder: &Path, cache: &Path, line: &str) -> String {
    let (code, said) = ended(&author(folder, line).env("XDG_CACHE_HOME", cache).output().unwrap());
    assert_eq!(code, 0, "{line}: {said}");
    said
}

/// A command in a folder: its exit code, and what it says.
fn said(folder: &Path, arguments: &[&str]) -> (i32, String) {
    ended(&kairos().args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder).output().unwrap())
}

/// The commands of a README: those that install what a language needs, and those of every day.
fn commands(readme: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut once, mut daily, mut installs) = (Vec::new(), Vec::new(), false);
    for line in readme.lines() {
        match line.strip_prefix("    ") {
            Some(command) if installs => once.push(command),
            Some(command) => daily.push(command),
            None if !line.is_empty() => installs = line.starts_with("Once"),
            None => {}
        }
    }
    (once, daily)
}

/// The first text of a file is exchanged for the second.
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{}: {text}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Who decided a request with these tags that is in a hurry.
async fn decides(pair: &Pair, tags: &str) -> String {
    let headers = [("x-kairos-max-latency-ms", "60000"), ("x-kairos-tags", tags)];
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = Client::default().post(&url, &headers, &chat("auto", "hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-kairos-policy").split('@').next().unwrap().to_owned()
}

/// Requests of a day before, on disk when this returns.
async fn recorded(pair: &Pair, requests: usize) {
    for _ in 0..requests {
        decides(pair, "team=search").await;
    }
    while !metrics(pair).await.contains(&format!("kairos_records_written_total {requests}\n")) {}
}

/// From nothing to a policy that serves, by the README's own commands. In `source` `from` becomes `to`, so
/// that it fails for the team `broken`; the gateway's log then has `fails` and the name.
async fn walk(lang: &str, source: &str, from: &str, to: &str, fails: &str) {
    // A garbage collector takes what a call may not.
    let config = if lang == "js" { include_str!("../../plugins/template/js/kairos.toml") } else { "" };
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    // What is compiled when it is packed is found where the gateway keeps its own.
    let cache = pair.folder().join("cache");
    std::fs::create_dir(&cache).unwrap();
    symlink(pair.folder().join("data"), cache.join("kairos")).unwrap();
    recorded(&pair, 4).await;
    // For who wants to know, with `--no-capture`: plugins/README.md has them.
    let timed = |folder: &Path, command: &str| {
        let began = Instant::now();
        let text = done(folder, &cache, command);
        println!("{lang}: {command}: {:.2} s", began.elapsed().as_secs_f64());
        text
    };
    timed(pair.folder(), &format!("kairos plugin new my-own --lang {lang}"));
    let project = pair.folder().join("my-own");
    edit(&project.join(source), from, to);
    symlink(pair.folder().join("data"), project.join("kairos-data")).unwrap();
    let readme = std::fs::read_to_string(project.join("README.md")).unwrap();
    let mut digest = "none yet".to_owned();
    let mut ran = Vec::new();
    for command in commands(&readme).1 {
        let text = timed(&project, &command.replace("DIGEST", &digest));
        let name = command.split(' ').take(3).collect::<Vec<_>>().join(" ");
        match name.as_str() {
            "kairos plugin test" => assert!(text.contains(": 2 tests passed\n"), "{text}"),
            "kairos plugin check" => assert!(text.contains("would serve as my-own@"), "{text}"),
            "kairos plugin bench" => assert!(text.contains("\nplugin ") && text.contains("\nnative "), "{text}"),
            "kairos policy stage" => {
                assert!(text.contains(" is staged; 2 tests passed\n"), "{text}");
                text.split(['@', ' ']).nth(1).unwrap().clone_into(&mut digest);
            }
            "kairos replay --policy" => {
                assert!(text.contains("replay of my-own@") && text.contains(" over 4 decisions "), "{text}");
            }
            "kairos policy canary" => assert!(text.contains("my-own@") && text.contains(" serves a share;"), "{text}"),
            "kairos policy activate" => {
                assert_eq!(decides(&pair, "team=search").await, "my-own");
                // It fails, and the native default answers.
                assert_ne!(decides(&pair, "team=broken").await, "my-own");
                let line = pair.gateway.wait_for_log("out of models");
                assert!(line.contains(fails) && line.contains("my-own"), "{line}");
            }
            "kairos policy rollback" => assert_eq!(decides(&pair, "team=search").await, "task"),
            _ => {}
        }
        ran.push(name);
    }
    let all = "plugin test, plugin check, plugin bench, plugin pack, policy stage, replay --policy, policy canary, \
               policy activate, policy rollback";
    let all =
        all.split(", ").filter(|name| lang != "rhai" || *name != "plugin pack").map(|name| format!("kairos {name}"));
    assert_eq!(ran.into_iter().filter(|name| name.starts_with("kairos")).collect::<Vec<_>>(), all.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_plugin_in_rust_from_nothing_to_serving() {
    let from = "_: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError> {\n";
    let fail = "assert!(ctx.tags().iter().all(|(_, value)| value != \"broken\"), \"out of models\");";
    let to = format!("ctx{}        {fail}\n", from.trim_start_matches('_'));
    // The panic's own line of the log, which the policy's name stands in.
    walk("rust", "src/lib.rs", from, &to, "\"plugin\":\"my-own\"").await;
}

#[tokio::test]
async fn a_plugin_in_rhai_from_nothing_to_serving() {
    let from = "fn route(ctx, features, models) {\n";
    let to = format!("{from}    if ctx.tags.team == \"broken\" {{ throw \"out of models\"; }}\n");
    walk("rhai", "my-own.rhai", from, &to, "out of models").await;
}

/// A project of this world is tested and checked as it is; where there is no template of one, that is said.
fn from_nothing(world: &str) {
    let policy = if world.starts_with(['o', 'e']) { format!("an {world}") } else { format!("a {world}") };
    let folder = tempfile::tempdir().unwrap();
    for lang in ["rhai", "rust"] {
        // What is compiled is kept by name, for all projects.
        let name = format!("my-{world}-{lang}");
        let new = format!("kairos plugin new {name} --lang {lang} --world {world}");
        assert!(done(folder.path(), folder.path(), &new).contains(": my-"), "{lang}");
        let project = folder.path().join(&name);
        let text = done(&project, folder.path(), "kairos plugin test");
        assert!(text.contains(": 3 tests passed\n"), "{text}");
        let text = done(&project, folder.path(), "kairos plugin check");
        assert!(text.contains(&format!("would serve as {name}@")) && text.contains(world), "{text}");
        assert_eq!(text.contains("\n  contract 0.1, current\n"), lang == "rust", "{text}");
        // What its manifest says is what it is held to.
        edit(&project.join("plugin.toml"), &format!("world = \"{world}\""), "world = \"router\"");
        let (code, text) = said(&project, &["plugin", "check"]);
        let told = [format!("is {policy}'s"), format!("of the world `{world}`"), "is for observers only".to_owned()];
        assert!(code == 1 && told.iter().any(|told| text.contains(told)), "{code} {text}");
    }
    for lang in ["python", "js"] {
        let (code, text) = said(folder.path(), &["plugin", "new", "x", "--lang", lang, "--world", world]);
        let says = format!("there is no template of {policy} in {lang}; there are those in rust and rhai");
        assert!(code == 2 && text.contains(&says) && !folder.path().join("x").exists(), "{code} {text}");
    }
}

#[test]
fn a_healer_from_nothing() {
    from_nothing("healer");
}

#[test]
fn a_guard_from_nothing() {
    from_nothing("guard");
}

#[test]
fn a_prompter_from_nothing() {
    from_nothing("prompter");
}

#[test]
fn an_observer_from_nothing() {
    from_nothing("observer");
}

#[test]
fn an_evaluator_from_nothing() {
    from_nothing("evaluator");
}

#[test]
fn a_mutator_from_nothing() {
    from_nothing("mutator");
}

#[tokio::test]
async fn a_plugin_in_python_from_nothing_to_serving() {
    let from = "    def route(self, ctx, features, models):\n";
    let fail = "        if (\"team\", \"broken\") in ctx.tags():\n            raise ValueError(\"out of models\")\n";
    walk("python", "plugin.py", from, &format!("{from}{fail}"), "ValueError: out of models (plugin.py:16)").await;
}

#[tokio::test]
async fn a_plugin_in_javascript_from_nothing_to_serving() {
    let from = "  route(ctx, features, models) {\n";
    let fail =
        "    if (ctx.tags().some(([, value]) => value === \"broken\")) throw new RangeError(\"out of models\");\n";
    walk("js", "plugin.js", from, &format!("{from}{fail}"), "RangeError: out of models (route@plugin.js:14:").await;
}

/// A name is a folder, a package and a label; what is there is not written over.
#[test]
fn what_cannot_be_begun_is_refused_and_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let new =
        |name: &str, rest: &[&str]| said(folder.path(), &[&["plugin", "new", name, "--lang", "rhai"], rest].concat());
    let long = "x".repeat(65);
    for name in ["", "X", "1x", "x-", "x/y", "..", "x y", "x\n", "é", &long] {
        let (code, text) = new(name, &[]);
        assert!(code == 2 && text.contains("is no name: 1 to 64 of a-z, 0-9 and -"), "{name:?}: {text}");
    }
    let (code, text) = new("kairos-plugin", &[]);
    assert!(code == 2 && text.contains("is the name of the SDK"), "{text}");
    for (option, value) in [("--lang", "go"), ("--world", "oracle")] {
        let (code, text) = said(folder.path(), &["plugin", "new", "x", option, value]);
        assert!(code == 2 && text.contains("possible values: "), "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // One file that is there, if only as a link to nowhere, keeps all others from being written.
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    symlink("/nowhere", folder.path().join("mine/x.test.toml")).unwrap();
    let (code, text) = new("x", &["--dir", "mine"]);
    assert_eq!(
        (code, text.as_str()),
        (2, "kairos: mine/x.test.toml is there already; nothing was written\n  hint: --dir names another folder\n")
    );
    assert_eq!(std::fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);
    assert_eq!(new("y", &["--dir", "mine"]).0, 0);
}

/// A tool that is missing is told with the command that installs it: the one in the README.
#[test]
fn what_is_missing_is_told_with_what_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let tool = |name: &str, does: &str| {
        let path = tools.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let build = |lang: &str| {
        let mut command = kairos();
        command.args(["plugin", "build", "--dir", lang]).current_dir(folder.path()).env("PATH", &tools);
        ended(&command.output().unwrap())
    };
    for lang in ["rust", "python", "js"] {
        assert_eq!(said(folder.path(), &["plugin", "new", "x", "--lang", lang, "--dir", lang]).0, 0);
    }
    let (code, text) = build("rust");
    assert!(
        code == 2 && text.contains("rustc could not be started") && text.contains("hint: Rust comes by rustup"),
        "{text}"
    );
    let (code, text) = build("js");
    assert!(code == 2 && text.contains("Node.js could not be started") && text.contains("nodejs npm"), "{text}");
    tool("rustc", "echo /nowhere");
    tool("node", "exit 0");
    for lang in ["rust", "python", "js"] {
        let readme = std::fs::read_to_string(folder.path().join(lang).join("README.md")).unwrap();
        let (once, _) = commands(&readme);
        let ((code, text), hint) = (build(lang), once.join(" && "));
        assert!(code == 2 && text.contains(" hint: ") && text.ends_with(&format!("{hint}\n")), "{hint}: {text}");
    }
    // What a tool says is passed on, and its failure told.
    tool("componentize-py", "echo no such module >&2; exit 3");
    let (code, text) = build("python");
    assert!(code == 1 && text.contains("no such module\nkairos: componentize-py failed (exit status: 3)"), "{text}");
}

/// What a policy imports is what its manifest asks for, and that is what the operator grants; each
/// denial names the key that would help.
#[test]
fn a_denied_capability_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let new = ["plugin", "new", "x", "--lang", "rhai", "--dir", "."];
    assert_eq!(said(folder.path(), &new).0, 0);
    edit(&folder.path().join("x.rhai"), "features.max_latency_ms == ()", "ctx.prompt.len() > 9_999");
    let check = || said(folder.path(), &["plugin", "check"]);
    let (code, text) = said(folder.path(), &["plugin", "test"]);
    let ask = "`content`, which is not asked for in plugin.toml; to ask for it, set `capabilities = [\"content\"]` in plugin.toml";
    assert!(code == 1 && text.contains(ask), "{text}");
    edit(&folder.path().join("plugin.toml"), "[]", "[\"content\"]");
    let (code, text) = check();
    let grant = "plugin.toml asks for `content`, which is not granted\n  hint: to grant it, set `grants = [\"log\", \"metrics\", \"kv\", \"kv-write\", \"content\"]` under [policies] in kairos.toml";
    assert!(code == 1 && text.contains(grant), "{text}");
    std::fs::write(folder.path().join("kairos.toml"), "[policies]\ngrants = [\"content\"]\n").unwrap();
    let (_, text) = check();
    // Now it is asked, and its tests are no longer about what it does.
    assert!(text.contains("of its 2 tests fail"), "{text}");
}

/// What a component carries holds wherever it is loaded.
#[test]
fn a_packed_component_is_held_to_what_it_carries() {
    let folder = tempfile::tempdir().unwrap();
    let component = std::fs::read(guest("score-router")).unwrap();
    let tests = std::fs::read_to_string(policy("score.test.toml")).unwrap();
    let manifest = |name: &str, asks: &str| {
        format!("name = \"{name}\"\nlang = \"rust\"\nworld = \"router\"\ncapabilities = [{asks}]\n")
    };
    let check = |manifest: &str, tests: &str| {
        let packed = packed::pack(&component, manifest, Some(tests.as_bytes()));
        std::fs::write(folder.path().join("x.wasm"), packed).unwrap();
        said(folder.path(), &["policy", "check", "x.wasm"])
    };
    let asks = manifest("score", "\"log\"");
    let (code, text) = check(&asks, &tests);
    assert!(code == 0 && text.contains("would serve as score@") && text.ends_with("10 tests passed\n"), "{text}");
    assert_eq!(said(folder.path(), &["policy", "test", "x.wasm"]), (0, "x.wasm: 10 tests passed\n".to_owned()));
    let (code, text) =
        check(&asks, &tests.replacen("expect = { first = \"nova-micro\"", "expect = { first = \"nova-pro\"", 1));
    assert!(
        code == 1 && text.contains("1 of its 10 tests fails: ") && text.contains("x.wasm (the tests in it):"),
        "{text}"
    );
    let (code, text) = check(&manifest("score", ""), &tests);
    assert!(code == 1 && text.contains("imports `log`, which is not asked for in plugin.toml"), "{text}");
    let (code, text) = check(&manifest("other", "\"log\""), &tests);
    assert!(code == 1 && text.contains("plugin.toml calls it \"other\", its `describe` \"score\""), "{text}");
    let (code, text) = check(&asks.replace("rust", "basic"), &tests);
    assert!(code == 1 && text.contains("the plugin.toml in it: 2:8: lang: there is no \"basic\""), "{text}");
    // Tests beside it run, too.
    std::fs::write(folder.path().join("x.test.toml"), &tests).unwrap();
    let (code, text) = check(&asks, &tests);
    assert!(code == 0 && text.ends_with("20 tests passed\n"), "{text}");
}

#[test]
fn a_folder_without_a_manifest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for act in ["build", "check", "test", "bench", "pack"] {
        let (code, text) = said(folder.path(), &["plugin", act]);
        assert!(code == 2 && text.starts_with("kairos: there is no ./plugin.toml\n  hint: "), "{act}: {text}");
    }
    std::fs::write(folder.path().join("plugin.toml"), "name = \"x\"\nlang = \"rusty\"\n").unwrap();
    let (code, text) = said(folder.path(), &["plugin", "build"]);
    assert!(
        code == 2 && text.contains("./plugin.toml:2:8: lang: there is no \"rusty\"; did you mean \"rust\"?"),
        "{text}"
    );
}
