//! The `kairos` binary as a child process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use crate::http::Client;

/// The binary that is tested: beside the tests.
pub fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.ancestors().nth(2).unwrap().join("kairos");
    assert!(path.exists(), "{} is missing: run `cargo build --package kairos-server`", path.display());
    path
}

/// A command of the binary, with none of this machine's AWS set-up.
pub fn kairos() -> Command {
    clean(&binary())
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") || name.starts_with("BEDROCK_") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    command.current_dir(std::env::temp_dir());
    command
}

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    kairos().args(arguments).output().unwrap()
}

/// A server that runs as a child.
pub struct Server {
    child: Child,
    /// `http://ADDR`.
    pub url: String,
    /// Lines that it has written to its log.
    log: Receiver<String>,
    /// What it wrote to standard output, up to when it was ready.
    pub printed: Vec<String>,
    output: Receiver<String>,
}

impl Server {
    /// Starts a server, and waits until it says that it listens.
    pub fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, where it may end before: why, then.
    pub fn try_start(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = lines(child.stderr.take().unwrap());
        let output = lines(child.stdout.take().unwrap());
        let mut printed = Vec::new();
        let url = loop {
            match output.recv() {
                Ok(line) => {
                    printed.push(line.clone());
                    if let Some(url) = line.strip_prefix("listening on ") {
                        break url.to_owned();
                    }
                }
                Err(_) => {
                    let status = child.wait().unwrap();
                    let log: Vec<_> = log.iter().collect();
                    return Err(format!("the server ended before it listened ({status}): {printed:?} {log:?}"));
                }
            }
        };
        Ok(Self { child, url, log, printed, output })
    }

    /// The address without the scheme.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// The next line of standard output.
    pub fn next_line(&self) -> Option<String> {
        self.output.recv().ok()
    }

    /// Waits for a log line that holds `text`, and gives it.
    pub fn wait_for_log(&self, text: &str) -> String {
        let mut seen = Vec::new();
        for line in &self.log {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("the server ended without a log line with {text:?}: {seen:?}");
    }

    /// The log lines that were not looked at yet.
    pub fn log_so_far(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// Tells it to stop, as an operator would.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it at once, as nothing it could prepare for.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.terminate();
        assert!(self.child.wait().unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        self.ended()
    }

    /// The same; what it wrote to its log is given once.
    pub fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        let log = self.log.iter().collect();
        (status, log)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A simulator and a gateway in front of it, each a process of its own.
pub struct Pair {
    pub simulator: Server,
    pub gateway: Server,
    /// The watched folder.
    pub policies: PathBuf,
    folder: TempDir,
}

/// How a pair is set up.
#[derive(Default)]
pub struct Setup<'a> {
    /// `kairos.toml` of the gateway.
    pub config: &'a str,
    /// The policy that serves from the beginning.
    pub policy: Option<PathBuf>,
    /// The day that both live on, where it is not [`DAY`].
    pub day: Option<&'a str>,
    /// Further arguments of the simulator.
    pub simulate: &'a [&'a str],
    /// Further variables of the gateway.
    pub environment: &'a [(&'a str, &'a str)],
}

/// The day that tests live on.
pub const DAY: &str = "2026-11-23";

impl Setup<'_> {
    /// Starts both.
    pub fn start(&self) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        if let Some(policy) = &self.policy {
            let ending = policy.extension().unwrap().to_str().unwrap();
            std::fs::copy(policy, policies.join(format!("router.{ending}"))).unwrap();
        }
        let simulator = Server::start(
            kairos()
                .args(["simulate", "--listen", "127.0.0.1:0", "--as-of", self.day.unwrap_or(DAY)])
                .args(self.simulate),
        );
        let gateway = self.gateway(&simulator.url, folder.path());
        Pair { simulator, gateway, policies, folder }
    }

    /// Starts a gateway in a folder that [`Setup::start`] has laid out.
    pub fn gateway(&self, simulator: &str, folder: &Path) -> Server {
        let gateway = Server::start(&mut self.command(&binary(), simulator, folder));
        // The policy that serves from the beginning is loaded by then.
        gateway.wait_for_log("the gateway starts");
        gateway
    }

    /// The command that starts a gateway in such a folder, by a program that takes the arguments of
    /// `kairos`.
    pub fn command(&self, program: &Path, simulator: &str, folder: &Path) -> Command {
        let config = folder.join("kairos.toml");
        let with_day = if self.config.contains("as_of") {
            String::new()
        } else {
            format!("\n[models]\nas_of = \"{}\"\n", self.day.unwrap_or(DAY))
        };
        std::fs::write(&config, format!("{}{with_day}", self.config)).unwrap();
        let mut command = clean(program);
        command
            .args(["serve", "--log-format", "json", "--listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(folder.join("data"))
            // A relative name, as people type it.
            .args(["--policies", "policies"])
            .current_dir(folder)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
            .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", simulator)
            .env("AWS_ENDPOINT_URL_BEDROCK", simulator);
        for (name, value) in self.environment {
            command.env(name, value);
        }
        command
    }
}

impl Pair {
    /// A pair with the defaults, and the router that ships.
    pub fn start() -> Self {
        Setup { policy: Some(crate::policy("task.rhai")), ..Setup::default() }.start()
    }

    /// A folder for the test's own use.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a router in place, as an operator would: written beside, then renamed.
    pub fn put_policy(&self, ending: &str, bytes: &[u8]) {
        self.put(&format!("router.{ending}"), bytes);
    }

    /// The same with any file of the folder.
    pub fn put(&self, file: &str, bytes: &[u8]) {
        let beside = self.folder.path().join(format!("next.{file}"));
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, self.policies.join(file)).unwrap();
    }
}

/// A command on the data folder of a pair, and so against its gateway.
pub fn on_data(pair: &Pair, arguments: &[&str]) -> Output {
    let data = pair.folder().join("data");
    kairos().args(arguments).arg("--data").arg(data).current_dir(pair.folder()).output().unwrap()
}

/// Its exit code, and what it says.
pub fn said(pair: &Pair, arguments: &[&str]) -> (i32, String) {
    ended(&on_data(pair, arguments))
}

/// The exit code of a command, and what it said.
pub fn ended(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code().unwrap(), said)
}

/// What the gateway's `/metrics` says.
pub async fn metrics(pair: &Pair) -> String {
    Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text()
}

/// Reads a stream to its end as text.
pub fn text(mut stream: impl std::io::Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
