//! `kairos plugin build`: has a component made by the tools of its language, or says which is missing
//! and what installs it.

mod rust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kairos_sandbox::manifest::Lang;

use super::super::Failed;
use super::project::Project;

#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// The project's folder: where plugin.toml is
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failed> {
        let project = Project::open(&self.dir)?;
        let policy = project.policy();
        let what = match project.manifest.lang {
            Lang::Rhai => "a script: nothing to build".to_owned(),
            _ => format!("{} bytes", build(&project)?),
        };
        let (shown, tests) = (policy.display(), project.tests());
        println!("{shown}: {what}");
        println!("  next: kairos policy stage {shown} --tests {}", tests.display());
        Ok(())
    }
}

/// Builds, where what it is built of has changed since.
pub(super) fn where_changed(project: &Project) -> Result<(), Failed> {
    if project.manifest.lang == Lang::Rhai {
        return Ok(());
    }
    let built = fs::metadata(project.policy()).and_then(|built| built.modified()).ok();
    if built.zip(project.changed()).is_some_and(|(built, changed)| changed < built) {
        return Ok(());
    }
    eprintln!("building {} …", project.policy().display());
    build(project).map(|_| ())
}

/// Builds a component; gives its size in bytes.
fn build(project: &Project) -> Result<usize, Failed> {
    let target = project.policy();
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    }
    match project.manifest.lang {
        Lang::Rhai => {}
        Lang::Rust => {
            let component = rust::component(project)?;
            fs::write(&target, component).map_err(|error| cannot(&target, &error))?;
        }
        Lang::Python => python(project)?,
        Lang::Js => js(project)?,
    }
    let built = fs::metadata(&target).map_err(|error| cannot(&target, &error))?;
    Ok(usize::try_from(built.len()).unwrap_or(usize::MAX))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failed {
    Failed::new(format!("{}: {error}", path.display()))
}

/// The world that the manifest asks for, beside the contract: the folder that tools are given.
fn world(project: &Project) -> Result<(), Failed> {
    let (from, folder) = (project.file("wit/v0.1"), project.file("target/wit"));
    let contract = folder.join("deps/kairos-plugin");
    fs::create_dir_all(&contract).map_err(|error| cannot(&contract, &error))?;
    let entries = fs::read_dir(&from).map_err(|error| cannot(&from, &error))?;
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "wit"))
    {
        let into = contract.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &into).map_err(|error| cannot(&path, &error))?;
    }
    let manifest = &project.manifest;
    let mut lines = vec![format!("include kairos:plugin/{}@0.1.0;", manifest.world.name())];
    lines.extend(manifest.capabilities.iter().map(|asked| format!("import kairos:plugin/{asked}@0.1.0;")));
    let text = format!("package local:plugin;\n\nworld plugin {{\n    {}\n}}\n", lines.join("\n    "));
    let file = folder.join("world.wit");
    fs::write(&file, text).map_err(|error| cannot(&file, &error))
}

fn python(project: &Project) -> Result<(), Failed> {
    world(project)?;
    let tool = tool(project, ".venv/bin/componentize-py");
    let mut command = Command::new(tool);
    command.args(["-q", "-d", "target/wit", "-w", "plugin", "componentize", "--stub-wasi", "-p", ".", "-o"]);
    let hint = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
    run(project, command.arg(output(project)).arg("plugin"), hint)
}

fn js(project: &Project) -> Result<(), Failed> {
    world(project)?;
    let mut command = Command::new(tool(project, "node_modules/.bin/componentize-js"));
    command.args(["plugin.js", "--wit", "target/wit", "--world-name", "plugin", "--out"]).arg(output(project));
    // All of what would need WASI.
    command.args(["stdio", "random", "clocks", "http", "fetch-event"].iter().flat_map(|name| ["--disable", name]));
    if Command::new("node").arg("--version").output().is_err() {
        let message =
            "Node.js could not be started\n  hint: it needs version 18 or newer. On Debian: apt-get install nodejs npm";
        return Err(Failed::usage(message));
    }
    run(project, &mut command, "npm ci")
}

/// Where a component is written, seen from the project's folder.
fn output(project: &Project) -> String {
    format!("target/{}.wasm", project.manifest.name)
}

/// A tool of the project's own, else the one that is installed.
fn tool(project: &Project, own: &str) -> PathBuf {
    let path = project.folder().join(own);
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    // The command runs in the project's folder: a relative name would be looked up from there.
    if path.exists() { PathBuf::from(own) } else { name }
}

/// Runs a tool in the project's folder. `install` is the command that installs it.
fn run(project: &Project, command: &mut Command, install: &str) -> Result<(), Failed> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Standard output is what this command says itself.
    let ran = command.current_dir(project.folder()).stdout(std::io::stderr()).status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::new(format!("{name} failed ({status})"))),
        Err(error) => {
            let shown = project.folder().display();
            Err(Failed::usage(format!("{name} could not be started: {error}\n  hint: in {shown}: {install}")))
        }
    }
}
