//! The command line: what it says, its exit codes, and that every line the demo prints works.

use std::path::Path;
use std::process::Command;

use kairos_tests::http::{Client, requests};
use kairos_tests::process::{DAY, Pair, Server, kairos, on_data, run};
use kairos_tests::{guest, policy, python};

/// Standard output, with what differs between machines replaced.
fn said(output: &std::process::Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn check(name: &str, text: &[u8]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let output = kairos().args(["policy", "check", name]).current_dir(folder.path()).output().unwrap();
    (output.status.code().unwrap(), said(&output))
}

#[test]
fn policy_check_says_what_loading_would_say() {
    for name in ["task", "score"] {
        let script = run(&["policy", "check", policy(&format!("{name}.rhai")).to_str().unwrap()]);
        assert!(
            script.status.success() && said(&script).contains(&format!("would serve as {name}@")),
            "{}",
            said(&script)
        );
        let component = run(&["policy", "check", guest(&format!("{name}-router")).to_str().unwrap(), "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&component.stdout).unwrap();
        assert_eq!((&report["accepted"], &report["engine"]), (&true.into(), &"wasm".into()));
    }
    let component = std::fs::read(guest("task-router")).unwrap();
    let mut damaged = component.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    for broken in [&component[..component.len() / 2], &damaged] {
        let (code, said) = check("router.wasm", broken);
        assert_eq!(code, 1);
        assert!(said.starts_with("router.wasm: the component is damaged at byte "), "{said}");
    }
    let mut report = String::new();
    let cases: &[(&str, &[u8])] = &[
        ("router.rhai", b"fn route(ctx, features, models) {\n    let x = ;\n    plan([0], 1)\n}\n"),
        ("router.rhai", b"fn rout(ctx, features, models) { plan([0], 1) }"),
        ("router.rhai", b"fn route(ctx) { plan([0], 1) }"),
        ("router.rhai", b"fn route(ctx, features, models) { plan([99], 1) }"),
        ("router.rhai", b"fn route(ctx, features, models) {\n    plan([features.tsak], 1)\n}"),
        (
            "router.rhai",
            b"fn route(ctx, features, models) {\n    if ctx.prompt.len() > 3 { plan([0], 1) } else { plan([0], 2) }\n}",
        ),
        ("router.rhai", b"fn route(ctx, features, models) { eval(\"1\") }"),
        ("router.rhai", b"fn route(ctx, features, models) { loop { } }"),
        ("router.rhai", b"\xff\xfe"),
        ("router.wasm", b""),
        ("router.wasm", b"not wasm at all"),
        ("router.wasm", b"\0asm\x01\0\0\0"),
        ("router.wasm", b"\0asm\x0d\0\x01\0"),
        ("router.cwasm", b"x"),
        ("router.txt", b"x"),
    ];
    for (name, text) in cases {
        let (code, said) = check(name, text);
        assert_eq!(code, 1, "{said}");
        report.push_str(&said);
        report.push('\n');
    }
    insta::assert_snapshot!(report, @r#"
    router.rhai:2:13: Unexpected ';'
      hint: look at this place and just before it: something is missing, or too much

    router.rhai: there is no function `route`; there is `rout`
      hint: a router has `fn route(ctx, features, models) { … }`, which gives plan([index, …], reason)

    router.rhai: `route` takes 1 parameters, not 3
      hint: a router has `fn route(ctx, features, models) { … }`, which gives plan([index, …], reason)

    router.rhai: asked on trial with one model, the policy gives a plan that is not valid: candidate 0 names model 99 of 1

    router.rhai:2:20: asked on trial with one model, the policy fails: error: Unknown property 'tsak' - a getter is not registered for type 'Features'

    router.rhai:2:12: asked on trial with one model, the policy fails: error: Runtime error: ctx.prompt needs the capability `content`, which is not granted; to grant it, set `grants = ["log", "metrics", "kv", "kv-write", "content"]` under [policies] in kairos.toml

    router.rhai:1:35: reserved keyword 'eval' is disabled
      hint: look at this place and just before it: something is missing, or too much

    router.rhai: asked on trial with one model, the policy fails: deadline: over its deadline of 10ms or its 1000000 operations

    router.rhai: the script is not UTF-8: the byte at offset 0 starts no character

    router.wasm: the file ends after 0 bytes, within the header of a component
      hint: build it again, and copy it whole

    router.wasm: this is not WebAssembly: it does not begin with \0asm
      hint: a file that ends in .wasm is a WebAssembly component; a script ends in .rhai

    router.wasm: this is a core WebAssembly module, not a component
      hint: make a component of it with `wasm-tools component new`, or build with the `plugins/` workspace

    router.wasm: the component does not export kairos:plugin/routing@0.1.0
      hint: the slot `router` takes components of the world `kairos:plugin/router@0.1.0`; this one exports: nothing

    router.cwasm: compiled code is not accepted: it would run outside of the sandbox
      hint: supply the component itself; Kairos keeps its own compiled copy

    router.txt: the ending "txt" is not that of a policy
      hint: a policy is a script (.rhai) or a component (.wasm)
    "#);
}

#[test]
fn models_tell_what_answers_for_the_seeds() {
    let text = said(&run(&["models", "--as-of", DAY]));
    for line in [
        "amazon.titan-text-express-v1                   ended 2025-08-31  amazon.nova-lite-v1:0 ",
        "ai21.j2-ultra-v1                               ended 2025-03-13  ai21.jamba-1-5-large-v1:0 ",
        "ai21.jamba-1-5-large-v1:0                      ends 2026-11-26   ai21.jamba-1-5-large-v1:0 ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let later = said(&run(&["models", "--as-of", "2026-11-26"]));
    assert!(
        later.contains("ai21.j2-ultra-v1                               ended 2025-03-13  amazon.nova-pro-v1:0"),
        "{later}"
    );
}

#[test]
fn usage_and_configuration_errors_have_their_exit_code() {
    for (arguments, code, says) in [
        (&["nothing"][..], 2, "unrecognized subcommand"),
        (&["serve", "--listen", "nowhere"], 2, "invalid value"),
        (&["serve", "--config", "/nonexistent/kairos.toml"], 2, "cannot be read"),
        (&["serve", "--policies", "/nonexistent"], 2, "no such folder"),
        (&["serve"], 1, "no AWS region"),
        (&["models", "--check-access", "--region", "us-east-1"], 1, "no AWS credentials"),
        (&["policy", "check", "/nonexistent/router.rhai"], 1, "cannot be read"),
    ] {
        let mut command = kairos();
        if arguments.contains(&"--policies") {
            command.env("AWS_REGION", "us-east-1");
        }
        let data = tempfile::tempdir().unwrap();
        let output = command.args(arguments).current_dir(data.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn access_is_checked_without_paying() {
    let simulator = Server::start(kairos().args(["simulate", "--listen", "127.0.0.1:0", "--as-of", DAY]));
    let output = kairos()
        .args(["models", "--check-access", "--as-of", DAY, "--json"])
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &simulator.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let models: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    // What is no chat cannot be asked for nothing: nobody asks.
    let active: Vec<_> = models.iter().filter(|model| model["status"] != "ended" && model["kind"] == "chat").collect();
    assert!(!active.is_empty() && active.iter().all(|model| model["access"] == "yes"), "{active:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bill = runtime.block_on(Client::default().get(&format!("{}/sim/v1/bill", simulator.url))).json();
    assert_eq!(bill["totals"]["rows"], 0);
}

/// Starts a demo; gives it with the lines it says to try.
fn demo() -> (Server, Vec<String>) {
    let server = Server::start(kairos().args(["demo", "--listen", "127.0.0.1:0"]));
    let mut lines = Vec::new();
    while let Some(line) = server.next_line() {
        if line.starts_with("Ctrl-C") {
            break;
        }
        if let Some(line) = line.strip_prefix("    ") {
            lines.push(line.to_owned());
        }
    }
    // What was said of the first policy is behind us.
    server.wait_for_log("the gateway starts");
    (server, lines)
}

#[test]
fn every_line_that_the_demo_prints_works() {
    let (server, lines) = demo();
    assert_eq!(lines.len(), 21, "{lines:#?}");
    let path = format!("{}:{}", python().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let shell = |line: &str| {
        let mut command = kairos();
        let mut bash = Command::new("bash");
        bash.args(["-c", line]).env("PATH", &path).current_dir(std::env::temp_dir());
        for (name, value) in command.arg("x").get_envs() {
            match value {
                Some(value) => bash.env(name, value),
                None => bash.env_remove(name),
            };
        }
        bash.output().unwrap()
    };
    let policy_of =
        |text: &str| text.lines().find(|line| line.starts_with("x-kairos-model")).unwrap_or_default().trim().to_owned();
    let first = said(&shell(&lines[0]));
    assert_eq!(policy_of(&first), "x-kairos-model: us.anthropic.claude-sonnet-4-6", "{first}");
    for line in &lines[1..] {
        if line.starts_with("AWS_REGION") {
            // Meant for a real account: here it says what is missing, and what to do.
            if line.contains("--check-access") {
                let output = shell(line);
                assert!(
                    said(&output).contains("no AWS credentials") && said(&output).contains("AWS_PROFILE"),
                    "{}",
                    said(&output)
                );
            }
            continue;
        }
        let output = shell(line);
        assert!(output.status.success(), "{line}: {}", said(&output));
        assert!(!line.contains(" rollback ") || said(&output).starts_with("task@"), "{line}: {}", said(&output));
        if line.starts_with("sed") || line.starts_with("cp") {
            server.wait_for_log("a policy serves");
        } else {
            assert!(!output.stdout.is_empty(), "{line}");
        }
        if line.starts_with("sed") {
            let again = said(&shell(&lines[0]));
            assert_eq!(policy_of(&again), "x-kairos-model: amazon.nova-lite-v1:0", "{again}");
        }
    }
    let folder =
        lines.iter().find(|line| line.starts_with("sed")).and_then(|line| line.rsplit(' ').next()).unwrap().to_owned();
    server.terminate();
    let (status, log) = server.wait();
    assert!(status.success(), "{log:?}");
    assert!(!Path::new(&folder).exists(), "the demo left {folder} behind");
}

/// The line for a real account serves, in front of anything that speaks Bedrock.
#[test]
fn the_demos_line_for_a_real_account_serves() {
    let (server, lines) = demo();
    let line = lines.iter().find(|line| line.contains(" serve ")).unwrap();
    let mut parts = line.split(' ');
    assert_eq!(parts.next(), Some("AWS_REGION=us-east-1"));
    assert!(parts.next().unwrap().ends_with("kairos"));
    let data = tempfile::tempdir().unwrap();
    let gateway = Server::start(
        kairos()
            .args(parts)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
            .current_dir(data.path()),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ready = runtime.block_on(Client::default().get(&format!("{}/readyz", gateway.url)));
    assert!(ready.json()["policy"].as_str().unwrap().starts_with("task@"), "{}", ready.text());
    drop(server);
}

/// Who reads what a command prints may be gone, as `| head -1` is: it ends quietly, as other tools do.
#[tokio::test]
async fn a_closed_pipe_ends_a_command_quietly() {
    let mut pair = Pair::start();
    let (url, body) = requests(&pair.gateway.url).swap_remove(0);
    assert_eq!(Client::default().post(&url, &[], &body).await.status, 200);
    assert_eq!(on_data(&pair, &["key", "create", "pipes"]).status.code(), Some(0));
    let ends = |arguments: &[&str], to: std::process::Stdio| {
        let mut command = kairos();
        // The log is no matter of these.
        command.args(arguments).env("KAIROS_LOG", "off").stdout(to).stderr(std::process::Stdio::piped());
        let output = command.current_dir(pair.folder()).spawn().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let closed = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(ends(arguments, writer.into()), (Some(141), String::new()), "{arguments:?}");
    };
    let data = pair.folder().join("data");
    let data = ["--data", data.to_str().unwrap()];
    let script = policy("task.rhai");
    for arguments in
        [&["models"][..], &["doctor", "--example"], &["ledger", "export", "--columns"], &["policy", "reference"]]
    {
        closed(arguments);
    }
    closed(&["policy", "test", script.to_str().unwrap()]);
    for arguments in [
        &["policy", "list"][..],
        &["policy", "show", "router"],
        &["key", "list"],
        &["key", "create", "another"],
        &["audit"],
        &["audit", "--json"],
        &["explain", "--all"],
        &["kv", "list"],
        &["budget", "list"],
        &["ledger", "show"],
        &["ledger", "show", "--by", "day"],
        &["ledger", "verify", "--json"],
        &["ledger", "export", "--out", "-"],
        &["ledger", "export", "--format", "json", "--out", "-"],
        &["ledger", "export", "--format", "parquet", "--out", "-"],
    ] {
        closed(&[arguments, &data].concat());
    }
    // What cannot be written for another reason is a failure, with its reason.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, said) = ends(&["models"], full.into());
    assert!(code == Some(1) && said.starts_with("kairos: standard output: No space left on device"), "{said}");
    pair.gateway.stop();
}
