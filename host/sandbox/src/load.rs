//! From a file to a generation: read, vouched for, checked, compiled, tested, tried out. Or refused, with the
//! reason.

use std::path::Path;
use std::sync::Arc;

use kairos_pipeline::policy::{Identity, PolicyError, World};
use sha2::{Digest as _, Sha256};

use crate::aside::Judging;
use crate::capability::{Capability, Grants};
use crate::cases::{self, Catalogues, Report, TestFile};
use crate::generation::{Engine, Generation, Manner};
use crate::golden;
use crate::limits::Limits;
use crate::packed::{self, Packed};
use crate::refusal::{Reason, Refusal};
use crate::reports::Dropped;
use crate::script::{self, ScriptPolicy};
use crate::trust::{self, Trust};
use crate::versions::Version;
use crate::wasm::{self, WasmEngine, WasmPolicy};

/// Slots that a policy can fill: one for each world, of its name; a file's stem in the folder.
pub const SLOTS: [&str; World::ALL.len()] = {
    let mut names = [""; World::ALL.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = World::ALL[place].name();
        place += 1;
    }
    names
};
/// Endings of files that hold a policy.
pub const ENDINGS: [&str; 2] = ["rhai", "wasm"];

/// A file's bytes and what goes with them.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// The world that it is to be of: that of its slot.
    pub world: World,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// SHA-256 of its bytes.
    pub digest: &'a str,
    /// The operator's configuration for the policy, as JSON.
    pub config: &'a str,
}

/// What loading needs.
#[derive(Clone)]
pub struct Loader {
    /// Bounds.
    pub limits: Arc<Limits>,
    /// The engine of components.
    pub wasm: WasmEngine,
    /// What is granted.
    pub grants: Grants,
    /// Who vouches for what is to serve.
    pub trust: Trust,
    /// Counts what policies report over their bounds.
    pub dropped: Arc<Dropped>,
    /// The models that tests of policies are asked with.
    pub catalogues: Catalogues,
    /// The operator's configuration for policies, as JSON, by slot.
    pub configs: Arc<std::collections::BTreeMap<String, String>>,
}

impl Loader {
    /// Reads a policy from a file with the tests beside it, and makes a generation of it.
    pub fn load(&self, path: &Path) -> Result<Generation, Refusal> {
        self.load_version(path, &self.read(path)?)
    }

    /// Reads a policy from a file, and the tests and the signature beside it.
    pub fn read(&self, path: &Path) -> Result<Version, Refusal> {
        self.read_with(path, &cases::beside(path))
    }

    /// Reads a policy from a file, and its tests from another, where there is one.
    pub fn read_with(&self, path: &Path, tests: &Path) -> Result<Version, Refusal> {
        let policy = self.read_policy(path)?;
        let (tests, signature) = (TestFile::read(tests, &self.limits)?, trust::read(&trust::beside(path))?);
        Ok(Version { tests, signature, ..policy })
    }

    /// Makes a generation of a version: sees who vouches for it, compiles it, tests it (by the tests that it
    /// carries, and by those beside it), tries it out. `path` is where it came from.
    pub fn load_version(&self, path: &Path, version: &Version) -> Result<Generation, Refusal> {
        let signer = self.signer(version)?;
        let source = self.source(version);
        let (engine, identity, carried) = self.compile(ending_of(&version.file)?, &source)?;
        let world = version.world;
        let mut passed = 0;
        for tests in carried.iter().chain(&version.tests) {
            let report = self.run(&engine, &identity, &source, tests)?;
            report.verdict(source.file)?;
            passed += report.outcomes.len();
        }
        try_out(&engine, world, &identity)?;
        let generation = Generation::new(engine, world, identity, path.to_owned(), passed, &self.limits);
        generation.set_signer(signer);
        Ok(generation)
    }

    /// The name of the key that vouches for a version today, where one does. Refused where none does that has to.
    pub fn signer(&self, version: &Version) -> Result<Option<Arc<str>>, Refusal> {
        is_whole(version)?;
        self.trust.signer(version)
    }

    /// Makes a generation of a version that has served, to ask it again: it is neither tested nor tried out, and
    /// nobody need vouch for it any more.
    pub fn load_again(&self, version: &Version) -> Result<Generation, Refusal> {
        is_whole(version)?;
        let (engine, identity, _) = self.compile(ending_of(&version.file)?, &self.source(version))?;
        Ok(Generation::new(engine, version.world, identity, version.file.clone().into(), 0, &self.limits))
    }

    /// A version of bytes that came otherwise than by a file. `file` is its name.
    pub fn version(
        &self,
        world: World,
        file: &str,
        bytes: Vec<u8>,
        tests: Option<Vec<u8>>,
    ) -> Result<Version, Refusal> {
        let most = self.most_bytes(ending_of(file)?);
        if bytes.len() as u64 > most {
            return Err(too_large(most));
        }
        let name = cases::beside(Path::new(file)).display().to_string();
        let tests = tests.map(|bytes| TestFile::bounded(name, bytes, &self.limits)).transpose()?;
        Ok(Version { tests, ..untested(world, file.to_owned(), bytes) })
    }

    /// Runs the tests of a policy, all of them: those of the file, or those that it carries where there
    /// is no such file. None: there are neither.
    pub fn test(&self, path: &Path, tests: &Path) -> Result<Option<Report>, Refusal> {
        let version = self.read_with(path, tests)?;
        let source = self.source(&version);
        let ending = ending_of(&version.file)?;
        if version.tests.is_none() && packed::read(&source, &self.limits)?.tests.is_none() {
            return Ok(None);
        }
        let (engine, identity, carried) = self.compile(ending, &source)?;
        let Some(tests) = version.tests.as_ref().or(carried.as_ref()) else { return Ok(None) };
        self.run(&engine, &identity, &source, tests).map(Some)
    }

    fn run(
        &self,
        engine: &Arc<Engine>,
        identity: &Identity,
        source: &Source<'_>,
        tests: &TestFile,
    ) -> Result<Report, Refusal> {
        // Each policy that is tested is one of its own: what serves later has seen no test.
        let configured = |config: &str| match &**engine {
            Engine::Wasm(policy) => Ok(Arc::new(Engine::Wasm(Box::new(policy.configured(config))))),
            Engine::Script(_) => {
                let source = Source { config, ..*source };
                let grants = self.grants.clone().in_world(source.world);
                let (policy, _) = ScriptPolicy::load(&self.limits, &source, &grants, &Arc::default())?;
                Ok(Arc::new(Engine::Script(Box::new(policy))))
            }
        };
        tests.run(source.world, identity, &self.limits, &self.catalogues, &configured)
    }

    fn read_policy(&self, path: &Path) -> Result<Version, Refusal> {
        let file =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let bytes = read(path, self.most_bytes(ending_of(&file)?))?;
        Ok(untested(world_of(&file, &bytes), file, bytes))
    }

    fn most_bytes(&self, ending: &str) -> u64 {
        if ending == "rhai" { self.limits.script_bytes } else { self.limits.component_bytes }
    }

    fn source<'a>(&'a self, version: &'a Version) -> Source<'a> {
        let Version { world, file, bytes, digest, .. } = version;
        let config = self.configs.get(world.name()).map_or("{}", String::as_str);
        Source { file, world: *world, bytes, digest, config }
    }

    /// A policy, what it says of itself, and the tests that it carries.
    fn compile(&self, ending: &str, source: &Source<'_>) -> Result<(Arc<Engine>, Identity, Option<TestFile>), Refusal> {
        let Self { limits, dropped, .. } = self;
        let Packed { manifest, tests } = packed::read(source, limits)?;
        let grants = self.grants.clone().in_world(source.world);
        let grants = &match &manifest {
            Some(manifest) => grants.asked(&manifest.capabilities),
            None => grants,
        };
        may_ask(grants)?;
        let (engine, identity) = if ending == "rhai" {
            let (policy, identity) = ScriptPolicy::load(limits, source, grants, dropped)?;
            (Engine::Script(Box::new(policy)), identity)
        } else {
            let (policy, identity) = WasmPolicy::load(&self.wasm, source, grants, dropped)?;
            manifest.iter().try_for_each(|manifest| manifest.is_of(&identity, source.world))?;
            policy.prepare(source.world, std::thread::available_parallelism().map_or(2, usize::from));
            (Engine::Wasm(Box::new(policy)), identity)
        };
        let grants: Vec<_> = Capability::ALL.into_iter().filter(|one| grants.has(*one)).map(Capability::name).collect();
        let setting = format!("{{\"config\":{},\"grants\":{}}}", source.config, serde_json::json!(grants));
        Ok((Arc::new(engine), identity.loaded_with(setting), tests))
    }
}

/// The world of a policy's file: that of its slot, where its name is a slot's; else the one whose judgement
/// it has. What has none is looked at as a router, and refused as one. For a thread with the stack of
/// those that load.
pub fn world_of(file: &str, bytes: &[u8]) -> World {
    let path = Path::new(file);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let judges = || match path.extension().and_then(|ending| ending.to_str()) {
        Some("rhai") => script::judges(bytes),
        _ => wasm::judges(bytes),
    };
    World::from_name(stem).or_else(judges).unwrap_or(World::Router)
}

/// A manifest asks for what the operator grants.
fn may_ask(grants: &Grants) -> Result<(), Refusal> {
    let Some(refused) = grants.refused() else { return Ok(()) };
    let message = format!("plugin.toml asks for `{refused}`, which {}", grants.why_not(refused));
    Err(Refusal::new(Reason::NotGranted, message).hint(grants.hint(refused)))
}

/// A version's bytes are those that its digest is of.
fn is_whole(version: &Version) -> Result<(), Refusal> {
    if hex::encode(Sha256::digest(&version.bytes)) == version.digest {
        return Ok(());
    }
    let message = "its bytes are not those that its digest is of: what is kept of it was changed";
    Err(Refusal::new(Reason::Damaged, message).hint("stage the policy again"))
}

/// What kind of policy a file's name says that it is: its ending.
fn ending_of(file: &str) -> Result<&'static str, Refusal> {
    match Path::new(file).extension().and_then(|ending| ending.to_str()).unwrap_or_default() {
        "rhai" => Ok("rhai"),
        "wasm" => Ok("wasm"),
        "cwasm" => {
            let message = "compiled code is not accepted: it would run outside of the sandbox";
            Err(Refusal::new(Reason::NotAPolicy, message)
                .hint("supply the component itself; Kairos keeps its own compiled copy"))
        }
        ending => {
            let message = format!("the ending {ending:?} is not that of a policy");
            Err(Refusal::new(Reason::NotAPolicy, message).hint("a policy is a script (.rhai) or a component (.wasm)"))
        }
    }
}

/// A version without tests.
fn untested(world: World, file: String, bytes: Vec<u8>) -> Version {
    Version { world, file, digest: hex::encode(Sha256::digest(&bytes)), bytes, tests: None, signature: None }
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("the file has more than {most} bytes"))
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Refusal> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| Refusal::new(Reason::Unreadable, format!("the file cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

/// Bytes that a text of the trial comes in, at a time, beside as a whole.
const TRIAL_PARTS: [usize; 2] = [5, 64];

/// Asks the policy some questions, twice each: it must answer them all, validly and alike; and what passes of
/// a text must be the same however it comes.
fn try_out(engine: &Arc<Engine>, world: World, identity: &Identity) -> Result<(), Refusal> {
    for golden in golden::questions(world) {
        let question = golden.asked();
        let answer = engine.ask(question, Manner::Trial);
        let because = |reason, what: String| {
            Refusal::new(reason, format!("asked on trial with {}, the policy {what}", golden.about))
        };
        let refuse = |what| because(Reason::FailedTrial, what);
        match &answer {
            Ok(given) => {
                let kind = cases::worlds::answer(world);
                let wrong = question.check(given, identity).err();
                wrong.map_or(Ok(()), |wrong| Err(refuse(format!("gives a {kind} that is not valid: {wrong}"))))?;
            }
            Err(PolicyError::Fault(fault)) => {
                return Err(refuse(format!("fails: {}: {}", fault.kind.name(), fault.message)).at(fault.at));
            }
            Err(PolicyError::NotRun(why)) => return Err(refuse(format!("could not be run: {why}"))),
            Err(PolicyError::Declined | PolicyError::Refused(_) | PolicyError::Unavailable(_)) => {}
        }
        let again = engine.ask(question, Manner::Afresh);
        if let Err(PolicyError::NotRun(why)) = &again {
            return Err(refuse(format!("could not be run: {why}")));
        }
        if again != answer {
            let what = "answers the same question differently the second time".to_owned();
            return Err(because(Reason::Impure, what)
                .hint("a decision depends on nothing but its input; keep no state between calls"));
        }
        if let Some((request, passage, text)) = golden.text() {
            let judging = Judging::new(engine, identity, Manner::Trial, request);
            let whole = judging.whole(passage, text);
            for bytes in TRIAL_PARTS {
                let parts = judging.in_parts(passage, text, bytes);
                if parts != whole {
                    return Err(refuse(cases::worlds::guard::differs(&whole, &parts, bytes)).hint(
                        "what is decided at a byte depends on what `state` has of what came before, and on no more \
                         than the bytes held back from there on",
                    ));
                }
            }
        }
    }
    Ok(())
}
