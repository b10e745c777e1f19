//! `kairos plugin pack`.

use std::fs;

use kairos_sandbox::manifest::{FILE, Lang};
use kairos_sandbox::packed;

use super::super::{Failed, counted, policy};
use super::Given;

#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    #[command(flatten)]
    given: Given,
}

impl Pack {
    pub(super) fn run(self) -> Result<(), Failed> {
        let (project, loader) = self.given.project()?;
        let (policy, name) = (project.policy(), project.manifest.name.clone());
        if project.manifest.lang == Lang::Rhai {
            let (shown, tests) = (policy.display(), project.tests());
            let hint = format!("kairos policy stage {shown} --tests {}", tests.display());
            return Err(Failed::usage(format!("{shown} is a script, which cannot carry its tests\n  hint: {hint}")));
        }
        let cannot = |error: std::io::Error| Failed::new(format!("{}: {error}", policy.display()));
        let component = fs::read(&policy).map_err(cannot)?;
        // The text is UTF-8 where it was read as tests.
        let tests = fs::read(project.tests()).ok();
        let bytes = packed::pack(&component, &project.text, tests.as_deref());
        let target = project.file(format!("dist/{name}.wasm"));
        let version = loader.version(project.manifest.world, &format!("{name}.wasm"), bytes, None);
        let (file, shown) = (target.clone(), target.display().to_string());
        let loaded = policy::on_a_loaders_thread(move || {
            version.and_then(|version| loader.load_version(&file, &version).map(|loaded| (version, loaded.tests())))
        })?;
        let (version, passed) = loaded.map_err(|refusal| Failed::new(refusal.explain(&shown)))?;
        let folder = project.file("dist");
        fs::create_dir_all(&folder).and_then(|()| fs::write(&target, &version.bytes)).map_err(cannot)?;
        println!("{shown}: {} bytes, with {FILE} and {}", version.bytes.len(), counted(passed, "test"));
        println!("  next: kairos policy stage {shown}");
        Ok(())
    }
}
