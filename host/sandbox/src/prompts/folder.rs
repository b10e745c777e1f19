//! All templates of a folder.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_pipeline::prompts::{Library, Prompt, is_name, version_of};
use sha2::{Digest as _, Sha256};

use super::read::{self, NotRead};
use super::{DEFAULT_FILE, Found, Limits, Refused};

/// Reads what a folder of templates holds. One that is not there holds nothing.
pub fn read(folder: &Path, limits: &Limits) -> Found {
    let mut reading = Reading { limits, refused: Vec::new(), digest: Sha256::new() };
    let mut prompts = BTreeMap::new();
    for (path, name) in reading.entries(folder) {
        if !path.is_dir() {
            if path.extension().is_some_and(|ending| ending == "toml") {
                reading.refuse(
                    &path,
                    None,
                    "a template is a folder of its name, with a file for each version: NAME/1.toml",
                );
            }
            continue;
        }
        if !is_name(&name) {
            reading.refuse(&path, None, "its name is none of a template: 1 to 64 of a-z, 0-9 and - are needed");
        } else if prompts.len() == limits.templates {
            let message = format!("there are more than [prompts] templates, {}", limits.templates);
            reading.refuse(&path, None, message);
            break;
        } else if let Some(prompt) = reading.prompt(&path, &name) {
            prompts.insert(name, prompt);
        }
    }
    let Reading { refused, digest, .. } = reading;
    Found { library: Library::new(prompts), refused, digest: hex::encode(digest.finalize()) }
}

/// What was read so far.
struct Reading<'a> {
    limits: &'a Limits,
    refused: Vec<Refused>,
    digest: Sha256,
}

impl Reading<'_> {
    fn refuse(&mut self, file: &Path, at: Option<(usize, usize)>, message: impl Into<String>) {
        let refused = Refused { file: file.to_owned(), at, message: message.into() };
        self.digest.update(refused.to_string());
        self.refused.push(refused);
    }

    fn refuse_read(&mut self, file: &Path, NotRead { at, message }: NotRead) {
        self.refuse(file, Some(at), message);
    }

    /// What a folder holds, by name; what begins with a point is none of it.
    fn entries(&mut self, folder: &Path) -> Vec<(PathBuf, String)> {
        let read = match folder.read_dir() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.refuse(folder, None, format!("the folder cannot be read: {error}"));
                return Vec::new();
            }
        };
        let named = |entry: std::fs::DirEntry| (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let mut entries: Vec<_> = read.flatten().map(named).filter(|(_, name)| !name.starts_with('.')).collect();
        entries.sort();
        entries
    }

    /// The versions of a template; none: there are none that are right.
    fn prompt(&mut self, folder: &Path, name: &str) -> Option<Prompt> {
        let mut versions = BTreeMap::new();
        let mut default = None;
        for (path, file) in self.entries(folder) {
            let Some(stem) = file.strip_suffix(".toml") else { continue };
            let Some(bytes) = self.bytes(&path) else { continue };
            if file == DEFAULT_FILE {
                default = self.default(&path, &bytes).map(|version| (version, path));
                continue;
            }
            let Some(version) = version_of(stem) else {
                self.refuse(
                    &path,
                    None,
                    format!("a version is a whole number from 1, as in 2.toml; or it is {DEFAULT_FILE}"),
                );
                continue;
            };
            if versions.len() == self.limits.versions {
                self.refuse(&path, None, format!("there are more than [prompts] versions, {}", self.limits.versions));
                break;
            }
            let Some(text) = self.text(&path, &bytes) else { continue };
            let digest = hex::encode(Sha256::digest(&bytes));
            match read::template(text, (name, version, digest), self.limits.bounds) {
                Ok(template) => drop(versions.insert(version, Arc::new(template))),
                Err(wrong) => self.refuse_read(&path, wrong),
            }
        }
        let highest = *versions.last_key_value()?.0;
        let default = match default {
            Some((version, path)) if !versions.contains_key(&version) => {
                self.refuse(
                    &path,
                    None,
                    format!("it names version {version}, and there is no {version}.toml that is right"),
                );
                highest
            }
            Some((version, _)) => version,
            None => highest,
        };
        Some(Prompt { versions, default })
    }

    fn default(&mut self, path: &Path, bytes: &[u8]) -> Option<u32> {
        let text = self.text(path, bytes)?;
        match read::default(text) {
            Ok(default) => default,
            Err(wrong) => {
                self.refuse_read(path, wrong);
                None
            }
        }
    }

    fn bytes(&mut self, path: &Path) -> Option<Vec<u8>> {
        let most = self.limits.file_bytes;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > most => {
                self.refuse(path, None, format!("it has more than [prompts] file_bytes, {most}"));
                None
            }
            Ok(_) => {
                self.digest.update(path.display().to_string());
                self.digest.update(Sha256::digest(&bytes));
                Some(bytes)
            }
            Err(error) => {
                self.refuse(path, None, format!("it cannot be read: {error}"));
                None
            }
        }
    }

    fn text<'b>(&mut self, path: &Path, bytes: &'b [u8]) -> Option<&'b str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                self.refuse(
                    path,
                    None,
                    format!("it is not UTF-8: the byte at offset {} starts no character", error.valid_up_to()),
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn versions_and_defaults() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("none"), &Limits::default()).library.versions(), 0);
        for (file, text) in [
            ("a/1.toml", "user = \"one\""),
            ("a/2.toml", "user = \"two\""),
            ("a/10.toml", "user = \"ten\""),
            ("b/1.toml", "user = \"one\""),
            ("b/3.toml", "user = \"three\""),
            ("b/prompt.toml", "default = 1"),
            ("b/.3.toml.swp", "x"),
            ("README.md", "x"),
        ] {
            put(folder.path(), file, text);
        }
        let Found { library, refused, .. } = read(folder.path(), &Limits::default());
        assert_eq!(refused, []);
        let version = |name, version| library.find(name, version).map(|found| found.source().version);
        assert_eq!((version("a", None), version("a", Some(2)), version("b", None)), (Ok(10), Ok(2), Ok(1)));
        use kairos_pipeline::prompts::NotFound;
        assert_eq!(version("a", Some(3)), Err(NotFound::Version(vec![1, 2, 10])));
        assert_eq!(version("zz", None), Err(NotFound::Name(vec![])));
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("a/1.toml", "user = \"one\""),
            ("a/01.toml", "user = \"one\""),
            ("a/2.toml", "usr = \"one\""),
            ("a/3.toml", "user = \"too long\""),
            ("a/4.toml", "user = \"b\""),
            ("a/prompt.toml", "default = 9"),
            ("B/1.toml", "user = \"one\""),
            ("c.toml", "user = \"one\""),
            ("d/1.toml", "user = \"one\""),
        ] {
            put(folder.path(), file, text);
        }
        let limits = Limits { templates: 1, versions: 1, file_bytes: 15, ..Limits::default() };
        let Found { library, refused, digest } = read(folder.path(), &limits);
        assert_eq!(library.versions(), 1);
        let told: Vec<_> = refused
            .iter()
            .map(|refused| refused.to_string().replace(&folder.path().display().to_string(), ""))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(read(folder.path(), &limits).digest, digest);
        put(folder.path(), "a/1.toml", "user = \"1\"");
        assert_ne!(read(folder.path(), &limits).digest, digest);
    }
}
