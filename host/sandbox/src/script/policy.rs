//! A policy that is a script.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::learned::SpaceId;
use kairos_pipeline::policy::{Answer, Fault, FaultKind, Identity, MOST_HELD, PolicyError, Question, World};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Map, Position, Scope};

use super::api::{self, Ctx, NoAnswer};
use super::{engine, worlds};
use crate::capability::Grants;
use crate::deadline::Meter;
use crate::generation::Manner;
use crate::kv::{Kv, SpaceBounds};
use crate::limits::Limits;
use crate::load::Source;
use crate::manifest::is_label;
use crate::reach::{Reach, ReachBounds, Unscripted};
use crate::refusal::{Reason, Refusal};
use crate::reports::{Dropped, Reports, Used};

/// A script that is ready to run.
pub struct ScriptPolicy {
    script: Script,
    config: Arc<Dynamic>,
    deadline: Duration,
    repeat_deadline: Duration,
    /// Time on the clock of a call, where that is a setting of its own.
    wall: Option<Duration>,
    reach: ReachBounds,
    /// The space of what was learned that it reads, and how much that may hold.
    space: (Option<SpaceId>, SpaceBounds),
    reports: Arc<Reports>,
}

/// A script and what it runs in.
pub(super) struct Script {
    engine: Engine,
    ast: AST,
}

impl Script {
    /// Calls a function of the script.
    pub(super) fn call<T: Send + Sync + Clone + 'static>(
        &self,
        function: &str,
        arguments: impl rhai::FuncArgs,
    ) -> Result<T, Box<EvalAltResult>> {
        let options = CallFnOptions::new().eval_ast(false).rewind_scope(true);
        self.engine.call_fn_with_options(options, &mut Scope::new(), &self.ast, function, arguments)
    }
}

thread_local! {
    /// The call that runs on this thread: engines are shared, calls are not.
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
    /// What that call has used of its share.
    static USED: RefCell<Used> = RefCell::default();
    /// What that call sees and changes of what was learned.
    static KV: RefCell<Kv> = RefCell::default();
    /// Whom that call may call; none: nobody.
    static REACH: RefCell<Option<Reach>> = const { RefCell::new(None) };
}

/// Works on what the call has used of its share.
pub(super) fn using<T>(work: impl FnOnce(&mut Used) -> T) -> T {
    USED.with_borrow_mut(work)
}

/// Works on what the call sees of what was learned.
pub(super) fn learned<T>(work: impl FnOnce(&mut Kv) -> T) -> T {
    KV.with_borrow_mut(work)
}

/// Calls others, as far as the call may.
pub(super) fn reaching<T>(work: impl FnOnce(&mut Reach) -> Result<T, Unscripted>) -> Result<T, Unscripted> {
    REACH.with_borrow_mut(|reach| work(reach.get_or_insert_default()))
}

/// Reasons that a policy may name.
const REASONS: usize = 64;
/// Operations between two looks at the clock, each of which takes as long as one of them: some 10 µs in most scripts.
const OPERATIONS_PER_LOOK: u64 = 256;

fn is_over(operations: u64) -> bool {
    operations.is_multiple_of(OPERATIONS_PER_LOOK)
        && METER.with_borrow_mut(|meter| meter.as_mut().is_some_and(Meter::is_over))
}

impl ScriptPolicy {
    /// Reads and checks a script. Gives it with what it says of itself.
    pub fn load(
        limits: &Limits,
        source: &Source<'_>,
        grants: &Grants,
        dropped: &Arc<Dropped>,
    ) -> Result<(Self, Identity), Refusal> {
        if source.bytes.len() as u64 > limits.script_bytes {
            let message = format!("the script has {} bytes; {} are allowed", source.bytes.len(), limits.script_bytes);
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        let text = std::str::from_utf8(source.bytes).map_err(|error| {
            let message =
                format!("the script is not UTF-8: the byte at offset {} starts no character", error.valid_up_to());
            Refusal::new(Reason::NotAPolicy, message)
        })?;
        let reports = Arc::new(Reports::new(dropped).of(source.world, grants));
        let mut engine = engine::bounded(limits, is_over);
        api::register(&mut engine, source.world, grants, &reports);
        let ast = engine.compile(text).map_err(|error| {
            Refusal::new(Reason::Syntax, error.err_type().to_string())
                .at(line_and_column(error.position()))
                .hint(parse_hint(&error))
        })?;
        check_functions(&ast, source.world)?;
        let config = engine.parse_json(source.config, true).map_err(|error| {
            Refusal::new(Reason::NotStarted, format!("the policy's configuration cannot be read: {error}"))
        })?;
        let mut policy = Self {
            script: Script { engine, ast },
            config: Arc::new(config.into()),
            deadline: limits.deadline_of(source.world),
            repeat_deadline: limits.init_deadline,
            wall: limits.wall_of(source.world),
            reach: limits.reach,
            space: (None, limits.space),
            reports,
        };
        let identity = policy.identity(source, limits)?;
        policy.space.0 = identity.space().cloned();
        Ok((policy, identity))
    }

    /// What the script reports.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Decides.
    pub(crate) fn ask(&self, question: Question<'_>, manner: Manner) -> Result<Answer, PolicyError> {
        let meter = match manner {
            Manner::Served => Meter::start(self.deadline),
            Manner::Trial | Manner::Test => Meter::start_on_trial(self.deadline),
            Manner::Afresh => Meter::start(self.repeat_deadline),
        };
        let meter = self.wall.map_or(meter, |wall| Meter::start_within(self.deadline, wall));
        let ctx = Ctx { request: Arc::clone(question.request()), config: Arc::clone(&self.config) };
        let (space, bounds) = &self.space;
        let kv = Kv::new(&question, space.as_ref(), manner);
        KV.set(if question.world() == World::Observer { kv.writing(*bounds) } else { kv });
        REACH.set(Reach::of(&question, self.reach, meter.until()));
        let (result, over) = self.timed(meter, manner.is_silent(), || worlds::call(&self.script, question, ctx));
        KV.take();
        REACH.take();
        match result {
            Ok(_) if over => Err(PolicyError::Fault(Fault::new(FaultKind::Deadline, self.over_deadline()))),
            result => result.map_err(|error| self.policy_error(*error)),
        }
    }

    fn over_deadline(&self) -> String {
        format!("over its deadline of {:?} or its {} operations", self.deadline, self.script.engine.max_operations())
    }

    /// Calls; the second value says whether it took too long, between two looks at the clock.
    fn timed<T>(&self, meter: Meter, silent: bool, call: impl FnOnce() -> T) -> (T, bool) {
        METER.set(Some(meter));
        USED.set(Used::nothing(silent));
        let result = call();
        let over = METER.take().is_some_and(|mut meter| meter.was_over());
        (result, over)
    }

    fn policy_error(&self, error: EvalAltResult) -> PolicyError {
        let position = error.position();
        let error = innermost(error);
        if let EvalAltResult::ErrorRuntime(thrown, _) = &error
            && let Some(why) = thrown.clone().try_cast::<NoAnswer>()
        {
            return match why {
                NoAnswer::Declined => PolicyError::Declined,
                NoAnswer::Refused(reason) => PolicyError::Refused(reason),
            };
        }
        let kind = match &error {
            EvalAltResult::ErrorTooManyOperations(_) | EvalAltResult::ErrorTerminated(..) => FaultKind::Deadline,
            EvalAltResult::ErrorStackOverflow(_) => FaultKind::StackOverflow,
            EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => FaultKind::Memory,
            _ => FaultKind::Error,
        };
        let message = match kind {
            FaultKind::Deadline => self.over_deadline(),
            _ => without_position(&error),
        };
        let at = line_and_column(if error.position().is_none() { position } else { error.position() });
        PolicyError::Fault(Fault { at, ..Fault::new(kind, message) })
    }

    /// What `describe` says, where there is one.
    fn identity(&self, source: &Source<'_>, limits: &Limits) -> Result<Identity, Refusal> {
        let mut name = source.world.name().to_owned();
        let (mut reasons, mut hold_back) = (Vec::new(), 0);
        let (mut space, mut schema) = (None::<String>, 0);
        if !self.script.ast.iter_functions().any(|function| function.name == "describe" && function.params.is_empty()) {
            return Ok(Identity::new(name, source.digest, reasons, Vec::new()));
        }
        let meter = Meter::start(limits.init_deadline);
        let (described, _) = self.timed(meter, false, || self.script.call::<Map>("describe", ()));
        let described = described.map_err(|error| {
            Refusal::new(Reason::BadDescription, format!("`describe` failed: {}", without_position(&error)))
                .at(line_and_column(error.position()))
        })?;
        let wrong = |what: &str| {
            Refusal::new(Reason::BadDescription, format!("`describe` gives {what}"))
                .hint("it gives #{name: \"a-name\", reasons: #{\"1\": \"a reason\"}}; both may be left out")
        };
        for (key, value) in described {
            match key.as_str() {
                "name" => {
                    name = value.into_string().map_err(|kind| wrong(&format!("a name that is {kind}")))?;
                    if !is_label(&name) {
                        return Err(wrong("a name that is not 1 to 64 of a–z, 0–9 and -"));
                    }
                }
                "version" => {}
                "kv" => {
                    let named = value.into_string().ok().filter(|name| is_label(name));
                    space = Some(named.ok_or_else(|| wrong("a kv that is not a name of 1 to 64 of a–z, 0–9 and -"))?);
                }
                "kv_schema" => {
                    let stated = value.as_int().ok().and_then(|number| u32::try_from(number).ok());
                    schema = stated.ok_or_else(|| wrong("a kv_schema that is not a whole number of 32 bits"))?;
                }
                "hold_back" if source.world == World::Guard => {
                    let bytes = value.as_int().ok().and_then(|bytes| usize::try_from(bytes).ok());
                    hold_back = bytes.filter(|bytes| *bytes <= MOST_HELD).ok_or_else(|| {
                        wrong(&format!("a hold_back that is not a whole number from 0 to {MOST_HELD}"))
                    })?;
                }
                "reasons" => {
                    let named = value.try_cast::<Map>().ok_or_else(|| wrong("reasons that are not a map"))?;
                    if named.len() > REASONS {
                        return Err(wrong(&format!("{} reasons; {REASONS} are allowed", named.len())));
                    }
                    for (code, name) in named {
                        let code = code.parse().map_err(|_| wrong("a reason whose key is not a number"))?;
                        let name = name.into_string().map_err(|_| wrong("a reason whose name is not text"))?;
                        let plain = name.len() <= 64 && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
                        if !plain {
                            return Err(wrong("a reason that is longer than 64 bytes or not plain text"));
                        }
                        reasons.push((code, name.into()));
                    }
                }
                other => {
                    let policy = source.world.policy();
                    return Err(wrong(&format!("{other:?}, which is not known of {policy}")));
                }
            }
        }
        let space = (schema > 0).then(|| SpaceId { name: space.as_deref().unwrap_or(&name).into(), schema });
        Ok(Identity::new(name, source.digest, reasons, Vec::new()).holding(hold_back).learning(space))
    }
}

/// The world whose judgement a script has; none: it has none, or cannot be parsed.
pub(crate) fn judges(bytes: &[u8]) -> Option<World> {
    let text = std::str::from_utf8(bytes).ok()?;
    let ast = engine::bounded(&Limits::default(), |_| false).compile(text).ok()?;
    World::ALL.into_iter().find(|world| has(&ast, *world))
}

/// Whether a script has the judgement of a world.
fn has(ast: &AST, world: World) -> bool {
    ast.iter_functions().any(|function| function.name == worlds::judgement(world).function)
}

/// Functions that the host calls.
fn check_functions(ast: &AST, world: World) -> Result<(), Refusal> {
    let worlds::Judgement { function: name, parameters, hint } = *worlds::judgement(world);
    let named: Vec<_> = ast.iter_functions().filter(|function| function.name == name).collect();
    if named.iter().any(|function| function.params.len() == parameters) {
        return Ok(());
    }
    let wrong = |message| Refusal::new(Reason::WrongWorld, message);
    if let Some(function) = named.first() {
        let given = function.params.len();
        return Err(wrong(format!("`{name}` takes {given} parameters, not {parameters}")).hint(hint));
    }
    if let Some(other) = World::ALL.into_iter().find(|other| has(ast, *other)) {
        let (function, slot, policy) = (worlds::judgement(other).function, other.name(), other.policy());
        return Err(wrong(format!("there is no function `{name}`; there is `{function}`"))
            .hint(format!("`{function}` is {policy}'s: name the file {slot}.rhai, or stage it for the slot {slot}")));
    }
    let near = ast.iter_functions().map(|function| function.name.to_owned());
    let near = near.max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let there_is = near.map_or(String::new(), |near| format!("; there is `{near}`"));
    Err(wrong(format!("there is no function `{name}`{there_is}")).hint(hint))
}

fn line_and_column(position: Position) -> Option<(usize, usize)> {
    Some((position.line()?, position.position().unwrap_or(1)))
}

/// The error within calls of functions: what went wrong, where it did.
fn innermost(error: EvalAltResult) -> EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => innermost(*inner),
        other => other,
    }
}

fn without_position(error: &EvalAltResult) -> String {
    let mut error = error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
        error = inner;
    }
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn parse_hint(error: &rhai::ParseError) -> &'static str {
    use rhai::ParseErrorType;
    match error.err_type() {
        ParseErrorType::MissingToken(..) | ParseErrorType::UnexpectedEOF => {
            "look for a missing ; } or ) just before this place"
        }
        ParseErrorType::Reserved(_) => "this word is reserved; `eval` and `import` are switched off for policies",
        ParseErrorType::BadInput(_) => "look at this place and just before it: something is missing, or too much",
        ParseErrorType::VariableUndefined(_) => {
            "declare it with `let`, or check its spelling; functions see their parameters only"
        }
        ParseErrorType::ExprTooDeep => "split the expression",
        _ => "policies/README.md shows what a policy looks like",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;

    #[test]
    fn nothing_reaches_the_clock_the_disk_or_the_console() {
        let mut engine = engine::bounded(&Limits::default(), |_| false);
        let reports = Arc::new(Reports::new(&Arc::default()));
        api::register(&mut engine, World::Router, &Grants::of(Capability::ALL), &reports);
        for script in [
            "sleep(1)",
            "timestamp()",
            "eval(\"1\")",
            "import \"x\" as x; 1",
            "rand()",
            "open_file(\"x\")",
            "Fn(\"x\")",
            "let x = 1; let f = || x; f.call()",
            "let f = |y| y; f.curry(1)",
        ] {
            assert!(engine.eval::<Dynamic>(script).is_err(), "{script}");
        }
    }

    /// What Rhai checks only once it is there is checked before.
    #[test]
    fn text_does_not_grow_beyond_its_bound() {
        let engine = engine::bounded(&Limits::default(), |_| false);
        let grows = |script: &str| engine.eval::<Dynamic>(script).map(|value| value.to_string());
        let long = "let s = \"a\"; s.pad(20000, 'a');";
        assert!(matches!(
            *grows(&format!("{long} s.replace(\"a\", s); s")).unwrap_err(),
            EvalAltResult::ErrorDataTooLarge(..)
        ));
        assert_eq!(grows("let s = \"a-b\"; s.replace(\"-\", \"+\"); s").unwrap(), "a+b");
        // A caller's long prompt is no fault of the policy.
        assert_eq!(grows(&format!("{long} s.split(\"\").len")).unwrap(), "2048");
        assert_eq!(grows("\"a b  c\".split()[2]").unwrap(), "c");
    }

    #[test]
    fn what_is_not_granted_says_how_to_grant_it() {
        let mut engine = engine::bounded(&Limits::default(), |_| false);
        let reports = Arc::new(Reports::new(&Arc::default()));
        api::register(&mut engine, World::Router, &Grants::of([]), &reports);
        let calls = [
            ("log", "log(\"x\")"),
            ("metrics", "metric_add(\"x\", 1)"),
            ("kv", "kv_get(\"x\")"),
            ("kv-write", "kv_delete(\"x\")"),
        ];
        for (capability, script) in calls {
            let error = engine.eval::<Dynamic>(script).unwrap_err().to_string();
            assert!(error.contains(&format!("set `grants = [\"{capability}\"]`")), "{error}");
        }
    }

    #[test]
    fn the_deepest_script_fits_the_stack() {
        let engine = engine::bounded(&Limits::default(), |_| false);
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        let mut deepest = 0;
        while engine.compile(format!("fn f(x) {{ {} + f(x) }}", nested(deepest + 1))).is_ok() {
            deepest += 1;
        }
        assert!((8..200).contains(&deepest), "{deepest}");
        let script = format!("fn f(x) {{ {} + f(x) }} f(1)", nested(deepest));
        let error = engine.eval::<Dynamic>(&script).unwrap_err();
        assert!(matches!(innermost(*error), EvalAltResult::ErrorStackOverflow(_)));
        let bomb = nested(100_000);
        assert!(engine.compile(bomb).is_err());
    }
}
