//! `kairos plugin new`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use kairos_pipeline::policy::World;
use kairos_sandbox::load::SLOTS;
use kairos_sandbox::manifest::{FILE, Lang, name_is_wrong};

use super::super::Failed;
use super::template;

#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// What the plugin is called: 1 to 64 of a-z, 0-9 and -
    name: String,
    /// What it is written in
    #[arg(long, value_name = "LANG", value_parser = langs())]
    lang: Lang,
    /// What it judges
    #[arg(long, value_name = "WORLD", default_value = SLOTS[0], value_parser = worlds())]
    world: World,
    /// The folder to write it into [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn langs() -> impl clap::builder::TypedValueParser<Value = Lang> {
    let lang = |name: String| Lang::ALL.into_iter().find(|lang| lang.name() == name).ok_or("no such language");
    PossibleValuesParser::new(Lang::ALL.map(Lang::name)).try_map(lang)
}

fn worlds() -> impl clap::builder::TypedValueParser<Value = World> {
    PossibleValuesParser::new(SLOTS).try_map(|name: String| World::from_name(&name).ok_or("no such world"))
}

impl New {
    pub(super) fn run(self) -> Result<(), Failed> {
        if let Some(wrong) = name_is_wrong(&self.name).or_else(|| taken(&self.name)) {
            return Err(Failed::usage(wrong));
        }
        if let Some(missing) = template::is_missing(self.lang, self.world) {
            return Err(Failed::usage(missing));
        }
        let dir = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        let files = template::files(&self.name, self.lang, self.world);
        // All are looked at before the first is written.
        if let Some((file, _)) = files.iter().find(|(file, _)| fs::symlink_metadata(dir.join(file)).is_ok()) {
            let there = dir.join(file);
            let hint = "--dir names another folder";
            let message = format!("{} is there already; nothing was written\n  hint: {hint}", there.display());
            return Err(Failed::usage(message));
        }
        for (file, text) in &files {
            let path = dir.join(file);
            let failed = |error: std::io::Error| Failed::new(format!("{}: {error}", path.display()));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            let mut created = fs::File::create_new(&path).map_err(failed)?;
            created.write_all(text.as_bytes()).map_err(failed)?;
        }
        let (lang, policy, shown) = (self.lang.name(), self.world.policy(), dir.display());
        println!("{shown}: {} is {policy} in {lang}, of {} files; {FILE} is its manifest", self.name, files.len());
        println!("  next: cd {shown} && kairos plugin test\n  README.md there has the rest");
        Ok(())
    }
}

/// Names that a project cannot have, as what it is built of has them.
fn taken(name: &str) -> Option<String> {
    (name == "kairos-plugin").then(|| format!("{name:?} is the name of the SDK; take another"))
}
