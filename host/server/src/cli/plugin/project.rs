//! A plugin's folder: its manifest, and what lies where.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kairos_sandbox::manifest::{BYTES, FILE, Lang, Manifest};

use super::super::Failed;

/// Files that are looked at, to see whether one has changed.
const MOST_FILES: usize = 10_000;

/// Folders that hold nothing an author writes.
const MADE: [&str; 4] = ["target", "dist", "node_modules", "__pycache__"];

/// A project that was opened.
#[derive(Debug)]
pub(super) struct Project {
    dir: PathBuf,
    pub(super) manifest: Manifest,
    /// The manifest as it stands.
    pub(super) text: String,
}

impl Project {
    /// Reads the manifest of a folder.
    pub(super) fn open(dir: &Path) -> Result<Self, Failed> {
        let path = dir.join(FILE);
        let shown = path.display();
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let hint = "`kairos plugin new NAME --lang rust` begins a project, --dir names its folder";
                return Err(Failed::usage(format!("there is no {shown}\n  hint: {hint}")));
            }
            Err(error) => return Err(Failed::usage(format!("{shown}: {error}"))),
        };
        let manifest = Manifest::parse(&text).map_err(|refusal| Failed::usage(refusal.explain(&shown.to_string())))?;
        let dir = if dir == Path::new(".") { PathBuf::new() } else { dir.to_owned() };
        Ok(Self { dir, manifest, text })
    }

    /// A file of the project, as it is named where the command runs.
    pub(super) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Where tools run.
    pub(super) fn folder(&self) -> &Path {
        if self.dir.as_os_str().is_empty() { Path::new(".") } else { &self.dir }
    }

    /// The policy itself: the script, or the component that is built.
    pub(super) fn policy(&self) -> PathBuf {
        let name = &self.manifest.name;
        match self.manifest.lang {
            Lang::Rhai => self.file(format!("{name}.rhai")),
            Lang::Rust | Lang::Python | Lang::Js => self.file(format!("target/{name}.wasm")),
        }
    }

    /// Its tests.
    pub(super) fn tests(&self) -> PathBuf {
        self.file(format!("{}.test.toml", self.manifest.name))
    }

    /// When what it is built of was last written. None: it cannot be told, or there is too much of it.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        let (mut newest, mut seen) = (SystemTime::UNIX_EPOCH, 0);
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).ok()? {
                let entry = entry.ok()?;
                seen += 1;
                if seen > MOST_FILES {
                    return None;
                }
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let kind = entry.file_type().ok()?;
                let is_made = name.starts_with('.') || MADE.contains(&&*name);
                if kind.is_dir() && !is_made {
                    folders.push(entry.path());
                } else if kind.is_file() && !is_made && !name.ends_with(".test.toml") && !name.ends_with(".md") {
                    newest = newest.max(entry.metadata().ok()?.modified().ok()?);
                }
            }
        }
        Some(newest)
    }
}

/// A manifest's text; one that is larger than it may be is cut, and refused for its size.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
